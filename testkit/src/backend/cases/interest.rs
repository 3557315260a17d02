//! Wanting topics, and no longer.

use futures_util::FutureExt;

use crate::backend::{
    Cluster,
    node::numbers,
    subject::{Subject, pattern},
};

pub(in crate::backend) async fn interest_holds_from_the_answer_on(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for n in 0..50 {
        for subject in Subject::both(&format!("t{n}")) {
            listener.subscribe(&subject).await;
            publisher.say(&subject, "at once").await;
            listener.hears(&subject, &["at once"]).await;
        }
        let wanted = pattern(&format!("p{n}.*"));
        listener.want(&wanted).await;
        let matched = Subject::ephemeral(&format!("p{n}.t"));
        publisher.say(&matched, "at once").await;
        listener.hears(&matched, &["at once"]).await;
        listener.unwant(&wanted).await;
    }
}

pub(in crate::backend) async fn interest_twice_is_interest_once(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        listener.subscribe(&subject).await;
        publisher.count(&subject, 1..=10).await;
        listener.hears(&subject, &numbers(1..=10)).await;
        cluster.settle(&[&publisher], &[&listener]).await;
        assert_eq!(listener.record.seen(|seen| seen.count(&subject.name)), 10, "copies of 10 messages");
        listener.unsubscribe(&subject).await;
        // What still comes is dropped; in the end nothing comes.
        cluster.settle(&[&publisher], &[&listener]).await;
        listener.record.clear();
        publisher.count(&subject, 11..=20).await;
        cluster.settle(&[&publisher], &[&listener]).await;
        let came = listener.record.seen(|seen| seen.count(&subject.name));
        assert_eq!(came, 0, "one unsubscribe has to end what two subscribes began");
    }
}

pub(in crate::backend) async fn interest_is_what_was_said_last(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        for n in 0..30 {
            listener.subscribe(&subject).await;
            // Something is on its way while it changes.
            let acknowledged = publisher.publish(&subject, format!("noise {n}"));
            listener.unsubscribe(&subject).await;
            if n % 2 == 0 {
                let _ = publisher.within("publish", acknowledged).await;
            }
        }
        listener.subscribe(&subject).await;
        publisher.say(&subject, "wanted").await;
        let is_wanted = |seen: &crate::backend::record::Seen| {
            seen.texts(&subject.name).last().map(String::as_str) == Some("wanted")
        };
        listener.until("what follows the last subscribe has to arrive", is_wanted).await;
    }
}

pub(in crate::backend) async fn interest_by_name_and_by_pattern_are_apart(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        let patterns = [pattern("*.t"), pattern(">")];
        for wanted in &patterns {
            listener.want(wanted).await;
        }
        listener.subscribe(&subject).await;
        let mut expected = Vec::new();
        for (text, left) in
            [("all", None), ("one pattern fewer", Some(&patterns[0])), ("and the other", Some(&patterns[1]))]
        {
            if let Some(left) = left {
                listener.unwant(left).await;
            }
            publisher.say(&subject, text).await;
            expected.push(text);
            listener.hears(&subject, &expected).await;
        }
        // And the other way around.
        listener.want(&patterns[0]).await;
        listener.unsubscribe(&subject).await;
        publisher.say(&subject, "by pattern").await;
        expected.push("by pattern");
        listener.hears(&subject, &expected).await;
        listener.unwant(&patterns[0]).await;
    }
}

pub(in crate::backend) async fn interest_survives_calls_that_were_dropped(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for n in 0..20 {
        for subject in Subject::both(&format!("t{n}")) {
            let interest = subject.interest();
            // Polled once, as when whoever subscribes leaves at once.
            let _ = listener.backend.subscribe(&interest).now_or_never();
            if n % 2 == 0 {
                listener.subscribe(&subject).await;
                let _ = listener.backend.unsubscribe(&interest).now_or_never();
            }
            listener.subscribe(&subject).await;
            publisher.say(&subject, "wanted").await;
            listener.hears(&subject, &["wanted"]).await;
        }
    }
}

pub(in crate::backend) async fn top_is_a_position_that_was_reached(cluster: Cluster) {
    let node = cluster.node().await;
    let inline = node.backend.capabilities().inline;
    let publisher = if inline { None } else { Some(cluster.node().await) };
    let publisher = publisher.as_ref().unwrap_or(&node);
    let subject = Subject::logged("logged.t");
    let positions = publisher.count(&subject, 1..=5).await;
    let top = node.subscribe(&subject).await;
    assert_eq!(top, positions.last().copied(), "the log has reached its fifth message");
    publisher.count(&subject, 6..=10).await;
    if !inline {
        node.hears(&subject, &numbers(6..=10)).await;
    }
    assert_eq!(node.subscribe(&Subject::ephemeral("ephemeral.t")).await, None);
    if inline {
        return;
    }
    // While others publish, nothing falls between the top and what arrives.
    for n in 0..20 {
        let subject = Subject::logged(&format!("logged.busy{n}"));
        let busy = async {
            for n in 1..=20 {
                publisher.say(&subject, n.to_string()).await;
            }
        };
        let (top, ()) = tokio::join!(node.subscribe(&subject), busy);
        let Some(top) = top else { panic!("a logged topic has no top") };
        let log = node.read_all(&subject).await;
        let after: Vec<_> =
            log.messages.iter().filter_map(|m| m.position()).filter(|p| p.offset > top.offset).collect();
        let heard = |seen: &crate::backend::record::Seen| -> Vec<_> {
            let heard = seen.new_of(&subject.name).into_iter().filter_map(|i| Some(i.log?.position));
            heard.filter(|p| p.offset > top.offset).collect()
        };
        node.until("what follows the top has to arrive", |seen| heard(seen) == after).await;
    }
}

pub(in crate::backend) async fn top_of_an_empty_log_names_its_epoch(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let Some(top) = node.subscribe(&subject).await else { panic!("a logged topic has no top") };
    assert_eq!(top.offset, 0);
    let page = node.read_all(&subject).await;
    assert_eq!((page.epoch, page.floor, page.last, page.messages.len()), (top.epoch, 0, 0, 0));
    let Some(first) = node.say(&subject, "1").await.position else { panic!("no position") };
    assert_eq!(first.epoch, top.epoch);
    let prev =
        node.read_all(&subject).await.messages.first().and_then(|message| message.place()).map(|p| p.prev);
    assert_eq!(prev, Some(0));
}

pub(in crate::backend) async fn unsubscribe_of_what_was_not_wanted_is_no_error(cluster: Cluster) {
    let node = cluster.node().await;
    for subject in Subject::both("t") {
        node.unsubscribe(&subject).await;
        node.subscribe(&subject).await;
        node.unsubscribe(&subject).await;
        node.unsubscribe(&subject).await;
    }
    node.unwant(&pattern("*.never")).await;
    let other = Subject::logged("logged.other");
    node.subscribe(&other).await;
    node.say(&other, "1").await;
    if !node.backend.capabilities().inline {
        node.hears(&other, &["1"]).await;
    }
}

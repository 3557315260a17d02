//! Outages, as a node without a broker sees them.

use std::time::Duration;

use fanfare_core::backend::{BackendError, BackendErrorKind, BackendState, HistoryQuery};
use tokio::time::{Instant, sleep};

use crate::backend::{
    Cluster,
    node::Node,
    subject::{Subject, pattern},
};

/// Interrupts until all nodes know it.
async fn interrupt(cluster: &Cluster, nodes: &[&Node]) {
    cluster.harness.interrupt().await;
    for node in nodes {
        node.until_state(BackendState::Down).await;
    }
}

/// Restores until all nodes know it.
async fn restore(cluster: &Cluster, nodes: &[&Node]) {
    cluster.harness.restore().await;
    for node in nodes {
        node.until_state(BackendState::Up).await;
    }
}

pub(in crate::backend) async fn state_tells_of_an_outage(cluster: Cluster) {
    let [one, two] = cluster.nodes().await;
    let nodes = [&one, &two];
    for _ in 0..3 {
        interrupt(&cluster, &nodes).await;
        restore(&cluster, &nodes).await;
        // Up is no empty word.
        for node in nodes {
            let subject = Subject::logged("logged.t");
            node.subscribe(&subject).await;
            node.say(&subject, "1").await;
        }
    }
}

pub(in crate::backend) async fn state_leaves_nothing_from_before(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let nodes = [&publisher, &listener];
    let subjects = Subject::both("t");
    listener.record.shut();
    for subject in &subjects {
        listener.subscribe(subject).await;
        for n in 1..=3 {
            publisher.say(subject, n.to_string()).await;
        }
    }
    listener.until("a message of each topic has to be given", |_| listener.record.waiting() >= 2).await;
    interrupt(&cluster, &nodes).await;
    restore(&cluster, &nodes).await;
    listener.record.open();
    for subject in &subjects {
        listener.subscribe(subject).await;
        publisher.say(subject, "after").await;
        listener
            .until("what is new has to arrive", |seen| {
                seen.texts(&subject.name).contains(&"after".to_owned())
            })
            .await;
        let texts = listener.record.seen(|seen| seen.texts(&subject.name));
        assert_eq!(texts, ["after"], "what came before the outage was to be dropped");
    }
}

pub(in crate::backend) async fn reconnect_hears_everything_again(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let nodes = [&publisher, &listener];
    let subjects: Vec<_> = (0..25).flat_map(|n| Subject::both(&n.to_string())).collect();
    let by_pattern = [Subject::ephemeral("wild.e"), Subject::logged("wild.l")];
    for round in 0..2 {
        // As the core does when the backend is up.
        for subject in &subjects {
            listener.subscribe(subject).await;
        }
        listener.want(&pattern("wild.*")).await;
        for subject in subjects.iter().chain(&by_pattern) {
            let text = format!("round {round}");
            publisher.say(subject, text.clone()).await;
            let what = format!("{} has to arrive in {text}", subject.name);
            listener.until(&what, |seen| seen.texts(&subject.name).last() == Some(&text)).await;
        }
        if round == 0 {
            interrupt(&cluster, &nodes).await;
            restore(&cluster, &nodes).await;
        }
    }
}

pub(in crate::backend) async fn reconnect_forgets_what_was_given_up(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let nodes = [&publisher, &listener];
    let subjects = Subject::both("t");
    for subject in &subjects {
        listener.subscribe(subject).await;
    }
    listener.want(&pattern("wild.*")).await;
    interrupt(&cluster, &nodes).await;
    for subject in &subjects {
        let _ = listener.within("unsubscribe", listener.backend.unsubscribe(&subject.interest())).await;
    }
    let _ = listener.within("unsubscribe", listener.backend.unsubscribe(&pattern("wild.*"))).await;
    restore(&cluster, &nodes).await;
    cluster.settle(&[&publisher], &[&listener]).await;
    listener.record.clear();
    let by_pattern = Subject::ephemeral("wild.t");
    for subject in subjects.iter().chain([&by_pattern]) {
        publisher.say(subject, "unwanted").await;
    }
    cluster.settle(&[&publisher], &[&listener]).await;
    for subject in subjects.iter().chain([&by_pattern]) {
        assert!(listener.heard(subject).is_empty(), "{} was given up, and still arrives", subject.name);
    }
}

pub(in crate::backend) async fn late_renewal_is_told(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let subjects = Subject::both("t");
    for subject in &subjects {
        listener.subscribe(subject).await;
        publisher.say(subject, "before").await;
        listener.hears(subject, &["before"]).await;
    }
    cluster.harness.lose_interests().await;
    let has_been_down = |seen: &crate::backend::record::Seen| {
        let down = seen.states.iter().position(|state| *state == BackendState::Down);
        down.is_some_and(|down| seen.states[down..].contains(&BackendState::Up))
    };
    for subject in &subjects {
        let what = format!("a loss of {} has to be told, or that the backend was down", subject.name);
        listener.until(&what, |seen| seen.lost_of(&subject.name) || has_been_down(seen)).await;
    }
    let is_anew = listener.record.seen(has_been_down);
    let deadline = Instant::now() + cluster.patience;
    for subject in &subjects {
        if is_anew {
            listener.subscribe(subject).await;
        }
        // The publisher may have been away as well.
        let mut n = 0;
        while listener.record.seen(|seen| seen.texts(&subject.name).iter().all(|text| text == "before")) {
            assert!(Instant::now() < deadline, "{} is not heard again", subject.name);
            n += 1;
            let _ = publisher.within("publish", publisher.publish(subject, format!("after {n}"))).await;
            sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(in crate::backend) async fn loss_told_comes_after_what_came_before_it(cluster: Cluster) {
    let [publisher, slow] = cluster.nodes().await;
    let subject = Subject::ephemeral("t");
    slow.subscribe(&subject).await;
    slow.record.shut();
    let mut accepted = 0;
    for n in 1..=5_000 {
        let done = publisher.within("publish", publisher.publish(&subject, n.to_string())).await;
        accepted += usize::from(done.is_ok());
    }
    slow.record.open();
    let name = &subject.name;
    let is_settled = |seen: &crate::backend::record::Seen| seen.count(name) >= accepted || seen.lost_of(name);
    slow.until("each message has to arrive, or to be told to be lost", is_settled).await;
    cluster.settle(&[&publisher], &[&slow]).await;
    let (numbers, lost_at) = slow.record.seen(|seen| {
        let numbers: Vec<u64> = seen.texts(name).iter().filter_map(|text| text.parse().ok()).collect();
        (numbers, seen.lost_at.clone())
    });
    let hole = numbers.windows(2).position(|pair| pair[1] != pair[0] + 1);
    if numbers.len() < accepted {
        // The last before the hole, or the last at all.
        let before = hole.map_or(numbers.len(), |index| index + 1);
        assert!(
            lost_at.iter().any(|at| *at >= before),
            "the loss after {before} messages is told after {lost_at:?}"
        );
    }
}

pub(in crate::backend) async fn loss_told_of_bytes_that_are_no_message(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        publisher.say(&subject, "before").await;
        listener.hears(&subject, &["before"]).await;
        cluster.harness.garble(&subject.name).await;
        let what = format!("bytes on {} that are no message have to be told as a loss", subject.name);
        listener.until(&what, |seen| seen.lost_of(&subject.name)).await;
        publisher.say(&subject, "after").await;
        listener.hears(&subject, &["before", "after"]).await;
    }
}

pub(in crate::backend) async fn down_calls_end(cluster: Cluster) {
    let [node, other] = cluster.nodes().await;
    let [ephemeral, logged] = Subject::both("t");
    node.subscribe(&logged).await;
    node.say(&logged, "before").await;
    interrupt(&cluster, &[&node, &other]).await;
    let mut accepted = vec!["before".to_owned()];
    for (subject, text) in [(&ephemeral, "ephemeral"), (&logged, "logged")] {
        let done = node.within("publish in an outage", node.publish(subject, text)).await;
        if subject.is_logged() && done.is_ok() {
            accepted.push(text.to_owned());
        }
        check(done.map(|_| ()), "publish");
        let interest = Subject::ephemeral("ephemeral.new").interest();
        check(
            node.within("subscribe in an outage", node.backend.subscribe(&interest)).await.map(|_| ()),
            "subscribe",
        );
        check(
            node.within("unsubscribe in an outage", node.backend.unsubscribe(&interest)).await,
            "unsubscribe",
        );
    }
    let query = HistoryQuery::After { offset: 0, limit: 10 };
    let page = node.within("history in an outage", node.backend.history(&logged.name, query)).await;
    check(page.map(|_| ()), "history");
    check(node.within("control in an outage", node.backend.control(None, "frame".into())).await, "control");
    restore(&cluster, &[&node, &other]).await;
    assert_eq!(node.retained(&logged).await, accepted, "what was accepted is stored, and nothing else");
}

fn check(done: Result<(), BackendError>, what: &str) {
    if let Err(error) = done {
        assert!(error.retry_can_help(), "{what} in an outage can succeed later: {error:?}");
    }
}

pub(in crate::backend) async fn errors_of_publishing_are_true(cluster: Cluster) {
    let [publisher, reader] = cluster.nodes().await;
    let nodes = [&publisher, &reader];
    let subject = Subject::logged("logged.t");
    let (mut accepted, mut refused, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut n = 0;
    for round in 0..3 {
        // Some are on their way when the connection goes.
        let mut handed_over = Vec::new();
        for _ in 0..200 {
            n += 1;
            handed_over.push((n.to_string(), publisher.publish(&subject, n.to_string())));
        }
        tokio::time::sleep(Duration::from_millis(round)).await;
        interrupt(&cluster, &nodes).await;
        for _ in 0..20 {
            n += 1;
            handed_over.push((n.to_string(), publisher.publish(&subject, n.to_string())));
        }
        for (text, acknowledged) in handed_over {
            match publisher.within("an acknowledgement in an outage", acknowledged).await {
                Ok(done) => accepted.push((done.position, text)),
                Err(error) if error.kind() == BackendErrorKind::Unavailable => refused.push(text),
                Err(error) if error.kind() == BackendErrorKind::OutcomeUnknown => unknown.push(text),
                Err(error) => panic!("an outage is no {:?}: {error}", error.kind()),
            }
        }
        restore(&cluster, &nodes).await;
        n += 1;
        accepted.push((publisher.say(&subject, n.to_string()).await.position, n.to_string()));
    }
    let log = reader.read_all(&subject).await;
    let stored: Vec<_> = log
        .messages
        .iter()
        .map(|m| (m.position(), m.payload().as_str().unwrap_or_default().to_owned()))
        .collect();
    for message in &accepted {
        assert!(stored.contains(message), "{message:?} was accepted, and is not stored");
    }
    for (_, text) in &stored {
        assert!(!refused.contains(text), "message {text} was refused as unavailable, and is stored");
        let is_known = accepted.iter().any(|(_, t)| t == text) || unknown.contains(text);
        assert!(is_known, "message {text} is stored, and was nobody's");
    }
    let mut texts: Vec<_> = stored.iter().map(|(_, text)| text).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), stored.len(), "messages are stored twice");
}

pub(in crate::backend) async fn epoch_changes_when_a_log_is_lost(cluster: Cluster) {
    let node = cluster.node().await;
    let [lost, kept] = ["logged.lost", "logged.kept"].map(Subject::logged);
    let mut epochs = Vec::new();
    for round in 0..5 {
        let positions = node.count(&lost, 1..=3).await;
        let Some(last) = positions.last() else { panic!("no position") };
        assert!(!epochs.contains(&last.epoch), "round {round}: an epoch comes back");
        assert!(positions.iter().all(|position| position.epoch == last.epoch));
        epochs.push(last.epoch);
        assert_eq!(node.read_all(&lost).await.epoch, last.epoch);
        assert_eq!(node.retained(&lost).await, ["1", "2", "3"]);
        cluster.harness.lose_log(&lost.name).await;
        assert_eq!(node.retained(&lost).await.len(), 0, "the harness has to lose the log");
    }
    // Also where somebody subscribes before the first message comes.
    let Some(top) = node.subscribe(&lost).await else { panic!("no top") };
    assert!(!epochs.contains(&top.epoch) && top.offset == 0, "{top}");
    let Some(first) = node.say(&lost, "1").await.position else { panic!("no position") };
    assert_eq!(first.epoch, top.epoch);
    // Other logs are others.
    let one = node.say(&kept, "1").await.position;
    cluster.harness.lose_log(&lost.name).await;
    let two = node.say(&kept, "2").await.position;
    if let (Some(one), Some(two)) = (one, two) {
        // A wiped server has lost them all.
        assert!(one.epoch != two.epoch || one.offset < two.offset);
    }
}

//! Order, and nothing twice.

use fanfare_core::{backend::Origin, message::MessageParts};

use crate::backend::{Cluster, node::numbers, subject::Subject};

pub(in crate::backend) async fn ephemeral_order_is_that_of_the_calls(cluster: Cluster) {
    const MESSAGES: u64 = 300;
    let [listener, one, two] = cluster.nodes().await;
    let subject = Subject::ephemeral("t");
    listener.subscribe(&subject).await;
    let mut acknowledged = Vec::new();
    for n in 1..=MESSAGES {
        for node in [&one, &two] {
            acknowledged.push(node.publish(&subject, n.to_string()));
        }
    }
    for acknowledged in acknowledged {
        let accepted = listener.within("an acknowledgement", acknowledged).await;
        accepted.unwrap_or_else(|error| panic!("not accepted: {error:?}"));
    }
    listener
        .until("all messages have to arrive", |seen| seen.count(&subject.name) >= 2 * MESSAGES as usize)
        .await;
    let heard = listener.heard(&subject);
    for node in [&one, &two] {
        let of_node = heard.iter().filter(|incoming| incoming.origin.is_some_and(|o| o.node == node.id));
        let texts: Vec<_> = of_node.map(crate::backend::record::text).collect();
        assert_eq!(texts, numbers(1..=MESSAGES), "the order of one node's messages");
    }
}

pub(in crate::backend) async fn ephemeral_order_counts_messages_to_several_topics(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let [one, two] = ["one", "two"].map(Subject::ephemeral);
    for subject in [&one, &two] {
        listener.subscribe(subject).await;
    }
    for n in 0..90 {
        let text = n.to_string();
        let outgoing = match n % 3 {
            0 => publisher.outgoing(&one, MessageParts::new(one.name.clone(), text)),
            1 => publisher.outgoing(&two, MessageParts::new(two.name.clone(), text)),
            _ => {
                let outgoing = publisher.outgoing(&one, MessageParts::new(one.name.clone(), text));
                outgoing.with_also(vec![(two.name.clone(), publisher.next_origin(&two.name))])
            }
        };
        drop(publisher.backend.publish(outgoing));
    }
    for subject in [&one, &two] {
        let what = format!("60 messages of {} have to arrive", subject.name);
        let seqs = |seen: &crate::backend::record::Seen| {
            let origins = seen.messages.iter().flat_map(|incoming| {
                let first = incoming.origin.map(|origin| (incoming.message.topic.clone(), origin));
                first.into_iter().chain(incoming.also.clone())
            });
            let of_topic = origins.filter(|(name, _)| *name == subject.name);
            let mut seqs: Vec<u64> = of_topic.map(|(_, Origin { seq, .. })| seq).collect();
            // Once for each topic that it wants is allowed.
            let mut highest = 0;
            seqs.retain(|seq| {
                let is_new = *seq > highest || !(1..=highest).contains(seq);
                highest = highest.max(*seq);
                is_new
            });
            seqs
        };
        listener.until(&what, |seen| seqs(seen).len() >= 60).await;
        let heard = listener.record.seen(seqs);
        assert_eq!(heard, (1..=60).collect::<Vec<u64>>(), "the order of {}", subject.name);
    }
}

pub(in crate::backend) async fn logged_order_is_one_for_all_nodes(cluster: Cluster) {
    const MESSAGES: u64 = 200;
    let [one, two, listener] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    for node in [&one, &two, &listener] {
        node.subscribe(&subject).await;
    }
    // Both at once, each without waiting for its acknowledgements.
    let mut acknowledged = Vec::new();
    for n in 1..=MESSAGES {
        for (who, node) in [("one", &one), ("two", &two)] {
            acknowledged.push(node.publish(&subject, format!("{who} {n}")));
        }
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for acknowledged in acknowledged {
        let accepted = one.within("an acknowledgement", acknowledged).await;
        accepted.unwrap_or_else(|error| panic!("not accepted: {error:?}"));
    }
    let log = one.read_all(&subject).await;
    let stored: Vec<_> =
        log.messages.iter().map(|m| (m.position(), m.payload().as_str().map(str::to_owned))).collect();
    assert_eq!(stored.len() as u64, 2 * MESSAGES);
    for node in [&one, &two, &listener] {
        node.until("all messages have to arrive", |seen| seen.count(&subject.name) as u64 >= 2 * MESSAGES)
            .await;
        let heard: Vec<_> = node.heard(&subject);
        let heard: Vec<_> = heard
            .iter()
            .map(|i| (i.log.map(|place| place.position), i.message.payload.as_str().map(str::to_owned)))
            .collect();
        assert_eq!(heard, stored, "what arrives is not what the log holds, in its order");
    }
    for who in ["one", "two"] {
        let of_node: Vec<_> = stored
            .iter()
            .filter_map(|(_, text)| text.as_deref()?.strip_prefix(who)?.trim().parse::<u64>().ok())
            .collect();
        assert_eq!(of_node, (1..=MESSAGES).collect::<Vec<u64>>(), "the calls of node {who}");
    }
}

pub(in crate::backend) async fn logged_order_is_that_of_the_calls(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let handed_over: Vec<_> = (1..=500).map(|n| node.publish(&subject, n.to_string())).collect();
    let mut positions = Vec::new();
    // Awaited in another order than that of the calls.
    for acknowledged in handed_over.into_iter().rev() {
        let accepted = node.within("an acknowledgement", acknowledged).await;
        positions.extend(accepted.unwrap_or_else(|error| panic!("not accepted: {error:?}")).position);
    }
    positions.reverse();
    assert!(positions.is_sorted() && positions.len() == 500, "{positions:?}");
    assert_eq!(node.retained(&subject).await, numbers(1..=500));
}

pub(in crate::backend) async fn repeats_do_not_come_from_nowhere(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let subjects = Subject::both("t");
    for subject in &subjects {
        for node in [&publisher, &listener] {
            node.subscribe(subject).await;
        }
        publisher.count(subject, 1..=50).await;
        listener.hears(subject, &numbers(1..=50)).await;
    }
    cluster.settle(&[&publisher], &[&publisher, &listener]).await;
    for subject in &subjects {
        let came = listener.record.seen(|seen| seen.count(&subject.name));
        assert_eq!(came, 50, "copies of 50 messages of {}", subject.name);
        // Its own ephemeral messages may come back, but not more than once.
        let came_back = publisher.record.seen(|seen| seen.count(&subject.name));
        assert!(came_back <= 50, "{came_back} copies of a node's own 50 messages of {}", subject.name);
        assert!(came_back == 50 || !subject.is_logged());
    }
}

pub(in crate::backend) async fn own_echo_brings_logged_messages_back(cluster: Cluster) {
    let [node, other] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    node.subscribe(&subject).await;
    node.count(&subject, 1..=10).await;
    other.say(&subject, "of another node").await;
    let mut texts = numbers(1..=10);
    texts.push("of another node".to_owned());
    node.hears(&subject, &texts).await;
    let nodes: Vec<_> = node.heard(&subject).iter().map(|i| i.origin.map(|origin| origin.node)).collect();
    let mut expected = vec![Some(node.id); 10];
    expected.push(Some(other.id));
    assert_eq!(nodes, expected, "a node knows its own messages again by their origin");
}

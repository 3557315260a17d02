//! Control frames.

use bytes::Bytes;
use fanfare_core::backend::NodeId;

use crate::backend::{Cluster, node::Node};

fn frames(node: &Node) -> Vec<(NodeId, Bytes)> {
    node.record.seen(|seen| seen.frames.clone())
}

async fn until_frames(node: &Node, count: usize) {
    node.until(&format!("{count} control frames have to arrive"), |seen| seen.frames.len() >= count).await;
}

pub(in crate::backend) async fn control_reaches_the_others_in_order(cluster: Cluster) {
    let [sender, one, two] = cluster.nodes().await;
    let texts: Vec<Bytes> = (0..100).map(|n| Bytes::from(format!("frame {n}"))).collect();
    // Without waiting for one before the next.
    let sent: Vec<_> = texts.iter().map(|text| sender.backend.control(None, text.clone())).collect();
    for sent in sent {
        let sent = sender.within("control", sent).await;
        sent.unwrap_or_else(|error| panic!("a control frame is not sent: {error:?}"));
    }
    let expected: Vec<_> = texts.iter().map(|text| (sender.id, text.clone())).collect();
    for node in [&one, &two] {
        until_frames(node, texts.len()).await;
        // One of another node follows, so that a repeat would have come.
        one.control(Some(two.id), "from one").await;
    }
    until_frames(&two, texts.len() + 2).await;
    assert_eq!(frames(&one), expected);
    assert_eq!(frames(&two)[..texts.len()], expected);
    two.control(Some(sender.id), "for the sender").await;
    until_frames(&sender, 1).await;
    assert_eq!(
        frames(&sender),
        [(two.id, Bytes::from("for the sender"))],
        "a node is not given its own frames"
    );
}

pub(in crate::backend) async fn control_reaches_the_one_that_is_named(cluster: Cluster) {
    let [sender, one, two] = cluster.nodes().await;
    for n in 0..20 {
        sender.control(Some(if n % 2 == 0 { one.id } else { two.id }), n.to_string()).await;
    }
    // To nobody: no such node.
    sender.control(Some(NodeId::random()), "to nobody").await;
    for (node, rest) in [(&one, 0), (&two, 1)] {
        until_frames(node, 10).await;
        sender.control(None, "the end").await;
        until_frames(node, 11).await;
        let texts: Vec<_> =
            frames(node).iter().map(|(from, frame)| (*from, frame.clone())).take(10).collect();
        let expected: Vec<_> =
            (0..20).filter(|n| n % 2 == rest).map(|n: i32| (sender.id, Bytes::from(n.to_string()))).collect();
        assert_eq!(texts, expected);
    }
}

pub(in crate::backend) async fn control_frames_may_be_large(cluster: Cluster) {
    let [sender, receiver] = cluster.nodes().await;
    let large: Bytes = (0..=255_u8).cycle().take(64 << 10).collect::<Vec<_>>().into();
    for frame in [Bytes::new(), large.clone()] {
        sender.control(None, frame).await;
    }
    until_frames(&receiver, 2).await;
    assert!(frames(&receiver) == [(sender.id, Bytes::new()), (sender.id, large)], "a frame has changed");
}

//! Messages that are published again.

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    backend::Accepted,
    message::{IdScope, MessageParts, Publisher},
    session::ClientId,
    topic::TopicConfig,
};
use tokio::time::{Instant, sleep};

use crate::backend::{Cluster, node::Node, subject::Subject};

/// Publishes a message with an id, as somebody.
async fn repeat(node: &Node, subject: &Subject, text: &str, id: &str, scope: &IdScope) -> Accepted {
    let accepted = node.within("publish", node.hand_over(subject, named(subject, text, id, scope))).await;
    accepted.unwrap_or_else(|error| panic!("{text:?} is not accepted: {error:?}"))
}

fn named(subject: &Subject, text: &str, id: &str, scope: &IdScope) -> MessageParts {
    let mut parts = MessageParts::new(subject.name.clone(), text);
    parts.message_id = Some(id.into());
    // Each time another connection.
    let client = |user| Some(Publisher { client: ClientId::random(), user });
    parts.publisher = match scope {
        IdScope::App => None,
        IdScope::Anonymous => client(None),
        IdScope::User(user) => client(Some(user.clone())),
    };
    parts
}

fn user(name: &str) -> IdScope {
    IdScope::User(name.into())
}

pub(in crate::backend) async fn idempotency_answers_with_the_first_position(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    node.subscribe(&subject).await;
    let first = repeat(&node, &subject, "first", "id", &IdScope::App).await;
    assert!(!first.duplicate && first.position.is_some(), "{first:?}");
    node.say(&subject, "another").await;
    for _ in 0..3 {
        let again = repeat(&node, &subject, "again", "id", &IdScope::App).await;
        assert!(again.duplicate, "{again:?}");
        assert_eq!(again.position, first.position);
        assert!(again.stored.is_none());
    }
    node.say(&subject, "last").await;
    assert_eq!(node.retained(&subject).await, ["first", "another", "last"]);
    if !node.backend.capabilities().inline {
        node.hears(&subject, &["first", "another", "last"]).await;
    }
}

pub(in crate::backend) async fn idempotency_is_scoped_to_topic_and_user(cluster: Cluster) {
    let node = cluster.node().await;
    let [subject, other] = ["logged.t", "logged.u"].map(Subject::logged);
    // Users and ids that a careless key would run together.
    let cases = [
        ("1", "a", IdScope::App),
        ("2", "a", user("ann")),
        ("3", "a", user("bob")),
        ("4", "a", user("")),
        ("5", "b:c", user("a")),
        ("6", "c", user("a:b")),
        ("7", "ann:a", IdScope::App),
        ("8", "A", IdScope::App),
        ("9", "", IdScope::App),
        ("10", "a", IdScope::Anonymous),
        ("11", "", IdScope::Anonymous),
    ];
    for subject in [&subject, &other] {
        for (text, id, scope) in &cases {
            let accepted = repeat(&node, subject, text, id, scope).await;
            assert!(!accepted.duplicate, "{id:?} of {scope:?} in {} was never seen", subject.name);
        }
        for (text, id, scope) in &cases {
            assert!(repeat(&node, subject, text, id, scope).await.duplicate, "{id:?} of {scope:?} was seen");
        }
    }
    assert_eq!(node.retained(&subject).await.len(), cases.len());
}

pub(in crate::backend) async fn idempotency_ends_with_its_window(cluster: Cluster) {
    let node = cluster.node().await;
    let window = Duration::from_secs(2);
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(100).idempotency_window(window));
    // A machine that is too busy may take longer than the window for two calls: then once more.
    let mut first = None;
    for n in 0..20 {
        let (began, id) = (Instant::now(), format!("id {n}"));
        repeat(&node, &subject, "first", &id, &IdScope::App).await;
        let again = repeat(&node, &subject, "again", &id, &IdScope::App).await;
        if began.elapsed() < window / 2 {
            assert!(again.duplicate, "forgotten within its window");
            first = Some(id);
            break;
        }
    }
    let Some(id) = first else { panic!("no two calls within a second") };
    let deadline = Instant::now() + window + cluster.patience;
    // Repeats do not make the window longer.
    while repeat(&node, &subject, "later", &id, &IdScope::App).await.duplicate {
        assert!(Instant::now() < deadline, "remembered for longer than its window");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(in crate::backend) async fn idempotency_holds_among_nodes_at_once(cluster: Cluster) {
    let nodes: [Node; 3] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    for node in &nodes {
        node.subscribe(&subject).await;
    }
    for round in 0..20 {
        let id: Arc<str> = format!("id {round}").into();
        let mut acknowledged = Vec::new();
        for _ in 0..3 {
            for node in &nodes {
                let handed_over =
                    node.hand_over(&subject, named(&subject, &round.to_string(), &id, &user("ann")));
                acknowledged.push(tokio::spawn(handed_over));
            }
        }
        let (mut positions, mut firsts) = (Vec::new(), 0);
        for acknowledged in acknowledged {
            let accepted = nodes[0].within("an acknowledgement", acknowledged).await;
            let accepted = accepted.unwrap_or_else(|error| panic!("{error}"));
            let accepted = accepted.unwrap_or_else(|error| panic!("not accepted: {error:?}"));
            firsts += usize::from(!accepted.duplicate);
            positions.extend(accepted.position);
        }
        positions.dedup();
        assert_eq!((firsts, positions.len()), (1, 1), "firsts and positions of one message_id");
    }
    let texts: Vec<_> = (0..20).map(|round| round.to_string()).collect();
    assert_eq!(nodes[0].retained(&subject).await, texts);
    for node in &nodes {
        node.hears(&subject, &texts).await;
    }
}

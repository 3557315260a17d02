//! Start and end.

use std::time::Duration;

use fanfare_core::backend::{BackendErrorKind, HistoryQuery};
use futures_util::FutureExt;
use tokio::{runtime::Handle, time::Instant};

use crate::backend::{Cluster, SECRET, node::Node, subject::Subject};

pub(in crate::backend) async fn start_returns_when_everything_works(cluster: Cluster) {
    let node = cluster.node().await;
    works(&node).await;
}

/// All calls are answered at once.
async fn works(node: &Node) {
    for subject in Subject::both("first") {
        node.subscribe(&subject).await;
        node.say(&subject, "1").await;
        if subject.is_logged() {
            assert_eq!(node.retained(&subject).await, ["1"]);
        }
        node.unsubscribe(&subject).await;
    }
    node.control(None, "frame").await;
}

pub(in crate::backend) async fn start_that_was_dropped_may_be_called_again(cluster: Cluster) {
    let node = cluster.unstarted();
    let tasks = alive_tasks();
    if node.start().now_or_never().is_none() {
        until_tasks(&node, tasks).await;
        node.start()
            .await
            .unwrap_or_else(|error| panic!("it does not start after a start was dropped: {error:?}"));
    }
    works(&node).await;
}

pub(in crate::backend) async fn start_errors_say_what_is_wrong(cluster: Cluster) {
    let backends = cluster.harness.misconfigured();
    assert!(!backends.is_empty(), "the harness has no backend whose settings are wrong");
    for (what, backend) in backends {
        let node = Node::new(backend, cluster.patience);
        let Err(error) = node.start().await else { panic!("{what}: it starts") };
        let kind = error.kind();
        let is_final = matches!(kind, BackendErrorKind::Configuration | BackendErrorKind::Refused);
        assert!(is_final && !error.retry_can_help(), "{what}: {kind:?}: {error}");
        let mut said = format!("{error} {error:?} {:?}", node.backend);
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            said += &format!(" {error} {error:?}");
            source = error.source();
        }
        assert!(!said.contains(SECRET), "{what}: the password is shown: {said}");
    }
}

pub(in crate::backend) async fn start_errors_of_an_absent_server_invite_a_retry(cluster: Cluster) {
    let tasks = alive_tasks();
    let node = Node::new(cluster.harness.unreachable(), cluster.patience);
    // It may also wait for the server by itself.
    let started = tokio::time::timeout(Duration::from_secs(12), node.start()).await;
    if let Ok(started) = started {
        let Err(error) = started else { panic!("it starts without a server") };
        assert_eq!(error.kind(), BackendErrorKind::Unavailable, "{error:?}");
        assert!(error.retry_can_help());
    }
    until_tasks(&node, tasks).await;
}

pub(in crate::backend) async fn shutdown_calls_nothing_afterwards(cluster: Cluster) {
    let [ended, other, third] = cluster.nodes().await;
    let subjects = Subject::both("t");
    for subject in &subjects {
        ended.subscribe(subject).await;
        third.subscribe(subject).await;
    }
    ended.shutdown().await;
    ended.record.clear();
    for subject in &subjects {
        other.say(subject, "after the end").await;
        third.hears(subject, &["after the end"]).await;
    }
    other.control(None, "frame").await;
    third.until("the control frame has to arrive", |seen| !seen.frames.is_empty()).await;
    let (messages, frames, lost) =
        ended.record.seen(|seen| (seen.messages.len(), seen.frames.len(), seen.lost.len()));
    assert_eq!((messages, frames, lost), (0, 0, 0), "messages, frames, losses after the shutdown");
}

pub(in crate::backend) async fn shutdown_leaves_no_task_and_no_connection(cluster: Cluster) {
    let connections = cluster.harness.connections().await;
    let tasks = alive_tasks();
    let node = cluster.node().await;
    let topics: Vec<_> = (0..10).flat_map(|n| Subject::both(&n.to_string())).collect();
    for subject in &topics {
        node.subscribe(subject).await;
        node.say(subject, "1").await;
    }
    node.shutdown().await;
    // What was aborted may need a moment to be swept up.
    until_tasks(&node, tasks).await;
    let deadline = Instant::now() + cluster.patience;
    while cluster.harness.connections().await > connections {
        assert!(Instant::now() < deadline, "a connection is left after the shutdown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tasks of this runtime. Cases run alone in theirs.
fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn until_tasks(node: &Node, at_most: usize) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while alive_tasks() > at_most {
        assert!(
            Instant::now() < deadline,
            "{} tasks are left of {:?}",
            alive_tasks() - at_most,
            node.backend
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(in crate::backend) async fn shutdown_acknowledges_what_was_handed_over(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let handed_over: Vec<_> = (1..=100).map(|n| node.publish(&subject, n.to_string())).collect();
    node.shutdown().await;
    let mut accepted = Vec::new();
    for (n, acknowledged) in (1..=100).zip(handed_over) {
        match node.within("an acknowledgement", acknowledged).await {
            Ok(_) => accepted.push(n.to_string()),
            Err(error) => panic!("message {n} is not acknowledged: {error:?}"),
        }
    }
    if !node.backend.capabilities().inline {
        assert_eq!(cluster.node().await.retained(&subject).await, accepted);
    }
}

pub(in crate::backend) async fn shutdown_fails_later_calls_at_once(cluster: Cluster) {
    let node = cluster.node().await;
    let [ephemeral, logged] = Subject::both("t");
    node.subscribe(&logged).await;
    node.shutdown().await;
    if node.backend.capabilities().inline {
        // There is nothing to be gone.
        return;
    }
    for subject in [&ephemeral, &logged] {
        assert!(node.within("publish", node.publish(subject, "late")).await.is_err(), "publish");
        let subscribed = node.within("subscribe", node.backend.subscribe(&subject.interest())).await;
        assert!(subscribed.is_err(), "subscribe");
    }
    let query = HistoryQuery::After { offset: 0, limit: 1 };
    assert!(node.within("history", node.backend.history(&logged.name, query)).await.is_err(), "history");
    assert!(node.within("control", node.backend.control(None, "late".into())).await.is_err(), "control");
}

pub(in crate::backend) async fn shutdown_leaves_other_nodes_alone(cluster: Cluster) {
    let [ended, one, other] = cluster.nodes().await;
    for subject in Subject::both("t") {
        for node in [&ended, &one] {
            node.subscribe(&subject).await;
        }
        other.say(&subject, "before").await;
        one.hears(&subject, &["before"]).await;
    }
    ended.shutdown().await;
    for subject in Subject::both("t") {
        other.say(&subject, "after").await;
        one.hears(&subject, &["before", "after"]).await;
    }
}

pub(in crate::backend) async fn shutdown_may_come_before_a_start(cluster: Cluster) {
    let tasks = alive_tasks();
    let node = cluster.unstarted();
    node.shutdown().await;
    until_tasks(&node, tasks).await;
}

pub(in crate::backend) async fn shutdown_keeps_its_deadline_in_an_outage(cluster: Cluster) {
    let tasks = alive_tasks();
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    node.subscribe(&subject).await;
    cluster.harness.interrupt().await;
    let handed_over: Vec<_> = (1..=10).map(|n| node.publish(&subject, n.to_string())).collect();
    let by = Instant::now() + Duration::from_secs(1);
    node.within("shutdown", node.backend.shutdown(by)).await;
    let late = Instant::now().saturating_duration_since(by);
    assert!(late < Duration::from_secs(5), "the deadline is missed by {late:?}");
    drop(handed_over);
    until_tasks(&node, tasks).await;
    cluster.harness.restore().await;
}

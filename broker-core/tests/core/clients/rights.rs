//! Rights that are taken back.

use fanfare_core::session::{Command, SubscribeCommand};
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_revoked_ends_on_all_nodes_and_nothing_else() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &["staff.a", "staff.b.c", "staff.*", "news"]).await;
    let mut tab = cluster.client(1, "ann", &["staff.a"]).await;
    let mut bob = cluster.client(1, "bob", &["staff.a"]).await;
    for client in [&mut ann, &mut tab, &mut bob] {
        client.lines();
    }
    let broker = &cluster.node(1).broker;
    assert_eq!(counts(broker.clients().user("ann").revoke("staff.>").await.unwrap()), (2, 2, 2, 2));
    broker.publish("staff.a", "secret").await.unwrap();
    broker.publish("news", "public").await.unwrap();
    soon().await;
    let mut lines = ann.read().await;
    assert_eq!(lines.pop().as_deref(), Some("news public"));
    let revoked = ["staff.*", "staff.a", "staff.b.c"].map(|topic| format!("{topic} unsubscribed revoked"));
    assert_eq!(sorted(lines), revoked);
    assert_eq!(tab.read().await, ["staff.a unsubscribed revoked"]);
    assert_eq!(bob.read().await, ["staff.a secret"]);
    assert_eq!(counts(broker.clients().user("ann").revoke("staff.>").await.unwrap()), (2, 0, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_reaches_beyond_what_is_revoked_is_authorized_anew() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &[">"]).await;
    let mut bob = cluster.client(1, "bob", &["staff.*", "*.a"]).await;
    ann.lines();
    bob.lines();
    let broker = &cluster.node(0).broker;
    cluster.policy.refuse(">");
    assert_eq!(counts(broker.clients().revoke("staff.a").await.unwrap()), (2, 1, 2, 2));
    assert_eq!(ann.read().await, ["> unsubscribed revoked"]);
    assert!(bob.read().await.is_empty(), "the policy says that these are still right");
}

#[tokio::test(start_paused = true)]
async fn a_slow_policy_does_not_hold_up_what_needs_none() {
    let cluster = Cluster::of(1).await;
    let mut clients = Vec::new();
    // More than are waited for at once, each with a pattern that the policy is to be asked about.
    for _ in 0..300 {
        clients.push(cluster.client(0, "", &["*.a", "staff.a"]).await);
    }
    cluster.policy.take(Duration::from_secs(3600));
    let broker = cluster.node(0).broker.clone();
    let start = Instant::now();
    let revoking = tokio::spawn(async move { broker.clients().revoke("staff.>").await });
    soon().await;
    assert_eq!(cluster.node(0).broker.members("staff.a").await.unwrap().total, 0, "these have ended");
    revoking.await.unwrap().unwrap();
    assert!(start.elapsed() <= Duration::from_secs(6), "a policy that does not answer is not waited for");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_made_ends_as_well() {
    let cluster = Cluster::of(1).await;
    cluster.policy.take(Duration::from_secs(1));
    let mut client = cluster.client(0, "ann", &[]).await;
    let number = client.next_id();
    let broker = cluster.node(0).broker.clone();
    let revoke = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        broker.clients().user("ann").revoke("staff.>").await.unwrap()
    };
    // The policy had said yes before the right was taken back.
    let subscribe = client.session().handle(number, Command::Subscribe(SubscribeCommand::live("staff.a")));
    let (served, revoked) = tokio::join!(subscribe, revoke);
    served.unwrap();
    assert_eq!((revoked.clients, revoked.changed), (1, 1));
    assert_eq!(client.read().await, ["1: error revoked topic"]);
    assert_eq!(broker.members("staff.a").await.unwrap().total, 0);
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_asked_again_for_everything() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &["a", "b", "c.*"]).await;
    let mut bob = cluster.client(1, "bob", &["a"]).await;
    ann.lines();
    bob.lines();
    let broker = &cluster.node(1).broker;
    assert_eq!(counts(broker.clients().reauthorize().await.unwrap()), (2, 0, 2, 2));
    cluster.policy.refuse("a");
    cluster.policy.refuse("c.*");
    assert_eq!(counts(broker.clients().reauthorize().await.unwrap()), (2, 2, 2, 2));
    assert_eq!(sorted(ann.read().await), ["a unsubscribed revoked", "c.* unsubscribed revoked"]);
    assert_eq!(bob.read().await, ["a unsubscribed revoked"]);
    cluster.policy.allow("a");
    assert_eq!(ann.subscribe("a").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn so_many_are_waited_for_at_once_and_the_policy_is_asked_no_more_often() {
    let cluster = Cluster::of(1).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(cluster.client(0, "", &["a"]).await);
    }
    cluster.policy.take(Duration::from_secs(1));
    let reached = cluster.node(0).broker.clients().reauthorize().await.unwrap();
    assert_eq!((reached.clients, reached.failed), (300, 0));
    assert_eq!(cluster.policy.most_at_once(), 256);
}

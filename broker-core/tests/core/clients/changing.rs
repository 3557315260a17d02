//! Clients that change their connection while an order is carried out.

use fanfare_core::clients::Clients;
use tokio::{task::JoinHandle, time::sleep};

use super::{absent::Absent, *};

const SECOND: Duration = Duration::from_secs(1);

/// From now on the second node's backend takes a second to subscribe.
fn slow(absent: &Absent) {
    absent.cluster.lines[1].slow_by("subscribe", SECOND);
}

/// Ann is connected to the second node, and has a secret.
async fn ann(absent: &Absent) -> (TestClient, String) {
    let (mut client, _) = absent.connect(None).await;
    client.subscribe("a").await;
    (client, absent.secret())
}

fn subscribing(clients: Clients) -> JoinHandle<Reached> {
    tokio::spawn(async move { clients.subscribe("c").await.unwrap() })
}

async fn total(absent: &Absent, topic: &str) -> usize {
    absent.cluster.node(0).broker.members(topic).await.unwrap().total
}

#[tokio::test(start_paused = true)]
async fn who_loses_its_connection_meanwhile_finds_what_was_done() {
    let absent = Absent::new().await;
    let (client, secret) = ann(&absent).await;
    slow(&absent);
    let subscribing = subscribing(absent.cluster.node(0).broker.clients().user("ann"));
    sleep(SECOND / 4).await;
    drop(client);
    assert_eq!(counts(subscribing.await.unwrap()), (1, 1, 2, 2));
    let _client = absent.connect(Some(secret)).await;
    assert_eq!((total(&absent, "a").await, total(&absent, "c").await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_back_on_another_connection_meanwhile_is_followed() {
    let absent = Absent::new().await;
    let (client, secret) = ann(&absent).await;
    slow(&absent);
    let subscribing = subscribing(absent.cluster.node(0).broker.clients().user("ann"));
    sleep(SECOND / 4).await;
    drop(client);
    sleep(SECOND / 4).await;
    let _client = absent.connect(Some(secret)).await;
    assert_eq!(counts(subscribing.await.unwrap()), (1, 1, 2, 2));
    assert_eq!((total(&absent, "a").await, total(&absent, "c").await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_loses_that_one_as_well_finds_it_all_the_same() {
    let absent = Absent::new().await;
    let (client, secret) = ann(&absent).await;
    slow(&absent);
    let subscribing = subscribing(absent.cluster.node(0).broker.clients().user("ann"));
    sleep(SECOND / 4).await;
    drop(client);
    let (client, _) = absent.connect(Some(secret)).await;
    assert!(!subscribing.is_finished());
    sleep(SECOND / 4).await;
    let secret = absent.secret();
    drop(client);
    assert_eq!(counts(subscribing.await.unwrap()), (1, 1, 2, 2));
    let _client = absent.connect(Some(secret)).await;
    assert_eq!((total(&absent, "a").await, total(&absent, "c").await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_absent_is_seen_to_before_anybody_is_waited_for() {
    let absent = Absent::new().await;
    let _bob = absent.cluster.client(1, "bob", &[]).await;
    let (_, secret) = absent.lost(&["a"]).await;
    slow(&absent);
    let subscribing = subscribing(absent.cluster.node(0).broker.clients());
    sleep(SECOND / 4).await;
    // On another node, which has nothing more to do.
    let _client = absent.connect_to(0, Some(secret)).await;
    assert_eq!((total(&absent, "a").await, total(&absent, "c").await), (1, 1));
    assert_eq!(counts(subscribing.await.unwrap()), (2, 2, 2, 2));
    assert_eq!(total(&absent, "c").await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_subscribed_anew_is_met_as_what_it_was() {
    let absent = Absent::new().await;
    let clients = || absent.cluster.node(0).broker.clients();
    for selected in [clients().user("ann").topic("a"), clients().topic("a")] {
        absent.cluster.policy.take(Duration::ZERO);
        let (_, secret) = absent.lost(&["a", "b"]).await;
        absent.cluster.policy.take(SECOND);
        let end = async {
            sleep(SECOND / 2).await;
            selected.unsubscribe("a").await.unwrap()
        };
        let ((client, _), ended) = tokio::join!(absent.connect(Some(secret)), end);
        assert_eq!(counts(ended), (1, 1, 2, 2));
        assert_eq!((total(&absent, "a").await, total(&absent, "b").await), (0, 1));
        client.into_session().close(fanfare_core::session::CloseKind::Normal.into()).await;
    }
}

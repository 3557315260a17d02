//! What is kept of a session, for whom, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_session_back() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    assert_eq!(client.subscribe("log.a").await, ["2: subscribed #0"]);
    client.subscribe("now").await;
    client.subscribe("all.*").await;
    let id = client.session().client().unwrap();
    let by_server = server.node.broker.clients().client(id).subscribe("log.server").await.unwrap();
    assert_eq!(by_server.changed, 1);
    assert_eq!(client.read().await, ["log.server subscribed #0 by the server"]);
    cut(client).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 1);
    server.node.publish_numbers("log.a", 1..=2).await;
    server.node.publish_numbers("log.server", 1..=1).await;
    server.node.publish_numbers("now", 1..=1).await;

    let (mut again, mut lines) = server.resume("ann", &secret).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [now: subscribed not recovered] \
                 [all.*: subscribed not recovered] [log.server: subscribed recovered #0]";
    assert_eq!(lines.remove(0), reply);
    lines.sort();
    let expected = [
        "all.* gap missed=? ?..? history",
        "log.a live #2",
        "log.a#1 1",
        "log.a#2 2",
        "log.server live #1",
        "log.server#1 1",
        "now gap missed=? ?..? history",
    ];
    assert_eq!(lines, expected);
    assert_eq!(again.session().client(), Some(id), "it is the same client");
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    server.node.broker.publish("now", "2").await.unwrap();
    assert_eq!(again.read().await, ["now 2"]);
    assert_eq!(again.unsubscribe("log.server").await, ["2: unsubscribed"]);
    // Once more: the secret is the session's for its life.
    cut(again).await;
    let (_, lines) = server.resume("ann", &secret).await;
    assert!(lines[0].starts_with("1: connected ann resumed"), "{lines:?}");
    assert!(!lines[0].contains("log.server"), "it has left this: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_client_has_had_does_not_come_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    client.subscribe("log.b").await;
    server.node.publish_numbers("log.a", 1..=2).await;
    client.read().await;
    cut(client).await;
    server.node.publish_numbers("log.a", 3..=3).await;
    let mut again = server.door().await;
    let after = server.node.at("log.a", 2).await;
    let lines = again.call(connect("ann", Some(&secret), &[("log.a", Start::After(after))])).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #2] [log.b: subscribed recovered #0]";
    assert_eq!(lines, [reply, "log.a#3 3", "log.b live #0", "log.a live #3"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_known_does_no_harm() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("a").await;
    cut(client).await;
    for wrong in ["", "x", &"0".repeat(64), &format!("{}{}", &secret[..32], "0".repeat(32))] {
        let (_, lines) = server.resume("ann", wrong).await;
        assert_eq!(lines, ["1: connected ann"], "{wrong}");
    }
    let (_, lines) = server.resume("bob", &secret).await;
    assert_eq!(lines, ["1: connected bob"], "it is another user's");
    let (_, lines) = server.resume("nobody", &secret).await;
    assert_eq!(lines, ["1: connected anonymous"], "it is a user's");
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [a: subscribed not recovered]", "it is hers still");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_kept_for_a_time_and_then_nothing_of_it() {
    let server = Server::start(|broker| broker.limits(|limits| limits.parked_sessions = 3)).await;
    let mut secrets = Vec::new();
    for _ in 0..4 {
        let (mut client, secret) = server.client("ann").await;
        client.subscribe("a").await;
        cut(client).await;
        secrets.push(secret);
    }
    assert_eq!(server.node.broker.stats().parked_sessions, 3, "the oldest went");
    let (_client, lines) = server.resume("ann", &secrets[0]).await;
    assert_eq!(lines, ["1: connected ann"]);
    tokio::time::sleep(Duration::from_secs(119)).await;
    let (_client, lines) = server.resume("ann", &secrets[1]).await;
    assert!(lines[0].contains("resumed"), "{lines:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    let (_client, lines) = server.resume("ann", &secrets[2]).await;
    assert_eq!(lines, ["1: connected ann"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_on_purpose_has_left() {
    let server = Server::start(|broker| broker).await;
    for kind in [CloseKind::Normal, CloseKind::Kicked, CloseKind::Protocol] {
        let (client, secret) = server.client("ann").await;
        client.into_session().close(kind.into()).await;
        assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann"], "{kind:?}");
    }
    for kind in [CloseKind::Away, CloseKind::PongTimeout, CloseKind::SlowConsumer, CloseKind::TokenExpired] {
        let (client, secret) = server.client("ann").await;
        client.into_session().close(kind.into()).await;
        assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann resumed"], "{kind:?}");
    }
    let off = Server::start(|broker| broker.limits(|limits| limits.resume_within = Duration::ZERO)).await;
    let mut client = off.door().await;
    client.call(connect("ann", None, &[])).await;
    assert!(off.secrets.lock().unwrap().is_empty(), "no secret is given where nothing is kept");
    cut(client).await;
    assert_eq!(off.node.broker.stats().parked_sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_subscriptions_of_its_own_takes_nothing_up() {
    let server = Server::start(|broker| broker).await;
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    let mut door = server.node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    door.subscribe("a").await;
    assert_eq!(door.call(connect("ann", Some(&secret), &[])).await, ["2: connected ann"]);
    assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann resumed"], "it is still there");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_told_that_it_may_have_missed_what_was_addressed_to_it() {
    let server = Server::start(|broker| broker).await;
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    let (client, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed"], "nothing was for anybody");
    cut(client).await;
    server.node.broker.publish("$user.ann", "where are you?").await.unwrap();
    let gone = "$direct gap missed=? ?..? history";
    let (mut client, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed", gone]);
    server.node.broker.publish("$user.ann", "there you are").await.unwrap();
    assert_eq!(client.read().await, ["$user.ann there you are"]);
    let (_bob, lines) = server.resume("bob", &secret).await;
    assert_eq!(lines, ["1: connected bob"], "who begins has missed nothing");
}

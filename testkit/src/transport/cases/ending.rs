//! How connections end, and what is left of them.

use std::{sync::Arc, time::Duration};

use fanfare_core::session::CloseKind;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::frames::numbered;
use crate::transport::{
    Event, Wanted,
    app::{App, BRIEF, UNKNOWN},
    run::Setup,
};

/// Longer than a drain should ever take here.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

fn name_of(closed: Option<Event>) -> String {
    match closed {
        Some(Event::Closed { name, .. }) => name,
        other => panic!("the client is not told why it was closed: {other:?}"),
    }
}

pub(in crate::transport) async fn close_says_that_the_app_ended_it(setup: Setup) {
    let app = App::start(setup).await;
    let mut kicked = app.client(&["t"]).await;
    let mut other = app.client(&["t"]).await;
    let name = app.clients()[0];
    app.publish("t", "before").await;
    assert_eq!(kicked.message().await.1, "before");
    assert!(app.broker.disconnect(name, CloseKind::Kicked.into()));
    assert_eq!(name_of(kicked.until_closed().await), "kicked");
    app.publish("t", "after").await;
    other.until_text("after").await;
    assert_eq!(kicked.texts(), ["before"]);
    app.until("one connection is left", |stats| stats.connections == 1).await;
}

pub(in crate::transport) async fn close_says_when_to_come_back(setup: Setup) {
    let app = App::start(setup).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(app.client(&["t"]).await);
    }
    let broker = app.broker.clone();
    let drained = tokio::spawn(async move { broker.drain(DRAIN_WITHIN).await });
    let mut hints = Vec::new();
    for client in &mut clients {
        match client.until_closed().await {
            Some(Event::Closed { name, retry_after }) => {
                assert_eq!(name, "draining");
                hints.extend(retry_after);
            }
            other => panic!("the client is not told that the server drains: {other:?}"),
        }
    }
    hints.dedup();
    assert!(hints.len() > 1, "all are to come back at the same moment: {hints:?}");
    assert!(drained.await.is_ok_and(|all| all), "the broker has not drained");
}

pub(in crate::transport) async fn close_says_that_an_admission_has_ended(setup: Setup) {
    let app = App::start(setup).await;
    let mut brief = app.client_for(&Wanted::topics(["t"]).with_token(BRIEF)).await;
    let mut other = app.client(&["t"]).await;
    assert_eq!(name_of(brief.until_closed().await), "token_expired");
    app.publish("t", "after").await;
    assert_eq!(other.message().await.1, "after");
}

pub(in crate::transport) async fn refusal_is_no_connection(setup: Setup) {
    let app = App::start(setup).await;
    let mut other = app.client(&["t"]).await;
    for _ in 0..20 {
        let refused = app.connect(&Wanted::topics(["t"]).with_token(UNKNOWN)).await;
        assert!(refused.is_err(), "a client that the policy refuses is let in");
    }
    app.until("only one connection", |stats| stats.connections == 1).await;
    app.publish("t", "hello").await;
    assert_eq!(other.message().await.1, "hello");
}

/// Publishes until so many clients that do not read have taken all that they will: until for a while nothing goes out.
async fn stall(app: &App, clients: usize) {
    for n in 0..100_000 {
        app.publish("t", numbered(n, 10_000)).await;
        if n % 100 == 99 && app.broker.stats().dropped > 0 {
            let before = app.broker.stats().delivered;
            sleep(Duration::from_millis(200)).await;
            let now = app.broker.stats();
            if now.lagging == clients && now.delivered == before {
                return;
            }
        }
    }
    panic!("clients that do not read take everything: {:?}", app.broker.stats());
}

/// Nothing is left of clients: no count, and no task but those that were there before.
async fn nothing_is_left(app: &App, tasks: usize) {
    app.until("something is left of clients that are gone", |stats| {
        (stats.connections, stats.subscriptions, stats.queued, stats.queued_bytes, stats.lagging)
            == (0, 0, 0, 0, 0)
    })
    .await;
    let deadline = Instant::now() + app.patience;
    while alive_tasks() > tasks {
        assert!(
            Instant::now() < deadline,
            "{} tasks are left of clients that are gone",
            alive_tasks() - tasks
        );
        sleep(Duration::from_millis(5)).await;
    }
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

pub(in crate::transport) async fn end_of_a_client_frees_everything(setup: Setup) {
    let app = App::start(setup).await;
    // What a transport begins with its first client, and keeps, is no client's.
    drop(app.client(&["t"]).await);
    app.until("the first client has to be gone", |stats| stats.connections == 0).await;
    sleep(Duration::from_millis(100)).await;
    let tasks = alive_tasks();
    let mut clients = Vec::new();
    for n in 0..40 {
        clients.push(app.client(&["t", "logged.t", &format!("own.{n}")]).await);
    }
    app.publish("t", "hello").await;
    for client in &mut clients[..20] {
        assert_eq!(client.message().await.1, "hello");
    }
    drop(clients);
    nothing_is_left(&app, tasks).await;
}

pub(in crate::transport) async fn end_of_a_stalled_client_frees_everything(setup: Setup) {
    let app = App::start(setup).await;
    drop(app.client(&["t"]).await);
    app.until("the first client has to be gone", |stats| stats.connections == 0).await;
    sleep(Duration::from_millis(100)).await;
    let tasks = alive_tasks();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(app.client(&["t"]).await);
    }
    stall(&app, 3).await;
    drop(clients);
    // A message that is on its way may be needed to find it out.
    app.publish("t", "is anybody there?").await;
    nothing_is_left(&app, tasks).await;
}

pub(in crate::transport) async fn end_runs_hooks_once(setup: Setup) {
    let (ending, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (on_ending, on_ended) = (ending.clone(), ended.clone());
    let app = App::start_with(setup, |builder| {
        builder
            .on_disconnecting(move |client, mut topics, reason| {
                topics.sort();
                on_ending.lock().push((client.id, topics, reason.kind));
                std::future::ready(())
            })
            .on_disconnected(move |client, reason| {
                on_ended.lock().push((client.id, reason.kind));
                std::future::ready(())
            })
    })
    .await;
    let left = app.client(&["a", "b"]).await;
    let mut kicked = app.client(&["b"]).await;
    let names = app.clients();
    drop(left);
    app.broker.disconnect(names[1], CloseKind::Kicked.into());
    kicked.until_closed().await;
    drop(kicked);
    app.until("both are gone", |stats| stats.connections == 0).await;
    let deadline = Instant::now() + app.patience;
    while ended.lock().len() < 2 {
        assert!(Instant::now() < deadline, "no hook has run for a client that is gone");
        sleep(Duration::from_millis(5)).await;
    }
    let (mut ending, mut ended) = (ending.lock().clone(), ended.lock().clone());
    ending.sort_by_key(|(client, ..)| names.iter().position(|name| name == client));
    ended.sort_by_key(|(client, _)| names.iter().position(|name| name == client));
    let topics = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>();
    assert_eq!(ending.len(), 2, "{ending:?}");
    assert_eq!((ending[0].0, &ending[0].1), (names[0], &topics(&["a", "b"])));
    assert_eq!(ending[1], (names[1], topics(&["b"]), CloseKind::Kicked));
    assert_eq!(ended.iter().map(|(client, _)| *client).collect::<Vec<_>>(), names);
    assert_eq!(ended[1].1, CloseKind::Kicked);
}

pub(in crate::transport) async fn drain_delivers_what_waits(setup: Setup) {
    let app = App::start(setup).await;
    let mut client = app.client(&["t"]).await;
    // Less than a queue, more than goes out at once.
    for n in 0..100 {
        app.publish("t", numbered(n, 5_000)).await;
    }
    let broker = app.broker.clone();
    let drained = tokio::spawn(async move { broker.drain(DRAIN_WITHIN).await });
    assert_eq!(name_of(client.until_closed().await), "draining");
    let numbers: Vec<_> =
        client.texts().iter().filter_map(|t| t.split_once(' ')?.0.parse::<usize>().ok()).collect();
    assert_eq!(
        numbers,
        (0..100).collect::<Vec<usize>>(),
        "what was published before the end arrives before it"
    );
    assert!(drained.await.is_ok_and(|all| all), "the broker has not drained");
}

pub(in crate::transport) async fn drain_lets_nobody_in(setup: Setup) {
    let app = App::start(setup).await;
    let mut client = app.client(&["t"]).await;
    let broker = app.broker.clone();
    let drained = tokio::spawn(async move { broker.drain(DRAIN_WITHIN).await });
    client.until_closed().await;
    assert!(app.connect(&Wanted::topics(["t"])).await.is_err(), "a server that drains lets clients in");
    assert!(drained.await.is_ok());
    assert!(app.connect(&Wanted::topics(["t"])).await.is_err(), "a server that has drained lets clients in");
}

pub(in crate::transport) async fn drain_does_not_wait_for_the_stalled(setup: Setup) {
    let app = App::start(setup).await;
    let stalled = app.client(&["t"]).await;
    stall(&app, 1).await;
    let began = Instant::now();
    let ended = app.broker.drain(Duration::from_secs(1)).await;
    let took = began.elapsed();
    assert!(!ended, "a client that does not read cannot have taken everything");
    assert!(took < Duration::from_secs(15), "draining within 1 s took {took:?}");
    app.until("the stalled client is cut", |stats| stats.connections == 0).await;
    drop(stalled);
}

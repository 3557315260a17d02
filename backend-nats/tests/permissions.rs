//! What a user needs at the least: exactly what the crate's documentation lists.

mod support;

use std::time::Duration;

use fanfare_core::{
    backend::{Backend, HistoryQuery},
    message::MessageParts,
    topic::TopicConfig,
};
use fanfare_nats::{NatsBackend, Streams};
use fanfare_testkit::{
    faults::{Lone, Told, retention},
    server::{Program, Server, ServerConfig},
};
use support::{PASSWORD, PATIENCE, accounts, admin::Admin, built, on_both, topic, url_of};
use tokio::time::{Instant, sleep};

on_both! {
    a_user_of_ephemeral_topics
    a_user_of_logged_topics
    a_user_of_streams_that_an_operator_makes
}

/// The lists of the documentation, as they stand there.
fn documented(which: &str) -> Vec<String> {
    let text = include_str!("../src/lib.rs");
    let begin = text.find("# Permissions").expect("a chapter");
    let lines = text[begin..].lines().map(|line| line.trim_start_matches("//!").trim());
    let line = lines.filter_map(|line| line.strip_prefix(which)).next().expect("a list");
    line.split_whitespace().map(|subject| subject.replace("PREFIX", "fanfare")).collect()
}

/// A server whose user may do so much, and a node.
async fn start(program: Program, lists: &[&str], streams: Streams) -> Option<(Server, Lone<NatsBackend>)> {
    let mut publish: Vec<String> = Vec::new();
    for list in lists {
        publish.extend(documented(list));
    }
    let (publish, subscribe) = (publish.join("\", \""), documented("subscribe:").join("\", \""));
    let permissions =
        format!("permissions: {{ publish: [\"{publish}\"], subscribe: [\"{subscribe}\"] }}, password:");
    // Another user of the account may do anything: an operator.
    let limited = accounts().replace(
        "users: [{ user: app, password:",
        &format!("users: [{{ user: operator, password: \"{PASSWORD}\" }}, {{ user: app, {permissions}"),
    );
    let server = ServerConfig::find(program)?.jetstream().line(limited).start().await.expect("a server");
    let node = node(&server, streams).await;
    Some((server, node))
}

async fn node(server: &Server, streams: Streams) -> Lone<NatsBackend> {
    Lone::start(built(NatsBackend::builder(url_of(server.addr(), PASSWORD)).streams(streams))).await
}

/// Messages by name and by pattern, and what nodes tell each other.
async fn carries(one: &Lone<NatsBackend>, other: &Lone<NatsBackend>) {
    other.subscribe("t", None).await;
    other.subscribe_pattern("p.>").await;
    other.subscribe_pattern("$sys.>").await;
    for name in ["t", "p.a", "$sys.a"] {
        one.hand_over(name, name, None).await.expect("it is carried");
    }
    one.backend.control(None, "all"[..].into()).await.expect("it is told");
    one.backend.control(Some(other.id), "one"[..].into()).await.expect("it is told");
    let wanted = [
        Told::Message("t".into(), "t".into()),
        Told::Message("p.a".into(), "p.a".into()),
        Told::Message("$sys.a".into(), "$sys.a".into()),
        Told::Control("all"[..].into()),
        Told::Control("one"[..].into()),
    ];
    other.until("all of it", |told| wanted.iter().all(|wanted| told.contains(wanted))).await;
    let lost = other.told().iter().filter(|told| matches!(told, Told::Lost(_))).count();
    assert_eq!(lost, 0, "no subscription was refused");
}

/// Logs are written, read, trimmed, and last values with them.
async fn stores(one: &Lone<NatsBackend>, other: &Lone<NatsBackend>) {
    let kept = retention(&TopicConfig::new().history(1000).history_bytes(20_000).latest(3));
    other.subscribe("l", Some(kept)).await;
    for n in 0..100 {
        let mut parts = MessageParts::new(topic("l"), n.to_string() + &"x".repeat(2000));
        (parts.message_id, parts.key) = (Some(n.to_string().into()), Some((n % 7).to_string().into()));
        one.hand_over_parts(parts, Some(kept)).await.expect("it is stored");
    }
    let came =
        |told: &[Told]| told.iter().filter(|told| matches!(told, Told::Message(n, _) if n == "l")).count();
    other.until("all of them", |told| came(told) == 100).await;
    let page = other.history("l", HistoryQuery::Latest).await;
    assert_eq!(page.messages.len(), 3);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = other.history("l", HistoryQuery::After { offset: 0, limit: 1000 }).await;
        assert!(!page.messages.is_empty());
        if page.messages.len() <= 40 {
            break;
        }
        assert!(Instant::now() < deadline, "the log is never trimmed: {}", page.messages.len());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn a_user_of_ephemeral_topics(program: Program) {
    let Some((server, one)) = start(program, &["publish:"], Streams::Managed).await else { return };
    let other = node(&server, Streams::Managed).await;
    carries(&one, &other).await;
    // And no more than that.
    let kept = retention(&TopicConfig::new().history(10));
    one.hand_over("l", "1", Some(kept)).await.expect_err("no rights for JetStream");
    for node in [one, other] {
        node.end().await;
    }
}

async fn a_user_of_logged_topics(program: Program) {
    let lists = ["publish:", "publish for logs:", "publish to manage streams:"];
    let Some((server, one)) = start(program, &lists, Streams::Managed).await else { return };
    let other = node(&server, Streams::Managed).await;
    carries(&one, &other).await;
    stores(&one, &other).await;
    // A topic that needs more has the stream changed.
    let more = retention(&TopicConfig::new().history(5000));
    other.hand_over("m", "1", Some(more)).await.expect("it is stored");
    for node in [one, other] {
        node.end().await;
    }
}

async fn a_user_of_streams_that_an_operator_makes(program: Program) {
    let lists = ["publish:", "publish for logs:"];
    let Some((server, one)) = start(program, &lists, Streams::Checked).await else { return };
    let operator = Admin::of_user(&server, "operator").await;
    operator.make_log("logs").await;
    operator.make_values().await;
    let other = node(&server, Streams::Checked).await;
    carries(&one, &other).await;
    stores(&one, &other).await;
    for node in [one, other] {
        node.end().await;
    }
}

//! Who runs the server is told why logs do not work, in the log; clients are told whether a retry helps, and nothing of what is behind it.

mod support;

use std::time::{Duration, Instant};

use fanfare_core::{Broker, policy::Open, session::CommandError, topic::TopicConfig};
use fanfare_testkit::{faults::Written, server::Program};
use support::{PATIENCE, Setup};
use tokio::time::sleep;

async fn says(written: &Written, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !written.text().contains(what) {
        assert!(Instant::now() < deadline, "the log does not say `{what}`: {}", written.text());
        sleep(Duration::from_millis(10)).await;
    }
}

/// What a client is told of a publish.
async fn refused(broker: &Broker, topic: &str, code: &str, retry: bool) {
    let error = broker.publish(topic, "hello").await.expect_err("it is not stored");
    let error = CommandError::from(error);
    assert_eq!((error.code.as_str(), error.retry), (code, retry), "{error:?}");
    for inner in ["Redis", "maxmemory", "key", "prefix", "ACL"] {
        assert!(!error.message.contains(inner), "{error:?}");
    }
}

/// The only test of its program: a log of one test's own misses what other threads were the first to say.
#[tokio::test]
async fn what_keeps_logs_from_working_is_told() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let logged = TopicConfig::new().history(100);
    let broker = Broker::builder().policy(Open).topic("logged.>", logged);
    let broker = broker.backend(setup.builder().build().expect("settings")).start().await.expect("a broker");
    let _: String = setup.tell(&["SET", "fanfare:meta:{logged.foreign}", "not ours"]).await;
    for _ in 0..50 {
        refused(&broker, "logged.foreign", "internal", false).await;
    }
    says(&written, "another program").await;
    assert_eq!(written.text().matches("another program").count(), 1, "once in a while: {}", written.text());
    // What is new is told at once.
    broker.publish("logged.t", "hello").await.expect("a log");
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    refused(&broker, "logged.t", "backend_unavailable", true).await;
    says(&written, "maxmemory").await;
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    broker.publish("logged.t", "hello").await.expect("it works again");
    // And what lies behind a failure.
    let addr = setup.proxy.addr();
    drop(setup);
    says(&written, "Connection refused").await;
    assert!(written.text().contains(&format!("cannot connect to {addr}")), "{}", written.text());
    broker.drain(PATIENCE).await;
}

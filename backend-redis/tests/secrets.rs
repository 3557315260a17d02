//! What reaches a log: how often, and no secret.

mod support;

use std::{sync::Arc, time::Duration};

use fanfare_core::{Broker, StartError, backend::BackendState, policy::Open};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::{
    backend::SECRET,
    faults::{World, Written},
    server::Program,
};
use support::{PASSWORD, PATIENCE, Setup, impostor};
use tokio::time::sleep;

async fn start(builder: RedisBuilder) -> Result<Broker, StartError> {
    Broker::builder().policy(Open).backend(builder.build().expect("settings")).start().await
}

/// The only test of its program: a log of one test's own misses what other threads were the first to say.
#[tokio::test]
async fn foreign_bytes_are_counted_and_no_log_holds_a_secret() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let written = Written::default();
    let writer = written.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_max_level(tracing::Level::TRACE);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let payload = "a payload that nobody logs";
    let backend = Arc::new(setup.builder().build().expect("settings"));
    let broker = Broker::builder()
        .policy(Open)
        .backend(fanfare_testkit::SharedBackend::new(backend.clone()))
        .start()
        .await
        .expect("a broker");
    let _subscription = broker.subscribe("t").await.expect("a subscription");
    for _ in 0..50 {
        let _: i64 = setup.tell(&["PUBLISH", "fanfare:db0:topic:{t}", payload]).await;
        let _: i64 = setup.tell(&["PUBLISH", "fanfare:db0:nodes", payload]).await;
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while backend.foreign_messages() < 100 {
        assert!(std::time::Instant::now() < deadline, "{}", backend.foreign_messages());
        sleep(Duration::from_millis(10)).await;
    }
    broker.publish("t", payload).await.expect("it is carried");
    let _: String = setup.tell(&["CONFIG", "SET", "requirepass", SECRET]).await;
    setup.proxy.reset();
    World::until_state(&broker, BackendState::Down).await;
    sleep(Duration::from_millis(500)).await;
    broker.drain(PATIENCE).await;
    for builder in [
        RedisBackend::builder(setup.url("wrong password", "")),
        RedisBackend::builder(impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
        RedisBackend::builder(format!("redis://ann:{SECRET}@127.0.0.1:1")),
    ] {
        let _: Result<Broker, StartError> = start(builder).await;
    }
    let log = written.text();
    assert!(log.contains("refuses user or password") && log.contains("none of ours"), "{log}");
    assert_eq!(log.matches("none of ours").count(), 1, "said once in a while: {log}");
    for secret in [PASSWORD, SECRET, "wrong password", payload] {
        assert!(!log.contains(secret), "the log holds `{secret}`: {log}");
    }
}

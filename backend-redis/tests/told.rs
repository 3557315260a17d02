//! Who runs the server is told why logs do not work, in the log; clients are told whether a retry helps, and nothing of what is behind it.

mod support;

use std::time::Duration;

use fanfare_core::{Broker, backend::BackendState, policy::Open, session::CommandError, topic::TopicConfig};
use fanfare_redis::RedisBuilder;
use fanfare_testkit::{
    faults::{World, Written},
    server::Program,
};
use support::{PATIENCE, Setup, built};
use tokio::time::sleep;

async fn start(builder: RedisBuilder) -> Broker {
    let broker = Broker::builder().policy(Open).topic("logged.>", TopicConfig::new().history(100));
    broker.backend(built(builder)).start().await.expect("a broker")
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
    a_user_with_few_rights(&setup, &written).await;
    a_server_that_drops_keys(&setup, &written).await;
    let broker = start(setup.builder()).await;
    let _: String = setup.tell(&["SET", "fanfare:meta:{logged.foreign}", "not ours"]).await;
    for _ in 0..50 {
        refused(&broker, "logged.foreign", "internal", false).await;
    }
    written.says("another program").await;
    assert_eq!(written.text().matches("another program").count(), 1, "once in a while: {}", written.text());
    // What is new is told at once.
    broker.publish("logged.t", "hello").await.expect("a log");
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    refused(&broker, "logged.t", "backend_unavailable", true).await;
    written.says("maxmemory").await;
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    broker.publish("logged.t", "hello").await.expect("it works again");
    // And what lies behind a failure.
    let addr = setup.proxy.addr();
    drop(setup);
    written.says("Connection refused").await;
    assert!(written.text().contains(&format!("cannot connect to {addr}")), "{}", written.text());
    broker.drain(PATIENCE).await;
}

/// Before anybody needs what is missing.
async fn a_user_with_few_rights(setup: &Setup, written: &Written) {
    let few = "ACL SETUSER few on >few ~fanfare:* &fanfare:* +@all -hset -xtrim -publish";
    let _: String = setup.tell(&few.split_whitespace().collect::<Vec<_>>()).await;
    let log = written.from_here();
    let patient = setup.builder().user("few").password("few").ping_every(Duration::from_millis(20));
    let broker = start(patient).await;
    log.says("prepare: the ACL user may not use XTRIM, HSET, PUBLISH").await;
    log.says("cannot publish").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(log.text().matches("cannot publish").count(), 1, "said once: {}", log.text());
    assert_eq!(setup.tell::<i64>(&["EXISTS", "fanfare:meta:{%}"]).await, 0, "nothing is left of the trial");
    refused(&broker, "logged.t", "internal", false).await;
    broker.drain(PATIENCE).await;
}

async fn a_server_that_drops_keys(setup: &Setup, written: &Written) {
    const SAID: &str = "set maxmemory-policy to noeviction";
    let set = async |name: &str, value: &str| {
        let _: String = setup.tell(&["CONFIG", "SET", name, value]).await;
    };
    let log = written.from_here();
    set("maxmemory-policy", "allkeys-lru").await;
    let broker = start(setup.builder()).await;
    // It has no limit, and is never full.
    let reconnect = async || {
        setup.proxy.reset();
        World::until_state(&broker, BackendState::Down).await;
        World::until_state(&broker, BackendState::Up).await;
        // For what must not be said.
        sleep(Duration::from_millis(300)).await;
    };
    reconnect().await;
    assert!(!log.text().contains(SAID), "{}", log.text());
    set("maxmemory", "500mb").await;
    reconnect().await;
    log.says(SAID).await;
    assert!(log.text().contains("allkeys-lru"), "{}", log.text());
    reconnect().await;
    assert_eq!(log.text().matches(SAID).count(), 1, "said once: {}", log.text());
    set("maxmemory", "0").await;
    set("maxmemory-policy", "noeviction").await;
    broker.drain(PATIENCE).await;
}

//! Which URLs name a backend, and what is said of the others.
#![allow(missing_docs, clippy::unwrap_used)]

use std::error::Error;

use fanfare::{BackendFromUrl, BackendUrlError, Broker, BrokerBuilder, policy::Open};

fn named(url: &str) -> Result<BrokerBuilder, BackendUrlError> {
    Broker::builder().policy(Open).backend_from_url(url)
}

/// All that an error shows, with what lies behind it.
fn shown(url: &str) -> String {
    let error = named(url).unwrap_err();
    let mut text = format!("{error:?}");
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        text += &format!(" | {error} {error:?}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn memory_is_this_process_alone() {
    for url in ["memory:", "memory://"] {
        let broker = named(url).unwrap().start().await.unwrap();
        broker.publish("news", "hello").await.unwrap();
    }
    assert!(shown("memory://elsewhere").contains("nothing follows memory:"));
}

#[test]
fn a_scheme_that_nobody_has_is_named() {
    let error = named("kafka://host").unwrap_err();
    assert!(matches!(&error, BackendUrlError::UnknownScheme(scheme) if scheme == "kafka"), "{error:?}");
    assert!(error.to_string().contains("kafka://"), "{error}");
    for url in ["", "redis", "localhost:6379", "host", "://", "1a://", "memory", "redis:host"] {
        assert!(matches!(named(url), Err(BackendUrlError::NoScheme)), "{url}");
    }
}

const SCHEMES: [&str; 8] = [
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "redis+sentinel",
    "rediss+sentinel",
    "redis-cluster",
    "redis+unix",
];

const NATS_SCHEMES: [&str; 3] = ["nats", "tls", "nats+tls"];

/// Each scheme that the features at hand leave out.
fn not_compiled_in() -> Vec<(&'static str, &'static str)> {
    let mut missing = Vec::new();
    if cfg!(not(feature = "redis")) {
        missing.extend(SCHEMES.map(|scheme| (scheme, "redis")));
    }
    if cfg!(not(feature = "nats")) {
        missing.extend(NATS_SCHEMES.map(|scheme| (scheme, "nats")));
    }
    missing
}

#[test]
fn a_backend_that_is_not_compiled_in_names_its_feature() {
    for (scheme, feature) in not_compiled_in() {
        let shown = shown(&format!("{scheme}://user:hunter2@host/mymaster"));
        assert!(shown.contains(&format!("{scheme}:// needs the feature `{feature}`")), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[cfg(feature = "nats")]
#[test]
fn nats_takes_each_of_its_schemes() {
    for scheme in NATS_SCHEMES {
        let builder = named(&format!("{scheme}://user:hunter2@host,other:4223")).unwrap();
        assert!(!format!("{builder:?}").contains("hunter2"), "{scheme}");
    }
    assert!(shown("nats://host/0").contains("path"));
    let backend = fanfare::nats::NatsBackend::builder("nats://host").prefix("app").build().unwrap();
    drop(Broker::builder().policy(Open).backend(backend));
}

#[cfg(feature = "redis")]
#[test]
fn redis_takes_each_of_its_schemes() {
    for scheme in SCHEMES {
        let path = if scheme.ends_with("sentinel") { "/mymaster" } else { "/" };
        let builder = named(&format!("{scheme}://user:hunter2@host{path}")).unwrap();
        assert!(!format!("{builder:?}").contains("hunter2"), "{scheme}");
    }
    assert!(shown("redis+sentinel://host").contains("names the master"));
}

#[cfg(feature = "redis")]
#[test]
fn the_backend_itself_is_there_for_what_a_url_cannot_say() {
    let backend = fanfare::redis::RedisBackend::builder("redis://host").prefix("app:").build().unwrap();
    drop(Broker::builder().policy(Open).backend(backend));
}

#[test]
fn passwords_are_never_quoted() {
    for url in [
        "hunter2",
        "hunter2://",
        "user:hunter2@host",
        "user:hunter2@host://",
        ":hunter2@host",
        "kafka://user:hunter2@host",
        "redis//user:hunter2@host",
        "redis://user:hunter2@host:port",
        "redis://user:hunter2@host/zero",
        "redis+nothing://user:hunter2@host",
        "nats://user:hunter2@host:port",
        "nats+nothing://user:hunter2@host",
        "memory://user:hunter2@host",
        "9c31f0a8hunter2aaaaaaaaaaaaa://host",
    ] {
        // What looks like a scheme is one.
        assert_eq!(shown(url).contains("hunter2"), url == "hunter2://", "{url}: {}", shown(url));
    }
}

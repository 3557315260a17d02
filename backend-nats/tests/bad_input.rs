//! Wrong settings, foreign messages, a server that cannot do what is asked: errors that say what to do, and no secret
//! anywhere.

mod support;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use fanfare_core::{
    Broker, StartError,
    backend::{BackendError, BackendErrorKind, BackendState},
    publish::PublishError,
    subscription::Delivery,
};
use fanfare_nats::{NatsBackend, Streams};
use fanfare_testkit::{
    backend::SECRET,
    faults::{Lone, World},
    server::{Program, ServerConfig},
};
use support::{
    PASSWORD, PATIENCE, Setup, accounts, built, chain, on_both, url_of,
    wrong::{check, refused, start},
};
use tokio::time::{sleep, timeout};

on_both! {
    without_jetstream_logged_topics_say_what_is_missing
    an_account_without_jetstream_is_said
    a_jetstream_without_room_is_said
    a_message_beyond_what_the_server_takes_is_refused_alone
    a_stream_of_somebody_elses_on_our_subjects_is_said
    a_stream_of_the_operators_is_checked
    messages_of_strangers_are_told_as_lost_and_counted
    a_user_without_rights_is_told_what_is_missing
    a_server_without_room_for_connections_is_said
}

/// A logged publish is not stored, and says why; an ephemeral one is carried.
async fn stores_nothing(broker: &Broker, says: &str) -> BackendError {
    let error = broker.publish("logged.t", "hello").await.expect_err(says);
    let PublishError::NotStored(error) = error else { panic!("{error:?}") };
    check(&error, says);
    broker.publish("ephemeral.t", "hello").await.expect("it is carried");
    error
}

async fn without_jetstream_logged_topics_say_what_is_missing(program: Program) {
    let Some(config) = ServerConfig::find(program) else { return };
    let server = config.start().await.expect("a server");
    let broker = start(NatsBackend::builder(format!("nats://{}", server.addr()))).await.expect("a broker");
    let error = stores_nothing(&broker, "JetStream is off").await;
    assert_eq!(error.kind(), BackendErrorKind::Configuration);
    let error = broker.subscribe("logged.t").await.expect_err("no log");
    assert!(chain(&error).contains("JetStream"), "{}", chain(&error));
    let mut subscription = broker.subscribe("ephemeral.t").await.expect("a subscription");
    broker.publish("ephemeral.t", "hello").await.expect("it is carried");
    let delivery = timeout(PATIENCE, subscription.recv()).await.expect("a message");
    assert!(matches!(delivery, Some(Delivery::Message(_))), "{delivery:?}");
    broker.drain(PATIENCE).await;
}

async fn an_account_without_jetstream_is_said(program: Program) {
    let Some(config) = ServerConfig::find(program) else { return };
    let poor = accounts().replace("jetstream: enabled,", "");
    let server = config.jetstream().line(poor).start().await.expect("a server");
    let broker = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await.expect("a broker");
    stores_nothing(&broker, "JetStream").await;
    broker.drain(PATIENCE).await;
}

async fn a_jetstream_without_room_is_said(program: Program) {
    let Some(config) = ServerConfig::find(program) else { return };
    let limits = [
        // No stream at all, or no room for a message.
        ("{ max_mem: 1M, max_file: 1M, max_streams: 1, max_consumers: 1 }", true),
        ("{ max_mem: 0, max_file: 1000 }", false),
    ];
    for (limits, has_room) in limits {
        let accounts = accounts().replace("enabled", limits);
        let server = config.clone().jetstream().line(accounts).start().await.expect("a server");
        let broker = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await.expect("a broker");
        if has_room {
            // The last values are in a stream of their own.
            broker.publish("logged.t", "hello").await.expect("it is stored");
            let error = broker.publish("logged.t", "hello").key("k").await.expect_err("no room");
            let (PublishError::NotStored(error) | PublishError::OutcomeUnknown(error)) = error else {
                panic!("{error:?}")
            };
            check(&error, "JetStream");
            broker.publish("logged.t", "hello").await.expect("it is stored");
        } else {
            let large = "x".repeat(2000);
            let mut said = None;
            for _ in 0..10 {
                said = said.or(broker.publish("logged.t", large.as_str()).await.err());
            }
            let Some(PublishError::NotStored(error)) = said else { panic!("{said:?}") };
            check(&error, "room");
            assert_eq!(error.kind(), BackendErrorKind::Unavailable);
        }
        broker.drain(PATIENCE).await;
    }
}

async fn a_message_beyond_what_the_server_takes_is_refused_alone(program: Program) {
    let Some(setup) = Setup::with(program, &["max_payload: 20000"]).await else { return };
    refused(setup.builder(), "raise `max_payload`").await;
    let Some(setup) = Setup::with(program, &["max_payload: 70000"]).await else { return };
    let broker = start(setup.builder()).await.expect("a broker");
    let mut subscription = broker.subscribe("logged.t").await.expect("a subscription");
    for topic in ["logged.t", "ephemeral.t"] {
        let error = broker.publish(topic, "x".repeat(90_000)).await.expect_err("too large");
        assert!(chain(&error).contains("max_payload"), "{}", chain(&error));
        // Just beyond, with what is around it.
        let error = broker.publish(topic, "x".repeat(69_999)).await.expect_err("too large");
        assert!(chain(&error).contains("max_payload"), "{}", chain(&error));
        broker.publish(topic, "x".repeat(69_000)).await.expect("it fits");
    }
    assert_eq!(*broker.backend_state().borrow(), BackendState::Up, "the others notice nothing");
    let delivery = timeout(PATIENCE, subscription.recv()).await.expect("a message");
    assert!(matches!(delivery, Some(Delivery::Message(_))), "{delivery:?}");
    assert_eq!(setup.proxy.accepted(), 1, "the connection stays");
    broker.drain(PATIENCE).await;
}

async fn a_stream_of_somebody_elses_on_our_subjects_is_said(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let theirs = |subject: &str| stream::Config {
        name: "theirs".into(),
        subjects: vec![subject.to_owned()],
        ..stream::Config::default()
    };
    let jetstream = setup.admin().await.jetstream();
    jetstream.create_stream(theirs("fanfare.l.t.logged.*")).await.expect("a stream");
    let broker = start(setup.builder()).await.expect("a broker");
    stores_nothing(&broker, "theirs").await;
    jetstream.delete_stream("theirs").await.expect("an answer");
    // Nothing has to be restarted.
    let published = timeout(PATIENCE, async {
        while broker.publish("logged.t", "hello").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    published.await.expect("it works when the stream is gone");
    broker.drain(PATIENCE).await;
}

async fn a_stream_of_the_operators_is_checked(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let checked = || setup.builder().streams(Streams::Checked);
    let jetstream = setup.admin().await.jetstream();
    let broker = start(checked()).await.expect("a broker");
    let error = stores_nothing(&broker, "fanfare.l.>").await;
    assert_eq!(error.kind(), BackendErrorKind::Configuration);
    // A stream that holds too little, has no direct reads, publishes nothing again.
    let mut config = stream::Config {
        name: "logs".into(),
        subjects: vec!["fanfare.l.>".into()],
        max_messages_per_subject: 2,
        ..stream::Config::default()
    };
    jetstream.create_stream(config.clone()).await.expect("a stream");
    stores_nothing(&broker, "the stream logs").await;
    let republish = stream::Republish {
        source: "fanfare.l.>".into(),
        destination: "fanfare.m.>".into(),
        headers_only: false,
    };
    (config.allow_direct, config.republish) = (true, Some(republish));
    // Debian's version does not change it afterwards.
    jetstream.delete_stream("logs").await.expect("an answer");
    let mut stream = jetstream.create_stream(config.clone()).await.expect("a stream");
    stores_nothing(&broker, "max_msgs_per_subject").await;
    config.max_messages_per_subject = 100_000;
    config.duplicate_window = Duration::from_secs(1);
    jetstream.update_stream(config.clone()).await.expect("a stream");
    stores_nothing(&broker, "duplicate_window").await;
    config.duplicate_window = Duration::from_secs(600);
    jetstream.update_stream(config.clone()).await.expect("a stream");
    broker.publish("logged.t", "hello").await.expect("it is stored");
    let info = stream.info().await.expect("an answer").clone();
    assert_eq!(info.config.max_messages_per_subject, 100_000, "nothing of it is changed");
    assert!(info.state.messages > 0);
    let values = stream::Config {
        name: "fanfare-values".into(),
        subjects: vec!["fanfare.v.>".into()],
        max_messages_per_subject: 1,
        allow_direct: true,
        ..stream::Config::default()
    };
    jetstream.create_stream(values).await.expect("a stream");
    // The operator creates it anew, under the same name and under another one: it is another log.
    let mut subscription = broker.subscribe("logged.t").await.expect("a subscription");
    for name in ["logs", "others"] {
        jetstream.delete_stream(&config.name).await.expect("an answer");
        stores_nothing(&broker, "fanfare.l.>").await;
        config.name = name.into();
        jetstream.create_stream(config.clone()).await.expect("a stream");
        broker.publish("logged.t", name).await.expect("it is stored");
        let told = timeout(PATIENCE, async {
            let mut has_gap = false;
            loop {
                match subscription.recv().await {
                    Some(Delivery::Gap(_)) => has_gap = true,
                    Some(Delivery::Message(message))
                        if message.message().payload().as_str() == Some(name) =>
                    {
                        return has_gap;
                    }
                    Some(_) => {}
                    None => panic!("the subscription has ended"),
                }
            }
        });
        assert!(told.await.expect("a message"), "another log is told as a gap");
    }
    broker.drain(PATIENCE).await;
}

async fn messages_of_strangers_are_told_as_lost_and_counted(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let backend = Arc::new(built(setup.builder()));
    let broker = fanfare_testkit::faults::broker(fanfare_testkit::SharedBackend::new(backend.clone())).await;
    let mut subscription = broker.subscribe("ephemeral.t").await.expect("a subscription");
    let admin = setup.admin().await;
    for n in 0..50 {
        admin.publish("fanfare.m.t.ephemeral.t", format!("foreign {n}")).await;
        admin.publish("fanfare.n.all", "foreign").await;
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while backend.foreign_messages() < 100 {
        assert!(std::time::Instant::now() < deadline, "{}", backend.foreign_messages());
        sleep(Duration::from_millis(10)).await;
    }
    let told = timeout(PATIENCE, async {
        loop {
            match subscription.recv().await {
                Some(Delivery::Gap(_)) => return,
                Some(_) => {}
                None => panic!("the subscription has ended"),
            }
        }
    });
    told.await.expect("a gap");
    assert_eq!(setup.proxy.accepted(), 1, "the connection stays");
    broker.drain(PATIENCE).await;
}

async fn a_user_without_rights_is_told_what_is_missing(program: Program) {
    let Some(config) = ServerConfig::find(program) else { return };
    let with = |permissions: &str| {
        accounts().replace("password:", &format!("permissions: {permissions}, password:"))
    };
    let start_with = async |permissions: &str| {
        let server = config.clone().jetstream().line(with(permissions)).start().await.expect("a server");
        let started = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await;
        (server, started)
    };
    let (_server, started) = start_with("{ publish: \"other.>\", subscribe: \"other.>\" }").await;
    let Err(StartError::Backend(error)) = started else { panic!("it starts") };
    check(&error, "subject");
    let (_server, started) =
        start_with("{ publish: [\"fanfare.>\"], subscribe: [\"fanfare.>\", \"_INBOX.>\"] }").await;
    let broker = started.expect("what nodes tell each other is allowed");
    let error = broker.publish("logged.t", "hello").await.expect_err("no rights for JetStream");
    assert!(
        chain(&error).contains("user may not") || chain(&error).contains("JetStream"),
        "{}",
        chain(&error)
    );
    broker.publish("ephemeral.t", "hello").await.expect("it may publish");
    broker.drain(PATIENCE).await;
}

async fn a_server_without_room_for_connections_is_said(program: Program) {
    let Some(setup) = Setup::with(program, &["max_connections: 1"]).await else { return };
    let first = start(setup.builder()).await.expect("a broker");
    let other = built(setup.builder());
    let began = std::time::Instant::now();
    let lone = timeout(PATIENCE, Lone::attempt(other)).await.expect("an answer");
    let error = lone.expect_err("no room");
    check(&error, "max_connections");
    assert!(error.retry_can_help());
    let attempts = setup.proxy.accepted() - 1;
    assert!(attempts < 20 + 5 * began.elapsed().as_secs(), "{attempts} attempts");
    first.drain(PATIENCE).await;
}

#[tokio::test]
async fn wrong_urls_and_settings_say_what_is_wrong() {
    for (builder, says) in [
        (NatsBackend::builder("localhost"), "scheme"),
        (NatsBackend::builder(format!("redis://:{SECRET}@localhost")), "scheme"),
        (NatsBackend::builder(format!("nats://app:{SECRET}@")), "host"),
        (NatsBackend::builder(format!("nats://app:{SECRET}@localhost:port")), "port"),
        (NatsBackend::builder(format!("nats://app:{SECRET}@localhost/0")), "path"),
        (NatsBackend::builder(format!("nats://app:{SECRET}@localhost?x=y")), "query"),
        (NatsBackend::builder("nats://localhost").prefix("a.b"), "prefix"),
        (NatsBackend::builder("nats://localhost").prefix(""), "prefix"),
        (NatsBackend::builder("nats://localhost").replicas(0), "replicas"),
        (NatsBackend::builder("nats://localhost").jetstream_domain("a b"), "domain"),
    ] {
        let error = builder.build().expect_err(says);
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        check(&error, says);
    }
}

/// A broker's state is told.
#[tokio::test]
async fn a_broker_says_that_its_backend_is_away() {
    let Some(setup) = Setup::start(Program::NatsCurrent).await else { return };
    let broker = start(setup.builder()).await.expect("a broker");
    setup.proxy.refuse();
    World::until_state(&broker, BackendState::Down).await;
    let error = broker.publish("logged.t", "hello").await.expect_err("an outage");
    let PublishError::NotStored(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    setup.proxy.heal();
    World::until_state(&broker, BackendState::Up).await;
    broker.publish("logged.t", "hello").await.expect("it is stored");
    broker.drain(PATIENCE).await;
}

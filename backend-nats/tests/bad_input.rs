//! Wrong settings, foreign bytes, a server in trouble: errors that say what to do, no hot loop, and no secret anywhere.

mod support;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use fanfare_core::{
    Broker, StartError,
    backend::{BackendError, BackendErrorKind, BackendState},
    policy::Open,
    publish::PublishError,
    subscription::Delivery,
    topic::TopicConfig,
};
use fanfare_nats::{NatsBackend, NatsBuilder, Streams};
use fanfare_testkit::{
    backend::SECRET,
    faults::{Lone, World, impostor},
    server::{Program, ServerConfig},
};
use support::{PASSWORD, PATIENCE, Setup, accounts, built, chain, on_both, url_of};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

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

async fn start(builder: NatsBuilder) -> Result<Broker, StartError> {
    let backend = builder.build().expect("settings");
    let shown = format!("{backend:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(PASSWORD), "{shown}");
    let logged = TopicConfig::new().history(100).latest(10);
    let broker = Broker::builder().policy(Open).topic("logged.>", logged).backend(backend);
    // Servers are to be what limits a message.
    broker.limits(|limits| limits.max_message = 1 << 20).start().await
}

fn check(error: &BackendError, says: &str) {
    let text = chain(error);
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "{text}");
}

/// What a start fails with: words that say what to do.
async fn refused(builder: NatsBuilder, says: &str) {
    let Err(StartError::Backend(error)) = start(builder).await else { panic!("it starts: {says}") };
    check(&error, says);
    assert!(!error.retry_can_help(), "{}: {:?}", chain(&error), error.kind());
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
async fn servers_of_other_kinds_are_known() {
    for other in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"220 mail.example.org ESMTP\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"+OK Dovecot ready.\r\n",
        b"INFO {not json}\r\n",
    ] {
        let addr = impostor(other, b"").await;
        refused(NatsBackend::builder(url_of(addr, SECRET)), "is it a NATS").await;
    }
    for (old, says) in [
        (
            &b"INFO {\"version\":\"2.8.4\",\"headers\":true,\"max_payload\":1048576}\r\n"[..],
            "2.8.4: NATS 2.9 or newer",
        ),
        (b"INFO {\"version\":\"1.4.1\",\"max_payload\":1048576}\r\n", "1.4.1: NATS 2.9 or newer"),
        (b"INFO {\"version\":\"2.10.0\",\"headers\":false,\"max_payload\":1048576}\r\n", "headers"),
    ] {
        let addr = impostor(old, b"").await;
        refused(NatsBackend::builder(url_of(addr, SECRET)), says).await;
    }
}

/// One that takes a login, and throws the node out at once, is not asked again without a pause.
#[tokio::test]
async fn a_server_that_throws_out_is_left_in_peace() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let mut count = 0_u32;
        let end = tokio::time::Instant::now() + Duration::from_secs(6);
        while let Ok(Ok((mut client, _))) = tokio::time::timeout_at(end, listener.accept()).await {
            count += 1;
            let (mut said, greeting) = ([0; 4096], "INFO {\"version\":\"2.10.0\",\"headers\":true}\r\n");
            if client.write_all(greeting.as_bytes()).await.is_ok() && client.read(&mut said).await.is_ok() {
                let _ = client.write_all(b"PONG\r\n-ERR 'Stale Connection'\r\n").await;
                let _ = client.read(&mut said).await;
            }
        }
        count
    });
    let backend = built(NatsBackend::builder(url_of(addr, SECRET)));
    let error = timeout(PATIENCE, Lone::attempt(backend)).await.expect("an answer").expect_err("it is up");
    check(&error, "did not hear of us");
    let count = served.await.expect("a count");
    assert!((2..60).contains(&count), "{count} connections");
}

/// One that says nothing at all may yet be a server in trouble: nobody waits for ever, and nobody asks without a pause.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let addr = impostor(b"", b"").await;
    let backend = built(NatsBackend::builder(url_of(addr, SECRET)).answer_within(Duration::from_millis(300)));
    let error =
        timeout(PATIENCE, Lone::attempt(backend)).await.expect("an answer").expect_err("nobody is there");
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    check(&error, "NATS");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let backend = built(NatsBackend::builder(format!("nats://app:{SECRET}@127.0.0.1:1")));
    let error = Lone::attempt(backend).await.expect_err("nobody is there");
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    check(&error, "is NATS running there");
}

/// A server's lines may be of any length and of any bytes: the client bounds what it reads.
#[tokio::test]
async fn what_a_server_says_is_bounded() {
    static ENDLESS: [u8; 8 << 20] = [b'I'; 8 << 20];
    let addr = impostor(&ENDLESS, b"").await;
    refused(NatsBackend::builder(url_of(addr, SECRET)), "is it a NATS").await;
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

/// A node that was started once stands all of it.
#[tokio::test]
async fn a_node_outlives_a_server_that_is_replaced_by_another_program() {
    let Some(mut setup) = Setup::start(Program::NatsCurrent).await else { return };
    let node = Lone::start(built(setup.builder())).await;
    setup.server.stop().await.expect("a signal");
    node.until_state(BackendState::Down).await;
    let listener = tokio::net::TcpListener::bind(setup.server.addr()).await.expect("its port");
    let before = setup.proxy.accepted();
    let other = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    sleep(Duration::from_secs(4)).await;
    let attempts = setup.proxy.accepted() - before;
    assert!((1..40).contains(&attempts), "{attempts} attempts in 4 s");
    other.abort();
    let _ = other.await;
    setup.server.restart().await.expect("a server");
    node.until_state(BackendState::Up).await;
    node.end().await;
}

/// The same from a broker's side, whose state is told.
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

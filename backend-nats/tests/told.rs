//! Who runs the servers is told why logs cannot work, in the log and from the start on; clients are told whether a retry helps, and
//! nothing of what is behind it.

mod support;

use async_nats::jetstream::stream;
use fanfare_core::{Broker, policy::Open, session::CommandError, topic::TopicConfig};
use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::{
    faults::Written,
    server::{Program, ServerConfig},
};
use rcgen::{CertificateParams, DnType, KeyPair};
use support::{PASSWORD, PATIENCE, Setup, accounts, built, url_of};

const LARGE: usize = 200_000;

async fn start(builder: NatsBuilder) -> Broker {
    let logged = TopicConfig::new().history(100);
    let broker = Broker::builder().policy(Open).topic("logged.>", logged);
    let broker = broker.limits(|limits| limits.max_message = 1 << 20).backend(built(builder));
    broker.start().await.expect("a broker")
}

/// What a client is told of a publish.
async fn refused(broker: &Broker, topic: &str, size: usize) -> CommandError {
    broker.publish(topic, "x".repeat(size)).await.expect_err("it is not stored").into()
}

fn check(error: &CommandError, code: &str, retry: bool) {
    assert_eq!((error.code.as_str(), error.retry), (code, retry), "{error:?}");
    for inner in ["JetStream", "stream", "NATS", "theirs", "fanfare", "max_payload"] {
        assert!(!error.message.contains(inner), "{error:?}");
    }
}

/// The only test of its program: a log of one test's own misses what other threads were the first to say.
#[tokio::test]
async fn what_keeps_logs_from_working_is_told() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    for program in [Program::Nats, Program::NatsCurrent] {
        no_jetstream(program, &written).await;
        not_for_this_account(program, &written).await;
        somebody_elses_stream(program, &written).await;
        no_room(program, &written).await;
        no_permission(program, &written).await;
        too_large(program, &written).await;
        what_lies_behind(program, &written).await;
    }
    assert!(!written.text().contains(PASSWORD));
}

async fn no_jetstream(program: Program, written: &Written) {
    let Some(config) = ServerConfig::find(program) else { return };
    let mut server = config.start().await.expect("a server");
    let log = written.from_here();
    let broker = start(NatsBackend::builder(format!("nats://{}", server.addr()))).await;
    // Before anybody needs a log.
    log.says("JetStream is off").await;
    for _ in 0..50 {
        check(&refused(&broker, "logged.t", 1).await, "internal", false);
    }
    assert_eq!(log.text().matches("publish: JetStream is off").count(), 1, "once in a while: {}", log.text());
    let error = broker.subscribe("logged.t").await.expect_err("no log");
    check(&error.into(), "internal", false);
    // Another server may be without it, too: that is found out when it is met.
    let log = written.from_here();
    server.stop().await.expect("a signal");
    log.says("Connection refused").await;
    server.restart().await.expect("a server");
    log.says("connected again").await;
    broker.drain(PATIENCE).await;
}

async fn not_for_this_account(program: Program, written: &Written) {
    let Some(config) = ServerConfig::find(program) else { return };
    let poor = accounts().replace("jetstream: enabled,", "");
    let server = config.jetstream().line(poor).start().await.expect("a server");
    let log = written.from_here();
    let broker = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await;
    log.says("prepare: JetStream").await;
    check(&refused(&broker, "logged.t", 1).await, "internal", false);
    broker.drain(PATIENCE).await;
}

async fn somebody_elses_stream(program: Program, written: &Written) {
    let Some(setup) = Setup::start(program).await else { return };
    let jetstream = setup.admin().await.jetstream();
    let subjects = vec!["fanfare.l.t.logged.*".to_owned()];
    let theirs = stream::Config { name: "theirs".into(), subjects, ..stream::Config::default() };
    jetstream.create_stream(theirs).await.expect("a stream");
    let log = written.from_here();
    let broker = start(setup.builder()).await;
    log.says("the stream theirs takes").await;
    check(&refused(&broker, "logged.t", 1).await, "internal", false);
    broker.drain(PATIENCE).await;
}

async fn no_room(program: Program, written: &Written) {
    let Some(config) = ServerConfig::find(program) else { return };
    let accounts = accounts().replace("enabled", "{ max_mem: 0, max_file: 1000 }");
    let server = config.jetstream().line(accounts).start().await.expect("a server");
    let log = written.from_here();
    let broker = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await;
    let mut said = None;
    for _ in 0..10 {
        said = said.or(broker.publish("logged.t", "x".repeat(2000)).await.err());
    }
    // There may be room later.
    check(&said.expect("no room").into(), "backend_unavailable", true);
    log.says("no room").await;
    broker.drain(PATIENCE).await;
}

async fn no_permission(program: Program, written: &Written) {
    let Some(config) = ServerConfig::find(program) else { return };
    let permissions =
        "permissions: { publish: [\"fanfare.>\"], subscribe: [\"fanfare.>\", \"_INBOX.>\"] }, password:";
    let accounts = accounts().replace("password:", permissions);
    let server = config.jetstream().line(accounts).start().await.expect("a server");
    let log = written.from_here();
    let broker = start(NatsBackend::builder(url_of(server.addr(), PASSWORD))).await;
    log.says("may not use").await;
    check(&refused(&broker, "logged.t", 1).await, "internal", false);
    broker.drain(PATIENCE).await;
}

async fn too_large(program: Program, written: &Written) {
    let Some(setup) = Setup::with(program, &["max_payload: 100000"]).await else { return };
    let broker = start(setup.builder()).await;
    let log = written.from_here();
    for topic in ["logged.t", "ephemeral.t"] {
        check(&refused(&broker, topic, LARGE).await, "too_large", false);
    }
    log.says("max_payload").await;
    broker.publish("logged.t", "hello").await.expect("it fits");
    broker.drain(PATIENCE).await;
}

/// A certificate that nobody vouches for: what TLS says of it stands in the log.
async fn what_lies_behind(program: Program, written: &Written) {
    let Some(config) = ServerConfig::find(program) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let certificate = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        std::fs::write(path(name), params.self_signed(&key).expect("a certificate").pem()).expect("a file");
        std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    };
    certificate("theirs");
    certificate("others");
    let (cert, key) = (path("theirs"), path("theirs.key"));
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", cert.display(), key.display());
    let server = config.line(tls).start().await.expect("a server");
    let log = written.from_here();
    let builder = NatsBackend::builder(format!("tls://localhost:{}", server.port()));
    let backend = built(builder.root_certificates(path("others")));
    let started = Broker::builder().policy(Open).backend(backend).start().await;
    assert!(started.is_err(), "nobody vouches for it");
    log.says("TLS handshake failed").await;
    log.says("UnknownIssuer").await;
}

//! What reaches a log, an error or a `Debug`: no secret, and what is said of strangers not too often.

mod support;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use fanfare_core::{Broker, backend::BackendState, policy::Open, topic::TopicConfig};
use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::{
    SharedBackend,
    backend::SECRET,
    faults::{World, Written, impostor},
    server::{Program, ServerConfig},
};
use nkeys::KeyPair;
use support::{PASSWORD, PATIENCE, Setup, accounts, chain, operator::Operator, url_of};
use tokio::time::sleep;

const PAYLOAD: &str = "a payload that nobody logs";
const KEY: &str = "a key that nobody logs";
const WRONG: &str = "wrong password";

/// Starts it and uses it, if it can be; what it shows of itself.
async fn shown(builder: NatsBuilder) -> (String, Option<(Broker, Arc<NatsBackend>)>) {
    let mut shown = format!("{builder:?}");
    let backend = match builder.build() {
        Ok(backend) => Arc::new(backend),
        Err(error) => return (shown + &chain(&error), None),
    };
    let _ = write!(shown, "{backend:?}");
    let logged = TopicConfig::new().history(100).latest(10);
    let shared = SharedBackend::new(backend.clone());
    let broker = Broker::builder().policy(Open).topic("logged.>", logged).backend(shared).start().await;
    match broker {
        Ok(broker) => (shown, Some((broker, backend))),
        Err(error) => (shown + &chain(&error), None),
    }
}

/// Somebody who may log in, and somebody who may not.
async fn log_in(right: NatsBuilder, wrong: NatsBuilder) -> String {
    let (mut all, broker) = shown(right).await;
    let (broker, backend) = broker.unwrap_or_else(|| panic!("it does not start: {all}"));
    let _ephemeral = broker.subscribe("t").await.expect("a subscription");
    let _logged = broker.subscribe("logged.t").await.expect("a subscription");
    broker.publish("t", PAYLOAD).await.expect("it is carried");
    broker.publish("logged.t", PAYLOAD).key(KEY).message_id(KEY).await.expect("it is stored");
    let _ = write!(all, "{backend:?}");
    broker.drain(PATIENCE).await;
    let (said, refused) = shown(wrong).await;
    assert!(refused.is_none(), "a wrong login is refused");
    all + &said
}

/// The only test of its program: a log of one test's own misses what other threads were the first to say.
#[tokio::test]
async fn strangers_are_counted_and_nothing_shows_a_secret() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let mut secrets: Vec<String> = [PASSWORD, SECRET, WRONG, PAYLOAD, KEY].map(str::to_owned).into();
    secrets.extend([PASSWORD, WRONG].map(|secret| secret.replace(' ', "%20")));
    let mut all = String::new();
    for program in [Program::Nats, Program::NatsCurrent] {
        all += &with_passwords(program, &written).await;
        all += &with_keys(program, &mut secrets).await;
    }
    let log = written.text();
    if log.is_empty() {
        return;
    }
    assert!(log.contains("refuses the login"), "{log}");
    for secret in &secrets {
        assert!(!log.contains(secret), "the log holds `{secret}`: {log}");
        assert!(!all.contains(secret), "`{secret}` is shown: {all}");
    }
}

/// Strangers on our subjects, a password that is changed meanwhile, others who are no NATS.
async fn with_passwords(program: Program, written: &Written) -> String {
    let Some(mut setup) = Setup::start(program).await else { return String::new() };
    let (mut all, broker) = shown(setup.builder()).await;
    let (broker, backend) = broker.expect("a broker");
    let _subscription = broker.subscribe("t").await.expect("a subscription");
    let said = || written.text().matches("none of ours").count();
    let (before, admin) = (said(), setup.admin().await);
    for _ in 0..50 {
        admin.publish("fanfare.m.t.t", PAYLOAD).await;
        admin.publish("fanfare.n.all", PAYLOAD).await;
        admin.publish("fanfare.l.t.logged.t", PAYLOAD).await;
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while backend.foreign_messages() < 100 {
        assert!(std::time::Instant::now() < deadline, "{}", backend.foreign_messages());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(said() - before, 1, "said once in a while: {}", written.text());
    broker.publish("t", PAYLOAD).await.expect("it is carried");
    broker.publish("logged.t", PAYLOAD).key(KEY).message_id(KEY).await.expect("it is stored");
    let changed = accounts().replace(PASSWORD, SECRET);
    setup
        .server
        .reconfigure(["jetstream { store_dir: \"{dir}/jetstream\" }".to_owned(), changed])
        .expect("a file");
    setup.server.reload().expect("a signal");
    World::until_state(&broker, BackendState::Down).await;
    sleep(Duration::from_millis(500)).await;
    let error = broker.publish("logged.t", PAYLOAD).await.expect_err("an outage");
    all += &chain(&error);
    broker.drain(PATIENCE).await;
    let echoing = impostor(b"INFO {\"version\":\"2.10.0\",\"headers\":true}\r\n", b"-ERR 'no'\r\n").await;
    for builder in [
        NatsBackend::builder(setup.url(WRONG)),
        NatsBackend::builder(url_of(echoing, SECRET)),
        NatsBackend::builder(url_of(impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await, SECRET)),
        NatsBackend::builder(format!("nats://{SECRET}@127.0.0.1:1?nkey={SECRET}")),
        NatsBackend::builder(format!("nats://ann:{SECRET}@127.0.0.1:port")),
        NatsBackend::builder(format!("{SECRET}://ann:{SECRET}@127.0.0.1")),
    ] {
        all += &shown(builder).await.0;
    }
    all
}

/// Tokens, nkeys, credentials.
async fn with_keys(program: Program, secrets: &mut Vec<String>) -> String {
    let Some(config) = ServerConfig::find(program) else { return String::new() };
    let start = async |lines: String| config.clone().jetstream().line(lines).start().await.expect("a server");
    let mut all = String::new();

    let server = start(format!("authorization {{ token: \"{PASSWORD}\" }}")).await;
    let builder = || NatsBackend::builder(format!("nats://{}", server.addr()));
    all += &log_in(builder().token(PASSWORD), builder().token(SECRET)).await;

    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let server = start(format!("authorization {{ users: [{{ nkey: {} }}] }}", known.public_key())).await;
    let [known, unknown] = [known, unknown].map(|key| key.seed().expect("a seed"));
    let url = format!("nats://{}", server.addr());
    let builder = || NatsBackend::builder(&url);
    all += &log_in(builder().nkey(&known), builder().nkey(&unknown)).await;
    all += &log_in(NatsBackend::builder(format!("{url}?nkey={known}")), builder().nkey(&known[..30])).await;
    secrets.extend([known[2..30].to_owned(), unknown]);

    let operator = Operator::new();
    let server = start(operator.lines()).await;
    let builder = || NatsBackend::builder(format!("nats://{}", server.addr()));
    let (user, expired) = (operator.user(None), operator.user(Some(-10)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("user.creds");
    std::fs::write(&path, &user.file).expect("a file");
    all += &log_in(builder().credentials(&user.file), builder().credentials(&expired.file)).await;
    all += &log_in(builder().credentials_file(&path), builder().credentials(&user.file[..200])).await;
    for user in [user, expired] {
        let (signed, signature) = user.token.rsplit_once('.').expect("a token");
        let claims = signed.split_once('.').expect("a token").1;
        secrets.extend([user.seed, claims[..64].to_owned(), signature.to_owned()]);
    }
    all
}

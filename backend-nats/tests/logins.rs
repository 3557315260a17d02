//! Every way to log in: who may, and who may not and is told what to do.

mod support;

use std::{fs, time::Duration};

use fanfare_core::{
    Broker, StartError,
    backend::{BackendErrorKind, BackendState},
    policy::Open,
    subscription::Delivery,
    topic::TopicConfig,
};
use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::{
    backend::SECRET,
    faults::World,
    server::{Program, Ready, Server, ServerConfig},
};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as CertificateKey};
use support::{PASSWORD, PATIENCE, Setup, accounts, chain, on_both, operator::Operator};
use tokio::time::{sleep, timeout};

on_both! {
    users
    tokens
    nkeys_
    credentials
    credentials_that_are_renewed
    tls
    a_password_that_changes
}

async fn start(builder: NatsBuilder) -> Result<Broker, StartError> {
    let backend = builder.build().expect("settings");
    let logged = TopicConfig::new().history(100);
    Broker::builder().policy(Open).topic("logged.>", logged).backend(backend).start().await
}

async fn server(program: Program, lines: &str) -> Option<Server> {
    Some(ServerConfig::find(program)?.jetstream().line(lines).start().await.expect("a server"))
}

/// What logs in can publish to both kinds of topics, and hears it.
async fn works(builder: NatsBuilder) {
    let broker = start(builder).await.unwrap_or_else(|error| panic!("it does not start: {}", chain(&error)));
    for topic in ["ephemeral.t", "logged.t"] {
        let mut subscription = broker.subscribe(topic).await.expect("a subscription");
        broker.publish(topic, "hello").await.expect("it is accepted");
        let delivery = timeout(PATIENCE, subscription.recv()).await.expect("a message");
        assert!(matches!(delivery, Some(Delivery::Message(_))), "{delivery:?}");
    }
    broker.drain(PATIENCE).await;
}

/// What does not log in is told what to do, for good, and without a secret.
async fn fails(builder: NatsBuilder, says: &str, secrets: &[&str]) {
    let backend = builder.build().expect("settings");
    let shown = format!("{backend:?}");
    let started = Broker::builder().policy(Open).backend(backend).start().await;
    let Err(StartError::Backend(error)) = started else { panic!("it starts: {says}") };
    let text = chain(&error);
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    assert!(matches!(error.kind(), BackendErrorKind::Configuration | BackendErrorKind::Refused), "{text}");
    for secret in secrets {
        assert!(!text.contains(secret) && !shown.contains(secret), "`{secret}` is in {text} or {shown}");
    }
}

const REFUSED: &str = "refuses the login";

async fn users(program: Program) {
    let Some(server) = server(program, &accounts()).await else { return };
    let url = format!("nats://{}", server.addr());
    let as_user = |user: &str, password: &str| NatsBackend::builder(&url).user_and_password(user, password);
    works(as_user("app", PASSWORD)).await;
    works(NatsBackend::builder(support::url_of(server.addr(), PASSWORD))).await;
    fails(as_user("app", SECRET), REFUSED, &[SECRET, PASSWORD]).await;
    fails(as_user("nobody", SECRET), REFUSED, &[SECRET]).await;
    fails(NatsBackend::builder(&url), REFUSED, &[]).await;
    fails(NatsBackend::builder(&url).token(SECRET), REFUSED, &[SECRET]).await;
    let in_url = NatsBackend::builder(format!("nats://app:{SECRET}@{}", server.addr()));
    fails(in_url, REFUSED, &[SECRET]).await;
}

async fn tokens(program: Program) {
    let Some(server) = server(program, &format!("authorization {{ token: \"{PASSWORD}\" }}")).await else {
        return;
    };
    let url = format!("nats://{}", server.addr());
    works(NatsBackend::builder(&url).token(PASSWORD)).await;
    fails(NatsBackend::builder(&url).token(SECRET), REFUSED, &[SECRET, PASSWORD]).await;
    let token = NatsBackend::builder(format!("nats://{SECRET}@{}", server.addr()));
    fails(token, REFUSED, &[SECRET]).await;
    fails(NatsBackend::builder(&url), REFUSED, &[]).await;
}

async fn nkeys_(program: Program) {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let lines = format!("authorization {{ users: [{{ nkey: {} }}] }}", known.public_key());
    let Some(server) = server(program, &lines).await else { return };
    let url = format!("nats://{}", server.addr());
    let [known, unknown] = [known, unknown].map(|key| key.seed().expect("a seed"));
    works(NatsBackend::builder(&url).nkey(&known)).await;
    works(NatsBackend::builder(format!("{url}?nkey={known}"))).await;
    fails(NatsBackend::builder(&url).nkey(&unknown), REFUSED, &[&unknown]).await;
    // What is no seed does not get as far as the server.
    for (seed, says) in [(SECRET, "seed"), ("UABC", "seed"), (&known[..20], "seed")] {
        let started = match NatsBackend::builder(&url).nkey(seed).build() {
            Ok(backend) => Broker::builder().policy(Open).backend(backend).start().await.map(drop),
            Err(error) => Err(StartError::Backend(error)),
        };
        let Err(StartError::Backend(error)) = started else { panic!("it starts with {seed}") };
        let text = chain(&error);
        assert!(text.contains(says) && !text.contains(seed), "{text}");
        assert_eq!(error.kind(), BackendErrorKind::Configuration, "{text}");
    }
}

async fn credentials(program: Program) {
    let operator = Operator::new();
    let Some(server) = server(program, &operator.lines()).await else { return };
    let url = format!("nats://{}", server.addr());
    let (user, expired, stranger) =
        (operator.user(None), operator.user(Some(-10)), Operator::new().user(None));
    works(NatsBackend::builder(&url).credentials(&user.file)).await;
    for wrong in [&expired, &stranger] {
        fails(NatsBackend::builder(&url).credentials(&wrong.file), "credentials", &[&wrong.seed]).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("user.creds");
    fs::write(&path, &user.file).expect("a file");
    works(NatsBackend::builder(&url).credentials_file(&path)).await;
    works(NatsBackend::builder(format!("{url}?creds={}", path.display()))).await;
    fs::write(&path, SECRET).expect("a file");
    fails(NatsBackend::builder(&url).credentials_file(&path), "credentials", &[SECRET]).await;
    fails(NatsBackend::builder(&url).credentials_file(folder.path().join("none")), "credentials", &[]).await;
}

/// A token ends, its connection with it, and the next one logs in with what the file holds then.
async fn credentials_that_are_renewed(program: Program) {
    let operator = Operator::new();
    let Some(server) = server(program, &operator.lines()).await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("user.creds");
    fs::write(&path, operator.user(Some(4)).file).expect("a file");
    let builder = NatsBackend::builder(format!("nats://{}", server.addr())).credentials_file(&path);
    let broker = start(builder).await.expect("a broker");
    World::until_state(&broker, BackendState::Down).await;
    broker.publish("logged.t", "hello").await.expect_err("it has expired");
    fs::write(&path, operator.user(None).file).expect("a file");
    World::until_state(&broker, BackendState::Up).await;
    broker.publish("logged.t", "hello").await.expect("it has been renewed");
    broker.drain(PATIENCE).await;
}

/// The password is changed, and later changed back: nodes back off meanwhile, and return by themselves.
async fn a_password_that_changes(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let broker = start(setup.builder()).await.expect("a broker");
    let with = |accounts: String| ["jetstream { store_dir: \"{dir}/jetstream\" }".to_owned(), accounts];
    setup.server.reconfigure(with(accounts().replace(PASSWORD, "changed"))).expect("a file");
    let before = setup.proxy.accepted();
    setup.server.reload().expect("a signal");
    World::until_state(&broker, BackendState::Down).await;
    sleep(Duration::from_secs(4)).await;
    let attempts = setup.proxy.accepted() - before;
    assert!((1..40).contains(&attempts), "{attempts} attempts in 4 s");
    setup.server.reconfigure(with(accounts())).expect("a file");
    setup.server.reload().expect("a signal");
    World::until_state(&broker, BackendState::Up).await;
    broker.publish("logged.t", "hello").await.expect("it is stored");
    broker.drain(PATIENCE).await;
}

async fn tls(program: Program) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let write = |name: &str, text: String| fs::write(file(name), text).expect("a file");
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, CertificateKey::generate().expect("a key"));
    let authority = authority.expect("a certificate");
    write("ca.pem", authority.pem());
    for name in ["server", "client"] {
        let key = CertificateKey::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}-key.pem"), key.serialize_pem());
    }
    let Some(config) = ServerConfig::find(program) else { return };
    let tls = |more: &str| {
        let path = |name| file(name).display().to_string();
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", {more} }}",
            path("server.pem"),
            path("server-key.pem"),
            path("ca.pem")
        )
    };
    let open = config.clone().jetstream().line(tls("timeout: 5")).start().await.expect("a server");
    let plain = format!("nats://localhost:{}", open.port());
    let url = plain.replace("nats:", "tls:");
    works(NatsBackend::builder(&url).root_certificates(file("ca.pem"))).await;
    // The server asks for TLS: it need not be in the URL.
    works(NatsBackend::builder(&plain).root_certificates(file("ca.pem"))).await;
    fails(NatsBackend::builder(&url), "TLS", &[]).await;
    fails(NatsBackend::builder(&plain), "TLS", &[]).await;
    let other = url.replace("localhost", "127.0.0.1");
    fails(NatsBackend::builder(&other).root_certificates(file("ca.pem")), "TLS", &[]).await;
    fails(NatsBackend::builder(&url).root_certificates(file("none.pem")), "none.pem", &[]).await;

    let strict = config.clone().jetstream().line(tls("verify: true, timeout: 5")).ready(Ready::Info);
    let strict = strict.start().await.expect("a server");
    let url = format!("tls://localhost:{}", strict.port());
    let with_roots = || NatsBackend::builder(&url).root_certificates(file("ca.pem"));
    works(with_roots().client_certificate(file("client.pem"), file("client-key.pem"))).await;
    fails(with_roots(), "certificate", &[]).await;

    // A server that speaks no TLS is not spoken to in the clear when TLS was asked for.
    let clear = config.start().await.expect("a server");
    let url = format!("tls://localhost:{}", clear.port());
    fails(NatsBackend::builder(&url).root_certificates(file("ca.pem")), "TLS", &[]).await;
}

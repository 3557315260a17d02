//! TLS to a real server, with certificates made for the test.
#![cfg(feature = "tls")]

mod support;

use std::{fs, path::PathBuf, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use fanfare_core::{Broker, StartError, policy::Open};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::server::{Program, Ready, ServerConfig, free_port};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::{PATIENCE, chain};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

async fn start(builder: RedisBuilder) -> Result<Broker, StartError> {
    Broker::builder().policy(Open).backend(builder.build().expect("settings")).start().await
}

#[tokio::test]
async fn a_server_with_tls_is_spoken_to_in_tls() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let (files, cert) = certificate();
    let server = config.line("port 0").lines(files.lines());
    let server = server.ready(Ready::Accepts).start().await.expect("a server");
    let url = format!("rediss://localhost:{}", server.port());
    let broker = start(RedisBackend::builder(&url).tls_config(trust(&cert))).await.expect("a broker");
    let other = start(RedisBackend::builder(&url).tls_config(trust(&cert))).await.expect("a broker");
    let mut subscription = other.subscribe("t").await.expect("a subscription");
    broker.publish("t", "hello").await.expect("it is carried");
    let delivery = tokio::time::timeout(PATIENCE, subscription.recv()).await.expect("a message");
    assert!(matches!(delivery, Some(fanfare_core::subscription::Delivery::Message(_))), "{delivery:?}");
    for broker in [broker, other] {
        broker.drain(PATIENCE).await;
    }
    // Nobody vouches for it, and who speaks no TLS is not understood.
    for (url, says) in [(url.clone(), "TLS handshake failed"), (url.replace("rediss", "redis"), "TLS")] {
        let Err(StartError::Backend(error)) = start(RedisBackend::builder(&url)).await else {
            panic!("it starts")
        };
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Servers of a Cluster tell of each other by their addresses, which few certificates name: theirs may have a name of the URL.
#[tokio::test]
async fn a_server_that_is_told_of_by_its_address_may_have_a_name_of_the_url() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let (files, cert) = certificate();
    let plain = free_port().expect("a port");
    let config = config.cluster_node().expect("a port").lines(files.lines());
    let config =
        config.line(format!("port {plain}")).lines(["cluster-announce-ip 127.0.0.1", "tls-cluster yes"]);
    let server = config.ready(Ready::Accepts).start().await.expect("a server");
    let client = redis::Client::open(format!("redis://127.0.0.1:{plain}")).expect("a client");
    let mut admin = client.get_multiplexed_async_connection().await.expect("a connection");
    let slots: redis::RedisResult<String> =
        redis::cmd("CLUSTER").arg(&["ADDSLOTSRANGE", "0", "16383"]).query_async(&mut admin).await;
    slots.expect("all slots");
    let deadline = std::time::Instant::now() + PATIENCE;
    let url = format!("rediss-cluster://nobody.invalid:1,localhost:{}", server.port());
    let broker = loop {
        match start(RedisBackend::builder(&url).tls_config(trust(&cert))).await {
            Ok(broker) => break broker,
            // It takes a while until the Cluster serves its slots.
            Err(StartError::Backend(error)) if error.retry_can_help() => {
                assert!(std::time::Instant::now() < deadline, "{error}");
            }
            Err(error) => panic!("{}", chain(&error)),
        }
    };
    broker.publish("t", "hello").await.expect("it is carried");
    broker.drain(PATIENCE).await;
}

/// The files of a certificate that names `localhost`.
struct Files(tempfile::TempDir);

fn certificate() -> (Files, rcgen::Certificate) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let files = Files(tempfile::tempdir().expect("a folder"));
    fs::write(files.path("cert.pem"), pem("CERTIFICATE", cert.der())).expect("a file");
    fs::write(files.path("key.pem"), pem("PRIVATE KEY", &signing_key.serialize_der())).expect("a file");
    (files, cert)
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What makes a server speak TLS at its port.
    fn lines(&self) -> [String; 5] {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        [
            "tls-port {port}".to_owned(),
            format!("tls-cert-file {}", cert.display()),
            format!("tls-key-file {}", key.display()),
            format!("tls-ca-cert-file {}", cert.display()),
            "tls-auth-clients no".to_owned(),
        ]
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn trust(cert: &rcgen::Certificate) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
}

//! TLS to a real server, with certificates made for the test.
#![cfg(feature = "tls")]

mod support;

use std::{fs, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use fanfare_core::{Broker, StartError, policy::Open};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::server::{Program, Ready, ServerConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use support::PATIENCE;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

async fn start(builder: RedisBuilder) -> Result<Broker, StartError> {
    Broker::builder().policy(Open).backend(builder.build().expect("settings")).start().await
}

#[tokio::test]
async fn a_server_with_tls_is_spoken_to_in_tls() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let folder = std::env::temp_dir().join(format!("fanfare-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("cert.pem"), pem("CERTIFICATE", cert.der())).expect("a file");
    fs::write(folder.join("key.pem"), pem("PRIVATE KEY", &signing_key.serialize_der())).expect("a file");
    let lines = [
        "port 0".to_owned(),
        "tls-port {port}".to_owned(),
        format!("tls-cert-file {}", folder.join("cert.pem").display()),
        format!("tls-key-file {}", folder.join("key.pem").display()),
        format!("tls-ca-cert-file {}", folder.join("cert.pem").display()),
        "tls-auth-clients no".to_owned(),
    ];
    let server = config.lines(lines).ready(Ready::Accepts).start().await.expect("a server");
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
    let _ = fs::remove_dir_all(folder);
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

//! A cluster whose certificates name a host, and whose servers tell of each other by their addresses.

mod support;

use std::time::{Duration, Instant};

use fanfare_core::subscription::Delivery;
use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::server::{Program, Server, ServerConfig, free_port};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use support::{PATIENCE, broker, on_both};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

on_both! {
    a_server_that_is_told_of_takes_over
}

/// The servers that a server tells of.
async fn told_by(server: &Server) -> Vec<String> {
    let stream = TcpStream::connect(server.addr()).await.expect("a connection");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.expect("a line");
    let info: Value = serde_json::from_str(line.trim_start_matches("INFO ")).expect("JSON");
    let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
    urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect()
}

async fn a_server_that_is_told_of_takes_over(program: Program) {
    let Some(config) = ServerConfig::find(program) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
    std::fs::write(path("cert.pem"), params.self_signed(&key).expect("a certificate").pem()).expect("a file");
    std::fs::write(path("key.pem"), key.serialize_pem()).expect("a file");
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let tls =
        format!("tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 5 }}", cert.display(), key.display());
    let ports = [(); 2].map(|()| free_port().expect("a port"));
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
    let mut servers = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let cluster = format!("cluster {{ name: two, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
        let config = config.clone().line(format!("server_name: server-{index}")).line(cluster);
        servers.push(config.line(&tls).start().await.expect("a server"));
    }
    let deadline = Instant::now() + PATIENCE;
    let other = servers[1].addr().to_string();
    while !told_by(&servers[0]).await.contains(&other) {
        assert!(Instant::now() < deadline, "the cluster does not form");
        sleep(Duration::from_millis(50)).await;
    }
    let at = |server: &Server| -> NatsBuilder {
        let url = format!("tls://localhost:{}", server.port());
        NatsBackend::builder(url).root_certificates(path("cert.pem"))
    };
    let (here, there) = (broker(at(&servers[0])).await, broker(at(&servers[1])).await);
    let mut subscription = here.subscribe("t").await.expect("a subscription");
    servers[0].kill();
    // What is published there comes by the other server alone.
    let heard = async {
        loop {
            there.publish("t", "hello").await.expect("it is carried");
            let next = timeout(Duration::from_millis(100), subscription.recv()).await;
            if let Ok(Some(Delivery::Message(_))) = next {
                return;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("the other server takes over");
    drop(subscription);
    for broker in [here, there] {
        broker.drain(PATIENCE).await;
    }
}

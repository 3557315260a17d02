//! Two nodes of the chat on a Redis of their own, behind nginx.

use fanfare_testkit::server::{Program, Server, ServerConfig};

use crate::support::{App, Nginx};

/// What stands in the backend's URL, and nowhere else.
const PASSWORD: &str = "open-sesame";

pub(super) struct Cluster {
    pub(super) redis: Server,
    pub(super) nodes: [App; 2],
    pub(super) nginx: Nginx,
}

impl Cluster {
    /// Nothing, and a loud word, where a program is missing. `lines` are more of Redis's configuration.
    pub(super) async fn start(lines: &[&str]) -> Option<Self> {
        let redis = ServerConfig::find(Program::Redis)?.line(format!("requirepass {PASSWORD}"));
        let redis = redis.lines(lines.iter().copied()).start().await.unwrap();
        let nodes = [node(&redis, "127.0.0.1:0"), node(&redis, "127.0.0.1:0")];
        let nginx = Nginx::start([nodes[0].address(), nodes[1].address()])?;
        Some(Self { redis, nodes, nginx })
    }
}

/// Starts a node that has ended again, where it was.
pub(super) fn revive(ended: &mut App, redis: &Server) {
    let address = ended.address().to_owned();
    *ended = node(redis, &address);
}

fn node(redis: &Server, address: &str) -> App {
    let url = format!("redis://:{PASSWORD}@{}", redis.addr());
    App::example_at("chat", address, &["--backend", &url])
}

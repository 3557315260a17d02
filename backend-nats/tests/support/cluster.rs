//! A cluster of three servers.

use std::time::{Duration, Instant};

use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::server::{Program, Server, ServerConfig, free_port};
use serde_json::json;
use tokio::time::sleep;

use super::{PASSWORD, PATIENCE, USER, accounts, admin::Admin};

/// A cluster takes its time to agree on a leader.
const ELECTION: Duration = Duration::from_secs(60);

pub struct NatsCluster {
    pub servers: Vec<Server>,
}

impl NatsCluster {
    /// Three servers that have agreed on a leader. `None` where the program is missing.
    pub async fn start(program: Program) -> Option<Self> {
        Self::with(program, &[]).await
    }

    pub async fn with(program: Program, lines: &[&str]) -> Option<Self> {
        let ports = [(); 3].map(|()| free_port().expect("a port"));
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let mut servers = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let config = ServerConfig::find(program)?.jetstream().line(accounts());
            let cluster =
                format!("cluster {{ name: three, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
            let config = config.line(format!("server_name: {}", Self::name(index))).line(cluster);
            servers.push(config.lines(lines.iter().copied()).start().await.expect("a server"));
        }
        let cluster = Self { servers };
        cluster.until_formed(&[0, 1, 2]).await;
        Some(cluster)
    }

    fn name(index: usize) -> String {
        format!("server-{index}")
    }

    /// Some of its servers, by their numbers, in this order.
    pub fn builder(&self, servers: &[usize]) -> NatsBuilder {
        let hosts: Vec<_> = servers.iter().map(|index| self.servers[*index].addr().to_string()).collect();
        let password = PASSWORD.replace(' ', "%20");
        NatsBackend::builder(format!("nats://{USER}:{password}@{}", hosts.join(","))).replicas(3)
    }

    pub async fn admin(&self, index: usize) -> Admin {
        Admin::of(&self.servers[index]).await
    }

    /// Waits until JetStream answers on these servers, and all three are there.
    pub async fn until_formed(&self, servers: &[usize]) {
        let deadline = Instant::now() + ELECTION;
        for index in servers {
            let admin = self.admin(*index).await;
            loop {
                let answer = admin.ask("PING.JSZ", json!({})).await;
                let meta = &answer["data"]["meta_cluster"];
                let has_leader = meta["leader"].as_str().is_some_and(|leader| !leader.is_empty());
                if has_leader && meta["cluster_size"] == 3 && admin.has_jetstream().await {
                    break;
                }
                assert!(Instant::now() < deadline, "the cluster does not form: {answer}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Which server leads the stream of the logs, as one server knows it.
    pub async fn leader(&self, asked: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let admin = self.admin(asked).await;
        loop {
            let leader = admin.log().await.cluster.and_then(|cluster| cluster.leader);
            if let Some(index) = (0..3).find(|index| leader == Some(Self::name(*index))) {
                return index;
            }
            assert!(Instant::now() < deadline, "the stream has no leader");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many nodes the other servers have.
    pub async fn nodes_beside(&self, server: usize) -> usize {
        let mut count = 0;
        for index in (0..self.servers.len()).filter(|index| *index != server) {
            count += self.admin(index).await.nodes().await.0.len();
        }
        count
    }

    /// The server that has most of the nodes.
    pub async fn busiest(&self) -> usize {
        let mut counts = Vec::new();
        for index in 0..self.servers.len() {
            counts.push((self.admin(index).await.nodes().await.0.len(), index));
        }
        let (count, index) = counts.into_iter().max().expect("servers");
        assert!(count > 0, "no server has a node");
        index
    }

    /// Waits until all replicas of the logs' stream are up to date.
    pub async fn until_current(&self) {
        let deadline = Instant::now() + ELECTION;
        let admin = self.admin(0).await;
        loop {
            let cluster = admin.log().await.cluster.expect("a cluster");
            if cluster.leader.is_some() && cluster.replicas.iter().all(|r| r.current && !r.offline) {
                return;
            }
            assert!(Instant::now() < deadline, "the replicas stay behind: {cluster:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets the leader of the logs' stream step down.
    pub async fn step_down(&self) {
        let admin = self.admin(0).await;
        let name = admin.log().await.config.name;
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{name}");
        let answer = admin.app.request(subject, "".into()).await.expect("an answer");
        assert!(String::from_utf8_lossy(&answer.payload).contains("\"success\":true"), "{answer:?}");
    }
}

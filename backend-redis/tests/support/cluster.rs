//! A Cluster of three servers.

use std::time::{Duration, Instant};

use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::server::{Program, Server, ServerConfig};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::time::sleep;

/// The slots of the three masters.
const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

pub struct RedisCluster {
    /// Masters, then what was started besides.
    pub servers: Vec<Server>,
}

impl RedisCluster {
    /// Three masters. `None` where the program is missing.
    pub async fn start(program: Program) -> Option<Self> {
        let mut servers = Vec::new();
        for _ in RANGES {
            servers.push(server(program).await?);
        }
        let cluster = Self { servers };
        for (index, (first, last)) in RANGES.iter().enumerate() {
            let (first, last) = (first.to_string(), last.to_string());
            let _: String = cluster.tell(index, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            // Epochs of their own, so that they agree at once.
            let epoch = (index + 1).to_string();
            let _: String = cluster.tell(index, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        for index in 1..cluster.servers.len() {
            cluster.meet(index).await;
        }
        cluster.until_formed(3).await;
        Some(cluster)
    }

    /// One more server that knows the others: an empty master, or a replica of one of them.
    pub async fn add(&mut self, program: Program, replica_of: Option<usize>) -> usize {
        self.servers.push(server(program).await.expect("a server"));
        let index = self.servers.len() - 1;
        self.meet(index).await;
        self.until_formed(self.servers.len()).await;
        if let Some(master) = replica_of {
            let master = self.id(master).await;
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.try_tell::<String>(index, &["CLUSTER", "REPLICATE", &master]).await.is_err() {
                assert!(Instant::now() < deadline, "no replica");
                sleep(Duration::from_millis(100)).await;
            }
            loop {
                let info: String = self.tell(index, &["INFO", "replication"]).await;
                if info.contains("master_link_status:up") {
                    break;
                }
                assert!(Instant::now() < deadline, "no replica: {info}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        index
    }

    async fn meet(&self, index: usize) {
        let port = self.servers[0].port().to_string();
        let info: Vec<String> = self.tell(0, &["CONFIG", "GET", "cluster-port"]).await;
        let _: String = self.tell(index, &["CLUSTER", "MEET", "127.0.0.1", &port, &info[1]]).await;
    }

    async fn until_formed(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for index in 0..self.servers.len() {
            loop {
                let info: String = self.tell(index, &["CLUSTER", "INFO"]).await;
                let knows = format!("cluster_known_nodes:{count}");
                if info.contains("cluster_state:ok") && info.contains(&knows) {
                    break;
                }
                assert!(Instant::now() < deadline, "the Cluster does not form: {info}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub fn builder(&self) -> RedisBuilder {
        let hosts: Vec<_> = self.servers.iter().take(3).map(|server| server.addr().to_string()).collect();
        RedisBackend::builder(format!("redis-cluster://{}", hosts.join(",")))
    }

    pub async fn id(&self, index: usize) -> String {
        self.tell(index, &["CLUSTER", "MYID"]).await
    }

    pub async fn tell<T: FromRedisValue>(&self, index: usize, words: &[&str]) -> T {
        self.try_tell(index, words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub async fn try_tell<T: FromRedisValue>(
        &self,
        index: usize,
        words: &[&str],
    ) -> Result<T, redis::RedisError> {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.connection(index).await?).await
    }

    async fn connection(&self, index: usize) -> Result<MultiplexedConnection, redis::RedisError> {
        let client = redis::Client::open(format!("redis://{}", self.servers[index].addr()))?;
        client.get_multiplexed_async_connection().await
    }

    /// Says something to all servers; those that are not concerned refuse.
    pub async fn tell_all(&self, words: &[&str]) {
        for index in 0..self.servers.len() {
            let _: Result<redis::Value, _> = self.try_tell(index, words).await;
        }
    }

    /// Which server has a slot.
    pub async fn owner(&self, slot: u16) -> usize {
        let slots: Vec<(u16, u16, (String, u16, String))> = {
            let value: redis::Value = self.tell(0, &["CLUSTER", "SLOTS"]).await;
            parse_slots(value)
        };
        let (_, _, (_, port, _)) =
            slots.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).expect("an owner");
        self.servers.iter().position(|server| server.port() == port).expect("a server")
    }

    /// Moves a slot with its keys, as `redis-cli --cluster reshard` does.
    pub async fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).await;
        let (source, target) = (self.id(from).await, self.id(to).await);
        let text = slot.to_string();
        let _: String = self.tell(to, &["CLUSTER", "SETSLOT", &text, "IMPORTING", &source]).await;
        let _: String = self.tell(from, &["CLUSTER", "SETSLOT", &text, "MIGRATING", &target]).await;
        let port = self.servers[to].port().to_string();
        loop {
            let keys: Vec<String> = self.tell(from, &["CLUSTER", "GETKEYSINSLOT", &text, "1"]).await;
            let Some(key) = keys.first() else { break };
            // One at a time, so that a topic's keys are on two servers for a while.
            let _: String = self.tell(from, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
            sleep(Duration::from_millis(20)).await;
        }
        for index in [to, from] {
            let _: String = self.tell(index, &["CLUSTER", "SETSLOT", &text, "NODE", &target]).await;
        }
    }
}

fn parse_slots(value: redis::Value) -> Vec<(u16, u16, (String, u16, String))> {
    let redis::Value::Array(entries) = value else { panic!("{value:?}") };
    let entry = |entry: redis::Value| {
        let redis::Value::Array(mut fields) = entry else { panic!("{entry:?}") };
        let redis::Value::Array(mut master) = fields.remove(2) else { panic!() };
        let number = |value: &redis::Value| match value {
            redis::Value::Int(number) => u16::try_from(*number).expect("a small number"),
            other => panic!("{other:?}"),
        };
        let port = number(&master.remove(1));
        (number(&fields[0]), number(&fields[1]), (String::new(), port, String::new()))
    };
    entries.into_iter().map(entry).collect()
}

async fn server(program: Program) -> Option<Server> {
    let config = ServerConfig::find(program)?.cluster_node().expect("a port");
    Some(config.start().await.expect("a server"))
}

/// The slot of a topic's keys and channel.
pub async fn slot_of(cluster: &RedisCluster, topic: &str) -> u16 {
    let key = format!("fanfare:log:{{{topic}}}");
    cluster.tell(0, &["CLUSTER", "KEYSLOT", &key]).await
}

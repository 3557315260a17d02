//! Sentinels with real servers: the backend follows the master.

mod support;

use std::time::{Duration, Instant};

use fanfare_core::{backend::BackendState, topic::TopicConfig};
use fanfare_redis::RedisBackend;
use fanfare_testkit::{
    faults::{World, retention},
    server::{Program, Server, ServerConfig},
};
use support::{impostor, lone, world};
use tokio::time::sleep;

const MASTER: &str = "the-master";

struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Sentinels {
    /// A master, a replica, and three Sentinels.
    async fn start() -> Option<Self> {
        let config = ServerConfig::find(Program::Redis)?;
        let master = config.clone().start().await.expect("a server");
        let port = master.port();
        let replica = config.clone().line(format!("replicaof 127.0.0.1 {port}"));
        let replica = replica.line("repl-diskless-sync-delay 0").start().await.expect("a server");
        let servers = vec![master, replica];
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let lines = [
                format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
                format!("sentinel down-after-milliseconds {MASTER} 1000"),
                format!("sentinel failover-timeout {MASTER} 5000"),
            ];
            sentinels.push(config.clone().sentinel().lines(lines).start().await.expect("a Sentinel"));
        }
        let this = Self { servers, sentinels };
        this.until_ready().await;
        Some(this)
    }

    async fn until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let mut ready = 0;
            for sentinel in &self.sentinels {
                let info: String = tell(sentinel, &["INFO", "sentinel"]).await.expect("an answer");
                ready += usize::from(info.contains("slaves=1,sentinels=3"));
            }
            if ready == 3 {
                return;
            }
            assert!(Instant::now() < deadline, "the Sentinels do not find each other");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Has another server become the master, whatever it takes.
    async fn fail_over(&self, to: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut asked = Instant::now() - Duration::from_secs(60);
        loop {
            // Who changes its role drops its clients: then it is asked again.
            let role = tell::<redis::Value>(&self.servers[to], &["ROLE"]).await;
            if format!("{role:?}").contains("master") {
                return;
            }
            assert!(Instant::now() < deadline, "no failover: {role:?}");
            if asked.elapsed() > Duration::from_secs(6) {
                // It is refused until the replica is known to be one.
                let ordered: Result<String, _> =
                    tell(&self.sentinels[0], &["SENTINEL", "FAILOVER", MASTER]).await;
                if ordered.is_ok() {
                    asked = Instant::now();
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }
}

async fn tell<T: redis::FromRedisValue>(server: &Server, words: &[&str]) -> Result<T, redis::RedisError> {
    let client = redis::Client::open(format!("redis://{}", server.addr()))?;
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(&mut client.get_multiplexed_async_connection().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_followed() {
    let Some(mut setup) = Sentinels::start().await else { return };
    let world = world(RedisBackend::builder(setup.url()), RedisBackend::builder(setup.url())).await;
    world.check().await;
    setup.servers[0].kill();
    world.noticed("failover").await;
    for broker in [&world.publisher, &world.listener] {
        let took = World::until_state(broker, BackendState::Up).await;
        eprintln!("failover: the new master serves after {took:?}");
    }
    world.check().await;
    let role: redis::Value = tell(&setup.servers[1], &["ROLE"]).await.expect("a role");
    assert!(format!("{role:?}").contains("master"), "{role:?}");
    world.end("failover").await;
}

/// A failover that somebody orders: the old master lives on as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_failover_is_followed() {
    let Some(setup) = Sentinels::start().await else { return };
    let world = world(RedisBackend::builder(setup.url()), RedisBackend::builder(setup.url())).await;
    world.check().await;
    let ordered: String =
        tell(&setup.sentinels[0], &["SENTINEL", "FAILOVER", MASTER]).await.expect("an answer");
    assert_eq!(ordered, "OK");
    world.noticed("ordered failover").await;
    for broker in [&world.publisher, &world.listener] {
        World::until_state(broker, BackendState::Up).await;
    }
    world.end("ordered failover").await;
}

/// A master that was replaced comes back, and has taken over what its replacement had: what it alone had stored is lost, also of a
/// topic that nobody has touched meanwhile. Its places are given to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_comes_back_gives_no_place_twice() {
    let Some(setup) = Sentinels::start().await else { return };
    let node = lone(RedisBackend::builder(setup.url())).await;
    let kept = retention(&TopicConfig::new().history(100));
    let first = node.hand_over("logged.untouched", "1", Some(kept)).await.expect("it is stored");
    let first = first.position.expect("a position");
    let deadline = Instant::now() + Duration::from_secs(60);
    while tell::<i64>(&setup.servers[1], &["EXISTS", "fanfare:meta:{logged.untouched}"])
        .await
        .expect("an answer")
        == 0
    {
        assert!(Instant::now() < deadline, "the replica does not follow");
        sleep(Duration::from_millis(10)).await;
    }
    for master in [1, 0] {
        setup.fail_over(master).await;
        let clients =
            async || tell::<String>(&setup.servers[master], &["CLIENT", "LIST"]).await.unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !clients().await.contains("name=fanfare") {
            assert!(Instant::now() < deadline, "the backend does not follow");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let second = loop {
        match node.hand_over("logged.untouched", "2", Some(kept)).await {
            Ok(accepted) => break accepted.position.expect("a position"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(second.epoch, first.epoch, "the log goes on");
    assert!(
        second.offset - first.offset > 1 << 32,
        "{second:?} may have named another message after {first:?}"
    );
    node.end().await;
}

/// A Sentinel that is cut off from the others goes on naming the master of old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_is_behind_is_outvoted() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let master = config.clone().start().await.expect("a server");
    let old = config.start().await.expect("a server");
    let mut hosts = Vec::new();
    for named in [&old, &master, &master] {
        let port = named.port().to_string();
        let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
        let url = impostor(answer.into_bytes().leak()).await;
        hosts.push(url.rsplit('@').next().expect("a host").to_owned());
    }
    let url = format!("redis+sentinel://{}/{MASTER}", hosts.join(","));
    let node = lone(RedisBackend::builder(url).ping_every(Duration::from_millis(50))).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.told(), [], "it stays where it is");
    let clients = |server| tell::<String>(server, &["CLIENT", "LIST"]);
    assert!(clients(&master).await.expect("a list").contains("name=fanfare"));
    assert!(!clients(&old).await.expect("a list").contains("name=fanfare"));
    node.end().await;
}

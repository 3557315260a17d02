//! What a server and a network can do to a backend: each is noticed, each ends, and the law holds meanwhile.

mod support;

use std::{
    marker::PhantomData,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{
    backend::{Backend, BackendState},
    subscription::Delivery,
};
use fanfare_redis::RedisBackend;
use fanfare_testkit::{
    faults::{self, EPHEMERAL, LOGGED, Site, World},
    server::Program,
};
use support::{Kind, PASSWORD, PATIENCE, Redis, Setup, Valkey, broker, built, url_of, world};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// A server that is killed, restarted, cut off, slow.
struct On<K> {
    setup: Setup,
    kind: PhantomData<K>,
}

#[async_trait]
impl<K: Kind> faults::Setup for On<K> {
    const MANY: usize = K::ROUNDS.0;
    const SOME: usize = K::ROUNDS.1;

    async fn start() -> Option<Self> {
        Some(Self { setup: Setup::start(K::PROGRAM).await?, kind: PhantomData })
    }

    async fn start_impatient() -> Option<Self> {
        let lines = ["client-output-buffer-limit pubsub 1mb 0 0"];
        Some(Self { setup: Setup::with(K::PROGRAM, &lines).await?, kind: PhantomData })
    }

    fn site(&self) -> &Site {
        &self.setup
    }

    fn site_mut(&mut self) -> &mut Site {
        &mut self.setup
    }

    fn backend_at(&self, server: SocketAddr) -> Arc<dyn Backend> {
        Arc::new(built(RedisBackend::builder(url_of(server, PASSWORD, ""))))
    }

    async fn bare_client(&self) -> bool {
        let client = redis::Client::open(self.setup.url(PASSWORD, "")).expect("a client");
        let answer = async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        };
        while !matches!(timeout(Duration::from_millis(500), answer()).await, Ok(Some(_))) {
            sleep(Duration::from_millis(5)).await;
        }
        true
    }

    async fn kick(&self) {
        assert_eq!(self.setup.kill_subscribers().await, 2);
    }

    async fn flood(&self, left: usize) -> bool {
        let filler = "x".repeat(60_000);
        let channel = format!("fanfare:db0:topic:{{{EPHEMERAL}}}");
        let _: i64 = self.setup.tell(&["PUBLISH", &channel, &filler]).await;
        let list: String = self.setup.tell(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        list.lines().count() > left
    }
}

mod redis_server {
    fanfare_testkit::fault_tests!(super::On<super::Redis>);
}

mod valkey_server {
    fanfare_testkit::fault_tests!(super::On<super::Valkey>);
}

/// A server that saves now and then comes back with an older log: what it has forgotten must not pass for what comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_server_that_loses_the_end_of_its_log() {
    let Some(mut setup) = Setup::with(Program::Redis, &["save 3600 1"]).await else { return };
    let world = world(setup.builder(), setup.builder()).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        let _: String = setup.tell(&["SAVE"]).await;
        sleep(Duration::from_millis(200)).await;
        setup.server.kill();
        world.noticed("kill -9 with an old file").await;
        setup.server.restart().await.expect("a server");
        world.back("kill -9 with an old file").await;
        world.check().await;
    }
    world.end("kill -9 with an old file").await;
    setup.is_as_before().await;
}

/// A connection can be alive and deaf: only what comes back shows that the way is open. Here the connection that receives
/// leads to another server than the one that publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_connection_is_noticed() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let Some(other) = Setup::start(Program::Redis).await else { return };
    let junction = Junction::start([setup.server.addr(), other.server.addr()]).await;
    let publisher = broker(setup.builder()).await;
    let url = url_of(junction.addr, PASSWORD, "");
    junction.turn.store(true, Ordering::SeqCst);
    let listener = broker(RedisBackend::builder(url).ping_every(Duration::from_millis(200))).await;
    let mut subscription = listener.subscribe(EPHEMERAL).await.expect("a subscription");
    junction.turn.store(false, Ordering::SeqCst);
    World::until_state(&listener, BackendState::Down).await;
    World::until_state(&listener, BackendState::Up).await;
    let mut told = false;
    loop {
        publisher.publish(EPHEMERAL, "hello").await.expect("it is accepted");
        match timeout(Duration::from_secs(1), subscription.recv()).await {
            Ok(Some(Delivery::Gap(_))) => told = true,
            Ok(Some(Delivery::Message(_))) => break,
            Ok(None) => panic!("the subscription has ended"),
            _ => {}
        }
    }
    assert!(told, "what was missed is told");
    for broker in [publisher, listener] {
        broker.drain(Duration::from_secs(5)).await;
    }
}

/// Connections go to the first server; while the turn is taken, each second one goes to the other.
struct Junction {
    addr: SocketAddr,
    turn: Arc<AtomicBool>,
}

impl Junction {
    async fn start(servers: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (addr, turn) = (listener.local_addr().expect("an address"), Arc::new(AtomicBool::new(false)));
        tokio::spawn({
            let turn = turn.clone();
            async move {
                let mut count = 0;
                while let Ok((mut client, _)) = listener.accept().await {
                    let to = servers[if turn.load(Ordering::SeqCst) { count % 2 } else { 0 }];
                    count += 1;
                    tokio::spawn(async move {
                        let mut server = TcpStream::connect(to).await.expect("a server");
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    });
                }
            }
        });
        Self { addr, turn }
    }
}

/// A master that becomes a replica says so with each write alone: the backend looks for the one that is a master now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_is_left() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let broker = broker(setup.builder()).await;
    let _: String = setup.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    broker.publish(LOGGED, "hello").await.expect_err("a replica");
    World::until_state(&broker, BackendState::Down).await;
    let _: String = setup.tell(&["REPLICAOF", "NO", "ONE"]).await;
    World::until_state(&broker, BackendState::Up).await;
    broker.publish(LOGGED, "hello").await.expect("a master");
    broker.drain(Duration::from_secs(5)).await;
}

/// A program that stands still for a while must not take that for the server's silence.
#[test]
fn a_busy_program_is_no_silent_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The server and the proxy have a runtime of their own.
    let servers = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(setup) = servers.block_on(Setup::start(Program::Redis)) else { return };
    let quick =
        setup.builder().ping_every(Duration::from_millis(20)).answer_within(Duration::from_millis(300));
    runtime.block_on(faults::standstill(&setup, built(quick)));
}

/// With a buffer, what is published in an outage is sent after it, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_holds_back_what_is_published() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let patient = setup.builder().publish_buffer(1000, 1 << 20).publish_within(PATIENCE);
    faults::held_back(&setup, built(patient), built(setup.builder())).await;
}

//! What a server and a network can do to a backend: each is noticed, each ends, and the law holds meanwhile.

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{backend::BackendState, subscription::Delivery};
use fanfare_redis::RedisBackend;
use fanfare_testkit::{
    proxy::{ChaosProxy, Direction},
    server::Program,
};
use support::{
    PATIENCE, Setup,
    law::{EPHEMERAL, LOGGED, World, broker},
    raw::Raw,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// How often what is quick is done.
const ROUNDS: usize = 100;

/// A server, and a world in front of it; both brokers use the proxy.
async fn world() -> Option<(Setup, World)> {
    let setup = Setup::start(Program::Redis).await?;
    let world = World::start(setup.builder(), setup.builder()).await;
    Some((setup, world))
}

/// The end leaves nothing behind.
async fn end(setup: &Setup, world: World, fault: &str) {
    world.end(fault).await;
    setup.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts() {
    let Some((mut setup, world)) = world().await else { return };
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        setup.server.stop().await.expect("a signal");
        world.noticed("restart").await;
        setup.server.restart().await.expect("a server");
        world.back("restart").await;
        world.check().await;
    }
    end(&setup, world, "restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9() {
    let Some((mut setup, world)) = world().await else { return };
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        setup.server.kill();
        world.noticed("kill -9").await;
        setup.server.restart().await.expect("a server");
        world.back("kill -9").await;
        world.check().await;
    }
    end(&setup, world, "kill -9").await;
}

/// A server that saves now and then comes back with an older log: what it has forgotten must not pass for what comes next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_a_server_that_loses_the_end_of_its_log() {
    let Some(mut setup) = Setup::with(Program::Redis, &["save 3600 1"]).await else { return };
    let world = World::start(setup.builder(), setup.builder()).await;
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
    end(&setup, world, "kill -9 with an old file").await;
}

async fn blackhole(seconds: u64) {
    let Some((setup, world)) = world().await else { return };
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        setup.proxy.blackhole();
        let (noticed, ()) = tokio::join!(world.noticed("blackhole"), sleep(Duration::from_secs(seconds)));
        let () = noticed;
        setup.proxy.heal();
        world.back("blackhole").await;
        world.check().await;
    }
    end(&setup, world, "blackhole").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blackhole_for_15_s() {
    blackhole(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_for_10_s() {
    let Some((setup, world)) = world().await else { return };
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        setup.proxy.refuse();
        world.noticed("refuse").await;
        sleep(Duration::from_secs(10)).await;
        setup.proxy.heal();
        world.back("refuse").await;
        world.check().await;
    }
    end(&setup, world, "refuse").await;
}

/// Slow is not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_of_500_ms() {
    let Some((setup, world)) = world().await else { return };
    for _ in 0..3 {
        setup.proxy.latency(Duration::from_millis(500));
        sleep(Duration::from_secs(6)).await;
        assert_eq!(*world.listener.backend_state().borrow(), BackendState::Up, "slow is not gone");
        world.check().await;
        setup.proxy.heal();
        world.check().await;
    }
    // A connection can also be made over a slow network.
    setup.proxy.latency(Duration::from_millis(500));
    setup.proxy.reset();
    world.noticed("reset over a slow network").await;
    World::until_state(&world.listener, BackendState::Up).await;
    setup.proxy.heal();
    end(&setup, world, "latency").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets() {
    let Some((setup, world)) = world().await else { return };
    for round in 0..ROUNDS {
        sleep(Duration::from_millis(fastrand::u64(0..100))).await;
        setup.proxy.reset();
        World::until_state(&world.listener, BackendState::Down).await;
        World::until_state(&world.listener, BackendState::Up).await;
        if round % 10 == 0 {
            world.check().await;
        }
    }
    end(&setup, world, "reset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_killed() {
    let Some((setup, world)) = world().await else { return };
    for round in 0..ROUNDS {
        sleep(Duration::from_millis(fastrand::u64(0..100))).await;
        assert_eq!(setup.kill_subscribers().await, 2);
        World::until_state(&world.listener, BackendState::Down).await;
        World::until_state(&world.listener, BackendState::Up).await;
        World::until_state(&world.publisher, BackendState::Up).await;
        if round % 10 == 0 {
            world.check().await;
        }
    }
    end(&setup, world, "CLIENT KILL").await;
}

/// What a node does not read in time the server throws away, and the connection with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_buffer_kick() {
    let lines = ["client-output-buffer-limit pubsub 1mb 0 0"];
    let Some(setup) = Setup::with(Program::Redis, &lines).await else { return };
    let other = ChaosProxy::start(setup.server.addr()).await.expect("a proxy");
    let url =
        setup.url(support::PASSWORD, "").replace(&setup.proxy.addr().to_string(), &other.addr().to_string());
    let world = World::start(RedisBackend::builder(url), setup.builder()).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        setup.proxy.half_open(Direction::ToClient);
        let filler = "x".repeat(60_000);
        let channel = format!("fanfare:db0:topic:{{{EPHEMERAL}}}");
        while subscribers(&setup).await > 1 {
            let _: i64 = setup.tell(&["PUBLISH", &channel, &filler]).await;
        }
        let noticed = World::until_state(&world.listener, BackendState::Down).await;
        assert!(noticed < support::law::NOTICED, "{noticed:?}");
        setup.proxy.heal();
        world.back("output buffer").await;
        world.check().await;
    }
    world.end("output buffer").await;
    drop(other);
    setup.is_as_before().await;
}

/// How many connections the server knows that only receive.
async fn subscribers(setup: &Setup) -> usize {
    let list: String = setup.tell(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    list.lines().count()
}

/// A connection can be alive and deaf: only what comes back shows that the way is open. Here the connection that receives
/// leads to another server than the one that publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_connection_is_noticed() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let Some(other) = Setup::start(Program::Redis).await else { return };
    let junction = Junction::start([setup.server.addr(), other.server.addr()]).await;
    let publisher = broker(setup.builder()).await;
    let url = format!("redis://:{}@{}", support::PASSWORD.replace(' ', "%20"), junction.addr);
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
    runtime.block_on(async {
        let node = Raw::start(quick).await;
        // Most of the time an answer is on its way.
        setup.proxy.latency(Duration::from_millis(30));
        for _ in 0..20 {
            // Somewhere between a ping and its answer.
            sleep(Duration::from_millis(fastrand::u64(20..60))).await;
            std::thread::sleep(Duration::from_millis(400));
        }
        sleep(Duration::from_millis(100)).await;
        assert_eq!(node.told(), [], "nothing has happened");
        node.end().await;
    });
}

/// With a buffer, what is published in an outage is sent after it, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_holds_back_what_is_published() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let patient = || setup.builder().publish_buffer(1000, 1 << 20).publish_within(PATIENCE);
    let publisher = broker(patient()).await;
    let listener = broker(setup.builder()).await;
    let mut subscription = listener.subscribe("logged.t").await.expect("a subscription");
    setup.proxy.refuse();
    World::until_state(&publisher, BackendState::Down).await;
    let held: Vec<_> = (0..1000)
        .map(|n: u32| tokio::spawn(publisher.publish("logged.t", n.to_string()).into_future()))
        .collect();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(200)).await;
    let over = timeout(PATIENCE, publisher.publish("logged.t", "one too many").into_future()).await;
    assert!(over.expect("an answer at once").is_err());
    setup.proxy.heal();
    for publish in held {
        publish.await.expect("a task").expect("it is sent when the server is back");
    }
    let mut got = Vec::new();
    while got.len() < 1000 {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message") {
            Some(Delivery::Message(message)) => {
                got.push(message.message().payload().as_str().expect("text").to_owned());
            }
            Some(_) => {}
            None => panic!("the subscription has ended"),
        }
    }
    got.sort_by_key(|text| text.parse::<u32>().expect("a number"));
    assert_eq!(got, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    for broker in [publisher, listener] {
        broker.drain(Duration::from_secs(5)).await;
    }
}

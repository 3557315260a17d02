//! A Cluster of real servers: the conformance suite, slots that are moved, a master that is killed.

mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    backend::{Backend, BackendState},
    topic::{TopicConfig, TopicName},
};
use fanfare_testkit::{
    backend::{Exception, Harness, Needs},
    faults::{EPHEMERAL, LOGGED, World, retention},
    server::Program,
};
use support::{
    cluster::{RedisCluster, slot_of},
    lone, world,
};
use tokio::{sync::OnceCell, time::sleep};

/// One for all cases: to form a Cluster takes seconds. Each case has a prefix of its own.
static SHARED: OnceCell<Option<RedisCluster>> = OnceCell::const_new();

struct OnCluster {
    cluster: &'static RedisCluster,
    prefix: String,
}

impl OnCluster {
    fn backend(&self, prefix: String) -> Arc<dyn Backend> {
        let builder = self.cluster.builder().cluster_patterns(true).prefix(prefix);
        Arc::new(builder.build().expect("settings"))
    }
}

#[async_trait]
impl Harness for OnCluster {
    async fn start() -> Option<Self> {
        let cluster = SHARED.get_or_init(|| RedisCluster::start(Program::Redis)).await.as_ref()?;
        Some(Self { cluster, prefix: format!("case-{:x}:", fastrand::u64(..)) })
    }

    fn node(&self) -> Arc<dyn Backend> {
        self.backend(self.prefix.clone())
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        self.backend(format!("stranger-{}", self.prefix))
    }

    async fn lose_log(&self, topic: &TopicName) {
        for kind in ["meta", "log", "values", "order"] {
            self.cluster.tell_all(&["DEL", &format!("{}{kind}:{{{topic}}}", self.prefix)]).await;
        }
    }

    /// As if another server had written last.
    async fn lose_end(&self, topic: &TopicName) {
        let key = format!("{}meta:{{{topic}}}", self.prefix);
        self.cluster.tell_all(&["HSET", &key, "run", "another"]).await;
    }

    async fn garble(&self, topic: &TopicName) {
        let channel = format!("{}db0:topic:{{{topic}}}", self.prefix);
        self.cluster.tell_all(&["SPUBLISH", &channel, "not a message of ours"]).await;
    }

    fn exceptions() -> Vec<Exception> {
        let shared = "the cases share one Cluster, which none of them can take from the others";
        let same = "as on a single server";
        let also = "copies come from several servers, and each counts for its own topic";
        let also = Exception::new("also_topics_travel_as_one_message", also);
        let all = [(Needs::Interruption, shared), (Needs::InterestLoss, shared), (Needs::BadSettings, same)];
        all.into_iter()
            .flat_map(|(needs, reason)| Exception::all_that_need(needs, reason))
            .chain([also])
            .collect()
    }
}

mod redis_cluster {
    fanfare_testkit::backend_tests!(super::OnCluster);
}

/// Slots are moved to and fro while their topics are in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_moved() {
    let Some(cluster) = RedisCluster::start(Program::Redis).await else { return };
    let world = world(cluster.builder(), cluster.builder()).await;
    world.check().await;
    for round in 0..3 {
        for topic in [LOGGED, EPHEMERAL] {
            let slot = slot_of(&cluster, topic).await;
            let to = (cluster.owner(slot).await + 1 + round % 2) % 3;
            cluster.move_slot(slot, to).await;
            world.check().await;
            assert_eq!(cluster.owner(slot).await, to);
        }
    }
    world.end("slots are moved").await;
}

/// A slot goes to a server that had none: nodes have not heard of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_to_a_new_server() {
    let Some(mut cluster) = RedisCluster::start(Program::Redis).await else { return };
    let world = world(cluster.builder(), cluster.builder()).await;
    world.check().await;
    let new = cluster.add(Program::Redis, None).await;
    for topic in [LOGGED, EPHEMERAL] {
        cluster.move_slot(slot_of(&cluster, topic).await, new).await;
        world.check().await;
    }
    world.end("a slot is moved to a new server").await;
}

/// A master is killed, and its replica takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_killed() {
    let Some(mut cluster) = RedisCluster::start(Program::Redis).await else { return };
    let slot = slot_of(&cluster, LOGGED).await;
    let master = cluster.owner(slot).await;
    let _replica = cluster.add(Program::Redis, Some(master)).await;
    let world = world(cluster.builder(), cluster.builder()).await;
    world.check().await;
    sleep(Duration::from_millis(300)).await;
    cluster.servers[master].kill();
    world.noticed("a master is killed").await;
    for broker in [&world.publisher, &world.listener] {
        let took = World::until_state(broker, BackendState::Up).await;
        eprintln!("a master is killed: its replica serves after {took:?}");
    }
    world.end("a master is killed").await;
}

/// A replica that is behind takes over from a master that lives on and sends its clients there: what only the old one had is
/// lost, and its places are not given to other messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_behind_takes_over() {
    let Some(mut cluster) = RedisCluster::start(Program::Redis).await else { return };
    let master = cluster.owner(slot_of(&cluster, LOGGED).await).await;
    let replica = cluster.add(Program::Redis, Some(master)).await;
    let kept = retention(&TopicConfig::new().history(100));
    let node = lone(cluster.builder()).await;
    node.hand_over(LOGGED, "1", Some(kept)).await.expect("it is stored");
    let copied: i64 = cluster.tell(master, &["WAIT", "1", "5000"]).await;
    assert_eq!(copied, 1);
    // It cannot log in to its master any more.
    let _: String = cluster.tell(replica, &["CONFIG", "SET", "masterauth", "wrong"]).await;
    let _: i64 = cluster.tell(master, &["CLIENT", "KILL", "TYPE", "replica"]).await;
    let lost = node.hand_over(LOGGED, "lost", Some(kept)).await.expect("it is stored");
    let lost = lost.position.expect("a position");
    let _: String = cluster.tell(replica, &["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
    while !cluster.tell::<String>(master, &["INFO", "replication"]).await.contains("role:slave") {
        sleep(Duration::from_millis(5)).await;
    }
    let accepted = loop {
        if let Ok(accepted) = node.hand_over(LOGGED, "2", Some(kept)).await {
            break accepted.position.expect("a position");
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert!(
        accepted.epoch != lost.epoch || accepted.offset > lost.offset + (1 << 32),
        "{accepted:?} may have named another message: {lost:?} did"
    );
    node.end().await;
}

//! Wrong settings, foreign bytes, a server in trouble: errors that say what to do, no hot loop, and no password anywhere.

mod support;

use std::time::Duration;

use fanfare_core::{
    Broker, StartError,
    backend::{BackendErrorKind, BackendState},
    policy::Open,
    publish::PublishError,
    subscription::Delivery,
    topic::TopicConfig,
};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::{
    backend::SECRET,
    faults::{self, Lone, World},
    proxy::ChaosProxy,
    server::Program,
};
use support::{PASSWORD, PATIENCE, Setup, broker, chain, impostor};
use tokio::time::{sleep, timeout};

async fn start(builder: RedisBuilder) -> Result<Broker, StartError> {
    let backend = builder.build().expect("settings");
    let shown = format!("{backend:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(PASSWORD), "{shown}");
    Broker::builder()
        .policy(Open)
        .topic("logged.>", TopicConfig::new().history(100).latest(10))
        .backend(backend)
        .start()
        .await
}

/// What a start fails with: words that say what to do.
async fn refused(builder: RedisBuilder, says: &str) {
    let Err(StartError::Backend(error)) = start(builder).await else { panic!("it starts: {says}") };
    let text = chain(&error);
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    assert!(!error.retry_can_help(), "{text}: {:?}", error.kind());
    assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn wrong_settings_say_what_to_do() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    refused(RedisBackend::builder(setup.url(SECRET, "")), "refuses user or password").await;
    refused(setup.builder().user("nobody").password(SECRET), "refuses user or password").await;
    refused(RedisBackend::builder(format!("redis://{}", setup.proxy.addr())), "wants a password").await;
    refused(setup.builder().database(99), "no database 99").await;
    let cluster = setup.url(PASSWORD, "").replace("redis://", "redis-cluster://");
    refused(RedisBackend::builder(cluster), "not part of a Cluster").await;
    let sentinel = format!("redis+sentinel://{}/mymaster", setup.proxy.addr());
    refused(RedisBackend::builder(sentinel).sentinel_login(None, PASSWORD), "is no Sentinel").await;
}

#[tokio::test]
async fn a_password_that_nobody_wants_is_said() {
    let Some(config) = fanfare_testkit::server::ServerConfig::find(Program::Redis) else { return };
    let server = config.start().await.expect("a server");
    let url = format!("redis://:{SECRET}@{}", server.addr());
    refused(RedisBackend::builder(url), "the server has none").await;
}

#[tokio::test]
async fn a_user_without_rights_is_told_what_is_missing() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let poor = ["ACL", "SETUSER", "poor", "on", ">poor", "~*", "&*", "+ping"];
    let _: String = setup.tell(&poor).await;
    refused(setup.builder().user("poor").password("poor"), "ACL user").await;
    // Redis 7 gives new users no channels.
    let _: String =
        setup.tell(&["ACL", "SETUSER", "deaf", "on", ">deaf", "~*", "resetchannels", "+@all"]).await;
    refused(setup.builder().user("deaf").password("deaf"), "channels of the prefix").await;
    // What the documentation names is enough.
    let enough = "ACL SETUSER enough on >enough ~fanfare:* &fanfare:* -@all +auth +hello +client|setname +select +info \
                  +ping +script|load +evalsha +time +hmget +hset +hexists +hdel +del +get +set +xadd +xrange +xrevrange \
                  +xtrim +zadd +zcard +zrange +zremrangebyrank +pexpire +pttl +publish +subscribe +unsubscribe +psubscribe +punsubscribe";
    let _: String = setup.tell(&enough.split_whitespace().collect::<Vec<_>>()).await;
    let broker = start(setup.builder().user("enough").password("enough")).await.expect("enough rights");
    broker.publish("logged.t", "hello").key("k").await.expect("it may publish");
    broker.publish("ephemeral.t", "hello").await.expect("it may publish");
    // Redis compares patterns with those of the ACL as they stand: it takes `&*`.
    let error = broker.subscribe_pattern("logged.*").await.expect_err("a pattern");
    assert!(chain(&error).contains("ACL user"), "{error:?}");
    let _topic = broker.subscribe("logged.t").await.expect("it may subscribe");
    broker.drain(PATIENCE).await;
}

#[tokio::test]
async fn servers_of_other_kinds_are_known() {
    for other in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
    ] {
        let url = impostor(other).await;
        refused(RedisBackend::builder(url), "is it a Redis").await;
    }
    // Redis 5 quotes what it does not know.
    let old =
        b"+OK\r\n-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n+OK\r\n+OK\r\n$0\r\n\r\n\
        +x\r\n+x\r\n+x\r\n+x\r\n";
    refused(RedisBackend::builder(impostor(old).await), "older than Redis 6").await;
    let old = b"+OK\r\n%4\r\n+version\r\n+6.0.16\r\n+proto\r\n:3\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n+OK\r\n+OK\r\n\
        $8\r\nrun_id:x\r\n+x\r\n+x\r\n+x\r\n+x\r\n";
    refused(RedisBackend::builder(impostor(old).await), "6.0.16: Redis 6.2 or newer").await;
}

#[tokio::test]
async fn a_replica_is_no_master() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let _: String = setup.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    refused(setup.builder(), "is a replica").await;
}

/// What is no answer of Redis ends the connection, however much it promises, and takes no room for what it only promises.
#[tokio::test]
async fn hostile_answers_are_refused() {
    let deep: &'static str = "*1\r\n".repeat(100_000).leak();
    let hostile = [
        "*2147483647\r\n",
        "*9223372036854775807\r\n",
        "%9223372036854775807\r\n+a\r\n",
        "~4294967296\r\n",
        ">-7\r\n",
        "$9223372036854775807\r\nx",
        "$-2\r\n",
        "=99999999999\r\ntxt:",
        ":99999999999999999999999999\r\n",
        "(123x\r\n",
        ",not-a-number\r\n",
        "#x\r\n",
        "*?\r\n",
        "\0\0\0\0\r\n",
        deep,
    ];
    let began = resident();
    let starts = hostile.map(async |answer| {
        let backend = RedisBackend::builder(impostor(answer.as_bytes()).await);
        let backend = backend.answer_within(Duration::from_millis(300));
        // What may be a server that is about to come is tried again, for longer than this.
        let started = timeout(Duration::from_secs(3), start(backend)).await;
        assert!(!matches!(started, Ok(Ok(_))), "{:?} is no answer", &answer[..answer.len().min(24)]);
    });
    futures_util::future::join_all(starts).await;
    assert!(resident() < began + (128 << 20), "{} bytes were {began}", resident());
}

/// Bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// A start that fails is not tried in a hot loop.
#[tokio::test]
async fn a_wrong_password_is_not_tried_in_a_hot_loop() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let broker = Broker::builder()
        .policy(Open)
        .backend(setup.builder().build().expect("settings"))
        .start()
        .await
        .expect("a broker");
    let _: String = setup.tell(&["CONFIG", "SET", "requirepass", "changed"]).await;
    let before = setup.proxy.accepted();
    setup.proxy.reset();
    World::until_state(&broker, BackendState::Down).await;
    sleep(Duration::from_secs(4)).await;
    let attempts = setup.proxy.accepted() - before;
    assert!(attempts < 40, "{attempts} attempts in 4 s on two connections");
    broker.drain(PATIENCE).await;
}

/// Who greets, and is gone at the next word, is not greeted again without a pause.
#[tokio::test]
async fn a_connection_that_does_not_last_is_not_made_in_a_hot_loop() {
    let greeting = b"+OK\r\n%4\r\n+version\r\n+7.2.4\r\n+proto\r\n:3\r\n+mode\r\n+standalone\r\n+role\r\n+master\r\n+OK\r\n+OK\r\n\
        $8\r\nrun_id:x\r\n+nobody asked\r\n";
    let proxy = ChaosProxy::start(faults::impostor(b"", greeting).await).await.expect("a proxy");
    let backend =
        RedisBackend::builder(format!("redis://:{SECRET}@{}", proxy.addr())).build().expect("settings");
    Lone::attempt(backend).await.expect_err("it never works");
    assert!(proxy.accepted() < 100, "{} attempts in 4 s on two connections", proxy.accepted());
}

#[tokio::test]
async fn a_foreign_key_under_our_prefix_is_said() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    for kind in ["meta", "log", "values", "order"] {
        let _: String = setup.tell(&["SET", &format!("fanfare:{kind}:{{logged.{kind}}}"), "not ours"]).await;
    }
    let broker = start(setup.builder()).await.expect("a broker");
    for kind in ["meta", "log", "values", "order"] {
        let topic = format!("logged.{kind}");
        // A log that begins anew first throws away what is left of another one.
        let Err(error) = broker.publish(topic.as_str(), "hello").key("k").await else {
            assert_ne!(kind, "meta");
            continue;
        };
        let PublishError::NotStored(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), BackendErrorKind::Corrupt, "{error:?}");
        assert!(chain(&error).contains("another program"), "{error:?}");
    }
    for kind in ["log", "values", "order"] {
        let topic = format!("logged.{kind}");
        broker.publish(topic.as_str(), "hello").key("k").await.expect("a log");
        let _: String = setup.tell(&["SET", &format!("fanfare:{kind}:{{{topic}}}"), "not ours"]).await;
        let error = broker.publish(topic.as_str(), "hello").key("k").await.expect_err("a foreign key");
        assert!(chain(&error).contains("another program"), "{error:?}");
        let _: i64 = setup.tell(&["DEL", &format!("fanfare:{kind}:{{{topic}}}")]).await;
        broker.publish(topic.as_str(), "hello").key("k").await.expect("it works again");
    }
    broker.drain(PATIENCE).await;
}

#[tokio::test]
async fn a_full_server_is_said_and_nothing_of_it_is_stored() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let broker = start(setup.builder()).await.expect("a broker");
    let mut subscription = broker.subscribe("logged.t").await.expect("a subscription");
    broker.publish("logged.t", "1").await.expect("a log");
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let error = broker.publish("logged.t", "full").await.expect_err("a full server");
    let PublishError::NotStored(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    assert!(chain(&error).contains("maxmemory"), "{error:?}");
    // Ephemeral messages take no memory there.
    broker.publish("ephemeral.t", "hello").await.expect("it is carried");
    let _: String = setup.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    broker.publish("logged.t", "2").await.expect("room again");
    let mut got = Vec::new();
    while got.len() < 2 {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message").expect("a subscription") {
            Delivery::Message(message) => {
                got.push(message.message().payload().as_str().unwrap_or_default().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, ["1", "2"]);
    broker.drain(PATIENCE).await;
}

#[tokio::test]
async fn a_server_that_turns_into_a_replica_or_hangs_in_a_script_is_said() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let broker = start(setup.builder()).await.expect("a broker");
    let _: String = setup.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let error = broker.publish("logged.t", "hello").await.expect_err("a replica");
    assert!(chain(&error).contains("replica"), "{error:?}");
    let _: String = setup.tell(&["REPLICAOF", "NO", "ONE"]).await;
    World::until_state(&broker, BackendState::Up).await;
    let _: String = setup.tell(&["CONFIG", "SET", "busy-reply-threshold", "10"]).await;
    let mut admin = setup.admin().await;
    let hang = tokio::spawn(async move {
        let _: Result<redis::Value, _> =
            redis::cmd("EVAL").arg("while true do end").arg(0).query_async(&mut admin).await;
    });
    let mut said = false;
    for _ in 0..100 {
        if let Err(error) = broker.publish("logged.t", "hello").await {
            said |= chain(&error).contains("SCRIPT KILL");
        }
        if said {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(said, "nobody said that Redis is busy");
    let _: String = setup.tell(&["SCRIPT", "KILL"]).await;
    hang.await.expect("a task");
    let deadline = std::time::Instant::now() + PATIENCE;
    while broker.publish("logged.t", "hello").await.is_err() {
        assert!(std::time::Instant::now() < deadline, "it never works again");
        sleep(Duration::from_millis(20)).await;
    }
    broker.drain(PATIENCE).await;
}

/// `SCRIPT FLUSH` takes the scripts away; nothing is lost, and nothing changes its order.
#[tokio::test]
async fn forgotten_scripts_are_made_known_again() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let broker = broker(setup.builder()).await;
    let mut subscription = broker.subscribe("logged.t").await.expect("a subscription");
    for round in 0..10 {
        let _: String = setup.tell(&["SCRIPT", "FLUSH"]).await;
        let publishes: Vec<_> = (0..100)
            .map(|n| {
                let mut publish =
                    Box::pin(broker.publish("logged.t", format!("{}", round * 100 + n)).into_future());
                // Handed over in this order.
                let _ = futures_util::FutureExt::now_or_never(&mut publish);
                publish
            })
            .collect();
        for publish in publishes {
            publish.await.expect("it is stored");
        }
    }
    for n in 0..1000 {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message").expect("a subscription") {
            Delivery::Message(message) => {
                assert_eq!(message.message().payload().as_str(), Some(&*n.to_string()))
            }
            other => panic!("{other:?}"),
        }
    }
    broker.drain(PATIENCE).await;
}

/// An error that a caller sees names its kind.
#[tokio::test]
async fn nobody_there_is_unavailable() {
    let backend = RedisBackend::builder(format!("redis://:{SECRET}@127.0.0.1:1")).build().expect("settings");
    let error = Lone::attempt(backend).await.expect_err("nobody is there");
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    assert!(chain(&error).contains("is Redis running there"), "{}", chain(&error));
    assert!(!chain(&error).contains(SECRET));
}

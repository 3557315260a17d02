//! The conformance suite of backends, on the servers that there are.

mod support;

use std::{
    io::{Read, Write},
    marker::PhantomData,
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{backend::Backend, topic::TopicName};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::{
    backend::{Harness, SECRET},
    server::free_port,
};
use support::{Kind, Redis, Setup, Valkey, built};

struct Single<K> {
    setup: Setup,
    http: u16,
    kind: PhantomData<K>,
}

fn shared(builder: RedisBuilder) -> Arc<dyn Backend> {
    Arc::new(built(builder))
}

#[async_trait]
impl<K: Kind> Harness for Single<K> {
    async fn start() -> Option<Self> {
        let setup = Setup::start(K::PROGRAM).await?;
        Some(Self { setup, http: http_server(), kind: PhantomData })
    }

    fn node(&self) -> Arc<dyn Backend> {
        shared(self.setup.builder())
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        shared(self.setup.builder().prefix("stranger:"))
    }

    async fn interrupt(&self) {
        self.setup.proxy.refuse();
    }

    async fn restore(&self) {
        self.setup.proxy.heal();
    }

    async fn lose_interests(&self) {
        self.setup.kill_subscribers().await;
    }

    async fn lose_log(&self, topic: &TopicName) {
        for kind in ["meta", "log", "values", "order"] {
            let _: i64 = self.setup.tell(&["DEL", &format!("fanfare:{kind}:{{{topic}}}")]).await;
        }
    }

    /// As if another server had written last.
    async fn lose_end(&self, topic: &TopicName) {
        let _: i64 = self.setup.tell(&["HSET", &format!("fanfare:meta:{{{topic}}}"), "run", "another"]).await;
    }

    async fn garble(&self, topic: &TopicName) {
        let channel = format!("fanfare:db0:topic:{{{topic}}}");
        let _: i64 = self.setup.tell(&["PUBLISH", &channel, "not a message of ours"]).await;
    }

    fn misconfigured(&self) -> Vec<(&'static str, Arc<dyn Backend>)> {
        vec![
            ("a wrong password", shared(RedisBackend::builder(self.setup.url(SECRET, "")))),
            ("no password", shared(RedisBackend::builder(format!("redis://{}", self.setup.proxy.addr())))),
            ("an unknown user", shared(self.setup.builder().user("nobody").password(SECRET))),
            ("a wrong database", shared(self.setup.builder().database(99))),
            (
                "a server of another kind",
                shared(RedisBackend::builder(format!("redis://:{SECRET}@127.0.0.1:{}", self.http))),
            ),
        ]
    }

    fn unreachable(&self) -> Arc<dyn Backend> {
        let port = free_port().expect("a port");
        shared(RedisBackend::builder(format!("redis://:{SECRET}@127.0.0.1:{port}")))
    }

    async fn connections(&self) -> Option<usize> {
        Some(self.setup.proxy.connections())
    }

    fn patience() -> Duration {
        Duration::from_secs(30)
    }
}

/// A server that speaks HTTP, as far as one can tell.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

mod redis_server {
    fanfare_testkit::backend_tests!(super::Single<super::Redis>);
}

mod valkey_server {
    fanfare_testkit::backend_tests!(super::Single<super::Valkey>);
}

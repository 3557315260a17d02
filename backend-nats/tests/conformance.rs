//! The conformance suite of backends, on the servers that there are.

mod support;

use std::{marker::PhantomData, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{backend::Backend, topic::TopicName};
use fanfare_nats::{NatsBackend, NatsBuilder};
use fanfare_testkit::{
    backend::{Exception, Harness, Needs, SECRET},
    faults::impostor,
    server::free_port,
};
use support::{Current, Debians, Kind, Setup, built, url_of};

struct Single<K> {
    setup: Setup,
    /// A server of another kind.
    other: SocketAddr,
    kind: PhantomData<K>,
}

fn shared(builder: NatsBuilder) -> Arc<dyn Backend> {
    Arc::new(built(builder))
}

#[async_trait]
impl<K: Kind> Harness for Single<K> {
    async fn start() -> Option<Self> {
        let setup = Setup::start(K::PROGRAM).await?;
        let other = impostor(b"SSH-2.0-OpenSSH_9.2\r\n", b"Invalid SSH identification string.\r\n").await;
        Some(Self { setup, other, kind: PhantomData })
    }

    fn node(&self) -> Arc<dyn Backend> {
        shared(self.setup.builder())
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        shared(self.setup.builder().prefix("stranger"))
    }

    async fn interrupt(&self) {
        self.setup.proxy.refuse();
    }

    async fn restore(&self) {
        self.setup.proxy.heal();
    }

    async fn lose_interests(&self) {
        if self.setup.is_debians() {
            self.setup.proxy.cut();
        } else {
            let admin = self.setup.admin().await;
            let (nodes, server) = admin.nodes().await;
            admin.kick(&nodes, &server).await;
        }
    }

    /// The logs of all topics are in one stream.
    async fn lose_log(&self, _: &TopicName) {
        self.setup.admin().await.delete_logs().await;
    }

    async fn garble(&self, topic: &TopicName) {
        self.setup.admin().await.publish(format!("fanfare.m.t.{topic}"), "not a message of ours").await;
    }

    fn misconfigured(&self) -> Vec<(&'static str, Arc<dyn Backend>)> {
        let proxy = self.setup.proxy.addr();
        vec![
            ("a wrong password", shared(NatsBackend::builder(self.setup.url(SECRET)))),
            ("no password", shared(NatsBackend::builder(format!("nats://{proxy}")))),
            ("an unknown user", shared(self.setup.builder().user_and_password("nobody", SECRET))),
            ("a token", shared(NatsBackend::builder(format!("nats://{proxy}")).token(SECRET))),
            ("a server of another kind", shared(NatsBackend::builder(url_of(self.other, SECRET)))),
        ]
    }

    fn unreachable(&self) -> Arc<dyn Backend> {
        let port = free_port().expect("a port");
        shared(NatsBackend::builder(format!("nats://app:{SECRET}@127.0.0.1:{port}")))
    }

    async fn connections(&self) -> Option<usize> {
        Some(self.setup.proxy.connections())
    }

    fn exceptions() -> Vec<Exception> {
        Exception::all_that_need(Needs::EndLoss, "an offset is a sequence number of the stream, of which JetStream leaves none out: a stream that has lost its end is replaced").collect()
    }

    fn patience() -> Duration {
        Duration::from_secs(30)
    }
}

mod debians_server {
    fanfare_testkit::backend_tests!(super::Single<super::Debians>);
}

mod current_server {
    fanfare_testkit::backend_tests!(super::Single<super::Current>);
}

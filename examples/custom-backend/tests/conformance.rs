//! The backend passes the suite, through a proxy that fails on request.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::sync::Arc;

use async_trait::async_trait;
use custom_backend::{Hub, Star};
use fanfare_core::{backend::Backend, topic::TopicName};
use fanfare_testkit::{
    backend::{Exception, Harness, Needs},
    proxy::ChaosProxy,
    server::free_port,
};
use tokio::{net::TcpListener, task::JoinHandle};

struct Cluster {
    hub: Hub,
    proxy: ChaosProxy,
    server: JoinHandle<()>,
}

#[async_trait]
impl Harness for Cluster {
    async fn start() -> Option<Self> {
        let (hub, listener) = (Hub::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(hub.clone().serve(listener));
        Some(Self { hub, proxy, server })
    }

    fn node(&self) -> Arc<dyn Backend> {
        Arc::new(Star::new(self.proxy.addr(), "ours"))
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        Arc::new(Star::new(self.proxy.addr(), "theirs"))
    }

    async fn interrupt(&self) {
        self.proxy.refuse();
    }

    async fn restore(&self) {
        self.proxy.heal();
    }

    async fn lose_log(&self, topic: &TopicName) {
        self.hub.forget("ours", topic);
    }

    fn unreachable(&self) -> Arc<dyn Backend> {
        Arc::new(Star::new(([127, 0, 0, 1], free_port().unwrap()).into(), "nowhere"))
    }

    async fn connections(&self) -> Option<usize> {
        Some(self.proxy.connections())
    }

    fn exceptions() -> Vec<Exception> {
        let interests = "what a node wants ends with its connection, and with nothing else";
        let garbage = "nobody but nodes speaks to the hub, and it passes on nothing but messages";
        let mut exceptions: Vec<_> = Exception::all_that_need(Needs::InterestLoss, interests).collect();
        exceptions.extend(Exception::all_that_need(Needs::Garbage, garbage));
        exceptions
            .push(Exception::new("start_errors_say_what_is_wrong", "there are no settings to be wrong"));
        exceptions
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fanfare_testkit::backend_tests!(Cluster);

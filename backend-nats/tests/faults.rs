//! What a server and a network can do to a backend: each is noticed, each ends, and the law holds meanwhile.

mod support;

use std::{marker::PhantomData, net::SocketAddr, sync::Arc, time::Duration};

use async_nats::ConnectOptions;
use async_trait::async_trait;
use fanfare_core::backend::Backend;
use fanfare_nats::NatsBackend;
use fanfare_testkit::{
    faults::{self, EPHEMERAL, Site},
    server::Program,
};
use support::{Current, Debians, Kind, PASSWORD, PATIENCE, Setup, USER, built, url_of};
use tokio::time::{sleep, timeout};

/// A server that is killed, restarted, cut off, slow.
struct On<K> {
    setup: Setup,
    kind: PhantomData<K>,
}

#[async_trait]
impl<K: Kind> faults::Setup for On<K> {
    async fn start() -> Option<Self> {
        Some(Self { setup: Setup::start(K::PROGRAM).await?, kind: PhantomData })
    }

    async fn start_impatient() -> Option<Self> {
        Some(Self { setup: Setup::with(K::PROGRAM, &["max_pending: 2000000"]).await?, kind: PhantomData })
    }

    fn site(&self) -> &Site {
        &self.setup
    }

    fn site_mut(&mut self) -> &mut Site {
        &mut self.setup
    }

    fn backend_at(&self, server: SocketAddr) -> Arc<dyn Backend> {
        Arc::new(built(NatsBackend::builder(url_of(server, PASSWORD))))
    }

    async fn bare_client(&self) -> bool {
        let proxy = self.setup.proxy.addr().to_string();
        let connect = || {
            let login = ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
            timeout(Duration::from_millis(500), login.connect(proxy.as_str()))
        };
        while !matches!(connect().await, Ok(Ok(_))) {
            sleep(Duration::from_millis(5)).await;
        }
        true
    }

    async fn kick(&self) {
        if self.setup.is_debians() {
            // It cannot be told to: as near as one can get.
            self.setup.proxy.cut();
            return;
        }
        let admin = self.setup.admin().await;
        let (nodes, server) = admin.nodes().await;
        assert_eq!(nodes.len(), 2);
        admin.kick(&nodes, &server).await;
    }

    async fn flood(&self, left: usize) -> bool {
        let admin = self.setup.admin().await;
        for _ in 0..10 {
            admin.publish(format!("fanfare.m.t.{EPHEMERAL}"), "x".repeat(60_000)).await;
        }
        admin.nodes().await.0.len() > left
    }
}

mod debians_server {
    fanfare_testkit::fault_tests!(super::On<super::Debians>);
}

mod current_server {
    fanfare_testkit::fault_tests!(super::On<super::Current>);
}

/// A program that stands still for a while must not take that for the server's silence.
#[test]
fn a_busy_program_is_no_silent_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The server and the proxy have a runtime of their own.
    let servers = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(setup) = servers.block_on(Setup::start(Program::NatsCurrent)) else { return };
    let quick =
        setup.builder().ping_every(Duration::from_millis(20)).answer_within(Duration::from_millis(300));
    runtime.block_on(faults::standstill(&setup, built(quick)));
}

/// With a buffer, what is published in an outage is sent after it, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_holds_back_what_is_published() {
    let Some(setup) = Setup::start(Program::NatsCurrent).await else { return };
    let patient = setup.builder().publish_buffer(1000, 1 << 20).publish_within(PATIENCE);
    faults::held_back(&setup, built(patient), built(setup.builder())).await;
}

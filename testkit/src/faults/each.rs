//! The faults, a function each: rounds of one fault, in a [`World`] of its own. Nothing happens where the server's program is missing.
//!
//! They panic when the backend does not stand the fault.

use std::time::Duration;

use fanfare_core::backend::BackendState;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    NOTICED, PATIENCE, Setup, World,
    site::{back, end, world},
};
use crate::{
    SharedBackend,
    proxy::{ChaosProxy, Direction},
};

/// Between two faults everything works.
const CALM: Duration = Duration::from_millis(300);

/// The server is restarted in good order.
pub async fn restart<S: Setup>() {
    let Some(mut setup) = S::start().await else { return };
    let world = world(&setup).await;
    for _ in 0..S::SOME {
        sleep(CALM).await;
        setup.site_mut().server.stop().await.expect("a signal");
        world.noticed("restart").await;
        setup.site_mut().server.restart().await.expect("a server");
        back(&setup, &world, "restart").await;
        world.check().await;
    }
    end(&setup, world, "restart").await;
}

/// The server is killed.
pub async fn kill_9<S: Setup>() {
    let Some(mut setup) = S::start().await else { return };
    let world = world(&setup).await;
    for _ in 0..S::SOME {
        sleep(CALM).await;
        setup.site_mut().server.kill();
        world.noticed("kill -9").await;
        setup.site_mut().server.restart().await.expect("a server");
        back(&setup, &world, "kill -9").await;
        world.check().await;
    }
    end(&setup, world, "kill -9").await;
}

/// Packets vanish in both directions, and nothing says so.
pub async fn blackhole_for_15_s<S: Setup>() {
    let Some(setup) = S::start().await else { return };
    let world = world(&setup).await;
    for _ in 0..S::SOME {
        sleep(CALM).await;
        setup.site().proxy.blackhole();
        tokio::join!(world.noticed("blackhole"), sleep(Duration::from_secs(15)));
        setup.site().proxy.heal();
        back(&setup, &world, "blackhole").await;
        world.check().await;
    }
    end(&setup, world, "blackhole").await;
}

/// Connections are reset, and nobody listens any more.
pub async fn refused_for_10_s<S: Setup>() {
    let Some(setup) = S::start().await else { return };
    let world = world(&setup).await;
    for _ in 0..S::SOME {
        sleep(CALM).await;
        setup.site().proxy.refuse();
        world.noticed("refuse").await;
        sleep(Duration::from_secs(10)).await;
        setup.site().proxy.heal();
        back(&setup, &world, "refuse").await;
        world.check().await;
    }
    end(&setup, world, "refuse").await;
}

/// Slow is not gone; and a connection can also be made over a slow network.
pub async fn latency_of_500_ms<S: Setup>() {
    let Some(setup) = S::start().await else { return };
    let world = world(&setup).await;
    let proxy = &setup.site().proxy;
    for _ in 0..S::SOME {
        proxy.latency(Duration::from_millis(500));
        sleep(Duration::from_secs(6)).await;
        assert_eq!(*world.listener.backend_state().borrow(), BackendState::Up, "slow is not gone");
        world.check().await;
        proxy.heal();
        world.check().await;
    }
    proxy.latency(Duration::from_millis(500));
    proxy.reset();
    world.noticed("reset over a slow network").await;
    World::until_state(&world.listener, BackendState::Up).await;
    proxy.heal();
    end(&setup, world, "latency").await;
}

/// All connections are reset again and again: each fifth time two seconds after the last, when all is settled, else at once.
pub async fn reset<S: Setup>() {
    let Some(setup) = S::start().await else { return };
    let world = world(&setup).await;
    let mut last = Instant::now();
    for round in 0..S::MANY {
        if round % 5 == 0 {
            sleep_until(last + Duration::from_secs(2)).await;
        } else {
            sleep(Duration::from_millis(fastrand::u64(0..100))).await;
        }
        last = Instant::now();
        setup.site().proxy.reset();
        World::until_state(&world.listener, BackendState::Down).await;
        back(&setup, &world, "reset").await;
        world.check().await;
    }
    end(&setup, world, "reset").await;
}

/// The server ends the connections on which messages arrive.
pub async fn kicked<S: Setup>() {
    let Some(setup) = S::start().await else { return };
    let world = world(&setup).await;
    for _ in 0..S::MANY {
        sleep(Duration::from_millis(fastrand::u64(0..100))).await;
        setup.kick().await;
        World::until_state(&world.listener, BackendState::Down).await;
        back(&setup, &world, "kick").await;
        world.check().await;
    }
    end(&setup, world, "kick").await;
}

/// What a node does not read in time the server throws away, and the connection with it.
pub async fn slow_reader<S: Setup>() {
    let Some(setup) = S::start_impatient().await else { return };
    let site = setup.site();
    // The publisher's way stays open.
    let other = ChaosProxy::start(site.server.addr()).await.expect("a proxy");
    let backend = |proxy: &ChaosProxy| SharedBackend::new(setup.backend_at(proxy.addr()));
    let world = World::start(backend(&other), backend(&site.proxy)).await;
    for _ in 0..S::SOME {
        sleep(CALM).await;
        site.proxy.half_open(Direction::ToClient);
        let flood = async { while setup.flood(1).await {} };
        timeout(PATIENCE, flood).await.expect("the server throws out who does not read");
        let noticed = World::until_state(&world.listener, BackendState::Down).await;
        assert!(noticed < NOTICED, "{noticed:?}");
        site.proxy.heal();
        back(&setup, &world, "slow reader").await;
        world.check().await;
    }
    world.end("slow reader").await;
    drop(other);
    site.is_as_before().await;
}

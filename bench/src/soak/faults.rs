//! What goes wrong on purpose: connections, the server, and nodes.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use fanfare_testkit::proxy::Direction;
use fastrand::Rng;
use tokio::time::sleep;

use super::{
    gate::Phase,
    site::Carrier,
    world::{World, between},
};

/// How long a node may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// One after the other until the end, with pauses of any length between them.
pub(super) async fn run(world: Arc<World>, mut rng: Rng) {
    while let Some(_working) = world.gate.work().await {
        sleep(between(&mut rng, 50, 4_000)).await;
        if world.gate.phase() != Phase::Busy {
            continue;
        }
        let done = match world.site.carrier {
            Carrier::Memory => off_the_hub(&world, &mut rng).await,
            _ => any(&world, &mut rng).await,
        };
        if let Err(error) = done {
            world.verdict.wrong("faults", format!("{error:#}"), String::new);
        }
        world.site.heal();
    }
}

/// What is done to the nodes, beside what is done to their connections.
pub(super) async fn restart_nodes(world: Arc<World>, mut rng: Rng) {
    while let Some(_working) = world.gate.work().await {
        sleep(between(&mut rng, 500, 8_000)).await;
        if world.gate.phase() != Phase::Busy {
            continue;
        }
        if let Err(error) = restart_node(&world, &mut rng).await {
            world.verdict.wrong("faults", format!("{error:#}"), String::new);
        }
    }
}

async fn restart_node(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let slot = rng.usize(..world.nodes.len());
    let within = if rng.bool() { STOP_WITHIN } else { between(rng, 0, 500) };
    told(world, "node stopped", format!("node {slot} is stopped within {within:?}"));
    world.nodes.stop(slot, within).await;
    sleep(between(rng, 0, 2_000)).await;
    world.verdict.deed(format!("node {slot} is started"));
    world.nodes.start(slot).await.with_context(|| format!("node {slot}"))?;
    world.verdict.deed(format!("node {slot} is up"));
    Ok(())
}

async fn off_the_hub(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let slot = rng.usize(..world.nodes.len());
    told(world, "off the hub", format!("node {slot} is off the hub"));
    world.site.set_connected(slot, false);
    sleep(between(rng, 1, 5_000)).await;
    Ok(())
}

async fn any(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    match rng.u32(..12) {
        0..9 => connections(world, rng).await,
        9 => paused(world, rng).await,
        _ => server(world, rng).await,
    }
}

/// Something happens to the connections of some nodes.
async fn connections(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let all = rng.u32(..3) == 0;
    let one = rng.usize(..world.nodes.len());
    let kind = rng.u32(..8);
    let (latency, rate) = (between(rng, 5, 800), rng.u64(2_000..200_000));
    let mut lasts = between(rng, 200, 14_000);
    let of = if all { "all nodes".to_owned() } else { format!("node {one}") };
    for (slot, proxy) in world.site.proxies.iter().enumerate() {
        if !all && slot != one {
            continue;
        }
        let name = match kind {
            0 => {
                proxy.cut();
                "cut"
            }
            1 => {
                proxy.reset();
                "reset"
            }
            2 => {
                proxy.latency(latency);
                "latency"
            }
            3 => {
                proxy.throttle(rate);
                "throttle"
            }
            4 => {
                proxy.blackhole();
                "blackhole"
            }
            5 => {
                proxy.half_open(Direction::ToServer);
                "deaf server"
            }
            6 => {
                proxy.half_open(Direction::ToClient);
                "deaf client"
            }
            _ => {
                proxy.refuse();
                "refuse"
            }
        };
        if all && slot > 0 {
            continue;
        }
        told(world, name, format!("{name} for {of} for {lasts:?}"));
    }
    if kind < 2 {
        // That is over at once, and may come again soon.
        lasts = Duration::ZERO;
    }
    sleep(lasts).await;
    world.verdict.deed("healed");
    Ok(())
}

/// The server stands still.
async fn paused(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let lasts = between(rng, 100, 12_000);
    told(world, "server paused", format!("the server is paused for {lasts:?}"));
    let server = world.site.server.lock().await;
    let Some(server) = &*server else { return Ok(()) };
    server.pause()?;
    sleep(lasts).await;
    server.resume()?;
    world.verdict.deed("the server goes on");
    Ok(())
}

/// The server is stopped or killed, and started again with what it has stored.
async fn server(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let mut server = world.site.server.lock().await;
    let Some(server) = &mut *server else { return Ok(()) };
    let away = between(rng, 0, 3_000);
    if rng.bool() {
        told(world, "server killed", format!("the server is killed for {away:?}"));
        server.kill();
    } else {
        told(world, "server stopped", format!("the server is stopped for {away:?}"));
        server.stop().await?;
    }
    sleep(away).await;
    server.restart().await.context("the server does not start again")?;
    world.verdict.deed("the server runs again");
    Ok(())
}

fn told(world: &World, kind: &str, what: String) {
    world.counts.add(&format!("fault: {kind}"));
    world.verdict.deed(what);
}

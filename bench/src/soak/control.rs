//! What the app does to its clients: it calls, moves, subscribes and disconnects them, from any node.

use std::sync::Arc;
use std::{collections::HashSet, time::Duration};

use fanfare::{message::Payload, session::CloseKind};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use super::{
    topics::{OPEN, TOPICS, USERS},
    world::{World, between},
};

/// How long a call or an order may take, its own deadline included.
const WITHIN: Duration = Duration::from_secs(60);

/// Does it until the end.
pub(super) async fn run(world: Arc<World>, mut rng: Rng) {
    while let Some(_working) = world.gate.work().await {
        if timeout(WITHIN, once(&world, &mut rng)).await.is_err() {
            world.verdict.wrong("control", "a call or an order hangs", String::new);
        }
        sleep(between(&mut rng, 0, 1_500)).await;
    }
}

async fn once(world: &World, rng: &mut Rng) {
    let Some(node) = world.nodes.pick(rng) else { return };
    let some = || node.broker.clients().within(Duration::from_secs(3));
    let user = rng.usize(..USERS).to_string();
    let (from, to) = (TOPICS[rng.usize(..OPEN)].name, TOPICS[rng.usize(..OPEN)].name);
    let done = match rng.u32(..10) {
        0..5 => return call(world, some().user(user), rng).await,
        5 => ("moved", some().user(user).move_to(from, to).await),
        6 => ("subscribed", some().user(user).subscribe(to).await),
        7 => ("unsubscribed", some().user(user).unsubscribe(from).await),
        8 => ("reauthorized", some().user(user).reauthorize().await),
        _ => ("disconnected", some().user(user).disconnect(CloseKind::Kicked).await),
    };
    match done {
        (what, Ok(reached)) if reached.is_complete() => world.counts.add(&format!("control: {what}")),
        (what, Ok(_)) => world.counts.add(&format!("control: {what} in part")),
        (what, Err(error)) => world.verdict.wrong("control", format!("{what}: {error}"), String::new),
    }
}

/// Who answers was asked, once, and answers what was asked.
async fn call(world: &World, clients: fanfare::clients::Clients, rng: &mut Rng) {
    let asked = format!("{:x}", rng.u64(..));
    let call = clients.call("echo", Payload::text(asked.clone())).timeout(between(rng, 100, 5_000));
    match call.await {
        Ok(answers) => {
            world.counts.add(if answers.is_complete() {
                "calls to clients"
            } else {
                "calls to clients in part"
            });
            let mut who = HashSet::new();
            for (client, answer) in &answers.answers {
                let is_right = match answer {
                    Ok(answer) => answer.as_str() == Some(&asked),
                    Err(_) => true,
                };
                if !who.insert(*client) || !is_right || answers.answers.len() > answers.asked {
                    world.verdict.wrong("control", format!("asked {asked}: {answers:?}"), String::new);
                }
            }
        }
        Err(error) => world.counts.add(&format!("call: {error}")),
    }
}

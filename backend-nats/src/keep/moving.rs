//! Leaves a server that is about to end, and misses nothing.
//!
//! The connection to another server is made beside the old one, with the same subscriptions. For a moment all comes by both. Then nothing
//! more is sent by the old one; when it has answered a last PING, it has brought all that it brings. What came by the new one
//! meanwhile follows: of each publisher it begins with what has come already, and the core drops what comes twice.

use std::time::Duration;

use fanfare_core::backend::blocks::{Chain, Outage};
use tokio::time::{sleep, timeout};

use super::{
    Node, Servers,
    establish::{Established, attempt},
};
use crate::{
    error::Trouble,
    wire::{Connection, Standby},
};

/// How long all comes by both connections before the old one is left: a cluster's servers have heard by then where this node is.
const BESIDE_EACH_OTHER: Duration = Duration::from_millis(300);

/// How long answers are waited for by the old connection.
const ANSWERED: Duration = Duration::from_millis(200);

/// How long nothing is sent between the last answer by the old connection and the first message by the new one, so that none overtakes
/// another on its way through the cluster.
const PAUSE: Duration = Duration::from_millis(100);

/// Moves to another server, however often it has to be tried. The old connection is served meanwhile. Dropped, it leaves the queue
/// held: who drops it has lost the old connection, and the queue with it.
pub(super) async fn move_away(node: &Node, servers: &Servers, left: &str) -> Established {
    let mut outage = Outage::new();
    loop {
        match move_once(node, servers, left).await {
            Ok(established) => return established,
            Err(trouble) => {
                node.queue.go_on();
                if outage.failed(&trouble) {
                    tracing::warn!(target: "fanfare::nats", error = %Chain(&trouble), "cannot move to another server yet");
                }
            }
        }
        sleep(outage.pause()).await;
    }
}

async fn move_once(node: &Node, servers: &Servers, left: &str) -> Result<Established, Trouble> {
    let (connection, info, server) = attempt(node, servers).await?;
    if info.server_id == left || info.ldm {
        return Err(Trouble::unavailable("no server is known that does not end"));
    }
    Ok((follow(node, connection).await?, info, server))
}

/// Makes a connection one that the node can go on with.
async fn follow(node: &Node, connection: Connection) -> Result<Connection, Trouble> {
    let mut standby = Standby::new(connection);
    let first = node.interests.subscriptions();
    say(node, &mut standby, &first.values().map(String::as_str).collect::<String>()).await?;
    standby.until(sleep(BESIDE_EACH_OTHER)).await?;
    // From here on all that is to be sent waits. What has changed meanwhile is made up for.
    let now = {
        let _subscribing = node.subscribing.lock();
        node.queue.hold();
        node.interests.subscriptions()
    };
    let mut frames = super::subscribe_to(&node.queue.inbox());
    now.iter().filter(|(sid, _)| !first.contains_key(sid)).for_each(|(_, frame)| frames.push_str(frame));
    for sid in first.keys().filter(|sid| !now.contains_key(sid)) {
        frames.push_str(&format!("UNSUB {sid}\r\n"));
    }
    say(node, &mut standby, &frames).await?;
    // What is answered later than this is answered by the new connection.
    let _ = standby.until(timeout(ANSWERED, node.queue.until_answered())).await?;
    standby.until(sleep(PAUSE)).await?;
    node.queue.ping();
    let _ = standby.until(timeout(node.settings.answer_within, node.queue.until_heard())).await?;
    Ok(standby.into_connection())
}

async fn say(node: &Node, standby: &mut Standby, frames: &str) -> Result<(), Trouble> {
    let late = || Trouble::unavailable("another server did not take our subscriptions in time");
    timeout(node.settings.answer_within, standby.say(frames)).await.unwrap_or_else(|_| Err(late()))
}

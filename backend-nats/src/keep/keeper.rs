//! Keeps the connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_core::backend::{
    NodeId,
    blocks::{Chain, Outage},
};
use tokio::time::{Instant, sleep};

use super::{
    Node, Server, Servers,
    establish::{Established, establish},
    moving::move_away,
};
use crate::{
    error::Trouble,
    wire::{self, Asking, Call, Lost, Watch},
};

/// How much of the subscriptions is renewed at once: bytes.
const RENEWED_AT_ONCE: usize = 64 << 10;

/// A connection that is lost sooner than this was none: the next one is not made without a pause.
const LASTING: Duration = Duration::from_millis(500);

/// Keeps the connection, for ever.
pub(crate) async fn keep(node: Arc<Node>) {
    let servers = Servers::new(&node.settings);
    let mut outage = Outage::new();
    loop {
        let mut established = establish(&node, &servers, &mut outage).await;
        let since = Instant::now();
        node.logs.forget();
        meet(&node, &servers, &established);
        let mut renewed = renew(&node);
        let watch = Watch {
            ping_every: node.settings.ping_every,
            answer_within: node.settings.answer_within,
            expires: node.settings.publish_within + node.settings.answer_within,
        };
        let trouble = loop {
            let (connection, info, server) = established;
            let moved = tokio::select! {
                trouble = wire::run(connection, &node.queue, &node.pushed, &watch) => break trouble,
                used = use_connection(&node, &servers, renewed, &info.server_id, &server) => used,
            };
            (established, renewed) = match moved {
                Ok(other) => (other, Vec::new()),
                Err(trouble) => break trouble,
            };
            let to = &established.2.address;
            tracing::info!(target: "fanfare::nats", from = %server.address, %to, "moved from a server that is about to end");
            node.queue.moved();
            meet(&node, &servers, &established);
        };
        // First the core knows, then those who wait hear that it failed.
        node.health.failed(&trouble);
        node.health.set(false);
        node.queue.down();
        forget(&node);
        tracing::warn!(target: "fanfare::nats", error = %Chain(&trouble), "the connection is lost");
        if since.elapsed() > LASTING {
            outage = Outage::new();
        } else {
            outage.failed(&trouble);
            sleep(outage.pause()).await;
        }
    }
}

fn forget(node: &Node) {
    let _subscribing = node.subscribing.lock();
    node.interests.forget();
    node.pushed.forget();
    node.logs.forget();
}

fn meet(node: &Node, servers: &Servers, (_, info, server): &Established) {
    servers.avoid(None);
    servers.hear(&info.connect_urls, server);
    node.logs.meet(info.version());
    node.queue.limit(info.max_payload);
    node.pushed.info.send_replace(info.clone());
}

pub(super) fn subscribe_to(inbox: &str) -> String {
    format!("SUB {inbox}.* {}\r\n", wire::INBOX)
}

/// Begins to use a connection: first of all it is subscribed to all that is wanted.
fn renew(node: &Node) -> Vec<(Asking, Vec<u64>)> {
    let _subscribing = node.subscribing.lock();
    // Who could guess it could answer in the server's place.
    let inbox = format!("_INBOX.fanfare{}{}", NodeId::random(), NodeId::random());
    let queue = &node.queue;
    let (sids, frames) = node.interests.renew(|| queue.next_sid());
    let controls = [node.names.node(node.id), node.names.nodes()].map(|subject| (subject, queue.next_sid()));
    let mut first = subscribe_to(&inbox);
    for (subject, sid) in controls {
        first.push_str(&format!("SUB {subject} {sid}\r\n"));
        node.interests.add_control(subject, sid);
    }
    queue.up(inbox);
    let send = |frames: &str| {
        let call = Call::Frames { subject: "".into(), bytes: Bytes::copy_from_slice(frames.as_bytes()) };
        queue.hand_over(call, false)
    };
    let mut asked = vec![(send(&first), Vec::new())];
    let mut rest = frames.as_str();
    while !rest.is_empty() {
        let end = match rest.as_bytes().get(RENEWED_AT_ONCE..).and_then(|more| memchr::memchr(b'\n', more)) {
            Some(at) => RENEWED_AT_ONCE + at + 1,
            None => rest.len(),
        };
        let (some, more) = rest.split_at(end);
        asked.push((send(some), Vec::new()));
        rest = more;
    }
    if let Some((_, last)) = asked.last_mut() {
        *last = sids;
    }
    asked
}

/// Readies a connection, then sees what the server says of itself, and moves to another one before it ends. Says why it is no
/// good any more.
async fn use_connection(
    node: &Node,
    servers: &Servers,
    renewed: Vec<(Asking, Vec<u64>)>,
    id: &str,
    server: &Server,
) -> Result<Established, Trouble> {
    for (asked, sids) in renewed {
        match asked.answer().await {
            Ok(_) => {
                for sid in sids {
                    node.interests.confirm(sid);
                }
            }
            Err(Lost::Refused(trouble)) => return Err(trouble),
            Err(_) => return Err(Trouble::unavailable("the subscriptions could not be renewed")),
        }
    }
    node.health.set(true);
    let mut info = node.pushed.info.subscribe();
    loop {
        let told = info.borrow_and_update().clone();
        servers.hear(&told.connect_urls, server);
        if told.ldm {
            servers.avoid(Some(server.address.clone()));
            return Ok(move_away(node, servers, id).await);
        }
        if info.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

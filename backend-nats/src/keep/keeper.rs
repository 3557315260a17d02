//! Keeps the connection.

use std::sync::Arc;

use bytes::Bytes;

use super::{Node, Servers, establish::establish};
use crate::{
    error::Trouble,
    settings::Address,
    wire::{self, Asking, Call, ServerInfo, Watch},
};

/// How much of the subscriptions is renewed at once: bytes.
const RENEWED_AT_ONCE: usize = 64 << 10;

/// Keeps the connection, for ever.
pub(crate) async fn keep(node: Arc<Node>) {
    let servers = Servers::new(&node.settings);
    loop {
        let (connection, info, address) = establish(&node, &servers).await;
        servers.avoid(None);
        meet(&node, &servers, info);
        let renewed = renew(&node);
        let watch = Watch {
            ping_every: node.settings.ping_every,
            answer_within: node.settings.answer_within,
            expires: node.settings.publish_within + node.settings.answer_within,
        };
        let trouble = tokio::select! {
            trouble = wire::run(connection, &node.queue, &node.pushed, &watch) => trouble,
            trouble = use_connection(&node, &servers, renewed, &address) => trouble,
        };
        // First the core knows, then those who wait hear that it failed.
        node.health.failed(&trouble);
        node.health.set(false);
        node.queue.down();
        let _subscribing = node.subscribing.lock();
        node.interests.forget();
        node.pushed.forget();
        node.logs.forget();
        tracing::warn!(target: "fanfare::nats", error = %trouble, "the connection is lost");
    }
}

fn meet(node: &Node, servers: &Servers, info: ServerInfo) {
    servers.hear(&info.connect_urls);
    node.logs.meet(info.version());
    node.pushed.info.send_replace(info);
}

/// Begins to use a connection: first of all it is subscribed to all that is wanted.
fn renew(node: &Node) -> Vec<(Asking, Vec<u64>)> {
    let _subscribing = node.subscribing.lock();
    let inbox = format!("_INBOX.fanfare{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let queue = &node.queue;
    let (sids, frames) = node.interests.renew(|| queue.next_sid());
    let controls = [node.names.node(node.id), node.names.nodes()].map(|subject| (subject, queue.next_sid()));
    let mut first = format!("SUB {inbox}.* {}\r\n", wire::INBOX);
    for (subject, sid) in &controls {
        node.interests.add_control(*sid);
        first.push_str(&format!("SUB {subject} {sid}\r\n"));
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

/// Readies a connection, then sees what the server says of itself. Says why it is no good any more.
async fn use_connection(
    node: &Node,
    servers: &Servers,
    renewed: Vec<(Asking, Vec<u64>)>,
    address: &Address,
) -> Trouble {
    for (asked, sids) in renewed {
        match asked.answer().await {
            Ok(_) => sids.into_iter().for_each(|sid| node.interests.confirm(sid)),
            Err(_) => return Trouble::unavailable("the subscriptions could not be renewed"),
        }
    }
    node.health.set(true);
    let mut info = node.pushed.info.subscribe();
    loop {
        let told = info.borrow_and_update().clone();
        servers.hear(&told.connect_urls);
        if told.ldm {
            servers.avoid(Some(address.clone()));
            return Trouble::unavailable("the server is about to end");
        }
        if info.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

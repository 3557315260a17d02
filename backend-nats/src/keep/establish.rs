//! Makes a connection, whatever it takes.

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep;

use super::{Node, Servers, outage::Outage};
use crate::{
    error::Trouble,
    settings::Address,
    wire::{Connection, ServerInfo, greet},
};

/// How many attempts are under way at most. One that hangs does not keep the next from beginning: when a network comes back, a
/// new connection is there sooner than an old one.
const BESIDE_EACH_OTHER: usize = 6;

pub(super) type Established = (Connection, ServerInfo, Address);

/// Tries until there is a connection.
pub(super) async fn establish(node: &Node, servers: &Servers, outage: &mut Outage) -> Established {
    let mut attempts = FuturesUnordered::new();
    attempts.push(attempt(node, servers));
    loop {
        let pause = outage.pause(!attempts.is_empty());
        tokio::select! {
            Some(ended) = attempts.next(), if !attempts.is_empty() => match ended {
                Ok(established) => {
                    if outage.has_spoken() {
                        let after = outage.lasted();
                        tracing::info!(target: "fanfare::nats", ?after, "connected again");
                    }
                    return established;
                }
                Err(trouble) => {
                    if outage.failed(&trouble) {
                        tracing::warn!(target: "fanfare::nats", error = %trouble, "cannot connect");
                    }
                    node.health.failed(&trouble);
                    if attempts.is_empty() {
                        sleep(outage.pause(false)).await;
                        attempts.push(attempt(node, servers));
                    }
                }
            },
            () = sleep(pause) => {
                if attempts.len() < BESIDE_EACH_OTHER {
                    attempts.push(attempt(node, servers));
                }
            }
        }
    }
}

pub(super) async fn attempt(node: &Node, servers: &Servers) -> Result<Established, Trouble> {
    let address = servers.next().ok_or_else(|| Trouble::configuration("the URL names no server"))?;
    let (connection, info) = greet(&address, &node.settings).await?;
    Ok((connection, info, address))
}

//! Makes a connection, whatever it takes.

use fanfare_core::backend::blocks::{Chain, Outage};

use super::{Node, Server, Servers};
use crate::{
    error::Trouble,
    wire::{Connection, ServerInfo, greet},
};

pub(super) type Established = (Connection, ServerInfo, Server);

/// Tries until there is a connection.
pub(super) async fn establish(node: &Node, servers: &Servers, outage: &mut Outage) -> Established {
    let failed = |trouble: &Trouble, speaks| {
        if speaks {
            tracing::warn!(target: "fanfare::nats", error = %Chain(trouble), "cannot connect");
        }
        node.health.failed(trouble);
    };
    let established = outage.until_over(|| attempt(node, servers), failed).await;
    if outage.has_spoken() {
        let after = outage.lasted();
        tracing::info!(target: "fanfare::nats", ?after, "connected again");
    }
    established
}

pub(super) async fn attempt(node: &Node, servers: &Servers) -> Result<Established, Trouble> {
    let server = servers.next().ok_or_else(|| Trouble::configuration("the URL names no server"))?;
    let (connection, info) = greet(&server.address, &server.name, &node.settings).await?;
    Ok((connection, info, server))
}

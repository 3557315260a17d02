//! Makes a connection, whatever it takes.

use fanfare_core::backend::blocks::Outage;

use super::{Node, Servers};
use crate::{
    error::Trouble,
    settings::Address,
    wire::{Connection, ServerInfo, greet},
};

pub(super) type Established = (Connection, ServerInfo, Address);

/// Tries until there is a connection.
pub(super) async fn establish(node: &Node, servers: &Servers, outage: &mut Outage) -> Established {
    let failed = |trouble: &Trouble, speaks| {
        if speaks {
            tracing::warn!(target: "fanfare::nats", error = %trouble, "cannot connect");
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
    let address = servers.next().ok_or_else(|| Trouble::configuration("the URL names no server"))?;
    let (connection, info) = greet(&address, &node.settings).await?;
    Ok((connection, info, address))
}

//! Makes a connection, whatever it takes.

use fanfare_core::backend::blocks::{Chain, Outage};
use redis::Value;
use tokio::time::timeout;

use super::{Node, Peer, Role, sentinel};
use crate::{
    error::{Trouble, answered},
    settings::{Address, Topology},
    wire::{Connection, Hello, connect, greet},
};

/// Tries until there is a connection.
pub(super) async fn establish(node: &Node, peer: &Peer, role: Role, outage: &mut Outage) -> Established {
    let failed = |trouble: &Trouble, speaks| {
        if speaks {
            tracing::warn!(target: "fanfare::redis", connection = role.name(), error = %Chain(trouble), "cannot connect");
        }
        node.health.failed(trouble);
        peer.queue(role).give_up();
    };
    let established = outage.until_over(|| attempt(node, peer, role), failed).await;
    if outage.has_spoken() {
        let after = outage.lasted();
        tracing::info!(target: "fanfare::redis", connection = role.name(), ?after, "connected again");
    }
    established
}

type Established = (Connection, Hello, Address);

async fn attempt(node: &Node, peer: &Peer, role: Role) -> Result<Established, Trouble> {
    let settings = &node.settings;
    let (address, is_cluster) = match (&settings.topology, &peer.address) {
        (Topology::Cluster(_), Some(address)) => (address.clone(), true),
        (Topology::Cluster(_), None) => {
            return Err(Trouble::unavailable("no server of the Cluster is known"));
        }
        (Topology::Single(address), _) => (address.clone(), false),
        (Topology::Sentinel { sentinels, master, credentials }, _) => {
            (sentinel::master(settings, sentinels, master, credentials).await?, false)
        }
    };
    let mut connection = connect(&address, settings).await?;
    let scripts = match role {
        Role::Commands => node.scripts.load(),
        Role::Pushes => Vec::new(),
    };
    let hello = greet(&mut connection, &settings.credentials, settings.db, settings, &scripts).await?;
    match (hello.is_cluster, is_cluster) {
        (true, false) => {
            return Err(Trouble::configuration(
                "the server is part of a Cluster: use a redis-cluster:// URL",
            ));
        }
        (false, true) => {
            return Err(Trouble::configuration("the server is not part of a Cluster: use a redis:// URL"));
        }
        _ => {}
    }
    if !hello.is_master {
        let message =
            "the server is a replica and takes no writes: name the master, or use Sentinel or Cluster";
        return Err(match settings.topology {
            Topology::Single(_) => Trouble::configuration(message),
            // It changes under our hands.
            _ => Trouble::unavailable(message),
        });
    }
    if role == Role::Commands && !is_cluster {
        mark_life(node, &mut connection).await?;
    }
    Ok((connection, hello, address))
}

/// Has the server say that it lives a new life, if it does, before anything is written to it.
async fn mark_life(node: &Node, connection: &mut Connection) -> Result<(), Trouble> {
    let limit = node.settings.answer_within;
    let marked = timeout(limit, connection.ask(&[node.scripts.mark_life(&node.names)])).await;
    let silent = || Trouble::unavailable(format!("the server did not answer within {limit:?}"));
    match marked.map_err(|_| silent())??.pop() {
        Some(Value::ServerError(error)) => Err(answered(&error)),
        _ => Ok(()),
    }
}

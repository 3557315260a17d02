//! Asks Sentinels who the master is (Redis documentation, "Guidelines for Redis clients with support for Sentinel").

use std::collections::HashMap;

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use crate::{
    error::{Trouble, answered},
    settings::{Address, Credentials, Settings},
    wire::{command, connect, value},
};

/// The master's address, as most Sentinels name it: one that is cut off from the others may name a master that was
/// replaced long ago.
pub(crate) async fn master(
    settings: &Settings,
    sentinels: &[Address],
    name: &str,
    credentials: &Credentials,
) -> Result<Address, Trouble> {
    let mut trouble = Trouble::configuration("no Sentinel is named");
    let mut asking: FuturesUnordered<_> = sentinels
        .iter()
        .map(async |sentinel| {
            let asking = timeout(settings.connect_within * 2, ask(settings, sentinel, name, credentials));
            let silent = || Trouble::unavailable(format!("the Sentinel at {sentinel} does not answer"));
            asking.await.unwrap_or_else(|_| Err(silent()))
        })
        .collect();
    let mut named: HashMap<Address, usize> = HashMap::new();
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(address) => {
                let count = named.entry(address.clone()).or_default();
                *count += 1;
                if *count > sentinels.len() / 2 {
                    return Ok(address);
                }
            }
            Err(error) => trouble = error,
        }
    }
    // Without a majority: what most of those say that can be asked, and of several always the same.
    let most = named.into_iter().max_by_key(|(address, count)| (*count, address.to_string()));
    most.map(|(address, _)| address).ok_or(trouble)
}

async fn ask(
    settings: &Settings,
    sentinel: &Address,
    name: &str,
    credentials: &Credentials,
) -> Result<Address, Trouble> {
    let mut connection = connect(sentinel, settings).await?;
    let mut commands = Vec::new();
    if let Some(password) = &credentials.password {
        let arguments = credentials.user.iter().map(String::as_str).chain([password.reveal()]);
        commands.push(command("AUTH", arguments));
    }
    commands.push(command("SENTINEL", ["GET-MASTER-ADDR-BY-NAME", name]));
    let mut answers = connection.ask(&commands).await?;
    if let Some(redis::Value::ServerError(error)) =
        answers.iter().find(|answer| matches!(answer, redis::Value::ServerError(_)))
    {
        return Err(match error.code() {
            "WRONGPASS" | "NOAUTH" | "NOPERM" => {
                Trouble::configuration("the Sentinel refuses user or password: set the login for Sentinels")
            }
            "ERR" => Trouble::configuration(format!("the server at {sentinel} is no Sentinel")),
            _ => answered(error),
        });
    }
    let unknown =
        || Trouble::configuration(format!("the Sentinel at {sentinel} knows no master of the name {name}"));
    let address = answers.pop().and_then(value::array).ok_or_else(unknown)?;
    match address.as_slice() {
        [host, port] => {
            let port = value::number(port).and_then(|port| u16::try_from(port).ok()).ok_or_else(unknown)?;
            Ok(Address::Tcp(value::text(host).ok_or_else(unknown)?.to_owned(), port))
        }
        _ => Err(unknown()),
    }
}

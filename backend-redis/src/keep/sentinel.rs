//! Asks Sentinels who the master is (Redis documentation, "Guidelines for Redis clients with support for Sentinel").

use tokio::time::timeout;

use crate::{
    error::Trouble,
    settings::{Address, Credentials, Settings},
    wire::{command, connect, value},
};

/// The master's address, by the first Sentinel that knows it.
pub(crate) async fn master(
    settings: &Settings,
    sentinels: &[Address],
    name: &str,
    credentials: &Credentials,
) -> Result<Address, Trouble> {
    let mut trouble = Trouble::configuration("no Sentinel is named");
    // Not always the same one first: it may be the one that hangs.
    let first = fastrand::usize(..sentinels.len().max(1));
    for index in 0..sentinels.len() {
        let sentinel = &sentinels[(first + index) % sentinels.len()];
        let asking = timeout(settings.connect_within * 2, ask(settings, sentinel, name, credentials));
        match asking.await {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(error)) => trouble = error,
            Err(_) => trouble = Trouble::unavailable(format!("the Sentinel at {sentinel} does not answer")),
        }
    }
    Err(trouble)
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
            _ => Trouble::of(error),
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

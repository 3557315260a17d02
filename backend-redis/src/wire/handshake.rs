//! The first words: RESP3, who we are, which database, and what the server is.

use bytes::Bytes;
use redis::Value;
use tokio::time::timeout;

use super::{Connection, command, value};
use crate::{
    error::{Trouble, answered},
    settings::{Credentials, Settings},
};

/// The oldest version with all that a log needs (`XTRIM MINID`).
const OLDEST: (u64, u64) = (6, 2);

/// The oldest version with sharded pub/sub.
const OLDEST_CLUSTER: (u64, u64) = (7, 0);

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The name of this run of the server: another after a restart.
    pub(crate) run: String,
    pub(crate) is_cluster: bool,
    pub(crate) is_master: bool,
}

/// Greets a server: everything in one round trip.
///
/// The password goes in a command of its own: an old server that does not know HELLO would quote its arguments.
pub(crate) async fn greet(
    connection: &mut Connection,
    credentials: &Credentials,
    db: u32,
    settings: &Settings,
    scripts: &[Bytes],
) -> Result<Hello, Trouble> {
    let mut commands = Vec::new();
    let password = credentials.password.as_ref();
    if let Some(password) = password {
        let arguments = credentials.user.iter().map(String::as_str).chain([password.reveal()]);
        commands.push(command("AUTH", arguments));
    }
    let hello = commands.len();
    commands.push(command("HELLO", ["3"]));
    commands.push(command("CLIENT", ["SETNAME", "fanfare"]));
    commands.push(command("SELECT", [db.to_string()]));
    commands.push(command("INFO", ["server"]));
    commands.extend_from_slice(scripts);
    let asked = timeout(settings.answer_within, connection.ask(&commands));
    let answers = asked.await.unwrap_or_else(|_| {
        let limit = settings.answer_within;
        Err(Trouble::unavailable(format!(
            "the server accepted the connection, but said nothing for {limit:?}"
        )))
    })?;
    if password.is_some() {
        check(&answers[0], db)?;
    }
    check_hello(&answers[hello])?;
    // What a user may not be told of is not worth an error: CLIENT SETNAME.
    check(&answers[hello + 2], db)?;
    check(&answers[hello + 3], db)?;
    for answer in &answers[hello + 4..] {
        check(answer, db)?;
    }
    understand(&answers[hello], &answers[hello + 3])
}

/// The version and the role are the server's own; [`Hello`] holds what we need of them.
fn understand(hello: &Value, info: &Value) -> Result<Hello, Trouble> {
    let field = |name| value::field(hello, name).and_then(value::text);
    let version = field("version").unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let is_cluster = field("mode") == Some("cluster");
    let oldest = if is_cluster { OLDEST_CLUSTER } else { OLDEST };
    if found < oldest {
        return Err(too_old(version, oldest));
    }
    let run = value::text(info).and_then(|info| info.lines().find_map(|line| line.strip_prefix("run_id:")));
    let run = run.map(str::trim).filter(|run| !run.is_empty()).ok_or_else(|| {
        Trouble::configuration("the server does not say its run_id in INFO server: is it a proxy?")
    })?;
    Ok(Hello { run: run.to_owned(), is_cluster, is_master: field("role") != Some("replica") })
}

fn check_hello(answer: &Value) -> Result<(), Trouble> {
    match answer {
        Value::ServerError(error)
            if error.code() == "NOPROTO"
                || error.details().unwrap_or_default().contains("unknown command") =>
        {
            Err(Trouble::configuration(
                "the server does not know HELLO 3: it is older than Redis 6, or a proxy that speaks RESP2 alone",
            ))
        }
        other => check(other, 0),
    }
}

/// Errors of the handshake are told by their code alone: they may quote what we said.
fn check(answer: &Value, db: u32) -> Result<(), Trouble> {
    let Value::ServerError(error) = answer else { return Ok(()) };
    let details = error.details().unwrap_or_default();
    Err(match error.code() {
        "WRONGPASS" => Trouble::configuration("the server refuses user or password"),
        "NOAUTH" => Trouble::configuration("the server wants a password: set one"),
        "ERR" if details.contains("without any password configured") => Trouble::configuration(
            "a password was given, but the server has none: leave it out, or set requirepass",
        ),
        "ERR" if details.contains("DB index") || details.contains("SELECT is not allowed") => {
            Trouble::configuration(format!(
                "the server has no database {db}: see `databases` in its configuration"
            ))
        }
        "ERR" if details.contains("max number of clients") => {
            Trouble::unavailable("the server has as many clients as it takes: see `maxclients`")
        }
        "NOPERM" => Trouble::configuration(
            "the ACL user may not connect as we do: it needs SELECT, INFO, PING and SCRIPT LOAD, see the crate's documentation",
        ),
        _ => match answered(error) {
            known if known.kind() != fanfare_core::backend::BackendErrorKind::Refused => known,
            _ => Trouble::configuration(format!("the server refuses the handshake with {}", error.code())),
        },
    })
}

fn too_old(version: &str, oldest: (u64, u64)) -> Trouble {
    let plain: String = version.chars().filter(|c| c.is_ascii_digit() || *c == '.').take(20).collect();
    let (major, minor) = oldest;
    Trouble::configuration(format!(
        "the server's version is {plain}: Redis {major}.{minor} or newer is needed"
    ))
}

//! The first words: who we are, and whether the server takes us.

use tokio::time::timeout;

use super::{Connection, ServerInfo, connect, login::Hello, parser::Frame};
use crate::{
    error::{Trouble, closed},
    settings::{Address, Settings},
};

/// The oldest version with all that is needed: headers, republishing, direct reads.
const OLDEST: (u64, u64) = (2, 9);

/// How large a message a server has to take: frames between nodes have up to 60 KiB.
const LEAST_PAYLOAD: usize = 64 << 10;

/// Connects and logs in. What the server says of itself afterwards counts: it may tell of other servers.
pub(crate) async fn greet(
    address: &Address,
    name: &str,
    settings: &Settings,
) -> Result<(Connection, ServerInfo), Trouble> {
    let (mut connection, mut info) = connect(address, name, settings).await?;
    check(&info)?;
    let hello = Hello::new(settings, &info.nonce).await?;
    let hello = serde_json::to_vec(&hello).map_err(|_| Trouble::configuration("the login is no text"))?;
    let said = [b"CONNECT ".as_slice(), &hello, b"\r\nPING\r\n"].concat();
    let answered = async {
        connection.write(&said).await?;
        loop {
            match connection.frames.next().await? {
                Frame::Pong => return Ok(()),
                Frame::Error(error) => return Err(closed(&error)),
                Frame::Info(newer) => info = ServerInfo::parse(&newer)?,
                Frame::Ping => connection.write(b"PONG\r\n").await?,
                Frame::Ok | Frame::Message(_) => {}
            }
        }
    };
    let limit = settings.answer_within;
    let answered = timeout(limit, answered).await.unwrap_or_else(|_| {
        Err(Trouble::unavailable(format!("{address} did not answer our login within {limit:?}")))
    });
    answered?;
    check(&info)?;
    Ok((connection, info))
}

fn check(info: &ServerInfo) -> Result<(), Trouble> {
    if info.version() < OLDEST || !info.headers {
        let plain: String =
            info.version.chars().filter(|ch| ch.is_ascii_digit() || *ch == '.').take(20).collect();
        let (major, minor) = OLDEST;
        return Err(Trouble::configuration(format!(
            "the server's version is {plain}: NATS {major}.{minor} or newer is needed, with headers"
        )));
    }
    if (1..LEAST_PAYLOAD).contains(&info.max_payload) {
        return Err(Trouble::configuration(format!(
            "the server takes messages of {} bytes at most, and what nodes tell each other needs {LEAST_PAYLOAD}: raise `max_payload`",
            info.max_payload
        )));
    }
    Ok(())
}

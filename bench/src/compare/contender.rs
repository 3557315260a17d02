//! The servers that can be compared.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::fan::WireMode;

/// A server and how it is started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Contender {
    pub(super) name: String,
    /// `--wire` of the load generator.
    pub(super) wire: String,
    /// Path of the load generator's `--url`, where it is not the wire's own.
    pub(super) path: String,
    /// Program and arguments; `{port}` and `{threads}` are replaced.
    command: Vec<String>,
}

/// The servers of this package, built beside this program.
pub(super) fn builtin() -> Result<Vec<Contender>> {
    // The load generator publishes on one connection as fast as it can; a user's default would slow it down.
    let server: &[&str] =
        &["--listen", "127.0.0.1:{port}", "--threads", "{threads}", "--commands-per-second", "10000000"];
    let logged = [server, &["--history", "1000"]].concat();
    let by_http = [server, &["--streams-by-http"]].concat();
    let peer: &[&str] = &["--listen", "127.0.0.1:{port}", "--threads", "{threads}"];
    let lean_peer = [peer, &["--read-buffer", "4096"]].concat();
    [
        ("fanfare", "v1", "server", server),
        ("fanfare-plain", "plain", "server", server),
        ("fanfare-log", "v1", "server", &logged),
        ("fanfare-sse", "sse", "server", server),
        ("fanfare-sse-v1", "sse-v1", "server", server),
        ("fanfare-sse-http", "sse", "server", &by_http),
        ("fanfare-sse-log", "sse", "server", &logged),
        ("peer", "raw", "peer", peer),
        ("peer-4k", "raw", "peer", &lean_peer),
        ("peer-sse", "sse-raw", "peer", peer),
    ]
    .into_iter()
    .map(|(name, wire, program, arguments)| {
        let program = sibling(program)?;
        let command = std::iter::once(program).chain(arguments.iter().map(ToString::to_string)).collect();
        Ok(Contender { name: name.into(), wire: wire.into(), path: String::new(), command })
    })
    .collect()
}

/// The path of another program of this package.
pub(super) fn sibling(program: &str) -> Result<String> {
    let path = std::env::current_exe()?.with_file_name(program);
    Ok(path.to_str().context("the build folder's path is not UTF-8")?.to_owned())
}

impl Contender {
    /// Reads `NAME=WIRE:COMMAND` or `NAME=WIRE/PATH:COMMAND`; the command's words are separated by blanks.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let usage = || format!("{text} is not NAME=WIRE:COMMAND or NAME=WIRE/PATH:COMMAND");
        let (name, rest) = text.split_once('=').with_context(usage)?;
        let (wire, command) = rest.split_once(':').with_context(usage)?;
        let (wire, path) = wire.split_at(wire.find('/').unwrap_or(wire.len()));
        let command: Vec<String> = command.split_whitespace().map(Into::into).collect();
        ensure!(!name.is_empty() && !name.contains('/') && !command.is_empty(), usage());
        let known: Vec<String> = WireMode::value_variants()
            .iter()
            .filter_map(|mode| Some(mode.to_possible_value()?.get_name().to_owned()))
            .collect();
        ensure!(known.iter().any(|known| known == wire), "{wire} is no wire: {}", known.join(", "));
        Ok(Self { name: name.into(), wire: wire.into(), path: path.into(), command })
    }

    /// The words of the command that starts it.
    pub(super) fn command(&self, port: u16, threads: u32) -> Vec<String> {
        let fill = |word: &String| {
            word.replace("{port}", &port.to_string()).replace("{threads}", &threads.to_string())
        };
        self.command.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_ones_own() {
        let other = Contender::parse("floor=raw:/opt/floor {port} batch").unwrap();
        assert_eq!((other.name.as_str(), other.wire.as_str()), ("floor", "raw"));
        assert_eq!(other.command(81, 2), ["/opt/floor", "81", "batch"]);
        let stream = Contender::parse("floor=sse-raw/sub:/opt/floor {port} batch sse").unwrap();
        assert_eq!((stream.wire.as_str(), stream.path.as_str()), ("sse-raw", "/sub"));
        for wrong in ["floor", "floor=raw", "floor=raw:", "floor=http:x", "a/b=raw:x", "=raw:x"] {
            assert!(Contender::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_packages_own() {
        let all = builtin().unwrap();
        let log = all.iter().find(|contender| contender.name == "fanfare-log").unwrap();
        let command = log.command(7, 3).join(" ");
        assert!(command.ends_with(
            "server --listen 127.0.0.1:7 --threads 3 --commands-per-second 10000000 --history 1000"
        ));
    }
}

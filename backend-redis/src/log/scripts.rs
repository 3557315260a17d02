//! The scripts, and how they are called.

use bytes::Bytes;

use crate::{
    names::Names,
    wire::{Packed, command},
};

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// All scripts.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) open: Script,
    pub(crate) history: Script,
    pub(crate) latest: Script,
    pub(crate) trial: Script,
    life: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            publish: Script::new(include_str!("publish.lua")),
            open: Script::new(include_str!("open.lua")),
            history: Script::new(include_str!("history.lua")),
            latest: Script::new(include_str!("latest.lua")),
            trial: Script::new(include_str!("trial.lua")),
            life: Script::new(include_str!("life.lua")),
        }
    }

    /// The commands that make the scripts known to a server.
    pub(crate) fn load(&self) -> Vec<Bytes> {
        let all = [&self.publish, &self.open, &self.history, &self.latest, &self.trial, &self.life];
        all.map(Script::load).into()
    }

    /// The command that marks a database with the life that its server is in.
    pub(crate) fn mark_life(&self, names: &Names) -> Bytes {
        self.life.pack(&[names.life().as_bytes()], &[], &[])
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    pub(crate) fn load(&self) -> Bytes {
        command("SCRIPT", ["LOAD", self.text])
    }

    /// A call by the script's hash.
    pub(crate) fn call<'a>(&self, keys: &[&'a [u8]], arguments: &[&'a [u8]]) -> Packed {
        self.pack(keys, arguments, &[]).into()
    }

    /// A call whose last arguments are the runs of the servers that are up when it is sent; both are empty but on a Cluster.
    pub(crate) fn call_with_runs<'a>(&self, keys: &[&'a [u8]], arguments: &[&'a [u8]]) -> Packed {
        Packed::without_runs(self.pack(keys, arguments, &[b"", b""]))
    }

    fn pack<'a>(&self, keys: &[&'a [u8]], arguments: &[&'a [u8]], more: &[&'a [u8]]) -> Bytes {
        let count = keys.len().to_string();
        let head = [self.hash.as_bytes(), count.as_bytes()];
        command("EVALSHA", head.iter().chain(keys).chain(arguments).chain(more))
    }
}

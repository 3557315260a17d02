//! Which servers there are.

use parking_lot::Mutex;

use crate::settings::{Address, Settings};

/// The servers that may be connected to: those of the settings, and those that they told of.
pub(crate) struct Servers {
    state: Mutex<State>,
}

struct State {
    known: Vec<Address>,
    told: Vec<Address>,
    next: usize,
    /// Not the one that is about to end.
    avoided: Option<Address>,
}

impl Servers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut known = settings.servers.clone();
        // Nodes that lose a server together do not all go to the same one.
        fastrand::shuffle(&mut known);
        Self { state: Mutex::new(State { known, told: Vec::new(), next: 0, avoided: None }) }
    }

    /// Takes over what a server tells of others: `host:port`.
    pub(crate) fn hear(&self, urls: &[String]) {
        let mut told: Vec<_> = urls.iter().filter_map(|url| address(url)).collect();
        fastrand::shuffle(&mut told);
        self.state.lock().told = told;
    }

    /// The next one to try.
    pub(crate) fn next(&self) -> Option<Address> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let told = state.told.iter().filter(|told| !state.known.contains(told));
        let all: Vec<_> = state.known.iter().chain(told).collect();
        for _ in 0..all.len() {
            let address = all[state.next % all.len()];
            state.next = state.next.wrapping_add(1);
            if state.avoided.as_ref() != Some(address) || all.len() == 1 {
                return Some(address.clone());
            }
        }
        None
    }

    /// A server is left for others until one of them has been met.
    pub(crate) fn avoid(&self, address: Option<Address>) {
        self.state.lock().avoided = address;
    }
}

fn address(url: &str) -> Option<Address> {
    let (host, port) = url.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_servers_write_them() {
        let at = |host: &str, port| Some(Address { host: host.into(), port });
        assert_eq!(address("10.0.0.1:4222"), at("10.0.0.1", 4222));
        assert_eq!(address("[::1]:4222"), at("::1", 4222));
        assert_eq!(address("nonsense"), None);
    }
}

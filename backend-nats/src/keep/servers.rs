//! Which servers there are.

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::settings::{Address, Settings};

/// A server that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: Address,
    /// What its certificate has to name.
    pub(crate) name: String,
}

/// The servers that may be connected to: those of the settings, and those that they told of.
pub(crate) struct Servers {
    state: Mutex<State>,
}

struct State {
    known: Vec<Server>,
    told: Vec<Server>,
    next: usize,
    /// Not the one that is about to end.
    avoided: Option<Address>,
}

impl Servers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let named = |address: &Address| Server { address: address.clone(), name: address.host.clone() };
        let mut known: Vec<_> = settings.servers.iter().map(named).collect();
        // Nodes that lose a server together do not all go to the same one.
        fastrand::shuffle(&mut known);
        Self { state: Mutex::new(State { known, told: Vec::new(), next: 0, avoided: None }) }
    }

    /// Takes over what a server tells of others: `host:port`. Of one that it tells of by an IP address the certificate has to name what the
    /// teller's had to: certificates name hosts, and servers tell of addresses. The other clients of NATS do the same.
    pub(crate) fn hear(&self, urls: &[String], teller: &Server) {
        let told = urls.iter().filter_map(|url| address(url)).map(|address| {
            let name =
                if is_ip(&address.host) && !is_ip(&teller.name) { &teller.name } else { &address.host };
            Server { name: name.clone(), address }
        });
        let mut told: Vec<_> = told.collect();
        fastrand::shuffle(&mut told);
        self.state.lock().told = told;
    }

    /// The next one to try.
    pub(crate) fn next(&self) -> Option<Server> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let is_known = |told: &Server| state.known.iter().any(|known| known.address == told.address);
        let told = state.told.iter().filter(|told| !is_known(told));
        let all: Vec<_> = state.known.iter().chain(told).collect();
        for _ in 0..all.len() {
            let server = all[state.next % all.len()];
            state.next = state.next.wrapping_add(1);
            if state.avoided.as_ref() != Some(&server.address) || all.len() == 1 {
                return Some(server.clone());
            }
        }
        None
    }

    /// A server is left for others until one of them has been met.
    pub(crate) fn avoid(&self, address: Option<Address>) {
        self.state.lock().avoided = address;
    }
}

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
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

    #[test]
    fn a_server_that_is_told_of_by_its_address_has_the_name_of_who_told() {
        let server = |host: &str, name: &str| Server {
            address: Address { host: host.into(), port: 4222 },
            name: name.into(),
        };
        for (teller, url, told) in [
            (server("nats.example", "nats.example"), "10.0.0.2:4222", server("10.0.0.2", "nats.example")),
            // It was told of itself.
            (server("10.0.0.2", "nats.example"), "[::1]:4222", server("::1", "nats.example")),
            (server("nats.example", "nats.example"), "b.example:4222", server("b.example", "b.example")),
            // Certificates may name addresses, too: each its own.
            (server("10.0.0.1", "10.0.0.1"), "10.0.0.2:4222", server("10.0.0.2", "10.0.0.2")),
        ] {
            let state = State { known: vec![teller.clone()], told: Vec::new(), next: 1, avoided: None };
            let servers = Servers { state: Mutex::new(state) };
            servers.hear(&[url.to_owned()], &teller);
            assert_eq!(servers.next(), Some(told));
        }
    }
}

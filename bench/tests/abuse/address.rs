//! Too many connections from one address.

use crate::client::{Client, http, upgrade};
use crate::server::{Server, undisturbed, until};

/// Beside the bystander's two.
const LEFT: usize = 4;
const OPTIONS: [&str; 2] = ["--connections-per-address", "6"];

fn is_refused(server: &Server) {
    let mut client = Client::tcp(server.address);
    client.send(upgrade("/ws").as_bytes());
    client.upgraded();
    client.closed_with(4102, "connection_limit");
    let answer = http(server.address, upgrade("/ws?topic=t").as_bytes());
    let error = &answer.body["error"];
    assert_eq!((answer.status, &error["code"]), (429, &"limit_exceeded".into()), "{answer:?}");
    assert_eq!((&error["limit"], &error["value"]), (&6.into(), &7.into()), "{answer:?}");
}

/// As many as there is room for, as soon as those before have left theirs.
fn fill(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    until("there is room again", || {
        let mut client = Client::v1(server.address);
        client.text(r#"{"id":77,"ping":{}}"#);
        if client.json()["id"] == 77 {
            clients.push(client);
        }
        clients.len() == LEFT
    });
    clients
}

#[test]
fn connections_of_one_address_are_limited() {
    undisturbed(&OPTIONS, |server| {
        let clients = fill(server);
        is_refused(server);
        is_refused(server);
        // Requests are no connections.
        let healthz = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(http(server.address, healthz).status, 200);
        for mut client in clients {
            client.is_well();
        }
    });
}

#[test]
fn who_leaves_in_whatever_way_leaves_room() {
    undisturbed(&OPTIONS, |server| {
        for round in 0..100 {
            let mut clients = fill(server);
            is_refused(server);
            for (n, mut client) in clients.drain(..).enumerate() {
                match (round + n) % 4 {
                    0 => drop(client),
                    1 => client.reset(),
                    2 => {
                        client.send(b"\xFF");
                        client.closed_with(1002, "protocol_error");
                    }
                    _ => {
                        client.text(r#"{"connect":{"subscribe":[{"topic":"t"},{"topic":"t.*"}]}}"#);
                        client.half_close();
                        client.rest();
                    }
                }
            }
        }
        fill(server);
    });
}

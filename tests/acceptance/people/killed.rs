//! A node is killed, and who was there has left.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::harness::{Backend, Carrier, Client, on_several_nodes};
use crate::support::{App, PATIENCE};

on_several_nodes! {
    the_members_of_a_node_that_is_killed_leave_everywhere_exactly_once
}

const ROOM: &str = "room.lobby";

/// How many people are on the node that is killed, besides Ann.
const DOOMED: usize = 15;

/// A process. A silent one is away after three of its heartbeats and a second: 1.6 s.
fn node(carrier: &Carrier, address: &str) -> App {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acceptance-page"));
    App::spawn(command.args(["--listen", address, "--backend", &carrier.url, "--heartbeat", "200"]))
}

async fn enter(node: &App, user: &str) -> Client {
    let mut client = Client::of_user(node.address(), user).await;
    client.subscribe(ROOM).await;
    client
}

/// A member that is told who is there.
struct Watcher {
    client: Client,
    /// Who is there, by what was told: clients with their users.
    there: BTreeMap<String, String>,
    users: Value,
    joined: Vec<String>,
    left: Vec<String>,
}

impl Watcher {
    async fn enter(node: &App, user: &str) -> Self {
        let mut client = Client::of_user(node.address(), user).await;
        client.ask(json!({ "subscribe": { "topic": ROOM, "presence": true } })).await;
        let (there, users) = (BTreeMap::new(), Value::Null);
        let mut watcher = Self { client, there, users, joined: Vec::new(), left: Vec::new() };
        watcher.hear().await;
        watcher
    }

    /// Takes in the next frame, which holds each client once, and nobody who is there already or no longer.
    async fn hear(&mut self) {
        let frame = self.client.next().await;
        assert_eq!(frame["topic"], ROOM, "{frame}");
        let list = |name: &str| frame["presence"][name].as_array().cloned().unwrap_or_default();
        for (name, is_snapshot) in [("snapshot", true), ("join", false)] {
            for member in list(name) {
                let client = member["client"].as_str().unwrap().to_owned();
                let user = member["user"].as_str().unwrap().to_owned();
                assert!(self.there.insert(client.clone(), user).is_none(), "{client} joins twice: {frame}");
                if !is_snapshot {
                    self.joined.push(client);
                }
            }
        }
        for client in list("leave") {
            let client = client.as_str().unwrap().to_owned();
            assert!(self.there.remove(&client).is_some(), "{client} leaves and was not there: {frame}");
            self.left.push(client);
        }
        let presence = &frame["presence"];
        let users: BTreeSet<_> = self.there.values().collect();
        assert_eq!(
            (&presence["clients"], &presence["users"]),
            (&json!(self.there.len()), &json!(users.len()))
        );
        self.users = presence["users"].clone();
    }

    async fn until(&mut self, names: &BTreeSet<String>) {
        while self.names() != *names {
            self.hear().await;
        }
    }

    fn names(&self) -> BTreeSet<String> {
        self.there.keys().cloned().collect()
    }
}

fn names<'a>(clients: impl IntoIterator<Item = &'a Client>) -> BTreeSet<String> {
    clients.into_iter().map(|client| client.name().to_owned()).collect()
}

/// What a node says of its members, when so many nodes are there.
async fn members(client: &mut Client, nodes: usize) -> BTreeSet<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let members = client.call("members", ROOM).await.unwrap();
        if members["asked"] == nodes && members["answered"] == nodes {
            return serde_json::from_value(members["clients"].clone()).unwrap();
        }
        assert!(Instant::now() < deadline, "{members}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn the_members_of_a_node_that_is_killed_leave_everywhere_exactly_once(backend: Backend) {
    let Some(carrier) = backend.start().await else { return };
    let (mut dies, lives) = (node(&carrier, "127.0.0.1:0"), node(&carrier, "127.0.0.1:0"));
    let mut watchers = [Watcher::enter(&lives, "ann").await, Watcher::enter(&lives, "ben").await];
    members(&mut watchers[0].client, 2).await;
    let mut doomed = vec![enter(&dies, "ann").await];
    for n in 0..DOOMED {
        doomed.push(enter(&dies, &format!("doomed-{n}")).await);
    }
    let gone = names(&doomed);
    let stays = names(watchers.iter().map(|watcher| &watcher.client));
    let all: BTreeSet<_> = gone.union(&stays).cloned().collect();
    for watcher in &mut watchers {
        watcher.until(&all).await;
        assert_eq!(watcher.users, DOOMED + 2, "Ann has two tabs");
    }
    // Both ways of asking agree, and up to here nobody has left.
    assert_eq!(members(&mut watchers[1].client, 2).await, all);
    for watcher in &watchers {
        assert_eq!(watcher.left, [""; 0]);
    }

    dies.kill();
    for watcher in &mut watchers {
        watcher.until(&stays).await;
        assert_eq!(watcher.users, 2, "one tab of Ann's is still there");
        assert_eq!(watcher.left.len(), gone.len());
        assert_eq!(watcher.left.iter().cloned().collect::<BTreeSet<_>>(), gone);
        assert_eq!(members(&mut watcher.client, 1).await, stays);
        let page = watcher.client.ask(json!({ "presence": { "topic": ROOM } })).await;
        assert_eq!((&page["clients"], &page["users"]), (&json!(2), &json!(2)));
        watcher.left.clear();
        watcher.joined.clear();
    }
    // Nobody can be taken up whose node is gone: who comes back is somebody new, and another node in the place of the old one is, too.
    let reborn = node(&carrier, dies.address());
    let session = json!({ "token": "doomed-0", "session": doomed[1].session() });
    let mut back = Client::entering(reborn.address(), session).await;
    assert_eq!(back.welcome.get("resumed"), None);
    back.subscribe(ROOM).await;
    let name = back.name().to_owned();
    let mut all = stays.clone();
    all.insert(name.clone());
    for watcher in &mut watchers {
        watcher.until(&all).await;
    }
    assert_eq!(members(&mut back, 2).await, all);
    back.unsubscribe(ROOM).await;
    for watcher in &mut watchers {
        watcher.until(&stays).await;
        // This, and nothing more of those who had left.
        assert_eq!((&watcher.joined, &watcher.left), (&vec![name.clone()], &vec![name.clone()]));
    }
}

/// A node of its own has nobody who could agree; but when it is back there is nobody but who has come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_its_own_that_is_killed_has_nobody_left_when_it_is_back() {
    let carrier = Backend::Memory.start().await.unwrap();
    let mut dies = node(&carrier, "127.0.0.1:0");
    let mut watcher = Watcher::enter(&dies, "ann").await;
    let mut doomed = Vec::new();
    for n in 0..DOOMED {
        doomed.push(enter(&dies, &format!("doomed-{n}")).await);
    }
    let all: BTreeSet<_> = names(doomed.iter().chain([&watcher.client]));
    watcher.until(&all).await;
    assert_eq!(watcher.left, [""; 0]);

    dies.kill();
    for client in doomed.iter_mut().chain([&mut watcher.client]) {
        assert_eq!(client.ended().await.0, None);
    }
    let reborn = node(&carrier, dies.address());
    let session = json!({ "token": "ann", "session": watcher.client.session() });
    let resumed = Client::entering(reborn.address(), session).await;
    assert_eq!((resumed.welcome.get("resumed"), resumed.welcome.get("subscribed")), (None, None));
    let mut watcher = Watcher::enter(&reborn, "ann").await;
    watcher.until(&names([&watcher.client])).await;
    assert_eq!(members(&mut watcher.client, 1).await, watcher.names());
}

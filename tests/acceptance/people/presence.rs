//! The list of who is there, against the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use fanfare::{presence::PresenceConfig, topic::TopicConfig};
use fastrand::Rng;
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site, on_every_backend};
use crate::support::PATIENCE;

on_every_backend! {
    the_member_list_equals_the_truth_after_a_thousand_random_joins_and_leaves
}

const ROOM: &str = "room.lobby";
const STEPS: usize = 1000;
const PEOPLE: usize = 12;
const USERS: usize = 5;

/// Short, so that who is lost has left soon.
const GRACE: Duration = Duration::from_millis(300);

/// Somebody, by their place in the crowd; they come and go.
struct Person {
    user: String,
    client: Option<Client>,
    is_member: bool,
}

async fn the_member_list_equals_the_truth_after_a_thousand_random_joins_and_leaves(backend: Backend) {
    let rooms = TopicConfig::new().presence(PresenceConfig::new().grace(GRACE));
    let Some(site) = Site::start(backend, |builder| builder.topic("room.*", rooms.clone())).await else {
        return;
    };
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Rng::with_seed(seed);

    let mut watchers = Vec::new();
    for node in &site.nodes {
        watchers.push(Watcher::start(node.client("watcher").await).await);
    }
    let person = |turn: usize| Person::new(turn % USERS);
    let mut people: Vec<Person> = (0..PEOPLE).map(person).collect();
    for step in 1..=STEPS {
        let (who, node) = (random.usize(..PEOPLE), random.usize(..site.nodes.len()));
        people[who].step(&site, node, &mut random).await;
        if step % (STEPS / 4) == 0 {
            agree(&site, &people, &mut watchers).await;
        }
    }
    for person in &mut people {
        person.leave().await;
    }
    agree(&site, &people, &mut watchers).await;
}

/// Every list becomes the truth: what each node answers when it is asked, what watchers were told.
async fn agree(site: &Site, people: &[Person], watchers: &mut [Watcher]) {
    let mut truth: BTreeMap<String, String> = people.iter().filter_map(Person::member).collect();
    truth.extend(watchers.iter().map(|watcher| (watcher.client.name().to_owned(), "watcher".to_owned())));
    for watcher in &mut *watchers {
        watcher.until(&truth).await;
    }
    for node in &site.nodes {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = node.broker.presence(ROOM).page(None, 100).await.unwrap();
            let user = |user: &Option<std::sync::Arc<str>>| user.as_deref().unwrap_or_default().to_owned();
            let members = page.members.iter().map(|member| (member.client.to_string(), user(&member.user)));
            if members.collect::<BTreeMap<_, _>>() == truth {
                break;
            }
            assert!(Instant::now() < deadline, "{page:?} is not {truth:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Person {
    fn new(user: usize) -> Self {
        Self { user: format!("user-{user}"), client: None, is_member: false }
    }

    /// Who stands in the list for them, if somebody does.
    fn member(&self) -> Option<(String, String)> {
        let client = self.client.as_ref().filter(|_| self.is_member)?;
        Some((client.name().to_owned(), self.user.clone()))
    }

    /// Comes or goes, in one of the ways of doing so.
    async fn step(&mut self, site: &Site, node: usize, random: &mut Rng) {
        if self.client.is_none() {
            self.client = Some(site.nodes[node].client(&self.user).await);
        }
        let Some(client) = &mut self.client else { return };
        if !self.is_member {
            client.subscribe(ROOM).await;
            self.is_member = true;
            return;
        }
        match random.u8(..10) {
            0..6 => {
                client.unsubscribe(ROOM).await;
                self.is_member = false;
            }
            6 | 7 => self.leave().await,
            8 => {
                self.client.take().into_iter().for_each(Client::vanish);
                self.is_member = false;
            }
            // A page that is loaded again, and may find itself on the other node.
            _ => {
                let secret = client.session().to_owned();
                self.client.take().into_iter().for_each(Client::vanish);
                let connect = json!({ "token": self.user, "session": secret });
                let client = Client::entering(&site.nodes[node].address, connect).await;
                assert_eq!(client.welcome["resumed"], true, "{}", client.welcome);
                self.client = Some(client);
            }
        }
    }

    async fn leave(&mut self) {
        if let Some(client) = self.client.take() {
            client.leave().await;
        }
        self.is_member = false;
    }
}

/// A client that is a member as well, and keeps the list by what it is told.
struct Watcher {
    client: Client,
    list: Option<BTreeMap<String, String>>,
}

impl Watcher {
    async fn start(mut client: Client) -> Self {
        client.ask(json!({ "subscribe": { "topic": ROOM, "presence": true } })).await;
        Self { client, list: None }
    }

    /// Listens until the list is the truth.
    async fn until(&mut self, truth: &BTreeMap<String, String>) {
        while self.list.as_ref() != Some(truth) {
            let frame = self.client.next().await;
            assert_eq!(frame["topic"], ROOM, "{frame}");
            self.take(&frame["presence"]);
        }
    }

    fn take(&mut self, told: &Value) {
        let entries = |of: &Value| -> Vec<(String, String)> {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let of = of.as_array().into_iter().flatten();
            of.map(|member| (text(&member["client"]), text(&member["user"]))).collect()
        };
        if told.get("snapshot").is_some() {
            self.list = Some(entries(&told["snapshot"]).into_iter().collect());
        }
        let list = self.list.as_mut().expect("a snapshot comes first");
        for (client, user) in entries(&told["join"]) {
            assert_eq!(list.insert(client, user), None, "joins twice: {told}");
        }
        for client in told["leave"].as_array().into_iter().flatten() {
            assert!(
                list.remove(client.as_str().unwrap()).is_some(),
                "leaves without having been there: {told}"
            );
        }
        let users: BTreeSet<_> = list.values().collect();
        assert_eq!((&told["clients"], &told["users"]), (&json!(list.len()), &json!(users.len())), "{list:?}");
    }
}

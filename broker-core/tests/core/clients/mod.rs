//! What an app does to the clients of all nodes: who is meant, what they are told, what is left afterwards.

mod absent;
mod changing;
mod ending;
mod moving;
mod nodes;
mod rights;
mod who;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{
    BrokerBuilder,
    backend::memory::MemoryHub,
    clients::{Members, Reached},
    policy::{Action, Admission, Grant, Identity, Policy, Verdict},
    session::{ClientId, Handshake, Refusal},
};

use crate::support::{Faulty, Handle, Node, TestClient, idle};

/// Whoever shows a token is the user of this name, but for a stranger, who has to say more. What is refused can change, and the answer can take its time.
#[derive(Clone, Default)]
struct Names {
    refused: Arc<Mutex<HashSet<String>>>,
    takes: Arc<Mutex<Duration>>,
    /// How many answers are being thought over, and the most that ever were.
    busy: Arc<Mutex<(usize, usize)>>,
}

impl Names {
    fn refuse(&self, name: &str) {
        self.refused.lock().unwrap().insert(name.to_owned());
    }

    fn allow(&self, name: &str) {
        self.refused.lock().unwrap().remove(name);
    }

    fn take(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    fn most_at_once(&self) -> usize {
        self.busy.lock().unwrap().1
    }
}

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.credential() {
            Some("stranger") => Admission::AwaitConnect,
            Some(name) => Admission::Accept(Identity::user(name)),
            None => Admission::Accept(Identity::anonymous()),
        })
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let name = match action {
            Action::Subscribe(topic) | Action::Keep(topic) | Action::Publish(topic) => topic.as_str(),
            Action::SubscribePattern(pattern) | Action::KeepPattern(pattern) => pattern.as_str(),
            _ => return Verdict::allow(),
        };
        let refused = self.refused.lock().unwrap().contains(name);
        let decided = if refused { Err(Refusal::forbidden("no")) } else { Ok(Grant::new()) };
        let takes = *self.takes.lock().unwrap();
        if takes.is_zero() {
            return Verdict::Now(decided);
        }
        Verdict::later(async move {
            {
                let mut busy = self.busy.lock().unwrap();
                busy.0 += 1;
                busy.1 = busy.1.max(busy.0);
            }
            tokio::time::sleep(takes).await;
            self.busy.lock().unwrap().0 -= 1;
            decided
        })
    }
}

/// Nodes on one hub, with one policy.
struct Cluster {
    nodes: Vec<Node>,
    lines: Vec<Arc<Faulty>>,
    policy: Names,
}

impl Cluster {
    async fn of(count: usize) -> Self {
        Self::with(count, |builder| builder).await
    }

    async fn with(count: usize, set: impl Fn(BrokerBuilder) -> BrokerBuilder) -> Self {
        let hub = MemoryHub::new();
        let policy = Names::default();
        let (mut nodes, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let line = Faulty::of(&hub);
            let builder = |builder: BrokerBuilder| {
                set(builder.policy(policy.clone()).shards(2).backend(Handle(line.clone())))
            };
            nodes.push(Node::start(builder).await);
            lines.push(line);
        }
        let cluster = Self { nodes, lines, policy };
        soon().await;
        cluster
    }

    fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// A client of a node, subscribed to topics; anonymous without a name.
    async fn client(&self, at: usize, user: &str, topics: &[&str]) -> TestClient {
        let handshake = Handshake::new("test");
        let handshake = if user.is_empty() { handshake } else { handshake.with_token(user) };
        let mut client = self.node(at).connect(handshake).await.unwrap();
        for topic in topics {
            client.subscribe(topic).await;
        }
        client
    }
}

fn id(client: &mut TestClient) -> ClientId {
    client.session().client().unwrap()
}

/// Clients (and of how many of them something changed), and who has answered.
fn counts(reached: Reached) -> (usize, usize, usize, usize) {
    assert_eq!(reached.failed, 0, "{reached:?}");
    (reached.clients, reached.changed, reached.answered, reached.asked)
}

fn named(members: &Members) -> Vec<ClientId> {
    let mut clients: Vec<_> = members.clients.iter().map(|member| member.client).collect();
    clients.sort();
    clients
}

fn sorted<T: Ord>(all: impl Into<Vec<T>>) -> Vec<T> {
    let mut all = all.into();
    all.sort();
    all
}

/// Lets everything happen that takes no time to speak of, on all nodes.
async fn soon() {
    for _ in 0..5 {
        idle().await;
    }
}

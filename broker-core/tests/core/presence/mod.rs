//! Presence: who is there, and who is told of it.

mod crowd;
mod nodes;
mod one_node;
mod terms;
mod watching;

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::{
    Broker, BrokerBuilder,
    message::Payload,
    policy::{Action, Admission, Grant, Identity, Policy, Verdict},
    presence::PresenceConfig,
    session::{Command, Handshake, PresenceCommand, Refusal, SubscribeCommand},
    topic::TopicConfig,
};

use crate::support::{Node, TestClient};

/// The token is the user's name. Ghosts are hidden, kings have a crown, nobody looks into a secret room.
struct Names;

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(handshake.credential().map_or_else(Identity::anonymous, Identity::user)))
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Presence(topic) if topic.as_str() == "room.secret" => {
                Verdict::deny(Refusal::forbidden("nobody looks in"))
            }
            Action::Subscribe(_) => match who.user.as_deref() {
                Some("ghost") => Verdict::grant(Grant::new().hidden()),
                Some("king") => Verdict::grant(Grant::new().presence(json(r#"{"crown":true}"#))),
                _ => Verdict::allow(),
            },
            _ => Verdict::allow(),
        }
    }
}

fn json(text: &str) -> Payload {
    Payload::parsed_json(text.to_owned()).unwrap()
}

/// Rooms keep presence.
fn rooms(broker: BrokerBuilder, presence: PresenceConfig) -> BrokerBuilder {
    broker.policy(Names).shards(1).topic("room.*", TopicConfig::new().presence(presence))
}

async fn node() -> Node {
    Node::of(rooms(Broker::builder(), PresenceConfig::new()).start().await.unwrap())
}

async fn user(node: &Node, name: &str) -> TestClient {
    node.connect(Handshake::new("test").with_token(name)).await.unwrap()
}

fn watching(topic: &str) -> Command {
    Command::Subscribe(SubscribeCommand::live(topic).with_presence())
}

fn who_is_in(topic: &str) -> Command {
    Command::Presence(PresenceCommand::first(topic))
}

/// Long enough that everybody has been told.
async fn told() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// The lines of presence that have come.
async fn news(client: &mut TestClient) -> Vec<String> {
    told().await;
    let lines = client.read().await;
    lines
        .into_iter()
        .filter_map(|line| line.split_once(" presence ").map(|(_, said)| said.to_owned()))
        .collect()
}

//! Messages to a connection, to a user, to everybody: who gets them, once, in order, and what is told when they do not come.

mod bounds;
mod nodes;
mod one_node;
mod who_may;

use async_trait::async_trait;
use fanfare_core::{
    BrokerBuilder,
    policy::{Action, Admission, Identity, Policy, Rules, Verdict},
    session::{Handshake, Refusal},
};

use crate::support::{Node, TestClient};

/// Whoever shows a token is the user of this name; a client without one is anonymous, and one that shows `?` waits for `connect`.
/// What clients may do rules say.
struct Named(Rules);

#[async_trait]
impl Policy for Named {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.credential() {
            None => Admission::Accept(Identity::anonymous()),
            Some("?") => Admission::AwaitConnect,
            Some(user) => Admission::Accept(Identity::user(user)),
        })
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        self.0.authorize(who, action)
    }
}

fn rules() -> Rules {
    Rules::new().subscribe(">").unwrap().publish(">").unwrap()
}

async fn node(set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Node {
    Node::start(|broker| set(broker.policy(Named(rules())))).await
}

async fn user(node: &Node, name: &str) -> TestClient {
    node.connect(Handshake::new("test").with_token(name)).await.unwrap()
}

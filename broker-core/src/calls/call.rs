//! The app calls clients, wherever they are connected.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Answers, CallError, ClientError, gathering::charge, local, wire};
use crate::{
    backend::NodeId,
    broker::Inner,
    cluster::{
        Whom,
        clients::{Clients, Condition, Selection},
        questions,
    },
    limits::FOREVER,
    message::{InvalidPayload, Payload},
    session::ClientId,
};

/// How much longer than for its clients a node is waited for: its answer has to travel.
const TRAVEL: Duration = Duration::from_secs(1);

/// A call to clients: await it for their [`Answers`].
///
/// ```
/// # use fanfare_core::{Broker, policy::Open};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = Broker::builder().policy(Open).start().await?;
/// let answers =
///     broker.clients().topic(&"chat.lobby").call("ready", "Shall we?").timeout(Duration::from_secs(5)).await?;
/// println!("{} of {} have answered", answers.answered(), answers.asked);
/// # Ok(()) }
/// ```
///
/// It is ready as soon as every client has answered, has left, or cannot answer, and when its time is over at the latest; where other nodes are
/// concerned, and one of them does not answer at all, up to a second later.
///
/// # Cancel safety
///
/// Dropped, what is answered from then on is passed over. The clients may have been called.
#[must_use = "nobody is called until it is awaited"]
pub struct Call {
    clients: Clients,
    method: Arc<str>,
    payload: Result<Payload, InvalidPayload>,
    timeout: Duration,
}

impl Clients {
    /// Calls a method of the clients, which they serve as they please: see [`Call`]. In Socket.IO's words: `emitWithAck`.
    pub fn call(self, method: impl Into<Arc<str>>, payload: impl Into<Payload>) -> Call {
        self.call_with(method.into(), Ok(payload.into()))
    }

    /// [`call`](Self::call) with any serde value as JSON.
    #[cfg(feature = "json")]
    pub fn call_json(self, method: impl Into<Arc<str>>, payload: &(impl serde::Serialize + ?Sized)) -> Call {
        self.call_with(method.into(), Payload::json(payload))
    }

    fn call_with(self, method: Arc<str>, payload: Result<Payload, InvalidPayload>) -> Call {
        let timeout = self.broker.limits().call_timeout;
        Call { clients: self, method, payload, timeout }
    }
}

impl Call {
    /// How long the clients may take: [`Limits::call_timeout`](crate::Limits::call_timeout) unless set, ten minutes at most across nodes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(FOREVER);
        self
    }

    async fn run(self) -> Result<Answers, CallError> {
        let Self { clients, method, payload, timeout } = self;
        let (selection, payload) = (clients.selection?, payload?);
        let inner = clients.broker.inner();
        for (field, limit, value) in [
            ("method", inner.limits.max_label, method.len()),
            ("data", inner.limits.max_message, payload.len()),
        ] {
            if value > limit {
                return Err(CallError::TooLarge { field, limit, value });
            }
        }
        if clients.is_local || inner.cluster.nodes().is_empty() || is_here(inner, &selection) {
            let seats = selection.find(inner).await;
            return Ok(local::call(inner, seats, method, payload, timeout, inner.limits.answers_bytes).await);
        }
        let question = wire::Question { selection, timeout, method, payload }.encode();
        let mut asking =
            inner.cluster.ask(inner, Whom::All, questions::CALL, question, timeout.saturating_add(TRAVEL));
        let mut answers = Answers::default();
        let mut room = inner.limits.answers_bytes;
        while let Some((node, answer)) = asking.next().await {
            if answers.add(answer, &mut room).is_none() {
                tracing::warn!(target: "fanfare::core", %node, "an answer of another node that cannot be read");
                answers.silent_nodes += 1;
            }
        }
        let (answered, asked) = asking.counts();
        answers.silent_nodes += asked - answered;
        Ok(answers)
    }
}

/// Whether only a client of this node is meant.
fn is_here(broker: &Inner, selection: &Selection) -> bool {
    selection.conditions.iter().any(|condition| match condition {
        Condition::Client(client) => broker.registry.seat(*client).is_some(),
        _ => false,
    })
}

impl Answers {
    /// Adds what a node has gathered, as far as there is room.
    fn add(&mut self, answer: Bytes, room: &mut usize) -> Option<()> {
        let of_node = wire::read_answers(answer)?;
        self.asked += of_node.asked;
        for (client, result) in of_node.answers {
            let bytes = charge(&result);
            let result = if bytes <= *room {
                *room -= bytes;
                result
            } else {
                Err(ClientError::no_room())
            };
            self.answers.push((client, result));
        }
        Some(())
    }
}

impl IntoFuture for Call {
    type Output = Result<Answers, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Answers for the clients of this node that another one calls.
pub(super) async fn answer(broker: Arc<Inner>, _: NodeId, question: Bytes) -> Option<Bytes> {
    let wire::Question { selection, timeout, method, payload } = wire::Question::decode(question)?;
    let seats = selection.find(&broker).await;
    let room = broker.limits.answers_bytes.min(wire::MAX_ANSWERS);
    let answers = local::call(&broker, seats, method, payload, timeout, room).await;
    Some(wire::answers(&answers))
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("clients", &self.clients)
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What one client said.
pub(super) type Answer = (ClientId, Result<Payload, ClientError>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_nodes_have_gathered_has_one_room() {
        let (mut answers, mut room) = (Answers::default(), 1000);
        for (node, length) in [400, 400, 400, 8].into_iter().enumerate() {
            let client = ClientId::new(node as u64);
            let of_node =
                Answers { answers: vec![(client, Ok("x".repeat(length).into()))], asked: 2, silent_nodes: 0 };
            assert_eq!(answers.add(wire::answers(&of_node), &mut room), Some(()));
        }
        let kept: Vec<_> = answers.answers.iter().map(|(_, result)| result.is_ok()).collect();
        assert_eq!((kept, answers.asked), (vec![true, true, false, true], 8));
    }
}

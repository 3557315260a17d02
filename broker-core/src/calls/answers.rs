//! What clients answered.

use thiserror::Error;

use super::ClientError;
use crate::{
    message::{InvalidPayload, Payload},
    session::ClientId,
    topic::InvalidTopic,
};

/// What clients answered to a call: n of m.
///
/// A client that has not answered in time, has left, or cannot answer, because its transport has no way back or too much waits for it already, is
/// counted among those that were asked, and nothing more is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answers {
    /// The answers, in no order: the payload of each client, or its error.
    pub answers: Vec<(ClientId, Result<Payload, ClientError>)>,
    /// How many clients were asked, on the nodes that said so.
    pub asked: usize,
    /// How many nodes have not said in time whom they asked, and what was answered.
    pub silent_nodes: usize,
}

impl Answers {
    /// How many clients have answered, with a payload or an error.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answers.len()
    }

    /// Whether every client has answered, and every node is accounted for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answered() == self.asked && self.silent_nodes == 0
    }

    /// The answer of the one client that was called; of several, the one that comes first.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn one(self) -> Result<Payload, CallError> {
        match self.answers.into_iter().next() {
            Some((_, result)) => Ok(result?),
            None if self.asked > 0 || self.silent_nodes > 0 => Err(CallError::NoAnswer),
            None => Err(CallError::NobodyThere),
        }
    }
}

/// Why a call is not made, or has no good answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The clients of a topic that cannot be one are meant: nobody was called.
    #[error(transparent)]
    InvalidTopic(#[from] InvalidTopic),
    /// The payload could not be encoded: nobody was called.
    #[error(transparent)]
    InvalidPayload(#[from] InvalidPayload),
    /// Something is longer than its limit: nobody was called.
    #[error("`{field}` has {value} bytes, and the limit is {limit}")]
    TooLarge {
        /// What is too long.
        field: &'static str,
        /// The limit, in bytes.
        limit: usize,
        /// Its length, in bytes.
        value: usize,
    },
    /// The client answered with an error.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No answer: in time, before the client left, or at all. Whether it heard the call is unknown.
    #[error("the client has not answered")]
    NoAnswer,
    /// No client was there to be called.
    #[error("there is no such client")]
    NobodyThere,
}

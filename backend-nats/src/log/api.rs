//! JetStream's API: what is asked, and what is answered (NATS documentation, "JetStream wire API reference").

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use fanfare_core::backend::BackendErrorKind;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Trouble, plain},
    keep::{lost, within},
    settings::Settings,
    wire::{Answer, Call, Expect, Message, Queue},
};

/// How often a question is asked before its answer is late.
const TIMES: u32 = 4;

/// Asks JetStream.
pub(crate) struct Api {
    queue: Arc<Queue>,
    settings: Arc<Settings>,
    prefix: String,
}

/// A stream's configuration: what of it is ours.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) discard: String,
    pub(crate) storage: String,
    pub(crate) max_msgs: i64,
    pub(crate) max_bytes: i64,
    pub(crate) max_consumers: i64,
    pub(crate) max_msgs_per_subject: i64,
    /// Nanoseconds; 0 is for ever.
    pub(crate) max_age: u64,
    pub(crate) num_replicas: usize,
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default)]
    pub(crate) allow_direct: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) republish: Option<Republish>,
    /// What else there is goes back unchanged when the stream is updated.
    #[serde(flatten)]
    pub(crate) more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Republish {
    pub(crate) src: String,
    pub(crate) dest: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) headers_only: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Info {
    pub(crate) config: Config,
    pub(crate) created: String,
    pub(crate) state: StreamState,
    /// In a cluster of servers: who leads.
    #[serde(default)]
    pub(crate) cluster: Option<StreamCluster>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamCluster {
    #[serde(default)]
    leader: String,
}

impl Info {
    /// Whether nobody would answer what is asked of the stream: it is new, or its leader has gone.
    pub(crate) fn lacks_leader(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.leader.is_empty())
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// What a stream answers to a message that it was to store.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PubAck {
    pub(crate) stream: String,
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) duplicate: bool,
}

#[derive(Deserialize)]
struct Failed {
    error: ApiError,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) err_code: u32,
    pub(crate) description: String,
}

/// What JetStream says no to.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Trouble(Trouble),
    Error(ApiError),
    /// Nobody answers for this subject: the stream is gone, or there is no JetStream.
    Nobody,
}

pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
pub(crate) const OVERLAPS: u32 = 10065;
pub(crate) const NAME_IN_USE: u32 = 10058;
pub(crate) const ANOTHER_STREAM: u32 = 10060;
pub(crate) const WRONG_LAST: [u32; 2] = [10071, 10164];
pub(crate) const ID_IN_PROCESS: u32 = 10158;

impl Api {
    pub(crate) fn new(queue: Arc<Queue>, settings: Arc<Settings>) -> Self {
        let prefix = match &settings.logs.domain {
            Some(domain) => format!("$JS.{domain}.API"),
            None => "$JS.API".to_owned(),
        };
        Self { queue, settings, prefix }
    }

    /// Has something changed, once: asked again after its answer, it might undo what others have changed since.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        what: &str,
        how: &impl Serialize,
    ) -> Result<T, Refusal> {
        parse(&self.one(format!("{}.{what}", self.prefix), Vec::new(), body(how)?).await?)
    }

    /// Asks a question whose answer is JSON, as [`get`](Self::get) does.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        question: &impl Serialize,
    ) -> Result<T, Refusal> {
        let message = self.get(what, question).await?;
        parse(&message)
    }

    /// Asks a question whose answer is a message. Where it does not come soon, the question is asked again, so it must be one that may be: who is
    /// asked while a leader is being elected never answers.
    pub(crate) async fn get(&self, what: &str, question: &impl Serialize) -> Result<Message, Refusal> {
        let subject = format!("{}.{what}", self.prefix);
        let question = body(question)?;
        let patience = self.settings.publish_within / TIMES;
        let mut asked = FuturesUnordered::new();
        loop {
            asked.push(self.one(subject.clone(), Vec::new(), question.clone()));
            tokio::select! {
                // The first of them is late before the last is.
                Some(answer) = asked.next() => return answer,
                () = tokio::time::sleep(patience) => {}
            }
        }
    }

    /// Asks a question that several messages answer.
    pub(crate) async fn get_all(
        &self,
        what: &str,
        question: &impl Serialize,
        expect: Expect,
    ) -> Result<(Vec<Message>, Option<Message>), Refusal> {
        let subject = format!("{}.{what}", self.prefix);
        match self.call(subject, Vec::new(), body(question)?, expect).await? {
            Answer::Messages(messages, status) => match status {
                Some(status) if status.status() == Some(503) => Err(Refusal::Nobody),
                status => Ok((messages, status)),
            },
            Answer::Message(_) | Answer::Taken => Err(unexpected()),
        }
    }

    /// Says something that needs no answer.
    pub(crate) fn say(&self, what: &str, question: &impl Serialize) {
        if let Ok(payload) = body(question) {
            let subject = format!("{}.{what}", self.prefix).into();
            drop(
                self.queue.hand_over(
                    Call::Ask { subject, headers: Vec::new(), payload, expect: Expect::One },
                    false,
                ),
            );
        }
    }

    /// Has a stream store something.
    pub(crate) async fn store(
        &self,
        subject: String,
        headers: Vec<(&'static str, String)>,
        payload: Bytes,
    ) -> Result<PubAck, Refusal> {
        parse(&self.one(subject, headers, payload).await?)
    }

    async fn one(
        &self,
        subject: String,
        headers: Vec<(&'static str, String)>,
        payload: Bytes,
    ) -> Result<Message, Refusal> {
        match self.call(subject, headers, payload, Expect::One).await? {
            Answer::Message(message) if message.status() == Some(503) => Err(Refusal::Nobody),
            Answer::Message(message) => Ok(message),
            Answer::Messages(..) | Answer::Taken => Err(unexpected()),
        }
    }

    async fn call(
        &self,
        subject: String,
        headers: Vec<(&'static str, String)>,
        payload: Bytes,
        expect: Expect,
    ) -> Result<Answer, Refusal> {
        let call = Call::Ask { subject: subject.into(), headers, payload, expect };
        let asked = self.queue.hand_over(call, false);
        let answer = async { asked.answer().await.map_err(lost) };
        within(self.settings.publish_within, answer).await.map_err(Refusal::Trouble)
    }
}

fn body(question: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(question).map(Into::into).map_err(|_| unexpected())
}

fn unexpected() -> Refusal {
    Refusal::Trouble(Trouble::unavailable("JetStream answered in a way that is not understood"))
}

/// An answer in JSON, which may be an error.
pub(crate) fn parse<T: DeserializeOwned>(message: &Message) -> Result<T, Refusal> {
    if let Ok(Failed { error }) = serde_json::from_slice(&message.payload) {
        return Err(Refusal::Error(error));
    }
    serde_json::from_slice(&message.payload).map_err(|_| unexpected())
}

impl Refusal {
    /// The stream is gone.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Error(error) => matches!(error.err_code, STREAM_NOT_FOUND | ANOTHER_STREAM),
            Self::Trouble(_) => false,
        }
    }

    pub(crate) fn has_code(&self, codes: &[u32]) -> bool {
        matches!(self, Self::Error(error) if codes.contains(&error.err_code))
    }

    pub(crate) fn into_trouble(self) -> Trouble {
        match self {
            Self::Trouble(trouble) => trouble,
            Self::Nobody => Trouble::unavailable(
                "nobody answers for JetStream: it is off, has no leader at the moment, or the user may not use it",
            ),
            Self::Error(error) => error.into_trouble(),
        }
    }
}

impl ApiError {
    pub(crate) fn into_trouble(self) -> Trouble {
        let description = plain(&self.description);
        match (self.err_code, self.code) {
            (10039 | 10076, _) => Trouble::configuration(
                "JetStream is not enabled for this account, and logged topics need it: see `jetstream` in the server's configuration",
            ),
            (10023 | 10028 | 10047 | 10002, _) => Trouble::unavailable(
                "JetStream has no room left: see `max_file_store`, `max_memory_store` and the account's limits",
            ),
            (10077 | 10122, _) => Trouble::unavailable(
                "the stream is full, and discards what is new: set its discard policy to old, or its limits higher",
            ),
            (10054, _) => {
                Trouble::too_large("a message is larger than the stream takes: see its max_msg_size")
            }
            (10074, _) => Trouble::configuration(
                "there are fewer servers with JetStream than the stream is to have replicas",
            ),
            (10005, _) => Trouble::unavailable(
                "there are fewer servers with JetStream at the moment than the stream is to have replicas",
            ),
            (10026, _) => Trouble::unavailable(
                "there are as many consumers as the account or the stream may have: see `max_consumers`",
            ),
            (_, 503 | 429 | 500) => {
                Trouble::unavailable(format!("JetStream cannot do it now: {description}"))
            }
            (_, 404) => Trouble::unavailable(format!("JetStream does not find it: {description}")),
            (_, code) => {
                let mut message = format!("JetStream refuses it: {description}");
                let _ = write!(message, " ({code})");
                Trouble::new(BackendErrorKind::Refused, message)
            }
        }
    }
}

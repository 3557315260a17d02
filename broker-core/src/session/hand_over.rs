//! A session that was begun on another node: who holds it gives it away, once.
//!
//! The secret says which node gave it out: that one is asked. Where it is gone, or has the session no longer, because the client has been
//! elsewhere since, all others are. A question is u64 the client, 16 bytes the hash of its key, and its user: u8 whether it has one, and the
//! name. An answer is empty, or a session: u16 how many subscriptions, and each: u8 [flags](IS_PATTERN), where there is one a position (u64
//! epoch, u64 offset), u8 how long, and the name. Numbers are big-endian.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    ClientId,
    seat::{Away, By, Parked},
    secret::{KeyHash, Secret},
};
use crate::{
    backend::NodeId,
    broker::Inner,
    cluster::{Whom, questions},
    message::{Epoch, Position},
    outbox::Subject,
};

/// How long a node may take to answer: its client waits.
const WITHIN: Duration = Duration::from_secs(1);

const IS_PATTERN: u8 = 1;
const BY_SERVER: u8 = 2;
const HAS_POSITION: u8 = 4;
const WATCHES: u8 = 8;

impl Inner {
    /// Gives away what other nodes ask for.
    pub(crate) fn hand_sessions_over(&self) {
        self.cluster.on_question(questions::RESUME, |broker, _, question| async move {
            let (client, key, user) = read_question(question)?;
            let parked = broker.claim(client, key, user.as_deref());
            // An answer in any case: the one who asks need not wait.
            Some(parked.map_or_else(Bytes::new, |parked| write_session(&parked)))
        });
    }

    /// Finds the session of a secret, here or on another node, and takes it from there.
    pub(crate) async fn find_session(
        self: &Arc<Self>,
        secret: &Secret,
        user: Option<Arc<str>>,
    ) -> Option<Parked> {
        let (client, key) = (secret.client, secret.hash());
        if let Some(parked) = self.claim(client, key, user.as_deref()) {
            return Some(parked);
        }
        if self.cluster.nodes().is_empty() {
            return None;
        }
        // Whatever becomes of the connection that asks: who gives a session away has it no longer.
        let (broker, from) = (self.clone(), secret.node);
        let (give, given) = tokio::sync::oneshot::channel();
        self.runtime.spawn(async move {
            let parked = broker.ask_for_session(from, client, key, user).await;
            if let Err(Some(parked)) = give.send(parked) {
                broker.keep(parked);
            }
        });
        given.await.ok()?
    }

    async fn ask_for_session(
        self: &Arc<Self>,
        from: NodeId,
        client: ClientId,
        key: KeyHash,
        user: Option<Arc<str>>,
    ) -> Option<Parked> {
        let question = write_question(client, key, user.as_deref());
        if from != self.node {
            let asking =
                self.cluster.ask(self, Whom::Node(from), questions::RESUME, question.clone(), WITHIN);
            if let Some(parked) = first_session(asking.all().await.answers, client, key, &user) {
                return Some(parked);
            }
        }
        // After a crash all its clients come at once: only some can be looked for everywhere.
        let _permit = self.searches.try_acquire().ok()?;
        let asking = self.cluster.ask(self, Whom::Others, questions::RESUME, question, WITHIN);
        first_session(asking.all().await.answers, client, key, &user)
    }
}

fn first_session(
    answers: Vec<(NodeId, Bytes)>,
    client: ClientId,
    key: KeyHash,
    user: &Option<Arc<str>>,
) -> Option<Parked> {
    let subscriptions = answers.into_iter().find_map(|(_, answer)| read_session(answer))?;
    Some(Parked { client, key, user: user.clone(), subscriptions })
}

fn write_question(client: ClientId, key: KeyHash, user: Option<&str>) -> Bytes {
    let mut out = BytesMut::with_capacity(25 + user.map_or(0, str::len));
    out.put_u64(client.value());
    out.put_slice(&key.to_bytes());
    out.put_u8(u8::from(user.is_some()));
    out.put_slice(user.unwrap_or_default().as_bytes());
    out.freeze()
}

fn read_question(mut question: Bytes) -> Option<(ClientId, KeyHash, Option<String>)> {
    let client = ClientId::new(question.try_get_u64().ok()?);
    let mut key = [0; 16];
    question.try_copy_to_slice(&mut key).ok()?;
    let has_user = question.try_get_u8().ok()? != 0;
    let user = String::from_utf8(question.to_vec()).ok()?;
    Some((client, KeyHash::from_bytes(key), has_user.then_some(user)))
}

fn write_session(parked: &Parked) -> Bytes {
    let mut out = BytesMut::new();
    // As many as a connection can have of names of at most 255 bytes.
    let count = u16::try_from(parked.subscriptions.len()).unwrap_or(u16::MAX);
    out.put_u16(count);
    for away in parked.subscriptions.iter().take(count.into()) {
        let mut flags = 0;
        flags |= if matches!(away.subject, Subject::Pattern(_)) { IS_PATTERN } else { 0 };
        flags |= if away.by == By::Server { BY_SERVER } else { 0 };
        flags |= if away.after.is_some() { HAS_POSITION } else { 0 };
        flags |= if away.watches { WATCHES } else { 0 };
        out.put_u8(flags);
        if let Some(after) = away.after {
            out.put_u64(after.epoch.value());
            out.put_u64(after.offset);
        }
        let name = away.subject.as_str();
        out.put_u8(name.len() as u8);
        out.put_slice(name.as_bytes());
    }
    out.freeze()
}

fn read_session(mut answer: Bytes) -> Option<Vec<Away>> {
    let count = answer.try_get_u16().ok()?;
    let mut subscriptions = Vec::new();
    for _ in 0..count {
        let flags = answer.try_get_u8().ok()?;
        let after = if flags & HAS_POSITION == 0 {
            None
        } else {
            let epoch = Epoch::new(answer.try_get_u64().ok()?);
            Some(Position::new(epoch, answer.try_get_u64().ok()?))
        };
        let length = usize::from(answer.try_get_u8().ok()?);
        if answer.len() < length {
            return None;
        }
        let name = answer.split_to(length);
        let subject = Subject::parse(std::str::from_utf8(&name).ok()?).ok()?;
        if matches!(subject, Subject::Pattern(_)) != (flags & IS_PATTERN != 0) {
            return None;
        }
        let by = if flags & BY_SERVER == 0 { By::Client } else { By::Server };
        subscriptions.push(Away { subject, by, watches: flags & WATCHES != 0, after });
    }
    Some(subscriptions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_sessions_survive_their_bytes() {
        let (client, key) = (ClientId::new(7), KeyHash::from_bytes([9; 16]));
        for user in [None, Some(""), Some("ann"), Some("\u{1f600}")] {
            let read = read_question(write_question(client, key, user)).unwrap();
            assert_eq!((read.0, read.2.as_deref()), (client, user));
            assert!(read.1 == key);
        }
        let long = "x".repeat(255);
        let away = |name: &str, by, after| {
            let watches = by == By::Client;
            Away { subject: Subject::parse(name).unwrap(), by, watches, after }
        };
        let subscriptions = vec![
            away("a.b", By::Client, None),
            away("a.>", By::Server, None),
            away(&long, By::Server, Some(Position::new(Epoch::new(u64::MAX), 3))),
        ];
        let parked = Parked { client, key, user: None, subscriptions };
        let bytes = write_session(&parked);
        let read = read_session(bytes.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", parked.subscriptions));
        for length in 0..bytes.len() {
            assert!(read_session(bytes.slice(..length)).is_none(), "cut after {length} bytes");
        }
        assert!(read_session(Bytes::new()).is_none(), "nothing is no session");
    }
}

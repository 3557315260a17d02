//! What the app says of a member, on whichever node that is.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    room::Info,
    service::Presence,
    wire::{NotPresence, put_text, shared_text},
};
use crate::{
    broker::Inner,
    cluster::{Cluster, Whom, questions},
    message::now_ms,
    session::ClientId,
    topic::TopicName,
};

/// How long the other nodes have to say that the member is theirs.
const WITHIN: Duration = Duration::from_secs(5);

const DONE: u8 = 1;

/// Something else is to be said of a client.
struct Update {
    topic: TopicName,
    client: ClientId,
    meta: Option<Arc<str>>,
}

impl Presence {
    pub(super) fn register_questions(&self, cluster: &Cluster) {
        cluster.on_question(questions::PRESENCE, |broker, _, question| async move {
            let update = Update::read(question).ok()?;
            let done = broker.presence.update_here(&broker, &update);
            Some(Bytes::copy_from_slice(&[if done { DONE } else { 0 }]))
        });
    }

    /// Says something else of a member, here or on another node. True where there is such a member.
    pub(super) async fn update(
        &self,
        broker: &Arc<Inner>,
        topic: &TopicName,
        client: ClientId,
        meta: Option<Arc<str>>,
    ) -> bool {
        let update = Update { topic: topic.clone(), client, meta };
        if self.update_here(broker, &update) {
            return true;
        }
        let mut asking =
            broker.cluster.ask(broker, Whom::Others, questions::PRESENCE, update.write(), WITHIN);
        while let Some((_, answer)) = asking.next().await {
            if answer.first() == Some(&DONE) {
                return true;
            }
        }
        false
    }

    fn update_here(&self, broker: &Inner, update: &Update) -> bool {
        let Update { topic, client, meta } = update;
        self.change(broker, |state, now| {
            let Some(held) = state.replica.own_info(topic, *client) else { return false };
            let info = Info { user: held.user.clone(), meta: meta.clone() };
            state.replica.update(topic, *client, info, now_ms(), now)
        })
    }
}

impl Update {
    fn write(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64(self.client.value());
        put_text(&mut out, self.topic.as_str());
        out.put_u8(self.meta.is_some().into());
        if let Some(meta) = &self.meta {
            put_text(&mut out, meta);
        }
        out.freeze()
    }

    fn read(mut bytes: Bytes) -> Result<Self, NotPresence> {
        let client = ClientId::new(bytes.try_get_u64()?);
        let topic = TopicName::new(shared_text(&mut bytes)?).map_err(|_| NotPresence)?;
        let meta = if bytes.try_get_u8()? == 0 { None } else { Some(shared_text(&mut bytes)?) };
        Ok(Self { topic, client, meta })
    }
}

//! The frames that objects stand for.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use fanfare_core::{
    calls::OutgoingCall,
    message::{Frame, Gap, GapReason, LogPlace, Message, MessageParts, Payload, Publisher},
    session::{CloseKind, CloseReason, Reply, RequestId},
    topic::TopicName,
};
use fanfare_protocol::{Kind, encode};

use crate::object::{Object, OneOrMany};

impl Object<'_> {
    pub(crate) fn encode(&self, binary: bool, out: &mut BytesMut) -> Kind {
        if let Some(close) = &self.close {
            return encode(Frame::Close(&close.close_reason()), out);
        }
        if let Some(token) = &self.token {
            return encode(Frame::Token { expires: Duration::from_millis(token.expires_ms.unwrap()) }, out);
        }
        if let Some(OneOrMany::One(one)) = &self.subscribed {
            return encode(
                Frame::Subscribed { topic: one.topic.as_deref().unwrap(), outcome: &one.subscribed() },
                out,
            );
        }
        if let Some(gone) = &self.unsubscribed {
            let (topic, retry) = (gone.topic.as_deref().unwrap(), gone.retry.unwrap());
            return encode(Frame::Unsubscribed { topic, code: gone.error_code(), retry }, out);
        }
        if let Some(call) = &self.call {
            let timeout = Duration::from_millis(call.timeout_ms.unwrap());
            let id = call.call_id.unwrap().parse().unwrap();
            let call = OutgoingCall::new(id, call.method.unwrap(), call.payload(binary), timeout);
            return encode(Frame::Call(&call), out);
        }
        if let Some(who) = &self.presence {
            let topic = self.topic.as_deref().unwrap();
            return encode(Frame::Presence { topic, event: &who.event() }, out);
        }
        if let Some(gap) = &self.gap {
            return encode(Frame::Gap { topic: self.topic.as_deref().unwrap(), gap: &gap.gap() }, out);
        }
        if self.ok.is_some() || self.error.is_some() {
            let reply = match (&self.ok, &self.error) {
                (Some(ok), None) if binary || ok.data.is_some() => Reply::Called(ok.payload(binary)),
                (Some(ok), None) => ok.reply(),
                (None, Some(error)) => error.error().into(),
                _ => panic!("a reply is either ok or an error"),
            };
            return encode(Frame::Reply { id: self.id.and_then(RequestId::new), reply: &reply }, out);
        }
        if self.time.is_some() {
            return encode(Frame::Message(&self.message(binary)), out);
        }
        let (topic, position) = (self.topic(), self.pos.unwrap().parse().unwrap());
        match self.live {
            Some(_) => encode(Frame::Live { topic: &topic, position }, out),
            None => encode(Frame::Cursor { topic: &topic, position }, out),
        }
    }

    fn topic(&self) -> TopicName {
        TopicName::new(self.topic.as_deref().unwrap()).unwrap()
    }

    pub(crate) fn payload(&self, binary: bool) -> Payload {
        match (self.data, self.base64) {
            (Some(data), None) if self.text == Some(true) => {
                Payload::text(serde_json::from_str::<String>(data.get()).unwrap())
            }
            (Some(data), None) => Payload::parsed_json(data.get().to_owned()).unwrap(),
            (None, Some(base64)) => Payload::binary(STANDARD.decode(base64).unwrap()),
            (None, None) if binary => Payload::binary(Vec::new()),
            _ => panic!("there is one payload"),
        }
    }

    pub(crate) fn message(&self, binary: bool) -> Message {
        let mut parts = MessageParts::new(self.topic(), self.payload(binary));
        parts.event = self.event.map(Into::into);
        parts.key = self.key.map(Into::into);
        parts.message_id = self.message_id.map(Into::into);
        parts.time_ms = self.time.unwrap();
        parts.publisher = self.from.as_ref().map(|from| Publisher {
            client: from.client.unwrap().parse().unwrap(),
            user: from.user.map(Into::into),
        });
        match self.pos {
            Some(pos) => Message::logged(parts, LogPlace { position: pos.parse().unwrap(), prev: 0 }),
            None => Message::ephemeral(parts),
        }
    }

    fn gap(&self) -> Gap {
        let reason = [GapReason::Slow, GapReason::History, GapReason::Backend, GapReason::Epoch]
            .into_iter()
            .find(|reason| Some(reason.as_str()) == self.reason)
            .unwrap();
        let position = |pos: Option<&str>| pos.map(|pos| pos.parse().unwrap());
        Gap::new(reason, self.missed).between(position(self.last), position(self.next))
    }

    fn close_reason(&self) -> CloseReason {
        let code = self.code.as_ref().and_then(serde_json::Value::as_u64).unwrap();
        let kind = *CloseKind::ALL.iter().find(|kind| u64::from(kind.code()) == code).unwrap();
        let mut reason = CloseReason::new(kind);
        assert_eq!(Some(reason.name()), self.name);
        if let Some(message) = &self.message {
            reason.message = message.to_string().into();
        }
        reason.retry_after = self.retry_ms.map(Duration::from_millis);
        reason
    }
}

//! Calls to clients of other nodes as bytes. Numbers are big-endian; a text has its length before it, u16.
//!
//! A question is which clients are meant, u32 how long they may take (milliseconds), the method, u8 the payload's kind, and the payload. An answer is u32 how
//! many clients were asked, u32 how many have answered, and for each u64 its name, u8 the kind of its payload or that it is an error, u32 a length and so many
//! bytes: the payload, or an error's code as a text and its message.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Answers, ClientError, call::Answer};
use crate::{
    cluster::{
        MAX_PARCEL,
        clients::{Selection, put_selection, read_selection},
    },
    message::{Payload, PayloadKind},
    session::ClientId,
};

/// How many bytes of answers fit a parcel, as [charged](super::gathering::charge).
pub(super) const MAX_ANSWERS: usize = MAX_PARCEL - 1024;

const JSON: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const ERROR: u8 = 3;

/// Clients are to be called.
#[derive(Debug, PartialEq)]
pub(super) struct Question {
    pub(super) selection: Selection,
    pub(super) timeout: Duration,
    pub(super) method: Arc<str>,
    pub(super) payload: Payload,
}

impl Question {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + self.method.len() + self.payload.len());
        put_selection(&mut out, &self.selection);
        out.put_u32(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX));
        put_text(&mut out, &self.method);
        out.put_u8(kind(self.payload.kind()));
        out.put_slice(self.payload.bytes());
        out.freeze()
    }

    /// `None` where the bytes say nothing that is known.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let selection = read_selection(&mut bytes)?;
        let timeout = Duration::from_millis(bytes.try_get_u32().ok()?.into());
        let method = read_text(&mut bytes)?.into();
        let payload = payload(bytes.try_get_u8().ok()?, bytes)?;
        Some(Self { selection, timeout, method, payload })
    }
}

pub(super) fn answers(answers: &Answers) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(answers.asked).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(answers.answers.len()).unwrap_or(u32::MAX));
    for (client, result) in &answers.answers {
        out.put_u64(client.value());
        match result {
            Ok(payload) => {
                out.put_u8(kind(payload.kind()));
                put_bytes(&mut out, payload.bytes());
            }
            Err(error) => {
                out.put_u8(ERROR);
                let mut body = BytesMut::new();
                put_text(&mut body, &error.code);
                body.put_slice(error.message.as_bytes());
                put_bytes(&mut out, &body);
            }
        }
    }
    out.freeze()
}

pub(super) fn read_answers(mut bytes: Bytes) -> Option<Answers> {
    let asked = bytes.try_get_u32().ok()? as usize;
    let mut answers = Vec::new();
    for _ in 0..bytes.try_get_u32().ok()? {
        answers.push(read_answer(&mut bytes)?);
    }
    Some(Answers { answers, asked, silent_nodes: 0 })
}

fn read_answer(bytes: &mut Bytes) -> Option<Answer> {
    let client = ClientId::new(bytes.try_get_u64().ok()?);
    let kind = bytes.try_get_u8().ok()?;
    let length = bytes.try_get_u32().ok()? as usize;
    if length > bytes.len() {
        return None;
    }
    let mut body = bytes.split_to(length);
    if kind != ERROR {
        return Some((client, Ok(payload(kind, body)?)));
    }
    let code = read_text(&mut body)?;
    let message = String::from_utf8(body.into()).ok()?;
    Some((client, Err(ClientError::new(code, message))))
}

fn kind(kind: PayloadKind) -> u8 {
    match kind {
        PayloadKind::Json => JSON,
        PayloadKind::Text => TEXT,
        PayloadKind::Binary => BINARY,
    }
}

fn payload(kind: u8, bytes: Bytes) -> Option<Payload> {
    let kind = match kind {
        JSON => PayloadKind::Json,
        TEXT => PayloadKind::Text,
        BINARY => PayloadKind::Binary,
        _ => return None,
    };
    Payload::from_parts(kind, bytes).ok()
}

/// What is written here is bounded far below what the lengths can say.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn read_text(bytes: &mut Bytes) -> Option<String> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    if length > bytes.len() {
        return None;
    }
    String::from_utf8(bytes.split_to(length).into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{calls::gathering::charge, cluster::clients::Condition};

    fn payloads() -> Vec<Payload> {
        let json = Payload::parsed_json(r#"{"ä":1}"#).unwrap();
        vec![
            json,
            Payload::text(""),
            Payload::text("ü"),
            Payload::binary(vec![0, 255]),
            Payload::binary(vec![]),
        ]
    }

    #[test]
    fn a_question_survives_its_bytes_and_means_nothing_when_cut_short() {
        for payload in payloads() {
            let mut selection = Selection::default();
            selection.add(Condition::Except(ClientId::new(7)));
            let length = payload.len();
            let question =
                Question { selection, timeout: Duration::from_millis(1500), method: "sän".into(), payload };
            let bytes = question.encode();
            assert_eq!(Question::decode(bytes.clone()), Some(question));
            for end in 0..bytes.len() - length {
                assert_eq!(Question::decode(bytes.slice(..end)), None, "{end}");
            }
        }
    }

    #[test]
    fn answers_survive_their_bytes_and_mean_nothing_when_cut_short() {
        let mut all: Vec<Answer> = Vec::new();
        for (id, payload) in payloads().into_iter().enumerate() {
            all.push((ClientId::new(id as u64), Ok(payload)));
        }
        all.push((ClientId::new(u64::MAX), Err(ClientError::new("nö", "not\nnow"))));
        all.push((ClientId::new(9), Err(ClientError::new("", ""))));
        let expected = Answers { answers: all, asked: 9, silent_nodes: 0 };
        let bytes = answers(&expected);
        assert_eq!(read_answers(bytes.clone()), Some(expected));
        for end in 0..bytes.len() {
            assert_eq!(read_answers(bytes.slice(..end)), None, "{end}");
        }
        assert_eq!(read_answers(Bytes::from_static(&[0, 0, 0, 1, 255, 255, 255, 255])), None);
    }

    #[test]
    fn what_is_charged_is_what_it_takes_at_least() {
        let error = ClientError::new("x".repeat(255), "y".repeat(1024));
        for result in payloads().into_iter().map(Ok).chain([Err(error), Err(ClientError::no_room())]) {
            let charged = charge(&result);
            let one = Answers { answers: vec![(ClientId::new(1), result)], asked: 1, silent_nodes: 0 };
            assert!(answers(&one).len() <= 8 + charged);
        }
    }
}

//! One turn: what was read, served.

use std::{collections::VecDeque, future::poll_fn};

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    message::Payload,
    outbox::Outbox,
    session::{CloseKind, CloseReason, Command, CommandError, PublishCommand, RequestId, Session},
};
use fanfare_protocol::{DecodeError, DecodeLimits, Decoded};

use super::End;
use crate::frame::{CloseFrame, Event, Opcode, Parser, encode};

/// Client frames that one turn serves at most: what waits while the turn does is bounded by this, and by what was read.
const FRAMES: usize = 64;

/// What a client's messages mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Frames of the wire format v1.
    V1,
    /// Payloads for this topic. The pointer is thin, for every connection has room for it.
    Plain(Box<Box<str>>),
    /// To be sent back.
    Echo,
}

/// What a turn has to do, in the client's order.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) items: VecDeque<Item>,
    /// What ends the connection after that.
    pub(super) end: Option<End>,
    /// Whether there was any message, rather than pings and pongs.
    pub(super) has_message: bool,
}

#[derive(Debug)]
pub(super) enum Item {
    /// A command, and the bytes of its message.
    Command(Option<RequestId>, Command, usize),
    /// A message that is no command.
    Invalid(Option<RequestId>, CommandError),
    /// A frame to send.
    Answer(Bytes),
}

impl Turn {
    /// Takes frames off the front of `input`, until it is empty or there is enough to do.
    pub(super) fn read(
        parser: &mut Parser,
        mode: &Mode,
        limits: &DecodeLimits,
        input: &mut &mut [u8],
    ) -> Self {
        let mut turn = Self::default();
        while turn.items.len() < FRAMES {
            match parser.next(input) {
                Ok(Some(event)) => turn.take(mode, limits, event),
                Ok(None) => break,
                Err(error) => {
                    let kind = match error.close_code() {
                        1007 => CloseKind::BadText,
                        1009 => CloseKind::TooBig,
                        _ => CloseKind::BadFrame,
                    };
                    turn.end = Some(End::Because(CloseReason::with_message(kind, error.to_string())));
                }
            }
            if turn.end.is_some() {
                break;
            }
        }
        turn
    }

    /// The stream has ended after what was read.
    pub(super) fn lost() -> Self {
        Self { end: Some(End::Lost), ..Self::default() }
    }

    fn take(&mut self, mode: &Mode, limits: &DecodeLimits, event: Event<'_>) {
        match event {
            Event::Ping(payload) => self.answer(Opcode::Pong, &payload),
            Event::Pong(_) => {}
            Event::Close(frame) => {
                self.end = Some(End::Client(answer_to(frame.as_ref()), said_by(frame.as_ref())));
            }
            Event::Text(text) => {
                self.has_message = true;
                match mode {
                    Mode::V1 => self.command(limits.decode_text(&text), text.len()),
                    Mode::Plain(topic) => self.publish(topic, Payload::text(text)),
                    Mode::Echo => self.answer(Opcode::Text, text.as_bytes()),
                }
            }
            Event::Binary(bytes) => {
                self.has_message = true;
                match mode {
                    Mode::V1 => self.command(limits.decode_binary(&bytes), bytes.len()),
                    Mode::Plain(topic) => self.publish(topic, Payload::binary(bytes.into_owned())),
                    Mode::Echo => self.answer(Opcode::Binary, &bytes),
                }
            }
        }
    }

    fn command(&mut self, decoded: Result<Decoded, DecodeError>, bytes: usize) {
        self.items.push_back(match decoded {
            Ok(decoded) => Item::Command(decoded.id, decoded.command, bytes),
            Err(refused) => Item::Invalid(refused.id, refused.error),
        });
    }

    fn publish(&mut self, topic: &str, payload: Payload) {
        let bytes = payload.len();
        self.items.push_back(Item::Command(
            None,
            Command::Publish(PublishCommand::new(topic, payload)),
            bytes,
        ));
    }

    fn answer(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = BytesMut::new();
        encode::frame(opcode, payload, &mut frame);
        self.items.push_back(Item::Answer(frame.freeze()));
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.end.is_none()
    }
}

impl Item {
    /// Serves it. Waits where the session does, and where the client does not read what it is answered.
    pub(super) async fn serve(self, session: &mut Session, outbox: &Outbox) -> Result<(), End> {
        match self {
            Self::Command(id, command, _) => session.handle(id, command).await.map_err(End::Because),
            Self::Invalid(id, error) => session.reject(id, error).await.map_err(End::Because),
            Self::Answer(frame) => {
                while !outbox.push_control(frame.clone()) {
                    poll_fn(|cx| outbox.poll_room(cx, frame.len())).await;
                }
                Ok(())
            }
        }
    }
}

/// Why the client has closed. With 1000, or no code at all, it says goodbye; with any other one, such as the 1001 of a page that is
/// left, it may come back and take its session up again.
fn said_by(frame: Option<&CloseFrame>) -> CloseKind {
    match frame.map(|frame| frame.code) {
        None | Some(1000) => CloseKind::Normal,
        Some(_) => CloseKind::Away,
    }
}

/// The Close frame that answers one: the same code, or none (RFC 6455, section 5.5.1).
fn answer_to(frame: Option<&CloseFrame>) -> Bytes {
    let mut answer = BytesMut::new();
    match frame {
        Some(frame) => encode::close(frame.code, "", &mut answer),
        None => encode::frame(Opcode::Close, &[], &mut answer),
    }
    answer.freeze()
}

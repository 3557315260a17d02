//! From a client's bytes to messages and control frames.

use std::borrow::Cow;

use super::{CloseFrame, Opcode, ProtocolError, header::Header, mask, utf8::TextBuilder};

/// What a client sent.
///
/// Borrowed: it came in one piece and lies in the reader's buffer. Owned: it was assembled from parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A whole text message.
    Text(Cow<'a, str>),
    /// A whole binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping, at most 125 bytes.
    Ping(Cow<'a, [u8]>),
    /// A pong, at most 125 bytes.
    Pong(Cow<'a, [u8]>),
    /// The client's last frame, `None` when it gave no code.
    Close(Option<CloseFrame>),
}

/// The reading side of one connection.
///
/// Memory: a message's bytes are kept only as they arrive, never reserved on the word of a header, and at most
/// `max_message` of them, beside one control frame.
#[derive(Debug)]
pub(crate) struct Parser {
    /// What has come of a frame or of a message. `None` between messages.
    partial: Option<Box<Partial>>,
    /// Bytes.
    max_message: u32,
    /// A close frame or an error has ended the stream.
    ended: bool,
}

#[derive(Debug, Default)]
struct Partial {
    /// The bytes of a header that is not all there.
    header: [u8; Header::MAX],
    header_len: usize,
    /// The frame whose payload is on its way.
    frame: Option<Frame>,
    /// What has come of a control frame's payload.
    control: Vec<u8>,
    /// The message whose frames are on their way.
    message: Option<Message>,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// The mask, rotated to the next byte.
    key: [u8; 4],
    /// Bytes of payload still to come.
    remaining: usize,
}

#[derive(Debug)]
struct Message {
    body: Body,
    fragments: usize,
}

#[derive(Debug)]
enum Body {
    Text(TextBuilder),
    Binary(Vec<u8>),
}

impl Parser {
    /// A parser that refuses messages of more than `max_message` bytes.
    pub(crate) fn new(max_message: u32) -> Self {
        Self { partial: None, max_message, ended: false }
    }

    /// Takes bytes from the front of `input` until they make an event. `None`: all were taken, more are needed.
    ///
    /// The payload is unmasked where it lies. After an error or [`Event::Close`] the stream has ended: what follows
    /// is dropped unread, and the result stays `None` (RFC 6455, sections 1.4 and 7.1.7).
    pub(crate) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.ended {
            *input = &mut [];
            return Ok(None);
        }
        let result = self.advance(input);
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.ended = true;
            self.partial = None;
        }
        result
    }

    /// Whether a close frame or an error has ended the stream.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing is kept: the next byte begins a new message.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes allocated for what has come of a message.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        match self.partial.as_ref().and_then(|partial| partial.message.as_ref()).map(|message| &message.body)
        {
            Some(Body::Text(text)) => text.len(),
            Some(Body::Binary(bytes)) => bytes.capacity(),
            None => 0,
        }
    }

    fn advance<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            if self.partial.as_ref().is_none_or(|partial| partial.frame.is_none()) {
                let Some(header) = self.read_header(input)? else { return Ok(None) };
                let length = self.admit(&header)?;
                if self.comes_whole(&header) && length <= input.len() {
                    self.release();
                    let payload = take(input, length);
                    mask::apply(payload, header.key);
                    return whole(header.opcode, payload).map(Some);
                }
                self.begin(&header, length);
            }
            match self.read_payload(input)? {
                Progress::Event(event) => return Ok(Some(event)),
                Progress::Fragment => {}
                Progress::Starved => return Ok(None),
            }
        }
    }

    /// Takes a whole header, or keeps the part that is there.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        if kept == 0 {
            if let Some(header) = Header::parse(input)? {
                take(input, header.size);
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }

        let partial = self.partial.get_or_insert_default();
        let more = input.len().min(Header::MAX - kept);
        partial.header[kept..kept + more].copy_from_slice(&input[..more]);
        match Header::parse(&partial.header[..kept + more])? {
            Some(header) => {
                take(input, header.size - kept);
                partial.header_len = 0;
                Ok(Some(header))
            }
            None => {
                take(input, more);
                partial.header_len = kept + more;
                Ok(None)
            }
        }
    }

    /// Holds a frame against the order of frames and the limits, before its payload is read. Gives its length.
    fn admit(&self, header: &Header) -> Result<usize, ProtocolError> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let so_far = match (header.opcode, message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => 0,
            (Opcode::Text | Opcode::Binary, None) => 0,
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::InterruptedMessage),
            (Opcode::Continuation, None) => return Err(ProtocolError::LoneContinuation),
            (Opcode::Continuation, Some(message)) => {
                let limit = max_fragments(self.max_message as usize);
                if message.fragments >= limit {
                    return Err(ProtocolError::TooManyFragments { limit });
                }
                message.body.len()
            }
        };
        let limit = self.max_message as usize;
        match usize::try_from(header.length) {
            Ok(length) if header.opcode.is_control() || length <= limit.saturating_sub(so_far) => Ok(length),
            _ => Err(ProtocolError::TooLong { limit }),
        }
    }

    /// Whether a frame is an event of its own.
    fn comes_whole(&self, header: &Header) -> bool {
        header.opcode.is_control() || (header.fin && header.opcode != Opcode::Continuation)
    }

    fn begin(&mut self, header: &Header, remaining: usize) {
        let partial = self.partial.get_or_insert_default();
        let body = match header.opcode {
            Opcode::Text => Some(Body::Text(TextBuilder::default())),
            Opcode::Binary => Some(Body::Binary(Vec::new())),
            _ => None,
        };
        if let Some(body) = body {
            partial.message = Some(Message { body, fragments: 1 });
        } else if let (Opcode::Continuation, Some(message)) = (header.opcode, &mut partial.message) {
            message.fragments += 1;
        }
        partial.frame = Some(Frame { opcode: header.opcode, fin: header.fin, key: header.key, remaining });
    }

    /// Takes what there is of the current frame's payload.
    fn read_payload<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Progress<'a>, ProtocolError> {
        let Some(partial) = &mut self.partial else { return Ok(Progress::Starved) };
        let Some(frame) = &mut partial.frame else { return Ok(Progress::Starved) };

        let piece = take(input, frame.remaining.min(input.len()));
        mask::apply(piece, frame.key);
        frame.key = mask::rotated(frame.key, piece.len());
        frame.remaining -= piece.len();
        match &mut partial.message {
            _ if frame.opcode.is_control() => partial.control.extend_from_slice(piece),
            Some(Message { body: Body::Text(text), .. }) => text.push(piece)?,
            Some(Message { body: Body::Binary(bytes), .. }) => bytes.extend_from_slice(piece),
            None => {}
        }
        if frame.remaining > 0 {
            return Ok(Progress::Starved);
        }

        let Some(frame) = partial.frame.take() else { return Ok(Progress::Starved) };
        let event = if frame.opcode.is_control() {
            Some(control(frame.opcode, Cow::Owned(std::mem::take(&mut partial.control)))?)
        } else if frame.fin {
            partial.message.take().map(|message| message.finish()).transpose()?
        } else {
            None
        };
        self.release();
        Ok(event.map_or(Progress::Fragment, Progress::Event))
    }

    /// Gives the memory back between messages.
    fn release(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.message.is_none()) {
            self.partial = None;
        }
    }
}

enum Progress<'a> {
    Event(Event<'a>),
    /// A frame has ended that is no event of its own.
    Fragment,
    /// The frame needs more bytes.
    Starved,
}

impl Message {
    fn finish<'a>(self) -> Result<Event<'a>, ProtocolError> {
        Ok(match self.body {
            Body::Text(text) => Event::Text(Cow::Owned(text.finish()?)),
            Body::Binary(bytes) => Event::Binary(Cow::Owned(bytes)),
        })
    }
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// How many frames a message may have. Empty ones add no bytes to it, so its length alone would not end it.
pub(super) fn max_fragments(max_message: usize) -> usize {
    (max_message / 64).max(1024)
}

fn whole(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    match opcode {
        Opcode::Text => match std::str::from_utf8(payload) {
            Ok(text) => Ok(Event::Text(Cow::Borrowed(text))),
            Err(_) => Err(ProtocolError::InvalidUtf8),
        },
        Opcode::Binary | Opcode::Continuation => Ok(Event::Binary(Cow::Borrowed(payload))),
        Opcode::Close | Opcode::Ping | Opcode::Pong => control(opcode, Cow::Borrowed(payload)),
    }
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Close => Event::Close(CloseFrame::parse(&payload)?),
        Opcode::Ping => Event::Ping(payload),
        _ => Event::Pong(payload),
    })
}

/// Splits `count` bytes off the front.
fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(count);
    *input = rest;
    front
}

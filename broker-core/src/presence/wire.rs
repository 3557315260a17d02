//! What nodes tell each other of who is there.
//!
//! A frame is one byte that says what follows, the number of the sender's last frame of changes (u64), and sections to the
//! end. All numbers are big-endian; a text has its length before it (u16 for topics, u32 otherwise). No frame is longer than a
//! control frame may be, and none needs another to be understood.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::room::{Entry, Info};
use crate::{backend::NodeId, session::ClientId, topic::TopicName};

/// How long a frame gets, more or less: one entry more than this fits a control frame of 64 KiB.
pub(super) const FRAME_BYTES: usize = 40 << 10;

/// What is said of a member is no longer than this, all in all: bytes.
pub(crate) const MAX_INFO: usize = 16 << 10;

const CHANGES: u8 = 1;
const ASK: u8 = 2;
const ENTRIES: u8 = 3;
const GOODBYE: u8 = 4;

const IS_THERE: u8 = 1;
const HAS_USER: u8 = 2;
const HAS_META: u8 = 4;
const HAS_LEFT: u8 = 8;
const IS_AMENDED: u8 = 16;

/// One frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// The sender's own members have changed. Such frames have consecutive numbers.
    Changes(Vec<Changed>),
    /// Who is there with you? Of each topic, as of which frame that is known already.
    Ask(Vec<(TopicName, Option<u64>)>),
    /// The answer: the sender's own members of each topic, or a part of them.
    Entries(Vec<Part>),
    /// The sender is about to stop, and its clients come back elsewhere.
    Goodbye,
}

/// What has changed on one topic: each client with what is said of it now.
#[derive(Debug, PartialEq)]
pub(crate) struct Changed {
    pub(crate) topic: TopicName,
    pub(crate) clients: Vec<(ClientId, Word)>,
}

/// A node's word of one of its clients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    /// It is there.
    There(Entry),
    /// It was lost, and has not come back to this node.
    Lapsed,
    /// It has left: other nodes need not wait for it either.
    Left,
}

/// All of a node's members of one topic whose names come after one client's, and up to the last one listed: or to the end.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) topic: TopicName,
    /// The number of the last frame in which the topic changed.
    pub(crate) version: u64,
    pub(crate) content: Content,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    /// As it is known already.
    Same,
    Listed {
        after: Option<ClientId>,
        is_last: bool,
        clients: Vec<(ClientId, Entry)>,
    },
}

/// The bytes are no frame.
#[derive(Debug, thiserror::Error)]
#[error("not a frame of presence")]
pub(crate) struct NotPresence;

impl From<TryGetError> for NotPresence {
    fn from(_: TryGetError) -> Self {
        Self
    }
}

/// Begins a frame.
fn begin(kind: u8, number: u64) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    out.put_u64(number);
    out
}

/// The word that this node is about to stop.
pub(super) fn goodbye(number: u64) -> Bytes {
    begin(GOODBYE, number).freeze()
}

/// Writes frames of changes, as many as it takes: a client's entry is given once. Each frame takes the next number.
pub(super) struct ChangesWriter {
    out: BytesMut,
    pub(super) number: u64,
    /// Where the count of the open section stands, and the count.
    section: Option<(usize, u32)>,
    pub(super) frames: Vec<Bytes>,
}

impl ChangesWriter {
    /// Begins behind the frame of this number.
    pub(super) fn new(number: u64) -> Self {
        Self { out: BytesMut::new(), number, section: None, frames: Vec::new() }
    }

    pub(super) fn topic(&mut self, topic: &TopicName) {
        self.end_section();
        if self.out.len() > FRAME_BYTES {
            self.end_frame();
        }
        if self.out.is_empty() {
            self.number += 1;
            self.out = begin(CHANGES, self.number);
        }
        put_topic(&mut self.out, topic);
        self.section = Some((self.out.len(), 0));
        self.out.put_u32(0);
    }

    pub(super) fn client(&mut self, topic: &TopicName, client: ClientId, word: &Word) {
        if self.out.len() > FRAME_BYTES {
            self.topic(topic);
        }
        match word {
            Word::There(entry) => put_client(&mut self.out, client, entry),
            Word::Lapsed => put_gone(&mut self.out, client, 0),
            Word::Left => put_gone(&mut self.out, client, HAS_LEFT),
        }
        if let Some((_, count)) = &mut self.section {
            *count += 1;
        }
    }

    fn end_section(&mut self) {
        if let Some((at, count)) = self.section.take() {
            self.out[at..at + 4].copy_from_slice(&count.to_be_bytes());
        }
    }

    fn end_frame(&mut self) {
        self.end_section();
        if !self.out.is_empty() {
            self.frames.push(std::mem::take(&mut self.out).freeze());
        }
    }

    pub(super) fn finish(mut self) -> (u64, Vec<Bytes>) {
        self.end_frame();
        (self.number, self.frames)
    }
}

/// Writes questions, as many frames as it takes.
pub(super) fn asks<'a>(
    number: u64,
    topics: impl IntoIterator<Item = (&'a TopicName, Option<u64>)>,
) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut out = BytesMut::new();
    for (topic, known) in topics {
        if out.is_empty() {
            out = begin(ASK, number);
        }
        put_topic(&mut out, topic);
        out.put_u64(known.map_or(u64::MAX, |known| known));
        if out.len() > FRAME_BYTES {
            frames.push(std::mem::take(&mut out).freeze());
        }
    }
    if !out.is_empty() {
        frames.push(out.freeze());
    }
    frames
}

/// Writes answers, as many frames as it takes.
pub(super) struct EntriesWriter {
    out: BytesMut,
    number: u64,
    frames: Vec<Bytes>,
}

impl EntriesWriter {
    pub(super) fn new(number: u64) -> Self {
        Self { out: BytesMut::new(), number, frames: Vec::new() }
    }

    fn begin(&mut self, topic: &TopicName, version: u64) {
        if self.out.len() > FRAME_BYTES {
            self.frames.push(std::mem::take(&mut self.out).freeze());
        }
        if self.out.is_empty() {
            self.out = begin(ENTRIES, self.number);
        }
        put_topic(&mut self.out, topic);
        self.out.put_u64(version);
    }

    pub(super) fn same(&mut self, topic: &TopicName, version: u64) {
        self.begin(topic, version);
        self.out.put_u8(0);
    }

    pub(super) fn entries<'a>(
        &mut self,
        topic: &TopicName,
        version: u64,
        entries: impl Iterator<Item = (ClientId, &'a Entry)>,
    ) {
        let mut entries = entries.peekable();
        let mut after: Option<ClientId> = None;
        loop {
            self.begin(topic, version);
            let flags_at = self.out.len();
            self.out.put_u8(1);
            self.out.put_u64(after.map_or(0, ClientId::value));
            let count_at = self.out.len();
            self.out.put_u32(0);
            let mut count: u32 = 0;
            while self.out.len() <= FRAME_BYTES
                && let Some((client, entry)) = entries.next()
            {
                put_client(&mut self.out, client, entry);
                count += 1;
                after = Some(client);
            }
            self.out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
            if entries.peek().is_none() {
                self.out[flags_at] = 2;
                return;
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<Bytes> {
        if !self.out.is_empty() {
            self.frames.push(self.out.freeze());
        }
        self.frames
    }
}

fn put_topic(out: &mut BytesMut, topic: &TopicName) {
    // No name is longer than 255 bytes.
    out.put_u16(topic.as_str().len() as u16);
    out.put_slice(topic.as_str().as_bytes());
}

fn put_gone(out: &mut BytesMut, client: ClientId, flags: u8) {
    out.put_u64(client.value());
    out.put_u8(flags);
}

fn put_client(out: &mut BytesMut, client: ClientId, entry: &Entry) {
    let Entry { stamp, info, is_amended, .. } = entry;
    out.put_u64(client.value());
    let user = info.user.as_ref().map_or(0, |_| HAS_USER);
    let meta = info.meta.as_ref().map_or(0, |_| HAS_META);
    let amended = if *is_amended { IS_AMENDED } else { 0 };
    out.put_u8(IS_THERE | user | meta | amended);
    out.put_u64(*stamp);
    for text in [&info.user, &info.meta].into_iter().flatten() {
        put_text(out, text);
    }
}

pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

impl Frame {
    /// Reads a frame of a node, with its number.
    pub(crate) fn read(from: NodeId, mut bytes: Bytes) -> Result<(u64, Self), NotPresence> {
        let (kind, number) = (bytes.try_get_u8()?, bytes.try_get_u64()?);
        let frame = match kind {
            CHANGES => Self::Changes(sections(&mut bytes, |bytes| changed(from, bytes))?),
            ASK => Self::Ask(sections(&mut bytes, |bytes| {
                let known = (topic(bytes)?, bytes.try_get_u64()?);
                Ok((known.0, Some(known.1).filter(|version| *version != u64::MAX)))
            })?),
            ENTRIES => Self::Entries(sections(&mut bytes, |bytes| part(from, bytes))?),
            GOODBYE => Self::Goodbye,
            _ => return Err(NotPresence),
        };
        Ok((number, frame))
    }
}

fn sections<T>(
    bytes: &mut Bytes,
    mut read: impl FnMut(&mut Bytes) -> Result<T, NotPresence>,
) -> Result<Vec<T>, NotPresence> {
    let mut all = Vec::new();
    while bytes.has_remaining() {
        all.push(read(bytes)?);
    }
    Ok(all)
}

fn changed(from: NodeId, bytes: &mut Bytes) -> Result<Changed, NotPresence> {
    let topic = topic(bytes)?;
    let clients = (0..bytes.try_get_u32()?).map(|_| client(from, bytes)).collect::<Result<_, _>>()?;
    Ok(Changed { topic, clients })
}

fn part(from: NodeId, bytes: &mut Bytes) -> Result<Part, NotPresence> {
    let (topic, version) = (topic(bytes)?, bytes.try_get_u64()?);
    let content = match bytes.try_get_u8()? {
        0 => Content::Same,
        flags @ (1 | 2) => {
            let after = Some(bytes.try_get_u64()?).filter(|after| *after != 0).map(ClientId::new);
            let clients = (0..bytes.try_get_u32()?).map(|_| match client(from, bytes)? {
                (client, Word::There(entry)) => Ok((client, entry)),
                _ => Err(NotPresence),
            });
            let clients: Vec<_> = clients.collect::<Result<_, _>>()?;
            let is_ascending = clients.is_sorted_by(|(a, _), (b, _)| a < b);
            if !is_ascending || clients.first().is_some_and(|(first, _)| Some(*first) <= after) {
                return Err(NotPresence);
            }
            Content::Listed { after, is_last: flags == 2, clients }
        }
        _ => return Err(NotPresence),
    };
    Ok(Part { topic, version, content })
}

fn topic(bytes: &mut Bytes) -> Result<TopicName, NotPresence> {
    let length = usize::from(bytes.try_get_u16()?);
    TopicName::new(text(bytes, length)?).map_err(|_| NotPresence)
}

fn client(owner: NodeId, bytes: &mut Bytes) -> Result<(ClientId, Word), NotPresence> {
    let (client, flags) = (ClientId::new(bytes.try_get_u64()?), bytes.try_get_u8()?);
    if flags & IS_THERE == 0 {
        let has_left = flags & HAS_LEFT != 0;
        return Ok((client, if has_left { Word::Left } else { Word::Lapsed }));
    }
    let stamp = bytes.try_get_u64()?;
    let mut read = |flag| (flags & flag != 0).then(|| shared_text(bytes)).transpose();
    let info = Info { user: read(HAS_USER)?, meta: read(HAS_META)? };
    let is_amended = flags & IS_AMENDED != 0;
    Ok((client, Word::There(Entry { owner, stamp, info, is_amended })))
}

pub(super) fn shared_text(bytes: &mut Bytes) -> Result<Arc<str>, NotPresence> {
    let length = bytes.try_get_u32()? as usize;
    Ok(text(bytes, length)?.into())
}

fn text(bytes: &mut Bytes, length: usize) -> Result<String, NotPresence> {
    if bytes.remaining() < length {
        return Err(NotPresence);
    }
    let text = bytes.split_to(length);
    std::str::from_utf8(&text).map(str::to_owned).map_err(|_| NotPresence)
}

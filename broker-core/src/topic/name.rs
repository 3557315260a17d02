//! Topic names: what may be published to, and why a text is not one.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::escape;

/// The name of one topic: segments joined by `.`, for example `chat.lobby`.
///
/// A name is 1 to [`TopicName::MAX_LEN`] bytes of UTF-8. No segment is empty, and none holds a control
/// character, a blank (any Unicode white space), `*` or `>`. A name whose first character is `$` belongs to
/// the system. Names compare, sort and hash as their text does, byte by byte: there is no case folding and
/// no Unicode normalization.
///
/// A clone shares the text and costs one reference count.
///
/// Never put a name together from user input with `format!`: a room called `lobby.admin` would become two
/// segments. [`TopicName::join`] escapes.
///
/// ```
/// use fanfare_core::topic::{InvalidTopic, TopicName};
///
/// let name = TopicName::new("chat.lobby")?;
/// assert_eq!(name.segments().collect::<Vec<_>>(), ["chat", "lobby"]);
/// assert_eq!(TopicName::new("chat..lobby"), Err(InvalidTopic::EmptySegment { at: 5 }));
/// assert_eq!(TopicName::new("chat.*"), Err(InvalidTopic::Forbidden { ch: '*', at: 5 }));
/// # Ok::<(), InvalidTopic>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// The text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The longest name and the longest pattern, in bytes of UTF-8. No name has more than 128 segments.
    pub const MAX_LEN: usize = 255;

    /// Checks a text that is meant to be a whole name, separators included.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says what is wrong and where.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let name = name.as_ref();
        check(name, Wildcards::Refused)?;
        Ok(Self(name.into()))
    }

    /// Joins segments, any of which may come from a user: the name has exactly as many segments as were
    /// given.
    ///
    /// What a segment may not hold is written as `%` and two upper-case hexadecimal digits per byte of its
    /// UTF-8: `.`, blanks, control characters, `*`, `>`, `%` itself, and a leading `$` of the first segment
    /// (so no input leads to a system topic; write those with [`TopicName::new`]). An empty segment is
    /// written as a lone `%`. Different segments give different names, and
    /// [`TopicName::unescape_segment`] gives each segment back.
    ///
    /// ```
    /// use fanfare_core::topic::TopicName;
    ///
    /// let room = "lobby.admin *";
    /// let name = TopicName::join(["chat", room])?;
    /// assert_eq!(name.as_str(), "chat.lobby%2Eadmin%20%2A");
    ///
    /// let segment = name.segments().last().unwrap_or_default();
    /// assert_eq!(TopicName::unescape_segment(segment)?, room);
    /// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidTopic::Empty`] without any segment, [`InvalidTopic::TooLong`] when the name, escaped, is too
    /// long.
    pub fn join<I>(segments: I) -> Result<Self, InvalidTopic>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut name = String::new();
        let mut len = 0_usize;
        for (index, segment) in segments.into_iter().enumerate() {
            let segment = segment.as_ref();
            let first = index == 0;
            len = len.saturating_add(usize::from(!first)).saturating_add(escape::escaped_len(segment, first));
            // Beyond the limit the length is only counted, for the error.
            if len <= Self::MAX_LEN {
                if !first {
                    name.push('.');
                }
                escape::escape_into(segment, first, &mut name);
            }
        }
        match len {
            0 => Err(InvalidTopic::Empty),
            1..=Self::MAX_LEN => Ok(Self(name.into())),
            _ => Err(InvalidTopic::TooLong { limit: Self::MAX_LEN, len }),
        }
    }

    /// Gives back a segment as [`TopicName::join`] got it.
    ///
    /// Strict: it takes what `join` writes and nothing else, so that two different segments never turn into
    /// one text (`%41` is refused, because `join` writes `A`). The one exception is a leading `$`, which
    /// `join` writes as `%24` in the first segment and as itself in the others: both are taken.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic::Escape`] at the first byte that `join` would not have written,
    /// [`InvalidTopic::EmptySegment`] for an empty text.
    pub fn unescape_segment(segment: &str) -> Result<Cow<'_, str>, InvalidTopic> {
        escape::unescape(segment)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments from left to right, escaped as they stand in the name; at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// Whether the name belongs to the system: its first character is `$`. A pattern that starts with a
    /// wildcard does not match such a name.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// A text that [`check`] has passed without wildcards.
    pub(super) fn from_checked(text: Arc<str>) -> Self {
        Self(text)
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.0
    }
}

/// Why a text is not a [`TopicName`] or not a [`TopicPattern`](super::TopicPattern).
///
/// Every `at` is an offset in bytes from the start of the text. The text itself is not part of the error, so
/// it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// No text, or no segment to join.
    #[error("a topic has at least one byte")]
    Empty,
    /// Longer than [`TopicName::MAX_LEN`]; both in bytes, escapes included.
    #[error("a topic has at most {limit} bytes, this one has {len}")]
    TooLong {
        /// The most bytes that are taken.
        limit: usize,
        /// The bytes that were given.
        len: usize,
    },
    /// Two separators in a row, or one at an end.
    #[error("the segment at byte {at} is empty")]
    EmptySegment {
        /// Where the segment should have started.
        at: usize,
    },
    /// A control character or a blank; in a name also `*` and `>`.
    #[error("the character {ch:?} at byte {at} is not allowed in a topic")]
    Forbidden {
        /// The character.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// In a pattern, `*` or `>` is only a part of a segment, as in `chat.lob*`.
    #[error("the wildcard {ch:?} at byte {at} is not a segment of its own")]
    WildcardInSegment {
        /// The wildcard.
        ch: char,
        /// Where it stands.
        at: usize,
    },
    /// In a pattern, segments follow `>`.
    #[error("the wildcard '>' at byte {at} is not the last segment")]
    RestNotLast {
        /// Where it stands.
        at: usize,
    },
    /// A segment that [`TopicName::join`] has not written.
    #[error("the segment is not escaped as it should be at byte {at}")]
    Escape {
        /// The first byte that `join` would not have written, or the segment's end.
        at: usize,
    },
}

impl InvalidTopic {
    /// The limit that was exceeded, where there is one; for [`InvalidTopic::TooLong`] in bytes.
    pub fn limit(&self) -> Option<u64> {
        match self {
            Self::TooLong { limit, .. } => Some(*limit as u64),
            _ => None,
        }
    }

    /// The value that exceeded [`InvalidTopic::limit`], in the same unit.
    pub fn value(&self) -> Option<u64> {
        match self {
            Self::TooLong { len, .. } => Some(*len as u64),
            _ => None,
        }
    }
}

/// Whether `*` and `>` may be segments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wildcards {
    Allowed,
    Refused,
}

/// The one check of names and patterns. The first fault from the left is the one reported.
pub(super) fn check(text: &str, wildcards: Wildcards) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if text.len() > TopicName::MAX_LEN {
        return Err(InvalidTopic::TooLong { limit: TopicName::MAX_LEN, len: text.len() });
    }
    let mut at = 0;
    for segment in text.split('.') {
        check_segment(segment, at, wildcards)?;
        let end = at + segment.len();
        if segment == ">" && end < text.len() {
            return Err(InvalidTopic::RestNotLast { at });
        }
        at = end + 1;
    }
    Ok(())
}

fn check_segment(segment: &str, at: usize, wildcards: Wildcards) -> Result<(), InvalidTopic> {
    if segment.is_empty() {
        return Err(InvalidTopic::EmptySegment { at });
    }
    let wildcards = wildcards == Wildcards::Allowed;
    if wildcards && matches!(segment, "*" | ">") {
        return Ok(());
    }
    for (offset, ch) in segment.char_indices() {
        let at = at + offset;
        match ch {
            '*' | '>' if wildcards => return Err(InvalidTopic::WildcardInSegment { ch, at }),
            '*' | '>' => return Err(InvalidTopic::Forbidden { ch, at }),
            _ if ch.is_control() || ch.is_whitespace() => return Err(InvalidTopic::Forbidden { ch, at }),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopic;

    fn from_str(name: &str) -> Result<Self, InvalidTopic> {
        Self::new(name)
    }
}

impl TryFrom<&str> for TopicName {
    type Error = InvalidTopic;

    fn try_from(name: &str) -> Result<Self, InvalidTopic> {
        Self::new(name)
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopic;

    fn try_from(name: String) -> Result<Self, InvalidTopic> {
        Self::new(name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.as_str().to_owned()
    }
}

impl PartialEq<str> for TopicName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for TopicName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

//! Topic patterns: names with wildcards, what they match, and which of two is more specific.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::name::{Wildcards, check};
use super::{InvalidTopic, TopicName};

/// A set of topic names, by the rules of NATS subjects.
///
/// | segment | matches |
/// | --- | --- |
/// | `*` | exactly one segment, whatever it holds |
/// | `>` | one or more segments; only as the last one of a pattern |
/// | anything else | itself |
///
/// So a plain name is a pattern that matches itself, and `chat.>` does not match `chat`. A pattern whose first
/// segment is a wildcard never matches a system topic (`$...`): `>` is everything that applications publish,
/// and `$client.>` has to be spelled out.
///
/// The limits of [`TopicName`] hold for patterns too. `Ord` is the order of the text;
/// [`TopicPattern::cmp_specificity`] is the order by which the most specific pattern wins. A clone shares the
/// text and costs one reference count.
///
/// To put user input into a pattern, escape it as a name first:
///
/// ```
/// use fanfare_core::topic::{TopicName, TopicPattern};
///
/// let user = "*";
/// let pattern = TopicPattern::new(format!("{}.>", TopicName::join(["inbox", user])?))?;
/// assert!(pattern.matches(&TopicName::new("inbox.%2A.new")?));
/// assert!(!pattern.matches(&TopicName::new("inbox.ann.new")?));
/// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// The text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// Checks a text that is meant to be a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`] says what is wrong and where.
    pub fn new(pattern: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let pattern = pattern.as_ref();
        check(pattern, Wildcards::Allowed)?;
        Ok(Self(pattern.into()))
    }

    /// The whole pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments from left to right, wildcards included; at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// Whether there is no wildcard, so that the pattern matches one name, itself.
    pub fn is_exact(&self) -> bool {
        // Elsewhere than as whole segments they were refused.
        !self.0.contains(['*', '>'])
    }

    /// The one name that an exact pattern matches, sharing its text; `None` when there are wildcards.
    pub fn to_exact(&self) -> Option<TopicName> {
        self.is_exact().then(|| TopicName::from_checked(Arc::clone(&self.0)))
    }

    /// Whether `name` belongs to the set.
    ///
    /// ```
    /// use fanfare_core::topic::{TopicName, TopicPattern};
    ///
    /// let rooms = TopicPattern::new("chat.*")?;
    /// assert!(rooms.matches(&TopicName::new("chat.lobby")?));
    /// assert!(!rooms.matches(&TopicName::new("chat.lobby.typing")?));
    /// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
    /// ```
    pub fn matches(&self, name: &TopicName) -> bool {
        covers(&self.0, name.as_str())
    }

    /// Whether every name that `other` matches is matched by `self` too.
    ///
    /// With this, who may read `chat.>` may subscribe to `chat.*.typing`:
    ///
    /// ```
    /// use fanfare_core::topic::TopicPattern;
    ///
    /// let allowed = TopicPattern::new("chat.>")?;
    /// assert!(allowed.covers(&TopicPattern::new("chat.*.typing")?));
    /// assert!(!allowed.covers(&TopicPattern::new("*.lobby")?));
    /// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
    /// ```
    ///
    /// It looks at the segments alone. That some names would be longer than a name can be is not considered;
    /// where that matters, the answer is `false`.
    pub fn covers(&self, other: &Self) -> bool {
        covers(&self.0, &other.0)
    }

    /// Whether some name can match both patterns.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        overlaps(&self.0, &other.0)
    }

    /// Compares how specific two patterns are; `Greater` means that `self` is more specific than `other`.
    ///
    /// A total order: an exact pattern is above any with a wildcard. Else the first segments of different
    /// kind decide, from the left, a literal above `*` above `>`. If all segments of the shorter pattern are
    /// of the same kinds, the longer one is above. What is still equal (two such patterns never match the same
    /// name) goes by text, the first of the alphabet above, so that only equal patterns compare as `Equal`.
    ///
    /// A pattern that [covers](Self::covers) a different one is always below it.
    ///
    /// ```
    /// use fanfare_core::topic::TopicPattern;
    ///
    /// let mut patterns = [">", "*.lobby", "chat.>", "chat.*", "chat.lobby"].map(TopicPattern::new).into_iter()
    ///     .collect::<Result<Vec<_>, _>>()?;
    /// patterns.sort_by(|a, b| b.cmp_specificity(a));
    /// assert_eq!(patterns, ["chat.lobby", "chat.*", "chat.>", "*.lobby", ">"]);
    /// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
    /// ```
    pub fn cmp_specificity(&self, other: &Self) -> Ordering {
        self.is_exact()
            .cmp(&other.is_exact())
            .then_with(|| self.segments().map(Kind::of).cmp(other.segments().map(Kind::of)))
            .then_with(|| other.0.cmp(&self.0))
    }
}

/// The kinds of segment, the least specific first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Rest,
    One,
    Literal,
}

impl Kind {
    fn of(segment: &str) -> Self {
        match segment {
            ">" => Self::Rest,
            "*" => Self::One,
            _ => Self::Literal,
        }
    }
}

/// Whether the pattern `outer` covers the pattern `inner`. A name is a pattern without wildcards, so this is
/// also whether `outer` matches it.
fn covers(outer: &str, inner: &str) -> bool {
    if outer.starts_with(['*', '>']) && inner.starts_with('$') {
        return false;
    }
    let mut inner = inner.split('.');
    for segment in outer.split('.') {
        match (segment, inner.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            // `>` can be several segments, which neither `*` nor a literal is.
            (_, Some(">")) => return false,
            ("*", Some(_)) => {}
            (literal, Some(other)) if literal == other => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

fn overlaps(one: &str, other: &str) -> bool {
    let is_wild = |pattern: &str| pattern.starts_with(['*', '>']);
    if (is_wild(one) && other.starts_with('$')) || (one.starts_with('$') && is_wild(other)) {
        return false;
    }
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for TopicPattern {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for TopicPattern {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<TopicName> for TopicPattern {
    fn from(name: TopicName) -> Self {
        Self::from(&name)
    }
}

impl From<&TopicName> for TopicPattern {
    fn from(name: &TopicName) -> Self {
        Self(Arc::clone(name.text()))
    }
}

impl FromStr for TopicPattern {
    type Err = InvalidTopic;

    fn from_str(pattern: &str) -> Result<Self, InvalidTopic> {
        Self::new(pattern)
    }
}

impl TryFrom<&str> for TopicPattern {
    type Error = InvalidTopic;

    fn try_from(pattern: &str) -> Result<Self, InvalidTopic> {
        Self::new(pattern)
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = InvalidTopic;

    fn try_from(pattern: String) -> Result<Self, InvalidTopic> {
        Self::new(pattern)
    }
}

impl PartialEq<str> for TopicPattern {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for TopicPattern {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

//! What a frame may hold, beyond the transport's limit on its length.

/// Limits on the parts of a command. Each has a default; what is over it is refused with an error that names the
/// field, the limit and the value.
///
/// ```
/// use fanfare_protocol::DecodeLimits;
///
/// let limits = DecodeLimits { topics: 1, ..DecodeLimits::default() };
/// let refused = limits.decode_text(r#"{"publish":{"topics":["a","b"],"data":1}}"#);
/// assert_eq!(refused.map(|_| ()).unwrap_err().error.field, Some("topics"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The longest `event`, `key` and `message_id`: bytes of UTF-8. Default 255.
    pub text: usize,
    /// How many entries `connect.subscribe` may have. Default 128.
    pub subscribe: usize,
    /// How many entries `publish.topics` may have. Default 16.
    pub topics: usize,
    /// How deep arrays and objects may nest in a JSON payload. Default 100.
    ///
    /// A payload reaches every subscriber inside a frame of one level, and common JSON parsers give up at 128
    /// levels: one client's payload must not make another client's frame unreadable.
    pub depth: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { text: 255, subscribe: 128, topics: 16, depth: 100 }
    }
}

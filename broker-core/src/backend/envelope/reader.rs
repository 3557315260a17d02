//! Reads fields from the front of an envelope.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::EnvelopeError;
use crate::topic::TopicName;

/// What has not been read yet.
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(super) fn u8(&mut self) -> Result<u8, EnvelopeError> {
        self.0.try_get_u8().map_err(|_| EnvelopeError::Short)
    }

    pub(super) fn u64(&mut self) -> Result<u64, EnvelopeError> {
        self.0.try_get_u64().map_err(|_| EnvelopeError::Short)
    }

    /// A number of 7 bits a byte, in its shortest form.
    pub(super) fn number(&mut self) -> Result<u64, EnvelopeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return Err(EnvelopeError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(EnvelopeError::Number)
    }

    /// How many entries of at least so many bytes follow: never more than there is room for.
    pub(super) fn count(&mut self, entry: usize) -> Result<usize, EnvelopeError> {
        let count = usize::try_from(self.number()?).map_err(|_| EnvelopeError::Short)?;
        if count > self.0.len() / entry { Err(EnvelopeError::Short) } else { Ok(count) }
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Arc<str>, EnvelopeError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes).map_err(|source| EnvelopeError::NotUtf8 { field, source })?;
        Ok(Arc::from(text))
    }

    pub(super) fn topic(&mut self) -> Result<TopicName, EnvelopeError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|source| EnvelopeError::NotUtf8 { field: "topic", source })?;
        Ok(TopicName::new(text)?)
    }

    /// A decimal number of at most 20 digits, without a sign, and the byte that ends it.
    pub(super) fn decimal(&mut self, end: u8) -> Result<u64, EnvelopeError> {
        let mut number: u64 = 0;
        for digits in 0..=20 {
            match self.u8()? {
                byte if byte == end && digits > 0 => return Ok(number),
                byte if byte.is_ascii_digit() => {
                    let next = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                    number = next.ok_or(EnvelopeError::Place)?;
                }
                _ => return Err(EnvelopeError::Place),
            }
        }
        Err(EnvelopeError::Place)
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    fn bytes(&mut self) -> Result<Bytes, EnvelopeError> {
        let length = self.count(1)?;
        Ok(self.0.split_to(length))
    }
}

//! Text that arrives in pieces (RFC 6455, section 8.1).

use super::ProtocolError;

/// The text of a message so far. Pieces may end inside a character; each byte is checked once, when it arrives, so
/// that a bad one is found without waiting for the rest of the message.
#[derive(Debug, Default)]
pub(super) struct TextBuilder {
    text: String,
    /// The beginning of a character whose rest has not come.
    tail: [u8; 4],
    tail_len: u8,
}

impl TextBuilder {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.text.len() + usize::from(self.tail_len)
    }

    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.tail_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.push_to_tail(byte)?;
        }
        match std::str::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
            Err(error) => {
                let (whole, tail) = piece.split_at(error.valid_up_to());
                self.text.push_str(std::str::from_utf8(whole).map_err(|_| ProtocolError::InvalidUtf8)?);
                for &byte in tail {
                    self.push_to_tail(byte)?;
                }
            }
        }
        Ok(())
    }

    /// The whole text; an error when it ends inside a character.
    pub(super) fn finish(self) -> Result<String, ProtocolError> {
        if self.tail_len > 0 { Err(ProtocolError::InvalidUtf8) } else { Ok(self.text) }
    }

    fn push_to_tail(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let at = usize::from(self.tail_len);
        // A fourth byte always completes or breaks the character, so there is always room for one more.
        *self.tail.get_mut(at).ok_or(ProtocolError::InvalidUtf8)? = byte;
        match std::str::from_utf8(&self.tail[..=at]) {
            Ok(character) => {
                self.text.push_str(character);
                self.tail_len = 0;
            }
            Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
            Err(_) => self.tail_len += 1,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn build<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<String, ProtocolError> {
        let mut text = TextBuilder::default();
        for piece in pieces {
            text.push(piece)?;
        }
        text.finish()
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(bytes in prop::collection::vec(any::<u8>(), 0..24), size in 1usize..6) {
            let expected = String::from_utf8(bytes.clone()).map_err(|_| ProtocolError::InvalidUtf8);
            prop_assert_eq!(build(bytes.chunks(size)), expected);
        }

        #[test]
        fn keeps_text_cut_anywhere(text in "\\PC{0,24}", size in 1usize..6) {
            prop_assert_eq!(build(text.as_bytes().chunks(size)), Ok(text));
        }
    }

    #[test]
    fn a_bad_byte_is_found_when_it_arrives() {
        // An overlong form, a surrogate and a value past U+10FFFF show at their second byte.
        for bad in [[0xE0, 0x80], [0xED, 0xA0], [0xF4, 0x90]] {
            let mut text = TextBuilder::default();
            assert_eq!(text.push(&bad[..1]), Ok(()));
            assert_eq!(text.push(&bad[1..]), Err(ProtocolError::InvalidUtf8), "{bad:x?}");
        }
        assert_eq!(TextBuilder::default().push(&[0x80]), Err(ProtocolError::InvalidUtf8));
    }

    #[test]
    fn a_cut_at_the_end_is_an_error() {
        let mut text = TextBuilder::default();
        text.push("κ".as_bytes()).unwrap();
        text.push(&"😀".as_bytes()[..3]).unwrap();
        assert_eq!(text.len(), 5);
        assert_eq!(text.finish(), Err(ProtocolError::InvalidUtf8));
    }
}

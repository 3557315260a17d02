//! The key and its proof (RFC 6455, section 4.2.2, item 5.4).

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use http::{HeaderValue, header::SEC_WEBSOCKET_KEY};
use sha1_smol::Sha1;

use super::HandshakeError;

/// What the server must show to have read (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The last character of a key carries four bits of nothing, which some clients fill.
const KEYS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The value of `Sec-WebSocket-Accept` for a key of 16 bytes in base64.
pub(super) fn accept(key: &HeaderValue) -> Result<HeaderValue, HandshakeError> {
    let invalid = || HandshakeError::Invalid(SEC_WEBSOCKET_KEY);
    // The decoder wants room for three bytes of each four characters, padding included.
    let mut nonce = [0; 18];
    if key.len() != 24 || KEYS.decode_slice(key, &mut nonce) != Ok(16) {
        return Err(invalid());
    }
    let mut digest = Sha1::from(key.as_bytes());
    digest.update(GUID);
    HeaderValue::try_from(BASE64_STANDARD.encode(digest.digest().bytes())).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proves_the_key_of_the_rfc() {
        // Section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), Ok(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }

    #[test]
    fn refuses_what_is_not_16_bytes_of_base64() {
        let keys = [
            "",
            "abc",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZWU=",
            "????????????????????????",
        ];
        for key in keys {
            let refused = Err(HandshakeError::Invalid(SEC_WEBSOCKET_KEY));
            assert_eq!(accept(&HeaderValue::from_static(key)), refused, "{key:?}");
        }
    }
}

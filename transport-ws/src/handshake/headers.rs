//! Headers that must be there once.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::HandshakeError;

/// The value of a header that comes exactly once.
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Result<&HeaderValue, HandshakeError> {
    at_most_one(headers, name.clone())?.ok_or(HandshakeError::Missing(name))
}

/// The value of a header that may be left out.
pub(super) fn at_most_one(
    headers: &HeaderMap,
    name: HeaderName,
) -> Result<Option<&HeaderValue>, HandshakeError> {
    let mut values = headers.get_all(&name).iter();
    let value = values.next();
    if values.next().is_some() { Err(HandshakeError::Doubled(name)) } else { Ok(value) }
}

/// Holds a list header to naming `token` exactly once. Other tokens may stand beside it, on the same line or on
/// others (RFC 9110, section 5.3).
pub(super) fn require_token(
    headers: &HeaderMap,
    name: HeaderName,
    token: &str,
) -> Result<(), HandshakeError> {
    match tokens(headers, &name)?.filter(|found| found.eq_ignore_ascii_case(token)).count() {
        1 => Ok(()),
        0 if headers.contains_key(&name) => Err(HandshakeError::Invalid(name)),
        0 => Err(HandshakeError::Missing(name)),
        _ => Err(HandshakeError::Doubled(name)),
    }
}

/// The elements of a list header over all its lines.
pub(super) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, HandshakeError> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str());
    let lines = lines.collect::<Result<Vec<_>, _>>().map_err(|_| HandshakeError::Invalid(name.clone()))?;
    let tokens = lines.into_iter().flat_map(|line| line.split(','));
    Ok(tokens.map(|token| token.trim_matches([' ', '\t'])).filter(|token| !token.is_empty()))
}

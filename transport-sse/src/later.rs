//! An `EventSource` that is to come back later.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    message::{Encoder, Frame},
    session::{CloseKind, CloseReason, ErrorCode},
};
use fanfare_http::Refused;
use http::{HeaderMap, StatusCode, header};

use crate::encoder::Raw;

/// What an `EventSource` is told in place of a refusal that will not last: a stream that says so and ends. After any status but
/// 200 it would never come back by itself (HTML, section 9.2.3: "fail the connection").
///
/// `None` for refusals that last, and for clients that can read a status.
pub(crate) fn instead(refused: &Refused, headers: &HeaderMap, retry: Duration) -> Option<Bytes> {
    let passes = matches!(
        refused.status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if !passes || !wants_events(headers) {
        return None;
    }
    let after = refused.error.retry_after.unwrap_or_default().max(spread(retry));
    let kind = match refused.error.code {
        ErrorCode::Draining => CloseKind::Draining,
        ErrorCode::LimitExceeded => CloseKind::ConnectionLimit,
        ErrorCode::RateLimited => CloseKind::RateLimited,
        _ => CloseKind::Restart,
    };
    let reason = CloseReason::with_message(kind, refused.error.message.clone()).retry_after(after);
    let mut out = BytesMut::new();
    Raw.encode(Frame::Close(&reason), &mut out);
    Some(out.freeze())
}

/// A time of each reader's own around this one.
pub(crate) fn spread(retry: Duration) -> Duration {
    retry.mul_f64(0.5 + fastrand::f64())
}

/// Whether the request names event streams, as an `EventSource` always does; a script that takes anything does not.
fn wants_events(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/event-stream")
    })
}

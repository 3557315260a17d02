//! What a published message is answered.

use std::fmt::Write;

use fanfare_core::{publish::Report, session::Published};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::Answer;

/// `{"pos":"k3f9:43"}`, on an ephemeral topic `{}`.
pub(super) fn published(published: &Published) -> Answer {
    accepted(fields(published.position.as_ref(), published.duplicate))
}

/// The same with `"report":{..}`.
pub(super) fn reported(report: &Report) -> Answer {
    let mut fields = fields(report.position.as_ref(), report.duplicate);
    let Report { matched, delivered, queued, conflated, dropped, disconnected, .. } = report;
    fields.push(format!(
        r#""report":{{"matched":{matched},"delivered":{delivered},"queued":{queued},"conflated":{conflated},"dropped":{dropped},"disconnected":{disconnected}}}"#
    ));
    accepted(fields)
}

/// A position as text holds nothing that JSON would have to escape.
fn fields(position: Option<&fanfare_core::message::Position>, duplicate: bool) -> Vec<String> {
    let position = position.map(|position| format!(r#""pos":"{position}""#));
    position.into_iter().chain(duplicate.then(|| r#""duplicate":true"#.to_owned())).collect()
}

fn accepted(fields: Vec<String>) -> Answer {
    let mut body = String::new();
    let _ = write!(body, "{{{}}}", fields.join(","));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

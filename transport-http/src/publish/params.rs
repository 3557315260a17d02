//! What a request says of its message beside the payload: in its query and its headers.

use fanfare_core::session::{CommandError, ErrorCode};
use http::{HeaderMap, HeaderName, StatusCode, request::Parts};

use super::content::only;
use crate::{Refused, request::exact_query};

/// The header that names the message (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is said of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Params {
    pub(super) topics: Vec<String>,
    pub(super) event: Option<String>,
    pub(super) key: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) report: bool,
}

impl Params {
    /// Reads them. Parameters that nobody knows are left to others, as `token` is.
    pub(super) fn read(request: &Parts, max_query: usize, max_topics: usize) -> Result<Self, Refused> {
        let length = request.uri.query().unwrap_or_default().len();
        if length > max_query {
            let error = CommandError::new(ErrorCode::TooLarge, "the query is over its limit").field("query");
            let error = error.limit(max_query as u64, length as u64);
            return Err(Refused::new(StatusCode::URI_TOO_LONG, error));
        }
        let mut params = Self::default();
        let mut report = None;
        for (name, value) in exact_query(request) {
            let Some(name) = name else { continue };
            let (field, place) = match name.as_str() {
                "topic" => ("topic", None),
                "event" => ("event", Some(&mut params.event)),
                "key" => ("key", Some(&mut params.key)),
                "report" => ("report", Some(&mut report)),
                _ => continue,
            };
            let value = value.ok_or_else(|| bad(field, "the parameter is not UTF-8"))?;
            match place {
                // One more than the limit is enough to be refused for.
                None if params.topics.len() <= max_topics => params.topics.push(value),
                None => {}
                Some(place) if place.is_none() => *place = Some(value),
                Some(_) => return Err(bad(field, "the parameter comes more than once")),
            }
        }
        params.report = flag(report.as_deref())?;
        params.message_id = message_id(&request.headers)?;
        Ok(params)
    }
}

fn flag(report: Option<&str>) -> Result<bool, Refused> {
    match report {
        None | Some("0" | "false") => Ok(false),
        Some("" | "1" | "true") => Ok(true),
        Some(_) => Err(bad("report", "the parameter is 1 or 0")),
    }
}

/// The message's name: a string of RFC 9651 (section 3.3.3), as the draft has it, or the same without its quotes,
/// as many clients send it.
fn message_id(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(text) = only(headers, IDEMPOTENCY_KEY)? else { return Ok(None) };
    let text = text.trim();
    let named = match text.strip_prefix('"') {
        Some(rest) => quoted(rest),
        None => (!text.contains(['"', '\\', ';', ','])).then(|| text.to_owned()),
    };
    match named {
        Some(name) if !name.is_empty() => Ok(Some(name)),
        _ => Err(bad("idempotency-key", "the header is a string such as \"order-17\"")),
    }
}

/// A quoted string after its first quote. Parameters that follow are not ours.
fn quoted(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => break,
            '\\' => name.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            plain => name.push(plain),
        }
    }
    let rest = rest.as_str().trim_start();
    (rest.is_empty() || rest.starts_with(';')).then_some(name)
}

fn bad(field: &'static str, message: &'static str) -> Refused {
    CommandError::new(ErrorCode::BadRequest, message).field(field).into()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(query: &str, key: Option<&str>) -> Result<Params, (u16, &'static str)> {
        let mut request = Request::post(format!("/publish?{query}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        Params::read(&parts, 1000, 2)
            .map_err(|refused| (refused.status.as_u16(), refused.error.field.unwrap_or_default()))
    }

    #[test]
    fn the_query_says_where_to() {
        let params =
            read("topic=chat.a%20b&event=line+2&token=secret&key=%C3%A9&report=1&%FF=1", None).unwrap();
        let expected = Params {
            topics: vec!["chat.a b".to_owned()],
            event: Some("line 2".to_owned()),
            key: Some("é".to_owned()),
            message_id: None,
            report: true,
        };
        assert_eq!(params, expected);
        assert_eq!(read("topic=a&topic=b", None).unwrap().topics, ["a", "b"]);
        assert_eq!(read("", None).unwrap(), Params::default());
        for (said, wanted) in [("report", true), ("report=true", true), ("report=0", false)] {
            assert_eq!(read(said, None).unwrap().report, wanted);
        }
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        assert_eq!(read("event=a&event=b", None), Err((400, "event")));
        assert_eq!(read("key=a&key=", None), Err((400, "key")));
        assert_eq!(read("topic=%FF", None), Err((400, "topic")));
        assert_eq!(read("report=yes", None), Err((400, "report")));
        assert_eq!(read(&format!("x={}", "a".repeat(1000)), None), Err((414, "query")));
        // What is over the limit is not kept, and is refused by the core.
        assert_eq!(read("topic=a&topic=b&topic=c&topic=d", None).unwrap().topics.len(), 3);
    }

    #[test]
    fn the_idempotency_key_may_be_quoted_or_bare() {
        let id = |text: &str| read("", Some(text)).map(|params| params.message_id.unwrap());
        assert_eq!(id("\"order-17\"").as_deref(), Ok("order-17"));
        assert_eq!(id("order-17").as_deref(), Ok("order-17"));
        assert_eq!(id(r#""a \"b\" \\ c" ; v=1"#).as_deref(), Ok(r#"a "b" \ c"#));
        assert_eq!(id("8e03978e-40d5-43dd-bc93-6894a57f9324").map(|id| id.len()), Ok(36));
        for unclear in ["\"", "\"a", "\"a\"b", "a\"b\"", "\"\"", "", r#""\n""#, "a, b", "a;b"] {
            assert_eq!(id(unclear), Err((400, "idempotency-key")), "{unclear:?}");
        }
    }
}

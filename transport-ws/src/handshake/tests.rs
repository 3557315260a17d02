//! Whole handshakes: one that is right, and each way to be wrong.

use http::{HeaderName, Request, header};
use http_body_util::BodyExt;

use super::*;

fn request(change: impl FnOnce(&mut Parts)) -> Parts {
    let request = Request::get("/ws")
        .header(header::HOST, "app.example")
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "keep-alive, Upgrade")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
    let mut parts = request.body(()).unwrap().into_parts().0;
    change(&mut parts);
    parts
}

fn check(change: impl FnOnce(&mut Parts)) -> Result<Accepted, HandshakeError> {
    Accepted::check(&request(change), &Config::new())
}

fn refusal(change: impl FnOnce(&mut Parts)) -> (u16, HandshakeError) {
    let error = check(change).unwrap_err();
    (error.status().as_u16(), error)
}

fn set(name: HeaderName, value: &'static str) -> impl FnOnce(&mut Parts) {
    move |parts| {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
}

#[test]
fn a_right_handshake_is_answered_101() {
    let response = check(|_| ()).unwrap().response();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()[header::UPGRADE], "websocket");
    assert_eq!(response.headers()[header::CONNECTION], "Upgrade");
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!response.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL));
}

#[test]
fn names_are_taken_in_any_case() {
    check(set(header::UPGRADE, "WebSocket")).unwrap();
    check(set(header::CONNECTION, "UPGRADE")).unwrap();
    check(|parts| {
        parts.headers.append(header::CONNECTION, HeaderValue::from_static("close"));
    })
    .unwrap();
}

#[test]
fn each_header_must_be_there_once() {
    let needed = [
        header::HOST,
        header::UPGRADE,
        header::CONNECTION,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_KEY,
    ];
    for name in needed {
        let missing = refusal(|parts| drop(parts.headers.remove(&name)));
        let between_neighbours = name == header::UPGRADE || name == header::CONNECTION;
        let expected = if between_neighbours { HandshakeError::TakenOut } else { HandshakeError::Missing };
        assert_eq!(missing, (400, expected(name.clone())));
        let doubled = refusal(|parts| {
            let value = parts.headers[&name].clone();
            parts.headers.append(&name, value);
        });
        assert_eq!(doubled, (400, HandshakeError::Doubled(name)));
    }
    let doubled = refusal(|parts| {
        parts.headers.append(header::ORIGIN, HeaderValue::from_static("https://app.example"));
        parts.headers.append(header::ORIGIN, HeaderValue::from_static("https://app.example"));
    });
    assert_eq!(doubled, (400, HandshakeError::Doubled(header::ORIGIN)));
}

#[test]
fn who_opens_the_address_in_a_browser_is_told_what_it_is() {
    let plain = |parts: &mut Parts| {
        for name in
            [header::UPGRADE, header::CONNECTION, header::SEC_WEBSOCKET_VERSION, header::SEC_WEBSOCKET_KEY]
        {
            parts.headers.remove(name);
        }
    };
    assert_eq!(refusal(plain), (426, HandshakeError::NotWebSocket));
    assert_eq!(HandshakeError::NotWebSocket.response().headers()[header::UPGRADE], "websocket");
    let over_http2 = |parts: &mut Parts| {
        plain(parts);
        parts.version = Version::HTTP_2;
    };
    assert_eq!(refusal(over_http2), (400, HandshakeError::HttpVersion), "HTTP/2 has no header upgrade");
}

#[test]
fn a_proxy_that_keeps_the_upgrade_to_itself_is_named() {
    let taken_out = |name: HeaderName| (400, HandshakeError::TakenOut(name));
    // nginx as it comes: HTTP/1.0, no `Upgrade`, `Connection: close`.
    let as_it_comes = |parts: &mut Parts| {
        parts.headers.remove(header::UPGRADE);
        set(header::CONNECTION, "close")(parts);
        parts.version = Version::HTTP_10;
    };
    assert_eq!(refusal(as_it_comes), taken_out(header::UPGRADE));
    assert_eq!(refusal(set(header::CONNECTION, "close")), taken_out(header::CONNECTION));
    assert_eq!(refusal(set(header::CONNECTION, "Keep-Alive")), taken_out(header::CONNECTION));
}

#[test]
fn each_header_must_say_the_right_thing() {
    let invalid = |name: HeaderName| (400, HandshakeError::Invalid(name));
    assert_eq!(refusal(set(header::UPGRADE, "h2c")), invalid(header::UPGRADE));
    assert_eq!(refusal(set(header::CONNECTION, "http2-settings")), invalid(header::CONNECTION));
    assert_eq!(refusal(set(header::SEC_WEBSOCKET_KEY, "short")), invalid(header::SEC_WEBSOCKET_KEY));
    assert_eq!(refusal(set(header::SEC_WEBSOCKET_VERSION, "8")), (426, HandshakeError::WebSocketVersion));
    assert_eq!(refusal(|parts| parts.method = Method::POST), (405, HandshakeError::Method));
    assert_eq!(refusal(|parts| parts.version = Version::HTTP_10), (400, HandshakeError::HttpVersion));
    assert_eq!(refusal(set(header::ORIGIN, "https://evil.example")), (403, HandshakeError::Origin));
    check(set(header::ORIGIN, "https://app.example")).unwrap();
}

#[test]
fn headers_are_limited_in_number_and_bytes() {
    let fill = |count: usize, length: usize| {
        move |parts: &mut Parts| {
            for at in parts.headers.len()..count {
                let name = HeaderName::try_from(format!("x-{at}")).unwrap();
                parts.headers.insert(name, HeaderValue::try_from("a".repeat(length)).unwrap());
            }
        }
    };
    check(fill(64, 1)).unwrap();
    assert_eq!(refusal(fill(65, 1)), (431, HandshakeError::TooManyHeaders { limit: 64, value: 65 }));
    let (status, error) = refusal(fill(10, 4096));
    assert_eq!(status, 431);
    assert!(matches!(error, HandshakeError::HeadersTooLarge { limit: 16_384, value: 20_000.. }));
    let long_target = refusal(|parts| parts.uri = format!("/ws?{}", "a".repeat(17_000)).try_into().unwrap());
    assert_eq!(long_target.0, 431);
}

#[test]
fn v1_is_found_among_the_subprotocols() {
    let offer = |value| check(set(header::SEC_WEBSOCKET_PROTOCOL, value)).unwrap();
    assert_eq!(offer("chat, fanfare.v1").protocol, Subprotocol::V1);
    assert_eq!(offer("fanfare.v1").response().headers()[header::SEC_WEBSOCKET_PROTOCOL], "fanfare.v1");
    let unknown = offer("fanfare.v2, chat");
    assert_eq!(unknown.protocol, Subprotocol::Unknown(HeaderValue::from_static("fanfare.v2")));
    assert_eq!(unknown.response().headers()[header::SEC_WEBSOCKET_PROTOCOL], "fanfare.v2");
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong() {
    let (_, error) = refusal(set(header::SEC_WEBSOCKET_VERSION, "8"));
    let response = error.response();
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_VERSION], "13");
    assert_eq!(response.headers()[header::UPGRADE], "websocket");
    assert_eq!(body(response).await["error"]["field"], "sec-websocket-version");

    let error = body(HandshakeError::TooManyHeaders { limit: 64, value: 65 }.response()).await;
    let expected = serde_json::json!({ "error": {
        "code": "limit_exceeded", "message": "the request has too many headers", "retry": false,
        "field": "headers", "limit": 64, "value": 65,
    }});
    assert_eq!(error, expected);
    assert_eq!(HandshakeError::Method.response().headers()[header::ALLOW], "GET");
}

async fn body(response: Response<Full<Bytes>>) -> serde_json::Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

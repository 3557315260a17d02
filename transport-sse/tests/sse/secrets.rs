//! Tokens: taken from wherever they may be, never logged, never sent back.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use fanfare_core::{
    Broker,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};
use fanfare_sse::{Config, EventStream};
use http::Request;
use http_body_util::BodyExt;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

const GOOD: &str = "good-Vx8eTq2";
const BAD: &str = "bad-Kw4pLm7";

/// Lets in who has the good token; without one it waits for `connect`, which no event stream has.
struct Tokens;

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some(GOOD) => Ok(Admission::Accept(Identity::user("ann"))),
            Some(_) => Err(Refusal::unauthenticated("no such token")),
            None => Ok(Admission::AwaitConnect),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn tokens_are_taken_and_kept_to_oneself() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let broker = Broker::builder().policy(Tokens).start().await.unwrap();
    let events = EventStream::new(&broker).unwrap().config(Config::new());
    let mut answers = String::new();
    for token in [GOOD, BAD] {
        for request in [
            Request::get("/?topic=t").header("Authorization", format!("Bearer {token}")),
            Request::get("/?topic=t").header("Cookie", format!("a=b; token={token}")),
            Request::get(format!("/?topic=t&token={token}")),
            Request::get(format!("/?topic=t&topic=..&token={token}")),
            Request::get(format!("/?topic=t&after={token}&token={token}")),
        ] {
            let response = events.respond(request.body(()).unwrap()).await;
            let (head, mut body) = response.into_parts();
            answers += &format!("{head:?}{body:?}");
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            answers += std::str::from_utf8(&first).unwrap();
            let expected: &[u16] = if token == GOOD { &[200, 400] } else { &[401, 400] };
            assert!(expected.contains(&head.status.as_u16()), "{head:?} {first:?}");
        }
    }
    let response = events.respond(Request::get("/?topic=t").body(()).unwrap()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    tokio::task::yield_now().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("fanfare::sse"), "something is logged: {log}");
    for said in [&log, &answers] {
        assert!(!said.contains(GOOD) && !said.contains(BAD), "{said}");
    }
    assert!(!format!("{events:?}").contains(GOOD));
}

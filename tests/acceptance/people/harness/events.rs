//! A reader of server-sent events that is not ours: HTTP by hyper, events as HTML says (section 9.2.6).

use std::collections::VecDeque;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use crate::support::PATIENCE;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The last id that was said up to here.
    pub(crate) id: String,
    /// Empty where none was said.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// An open stream. Dropped, its connection is closed.
pub(crate) struct Events {
    body: hyper::body::Incoming,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The event that has not ended yet.
    event: Event,
    events: VecDeque<Event>,
    connection: JoinHandle<()>,
}

impl Events {
    /// Opens `/events?..`, which has to be let in.
    pub(crate) async fn open(address: &str, path: &str) -> Self {
        let opened = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            let request = Request::get(path).header("host", address).body(Empty::<Bytes>::new()).unwrap();
            (sender.send_request(request).await.unwrap(), connection)
        };
        let (response, connection) = timeout(PATIENCE, opened).await.expect("no answer");
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body();
        Self { body, line: Vec::new(), event: Event::default(), events: VecDeque::new(), connection }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("nothing came");
            let bytes = frame.expect("the stream has ended").unwrap().into_data().unwrap();
            for byte in bytes {
                if byte == b'\n' { self.end_line() } else { self.line.push(byte) }
            }
        }
    }

    /// The next event, which is a message of v1.
    pub(crate) async fn message(&mut self) -> Value {
        let event = self.next().await;
        serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("{event:?}"))
    }

    fn end_line(&mut self) {
        let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
        if line.is_empty() {
            let id = self.event.id.clone();
            let mut event = std::mem::replace(&mut self.event, Event { id, ..Event::default() });
            // An event without data is none.
            if event.data.pop().is_some() {
                self.events.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = value.to_owned(),
            "event" => self.event.name = value.to_owned(),
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            _ => {}
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

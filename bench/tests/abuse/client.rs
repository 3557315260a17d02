//! A client that sends what it likes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt;
use serde_json::Value;

use crate::frame::{CLOSE, Frame, PONG, TEXT, masked};

/// How long an answer may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: TcpStream,
    /// What was read and not looked at yet.
    unread: Vec<u8>,
}

/// How the server ended a connection.
#[derive(Debug)]
pub(crate) struct Closed {
    /// `None`: the Close frame had none.
    pub(crate) code: Option<u16>,
    /// All text frames before it, as JSON, or as a string where they are none.
    pub(crate) before: Vec<Value>,
}

impl Client {
    /// A connection on which nothing has been said.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// A connection after the handshake.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::tcp(address);
        client.send(upgrade(path).as_bytes());
        client.upgraded();
        client
    }

    /// A connection that speaks v1.
    pub(crate) fn v1(address: SocketAddr) -> Self {
        Self::open(address, "/ws")
    }

    /// Reads the answer to the handshake.
    pub(crate) fn upgraded(&mut self) {
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Makes the kernel's buffers of this side small, so that it takes little before the server has to wait. They hold
    /// two segments of the loopback: with less, what is read later would come at a crawl.
    pub(crate) fn shrink(&self) {
        sockopt::set_socket_recv_buffer_size(&self.stream, 128 << 10).unwrap();
        sockopt::set_socket_send_buffer_size(&self.stream, 128 << 10).unwrap();
    }

    /// Sends all of it, whether the server still wants it or not.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self.try_send(bytes) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.send(&masked(TEXT, text.as_bytes()));
    }

    /// The next frame; `None` when the server has ended the stream.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            if self.read() == 0 {
                assert!(self.unread.is_empty(), "half a frame: {}", self.unread.escape_ascii());
                return None;
            }
        }
    }

    /// The next frame of v1.
    pub(crate) fn json(&mut self) -> Value {
        loop {
            match self.frame() {
                Some(Frame::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Frame::Ping) => self.send(&masked(PONG, &[])),
                other => panic!("no text frame but {other:?}"),
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &str) -> Value {
        self.text(command);
        self.json()
    }

    /// It is served still, and has not been sent anything else meanwhile.
    pub(crate) fn is_well(&mut self) {
        assert_eq!(self.ask(r#"{"id":77,"ping":{}}"#), serde_json::json!({"id":77,"ok":{}}));
    }

    pub(crate) fn subscribe(&mut self, topic: &str) {
        let reply = self.ask(&format!(r#"{{"id":1,"subscribe":{{"topic":"{topic}"}}}}"#));
        assert!(reply["ok"].is_object(), "{reply}");
    }

    /// Reads up to the Close frame, answers it, and sees the stream end.
    pub(crate) fn closed(mut self) -> Closed {
        let mut before = Vec::new();
        let code = loop {
            match self.frame() {
                Some(Frame::Close(code)) => break code,
                Some(Frame::Text(text)) => before.push(serde_json::from_str(&text).unwrap_or(text.into())),
                Some(Frame::Binary(_) | Frame::Ping | Frame::Pong(_)) => {}
                None => panic!("the stream ended without a Close frame, after {before:?}"),
            }
        };
        self.send(&masked(CLOSE, &[]));
        assert_eq!(self.frame(), None, "something came after the Close frame");
        Closed { code, before }
    }

    /// Closed in v1: the last word gives the same code as the Close frame, and its name.
    pub(crate) fn closed_with(self, code: u16, name: &str) -> Vec<Value> {
        let mut closed = self.closed();
        let last = closed.before.pop().unwrap_or_default();
        assert_eq!((closed.code, &last["close"]["code"]), (Some(code), &code.into()), "{last}");
        assert_eq!(last["close"]["name"], name, "{last}");
        closed.before
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read() > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Reads for at most so long; whether the stream has ended.
    pub(crate) fn ends_within(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 4096];
        let ended = match self.stream.read(&mut buffer) {
            Ok(count) => count == 0,
            Err(error) => is_gone(&error),
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        ended
    }

    /// Sends without waiting longer than this for the server to read.
    pub(crate) fn send_within(&mut self, bytes: &[u8], wait: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(wait)).unwrap();
        let sent = self.try_send(bytes);
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Leaves by a reset instead of the end of the stream.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads what there is; 0 when the server has ended the stream, in whatever way.
    fn read(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                count
            }
            Err(error) if is_gone(&error) => 0,
            Err(error) => panic!("nothing came: {error}; before: {}", self.unread.escape_ascii()),
        }
    }

    /// A response's status line and headers; empty when none came.
    fn head(&mut self) -> String {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                return String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
            }
            if self.read() == 0 {
                assert!(self.unread.is_empty(), "half a response: {}", self.unread.escape_ascii());
                return String::new();
            }
        }
    }
}

/// Whether the server has closed the connection.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// A handshake that is right.
pub(crate) fn upgrade(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{}\r\n", UPGRADE.concat())
}

/// The headers of a handshake that is right.
pub(crate) const UPGRADE: [&str; 5] = [
    "Host: x\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
];

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0: the connection was closed without one.
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    pub(crate) head: String,
    /// `Null` when it is not JSON.
    pub(crate) body: Value,
}

/// Sends a request, whatever it is, and reads the response.
pub(crate) fn http(address: SocketAddr, request: &[u8]) -> Answer {
    let mut client = Client::tcp(address);
    client.send(request);
    answer(&mut client)
}

pub(crate) fn answer(client: &mut Client) -> Answer {
    let head = client.head().to_ascii_lowercase();
    let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
        let digits = rest.split("\r\n").next().unwrap();
        digits.parse::<usize>().unwrap()
    });
    while client.unread.len() < length {
        assert!(client.read() > 0, "half a body");
    }
    let body = serde_json::from_slice(&client.unread[..length]).unwrap_or_default();
    Answer { status, head, body }
}

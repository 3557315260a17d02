//! A small server of event streams and HTTP publishes, written out by hand: where a body is cut is up to the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tokio::sync::mpsc;

use super::hub::{Fault, Hub, Item};

const GAP: &str =
    "event: $gap\ndata: {\"missed\":1,\"last\":\"a:4\",\"next\":\"a:6\",\"reason\":\"slow\"}\n\n";
const CLOSE: &str = "event: $close\ndata: {\"code\":4100,\"name\":\"slow_consumer\"}\n\n";

/// How a stream's body is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// As it is, until the connection ends.
    Plain,
    /// In chunks of so many bytes, whatever they hold.
    Chunked(usize),
}

/// Serves on a port of its own until the test's process ends. A stream writes `write` bytes at a time.
pub(crate) fn stream(fault: Fault, body: Body, write: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let hub = Hub::new(fault, GAP);
        for socket in listener.incoming() {
            let (hub, socket) = (hub.clone(), socket.unwrap());
            socket.set_nodelay(true).unwrap();
            // The client hangs up whenever it is done.
            std::thread::spawn(move || drop(connection(socket, &hub, body, write)));
        }
    });
    address
}

fn connection(socket: TcpStream, hub: &Hub, body: Body, write: usize) -> std::io::Result<()> {
    let mut input = BufReader::new(socket.try_clone()?);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let target = head[0].split(' ').nth(1).unwrap().to_owned();
        let topics: Vec<&str> =
            target.split(['?', '&']).filter_map(|pair| pair.strip_prefix("topic=")).collect();
        if let Some(length) = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")) {
            let mut payload = vec![0; length.parse().unwrap()];
            input.read_exact(&mut payload)?;
            (&socket).write_all(publish(hub, topics[0], &payload))?;
        } else if target.starts_with("/events?") {
            return events(&socket, hub, &topics, body, write);
        } else {
            let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\n{\"error\":\"no\"}";
            return (&socket).write_all(refusal);
        }
    }
}

fn publish(hub: &Hub, topic: &str, payload: &[u8]) -> &'static [u8] {
    let payload = String::from_utf8_lossy(payload);
    if hub.publish(topic, format!("id: 7\r\nevent: news\rdata: {payload}\ndata: {topic}\n\r\n")) {
        b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    } else {
        b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nslower\r\n0\r\n\r\n"
    }
}

fn events(socket: &TcpStream, hub: &Hub, topics: &[&str], body: Body, write: usize) -> std::io::Result<()> {
    let (sender, mut queue) = mpsc::channel(4096);
    for topic in topics {
        hub.subscribe(topic, &sender);
    }
    let coding = match body {
        Body::Plain => "Connection: close",
        Body::Chunked(_) => "Transfer-Encoding: chunked",
    };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{coding}\r\n\r\n");
    let begin = ": FAN:00000000 is no delivery here\n\nretry: 1000\n\nevent: $live\ndata: {}\n\n";
    let send = |text: &str| {
        let bytes = match body {
            Body::Plain => text.as_bytes().to_vec(),
            Body::Chunked(size) => text.as_bytes().chunks(size).fold(Vec::new(), |mut all, chunk| {
                all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                all.extend_from_slice(chunk);
                all.extend_from_slice(b"\r\n");
                all
            }),
        };
        bytes.chunks(write).try_for_each(|bytes| { socket }.write_all(bytes))
    };
    { socket }.write_all(head.as_bytes())?;
    send(begin)?;
    while let Some(item) = queue.blocking_recv() {
        match item {
            Item::Message(text) => send(&text)?,
            Item::Close => return send(CLOSE),
        }
    }
    Ok(())
}

//! A client that sends what it likes.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{App, PATIENCE};

pub(crate) struct Raw(pub(crate) TcpStream);

impl App {
    pub(crate) async fn raw(&self, path: &str) -> Raw {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", answer.escape_ascii());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
        Raw(stream)
    }
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// All that comes until the server ends the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut all)).await.expect("no end").unwrap();
        all
    }

    /// The code of the Close frame that ends the stream.
    pub(crate) async fn close_code(&mut self) -> u16 {
        let rest = self.rest().await;
        // A Close frame has at most 125 bytes, so it is the last frame to begin with these two.
        let at = (0..rest.len().saturating_sub(3))
            .rev()
            .find(|at| rest[*at] == 0x88 && at + 2 + usize::from(rest[at + 1]) == rest.len());
        let at = at.unwrap_or_else(|| panic!("no close frame: {}", rest.escape_ascii()));
        u16::from_be_bytes([rest[at + 2], rest[at + 3]])
    }
}

/// A masked frame, its key all zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0xFE);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xFF);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

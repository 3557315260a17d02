//! Which version of HTTP a client speaks, seen from what it sends first.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::Socket;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4), and no request of HTTP/1.1.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Reads until it is clear. What was read is given back to the socket. `None` when the client has nothing to say.
pub(super) async fn detect(socket: &mut Socket) -> io::Result<Option<Version>> {
    let mut first = [0; PREFACE.len()];
    let mut read = 0;
    let version = loop {
        match socket.read(&mut first[read..]).await? {
            0 if read == 0 => return Ok(None),
            // HTTP/1.1 knows what to say to half a request.
            0 => break Version::One,
            count => read += count,
        }
        if first[..read] != PREFACE[..read] {
            break Version::One;
        }
        if read == PREFACE.len() {
            break Version::Two;
        }
    };
    socket.unread(Bytes::copy_from_slice(&first[..read]));
    Ok(Some(version))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn seen(pieces: &[&[u8]]) -> (Option<Version>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(10));
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let version = detect(&mut socket).await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        (version, all)
    }

    #[tokio::test]
    async fn the_version_is_seen_and_nothing_is_lost() {
        for (pieces, version) in [
            (&[b"GET / HTTP/1.1\r\n\r\n".as_slice()][..], Some(Version::One)),
            (&[b"G", b"ET / HTTP/1.1\r\nHost: a.very.long.name\r\n\r\n"], Some(Version::One)),
            (&[b"PRI * HTTP/1.1\r\n\r\n"], Some(Version::One)),
            (&[PREFACE, b"and more"], Some(Version::Two)),
            (&[&PREFACE[..3], &PREFACE[3..20], &PREFACE[20..]], Some(Version::Two)),
            (&[&PREFACE[..23]], Some(Version::One)),
            (&[], None),
        ] {
            let (seen, all) = seen(pieces).await;
            assert_eq!(seen, version, "{pieces:?}");
            assert_eq!(all, pieces.concat());
        }
    }
}

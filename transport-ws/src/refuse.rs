//! How a client is told that it is not let in where a page could not see an HTTP status: by a close frame.

use std::time::Duration;

use bytes::BytesMut;
use fanfare_core::{
    message::{Encoder, Frame},
    session::CloseReason,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{encoder::V1, upgrade::Socket};

/// How long a client may take to read why it is refused.
const LINGER: Duration = Duration::from_secs(2);

/// Tells an accepted client why it is closed, in a task of its own.
pub(crate) fn spawn_goodbye(socket: Socket, reason: &CloseReason) {
    let mut words = BytesMut::new();
    V1.encode(Frame::Close(reason), &mut words);
    match socket {
        Socket::Tcp(stream, _) => drop(tokio::spawn(goodbye(stream, words))),
        Socket::Other(stream) => drop(tokio::spawn(goodbye(stream, words))),
    }
}

async fn goodbye(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: BytesMut) {
    let talk = async {
        stream.write_all(&words).await?;
        stream.shutdown().await?;
        // A socket that is closed while its client sends would take the last words back.
        let mut buffer = [0; 512];
        while stream.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, talk).await;
}

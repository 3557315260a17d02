//! Servers of other kinds.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that says one thing to who connects, and another one to whatever it is told then; either may be nothing. It stays, as
/// servers do, as long as the runtime.
///
/// # Panics
///
/// When no port is free.
pub async fn impostor(greeting: &'static [u8], answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(greeting).await;
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.read(&mut [0; 4096]).await;
            });
        }
    });
    addr
}

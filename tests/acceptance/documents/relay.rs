//! A relay that knows when the server has answered.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::support::PATIENCE;

/// Passes on what is sent to it. A command that reads says nothing when it has begun; but its server does.
pub(super) struct Relay {
    pub(super) address: String,
    answered: Arc<Semaphore>,
}

impl Relay {
    pub(super) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (server, answered) = (server.to_owned(), Arc::new(Semaphore::new(0)));
        let answers = answered.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, answers.clone()));
            }
        });
        Self { address, answered }
    }

    /// Forgets the connections on which the server has answered so far.
    pub(super) fn forget(&self) {
        self.answered.forget_permits(usize::MAX);
    }

    /// Waits until the server has answered on one more.
    pub(super) async fn answered(&self) {
        timeout(PATIENCE, self.answered.acquire()).await.expect("no answer").unwrap().forget();
    }
}

async fn pass(client: TcpStream, server: TcpStream, answered: Arc<Semaphore>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (split(client), split(server));
    let up = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut first = [0; 4096];
        if let Ok(length @ 1..) = from_server.read(&mut first).await {
            let _ = to_client.write_all(&first[..length]).await;
            answered.add_permits(1);
            let _ = copy(&mut from_server, &mut to_client).await;
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(up, down);
}

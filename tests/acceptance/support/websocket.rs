//! A WebSocket client that is not ours.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderMap},
};

use super::{Certificate, PATIENCE};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to `/ws`.
pub(crate) struct WebSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
}

impl WebSocket {
    pub(crate) async fn plain(address: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::open(Box::new(stream), &format!("ws://{address}/ws"), HeaderMap::new()).await.unwrap()
    }

    /// Over TLS, from an address of this machine.
    pub(crate) async fn secure(
        address: &str,
        certificate: &Certificate,
        from: &str,
        headers: HeaderMap,
    ) -> Result<Self, Error> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate.chain()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        Self::open(Box::new(stream), &format!("wss://{address}/ws"), headers).await
    }

    async fn open(stream: Box<dyn Stream>, url: &str, headers: HeaderMap) -> Result<Self, Error> {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().extend(headers);
        let opened = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = timeout(PATIENCE, opened).await.expect("no handshake")?;
        Ok(Self { socket })
    }

    pub(crate) async fn send(&mut self, command: &str) {
        self.socket.send(Message::text(command)).await.unwrap();
    }

    /// Sends a command where the connection may be gone; false if it is.
    pub(crate) async fn try_send(&mut self, command: &str) -> bool {
        self.socket.send(Message::text(command)).await.is_ok()
    }

    /// The next frame; nothing after the last.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("no frame came")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// Sends a command and returns the next frame.
    pub(crate) async fn ask(&mut self, command: &str) -> Value {
        self.send(command).await;
        self.next().await.expect("the connection ended")
    }
}

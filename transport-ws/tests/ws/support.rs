//! A broker behind a real port, and a client of another project.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::any_service};
use fanfare_core::{Broker, BrokerBuilder, policy::Open};
use fanfare_ws::{Config, Server, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::CloseFrame},
};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct App {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
}

/// An app with everything open and all at its default.
pub(crate) async fn app() -> App {
    app_with(Broker::builder().policy(Open), Config::new()).await
}

pub(crate) async fn app_with(builder: BrokerBuilder, config: Config) -> App {
    let broker = builder.start().await.unwrap();
    let websocket = WebSocket::new(&broker).unwrap().config(config);
    let address = serve(Router::new().route("/ws", any_service(websocket))).await;
    App { broker, address }
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, router));
    address
}

pub(crate) struct Client(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl App {
    pub(crate) async fn client(&self) -> Client {
        self.open("/ws").await.unwrap()
    }

    pub(crate) async fn open(&self, path: &str) -> Result<Client, tungstenite::Error> {
        let request = format!("ws://{}{path}", self.address).into_client_request()?;
        let config = tungstenite::protocol::WebSocketConfig::default();
        let (stream, _) = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await?;
        Ok(Client(stream))
    }

    /// The status of a handshake that is refused.
    pub(crate) async fn refusal(&self, path: &str) -> (u16, Value) {
        match self.open(path).await {
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                (response.status().as_u16(), serde_json::from_slice(body).unwrap())
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("let in"),
        }
    }
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message, as it is.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let message =
                timeout(PATIENCE, self.0.next()).await.expect("nothing came").expect("it has ended");
            match message.unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next frame of v1.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Sends a command, and gives what comes next, which has to be its reply.
    pub(crate) async fn ask(&mut self, command: &str) -> Value {
        self.send(command).await;
        self.frame().await
    }

    /// What comes last.
    pub(crate) async fn close_frame(&mut self) -> CloseFrame {
        match self.next().await {
            Message::Close(Some(frame)) => frame,
            other => panic!("no close frame: {other:?}"),
        }
    }

    /// The code of the close frame, and v1's frame before it.
    pub(crate) async fn closed(&mut self) -> (u16, Value) {
        let last = self.frame().await;
        (self.close_frame().await.code.into(), last)
    }
}

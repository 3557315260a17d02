//! A broker that is served over pipes.

use std::ops::Deref;

use fanfare_core::{Broker, BrokerBuilder};
use fanfare_ws::WebSocket;

use super::{TestClient, connection::Door};
use crate::transport::Refused;

/// A broker with clients in the same process. It is a [`Broker`] in all other respects.
#[derive(Clone, Debug)]
pub struct TestBroker {
    broker: Broker,
    door: Door,
}

impl TestBroker {
    /// Starts a broker, and serves it.
    ///
    /// # Panics
    ///
    /// When the broker does not start.
    pub async fn start(builder: BrokerBuilder) -> Self {
        let broker =
            builder.start().await.unwrap_or_else(|error| panic!("the broker does not start: {error:?}"));
        Self::of(&broker)
    }

    /// Serves the app's own broker. Once for each: a transport registers its wire formats.
    ///
    /// # Panics
    ///
    /// When the broker speaks too many wire formats already.
    #[must_use]
    pub fn of(broker: &Broker) -> Self {
        let websocket =
            WebSocket::new(broker).unwrap_or_else(|error| panic!("the broker cannot be served: {error}"));
        Self { broker: broker.clone(), door: Door::new(websocket) }
    }

    /// Serves by an endpoint of the app's own, for its configuration.
    #[must_use]
    pub fn serving(broker: &Broker, websocket: WebSocket) -> Self {
        Self { broker: broker.clone(), door: Door::new(websocket) }
    }

    /// A client without a credential.
    ///
    /// # Panics
    ///
    /// When it is not let in.
    pub async fn connect(&self) -> TestClient {
        self.enter(None).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A client with a credential.
    ///
    /// # Panics
    ///
    /// When it is not let in.
    pub async fn connect_as(&self, token: &str) -> TestClient {
        self.enter(Some(token)).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A client that may not be let in.
    ///
    /// # Errors
    ///
    /// The name of the close code, or the status of the refused handshake.
    pub async fn try_connect_as(&self, token: &str) -> Result<TestClient, Refused> {
        self.enter(Some(token)).await
    }

    async fn enter(&self, token: Option<&str>) -> Result<TestClient, Refused> {
        TestClient::connect(self.door.clone(), token.map(str::to_owned)).await
    }
}

impl Deref for TestBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

//! What the suite needs of a transport's author.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::Broker;

use super::{Client, Refused, Wanted};
use crate::{backend::Clock, backend::Exception};

/// Serves a broker by one transport, and connects clients to it.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Serves a broker. What is served ends with the broker, or with this.
    async fn serve(broker: &Broker) -> Self
    where
        Self: Sized;

    /// Connects a client. Ready when all its subscriptions are in force: what is published from now on, it gets.
    ///
    /// # Errors
    ///
    /// When it is not let in, in whatever way the transport says so.
    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused>;

    /// Whether time may be skipped: only for connections within this process.
    fn clock() -> Clock
    where
        Self: Sized,
    {
        Clock::Real
    }

    /// How long something may take to happen until the case fails.
    fn patience() -> Duration
    where
        Self: Sized,
    {
        Duration::from_secs(30)
    }

    /// The cases that this transport cannot pass, each with a reason.
    fn exceptions() -> Vec<Exception>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

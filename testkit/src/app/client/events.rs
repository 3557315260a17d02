//! What comes to a client without its asking, in its order.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{Asked, PATIENCE, Received, TestClient};
use crate::transport::Event;

/// How long a client listens to be sure that nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

impl TestClient {
    /// The next event.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn next(&mut self) -> Event {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(event)) => event,
            _ => panic!("nothing comes"),
        }
    }

    /// The next message. What says that a topic is live is passed over.
    ///
    /// # Panics
    ///
    /// When something else comes, a gap for example, or nothing.
    pub async fn message(&mut self) -> Received {
        match self.next_but_live().await {
            Event::Message { topic, payload } => Received { topic, payload },
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next event, which has to be a gap: how many messages are missing, if that is known.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn gap(&mut self) -> Option<u64> {
        match self.next_but_live().await {
            Event::Gap { missed, .. } => missed,
            other => panic!("no gap: {other:?}"),
        }
    }

    /// The next event, which has to be one of presence: its topic, and what its frame says.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn presence(&mut self) -> (String, Value) {
        match self.next_but_live().await {
            Event::Presence { topic, said } => (topic, said),
            other => panic!("nothing of presence: {other:?}"),
        }
    }

    /// The next event, which has to be a call of the server: to be [answered](Self::answer), or not. Where the client
    /// [serves](Self::serve) calls, none comes here.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn asked(&mut self) -> Asked {
        match self.next_but_live().await {
            Event::Call { id, method, payload } => Asked { id, method, payload },
            other => panic!("no call: {other:?}"),
        }
    }

    /// The next event, which has to be a subscription that the server has made: its topic or pattern.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn subscribed_by_server(&mut self) -> String {
        match self.next_but_live().await {
            Event::Subscribed { topic } => topic,
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// The next event, which has to be the end of a subscription by the server: its topic or pattern, and the code, such as `revoked`.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn unsubscribed_by_server(&mut self) -> (String, String) {
        match self.next_but_live().await {
            Event::Unsubscribed { topic, code, .. } => {
                self.topics.retain(|known| *known != topic);
                (topic, code)
            }
            other => panic!("not unsubscribed: {other:?}"),
        }
    }

    /// The next event, which has to be the end of the connection: the name of its close code, such as `draining`;
    /// `lost` where it broke without a word.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn closed(&mut self) -> String {
        match self.next_but_live().await {
            Event::Closed { name, .. } => name,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Makes sure that nothing comes for a second. Under paused time that takes none.
    ///
    /// # Panics
    ///
    /// When something comes.
    pub async fn nothing(&mut self) {
        loop {
            match timeout(SILENCE, self.events.recv()).await {
                Err(_) => return,
                Ok(Some(Event::Live { .. })) => {}
                Ok(other) => panic!("something comes: {other:?}"),
            }
        }
    }

    async fn next_but_live(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Live { .. } => {}
                event => return event,
            }
        }
    }
}

//! How the rest of an app tells users something: from a handler, from a job, from anywhere that has the broker.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use fanfare::{Broker, publish::PublishError, topic::Address};
use serde::Deserialize;

use crate::users::{Inbox, Note};

/// `POST /notify`: what an order that ships or a build that fails would say. Put your own authorization in front of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// The user; everybody unless said.
    to: Option<String>,
    text: String,
    /// Whether who is away gets it on return.
    #[serde(default)]
    keep: bool,
}

pub(crate) async fn by_request(
    State(broker): State<Broker>,
    Json(Request { to, text, keep }): Json<Request>,
) -> Result<StatusCode, (StatusCode, String)> {
    let note = Note { text };
    let told = match (to, keep) {
        (Some(user), true) => broker.send(&Inbox(&user), &note).await,
        (Some(user), false) => broker.publish_json(&Address::user(user), &note).event("note").await,
        (None, false) => broker.publish_json(&Address::All, &note).event("note").await,
        (None, true) => {
            let message = "only what is for one user is kept: loop over yours";
            return Err((StatusCode::BAD_REQUEST, message.to_owned()));
        }
    };
    told.map(|_| StatusCode::ACCEPTED).map_err(|error| {
        let status = match error {
            PublishError::InvalidTopic(_) | PublishError::TooLarge { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, error.to_string())
    })
}

/// A job: tells everybody how many tabs are open, in all processes. (Each process does; in your app one would.)
pub(crate) async fn now_and_then(broker: Broker, every: Duration) {
    let mut clock = tokio::time::interval(every);
    loop {
        clock.tick().await;
        if let Err(error) = tell_how_many(&broker).await {
            tracing::warn!(%error, "not everybody was told");
        }
    }
}

async fn tell_how_many(broker: &Broker) -> Result<(), PublishError> {
    let tabs = broker.clients().count().await?.total;
    broker.publish_json(&Address::All, &tabs).event("tabs").await?;
    Ok(())
}

//! `async-nats`, and its JetStream.

use std::time::{Duration, Instant};

use async_nats::{
    Client,
    jetstream::{self, stream},
};
use fanfare_testkit::server::{Program, Server, ServerConfig};
use futures_util::StreamExt;

use super::{
    SIZE,
    bare::Bare,
    ours::in_tasks,
    pace::{Arrivals, Pace, Times, stamped},
};

/// About what an envelope takes without its payload: bytes.
const ENVELOPE: usize = 50;

pub(super) struct Nats(Server);

impl Nats {
    pub(super) async fn start() -> anyhow::Result<Option<Self>> {
        let Some(config) = ServerConfig::find(Program::NatsCurrent) else { return Ok(None) };
        Ok(Some(Self(config.jetstream().start().await?)))
    }

    async fn client(&self) -> anyhow::Result<Client> {
        Ok(async_nats::connect(self.0.addr().to_string()).await?)
    }
}

impl Bare for Nats {
    const LOGGED: &str = "async-nats";

    fn server(&self) -> &Server {
        &self.0
    }

    fn url(&self) -> String {
        format!("nats://{}", self.0.addr())
    }

    async fn hop(&self, count: u32) -> anyhow::Result<Times> {
        let (publisher, listener) = (self.client().await?, self.client().await?);
        let mut messages = listener.subscribe("bare").await?;
        listener.flush().await?;
        let start = Instant::now();
        let receiving = tokio::spawn(async move {
            let mut arrivals = Arrivals::new(start, count);
            while !arrivals.are_complete()
                && let Some(message) = messages.next().await
            {
                arrivals.take(std::str::from_utf8(&message.payload).unwrap_or_default());
            }
            arrivals.times()
        });
        let mut pace = Pace::new();
        for _ in 0..count {
            pace.next().await;
            publisher.publish("bare", stamped(start).into()).await?;
        }
        Ok(receiving.await?)
    }

    /// Each message is acknowledged by a stream on disk, as ours are.
    async fn logged(&self, seconds: u32, _: f64) -> anyhow::Result<f64> {
        let context = jetstream::new(self.client().await?);
        let config = stream::Config {
            name: "bare".into(),
            subjects: vec!["bare.>".into()],
            max_messages_per_subject: 1024,
            duplicate_window: Duration::from_secs(120),
            ..stream::Config::default()
        };
        context.get_or_create_stream(config).await?;
        in_tasks(seconds, move || {
            let context = context.clone();
            async move {
                context.publish("bare.bench", "x".repeat(SIZE + ENVELOPE).into()).await?.await?;
                Ok(())
            }
        })
        .await
    }
}

//! A node with so many members in a room, which says who is there whenever that changes: start it twice, and kill one of them.
//!
//! ```console
//! $ cargo run -p fanfare-redis --example presence -- redis://127.0.0.1/ 3
//! ```

use std::{error::Error, sync::Arc};

use bytes::BytesMut;
use fanfare_core::{
    Broker,
    message::{Encoder, Frame},
    policy::Open,
    presence::PresenceConfig,
    session::{Handshake, SubscribeCommand},
    topic::TopicConfig,
};
use fanfare_redis::RedisBackend;

/// The members of this program read nothing.
struct Silent;

impl Encoder for Silent {
    fn encode(&self, _: Frame<'_>, _: &mut BytesMut) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1/".to_owned());
    let count: usize = arguments.next().map_or(Ok(1), |count| count.parse())?;

    let rooms = TopicConfig::new().presence(PresenceConfig::new());
    let broker = Broker::builder().policy(Open).topic("room.*", rooms);
    let broker = broker.backend(RedisBackend::builder(url).build()?).start().await?;
    let format = broker.register(Arc::new(Silent))?;

    let mut watch = broker.presence("room.lobby").watch()?;
    let mut members = Vec::new();
    for _ in 0..count {
        let (mut session, outbox) = broker.connect(Handshake::new("example"), &format).await?;
        session.subscribe(SubscribeCommand::live("room.lobby")).await?;
        members.push((session, outbox));
    }
    while let Some(event) = watch.recv().await {
        println!("{} members: {event:?}", event.counts().clients);
    }
    Ok(())
}

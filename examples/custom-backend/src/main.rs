//! A hub and two brokers around it, in one process: what is published on one is heard on the other.

use custom_backend::{Hub, Star};
use fanfare_core::{Broker, policy::Open, subscription::Delivery, topic::TopicConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let hub = listener.local_addr()?;
    tokio::spawn(Hub::new().serve(listener));
    let mut brokers = Vec::new();
    for _ in 0..2 {
        let builder = Broker::builder().policy(Open).topic("news", TopicConfig::new().history(50));
        brokers.push(builder.backend(Star::new(hub, "example")).start().await?);
    }
    let mut news = brokers[0].subscribe("news").await?;
    let published = brokers[1].publish("news", "hello from the other side").await?;
    if let Some(Delivery::Message(message)) = news.recv().await {
        println!("{:?} is at {:?}", message.value.as_str(), published.position);
    }
    Ok(())
}

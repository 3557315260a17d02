//! Serves the topic `news`, which retains its last 50 messages, at port 4000.

use custom_transport::serve;
use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let news = TopicConfig::new().history(50);
    let broker = Broker::builder().policy(Open).topic("news", news).start().await?;
    let listener = TcpListener::bind("127.0.0.1:4000").await?;
    println!("lines of JSON at {}: nc 127.0.0.1 4000", listener.local_addr()?);
    Ok(serve(listener, broker).await?)
}

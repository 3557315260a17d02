//! The echo, which conformance tests use.

use axum::{Router, routing::any_service};
use fanfare_ws::{Config, Echo};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

use crate::support::{PATIENCE, serve};

#[tokio::test]
async fn sends_back_messages_of_all_sizes_in_order() {
    let config = Config::new().max_message(32 << 20);
    let address = serve(Router::new().route("/echo", any_service(Echo::new(config)))).await;
    let client = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{address}/echo");
    let (mut client, _) =
        tokio_tungstenite::connect_async_with_config(url, Some(client), true).await.unwrap();
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 20 << 20] {
        let message = Message::binary(vec![7; length]);
        client.send(message.clone()).await.unwrap();
        let echoed = timeout(PATIENCE, client.next()).await.expect("nothing came").unwrap().unwrap();
        assert!(echoed == message, "{length}");
    }
    let (mut sink, mut stream) = client.split();
    let send = async {
        for n in 0..5000 {
            sink.feed(Message::text(n.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let receive = async {
        for n in 0..5000 {
            let message = timeout(PATIENCE, stream.next()).await.expect("nothing came").unwrap().unwrap();
            assert_eq!(message, Message::text(n.to_string()));
        }
    };
    tokio::join!(send, receive);
}

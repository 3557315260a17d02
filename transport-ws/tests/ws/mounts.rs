//! The ways to mount the transport.

use axum::{Router, routing::get_service};
use fanfare_core::{Broker, policy::Open};
use fanfare_ws::WebSocket;
#[cfg(feature = "axum")]
use tokio::net::TcpListener;

use crate::support::{App, serve};

async fn works(router: impl FnOnce(WebSocket) -> Router) {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let websocket = WebSocket::new(&broker).unwrap();
    let app = App { broker, address: serve(router(websocket)).await };
    assert_eq!(app.client().await.ask(r#"{"id":1,"ping":{}}"#).await["id"], 1);
}

#[tokio::test]
async fn each_way_of_axum_works() {
    works(|websocket| Router::new().route_service("/ws", websocket)).await;
    works(|websocket| Router::new().route("/ws", get_service(websocket))).await;
    #[cfg(feature = "axum")]
    works(|websocket| Router::new().route("/ws", axum::routing::any(websocket))).await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axums_server_tells_the_address() {
    let builder = Broker::builder().policy(Open).limits(|limits| limits.connections_per_address = Some(1));
    let broker = builder.start().await.unwrap();
    let router = Router::new().route("/ws", axum::routing::any(WebSocket::new(&broker).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App { broker, address: listener.local_addr().unwrap() };
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    let _first = app.client().await;
    assert_eq!(app.client().await.closed().await.0, 4102);
}

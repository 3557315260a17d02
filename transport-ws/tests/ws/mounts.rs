//! The ways to mount the transport, and the server around it.

use std::time::{Duration, Instant};

use axum::{Router, routing::get_service};
use fanfare_core::{Broker, policy::Open};
use fanfare_ws::{Server, WebSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{App, PATIENCE, serve};

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

#[tokio::test]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new().header_timeout(Duration::from_millis(200));
    tokio::spawn(server.serve(listener, Router::new()));
    for begun in ["", "GET /ws HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        end.unwrap_or_else(|_| panic!("kept open after {begun:?}")).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(200), "{begun:?}");
    }
}

#[tokio::test]
async fn headers_beyond_the_limits_are_answered_431() {
    let address = serve(Router::new()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = (0..65).map(|n| format!("x-{n}: 1\r\n")).collect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("kept open").unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 431 "), "{}", rest.escape_ascii());
}

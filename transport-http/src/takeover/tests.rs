use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::AtomicUsize,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing::any};
use bytes::Bytes;
use http::{Request, header::HeaderName};
use http_body::{Body, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::Server;

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes the connection and says `own`, or has HTTP say `http`.
struct Either {
    takeover: Option<Takeover>,
    taken: bool,
    said: bool,
}

impl Body for Either {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(takeover) = self.takeover.take().filter(Takeover::is_granted) {
            takeover.take(|mut socket| {
                tokio::spawn(async move {
                    let said = socket.write_all(b"3\r\nown\r\n0\r\n\r\n").await;
                    said.and(socket.shutdown().await).unwrap();
                });
            });
            self.taken = true;
        }
        if self.taken {
            return Poll::Pending;
        }
        let first = !std::mem::replace(&mut self.said, true);
        Poll::Ready(first.then(|| Ok(Frame::data(Bytes::from_static(b"http")))))
    }
}

fn answer(takeover: Option<Takeover>) -> Response<Either> {
    let mut response = Response::new(Either { takeover: takeover.clone(), taken: false, said: false });
    if let Some(takeover) = takeover {
        takeover.mark(&mut response);
    }
    response
}

/// `/` takes over, `/NAME` adds a header of that name, `/kept` uses the offer of the request before.
async fn serve() -> SocketAddr {
    let kept = Arc::new(Mutex::new(None));
    let app = Router::new().fallback(any(move |request: Request<axum::body::Body>| async move {
        let offer = request.extensions().get::<Takeover>().cloned();
        let before = std::mem::replace(&mut *kept.lock(), offer.clone());
        let path = request.uri().path().trim_start_matches('/');
        let mut response = answer(if path == "kept" { before } else { offer });
        match path {
            "" | "kept" => {}
            "status" => *response.status_mut() = StatusCode::ACCEPTED,
            "extensions" => response.extensions_mut().clear(),
            "version" => *response.version_mut() = Version::HTTP_10,
            name => {
                let name = HeaderName::try_from(name).unwrap();
                response.headers_mut().insert(name, HeaderValue::from_static("4"));
            }
        }
        response.map(axum::body::Body::new)
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, app));
    address
}

/// What the server says to these requests, sent at once, until it closes.
async fn said(address: SocketAddr, requests: &[&str]) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    for request in requests {
        client.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    }
    let mut all = String::new();
    timeout(PATIENCE, client.read_to_string(&mut all)).await.expect("the connection is not closed").unwrap();
    all
}

#[tokio::test]
async fn a_body_writes_the_connection_behind_its_head() {
    let address = serve().await;
    let all = said(address, &["GET / HTTP/1.1\nHost: x\n\n"]).await;
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "3\r\nown\r\n0\r\n\r\n");
}

#[tokio::test]
async fn requests_before_it_are_answered_and_none_behind_it() {
    let address = serve().await;
    let before = "GET /extensions HTTP/1.1\nHost: x\n\n";
    let all = said(address, &[before, before, "GET / HTTP/1.1\nHost: x\n\n", before]).await;
    let bodies: Vec<_> = all.split("HTTP/1.1 200 OK").skip(1).map(|one| one.contains("http")).collect();
    assert_eq!(bodies, [true, true, false], "{all}");
    assert!(all.ends_with("3\r\nown\r\n0\r\n\r\n"), "{all}");
}

#[tokio::test]
async fn a_response_that_has_become_another_stays_with_http() {
    let address = serve().await;
    for path in
        ["status", "version", "extensions", "content-type", "content-encoding", "content-length", "trailer"]
    {
        let request = format!("GET /{path} HTTP/1.1\nHost: x\nConnection: close\n\n");
        let all = said(address, &[&request]).await;
        assert!(all.contains("http") && !all.contains("own"), "{path}: {all}");
    }
}

#[tokio::test]
async fn only_a_get_of_http_1_1_without_a_body_can_be_taken() {
    let address = serve().await;
    for request in [
        "POST / HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 0\n\n",
        "GET / HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 1\n\nx",
        "GET / HTTP/1.0\nHost: x\n\n",
    ] {
        let all = said(address, &[request]).await;
        assert!(all.contains("http") && !all.contains("own"), "{request}: {all}");
    }
}

#[tokio::test]
async fn an_offer_ends_with_its_request() {
    let address = serve().await;
    let first = "GET /extensions HTTP/1.1\nHost: x\n\n";
    let all = said(address, &[first, "GET /kept HTTP/1.1\nHost: x\nConnection: close\n\n"]).await;
    assert!(!all.contains("own"), "{all}");
    assert_eq!(all.matches("http").count(), 2, "{all}");
}

#[test]
fn who_was_to_get_the_socket_goes_with_the_connection() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let desk = Arc::<Desk>::default();
    let takeover = desk.offer();
    let counted = Counted(dropped.clone());
    takeover.take(move |_| drop(counted));
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "it was not granted");

    let mut response = Response::new(());
    takeover.mark(&mut response);
    desk.consider(&mut response);
    assert!(takeover.is_granted());
    let counted = Counted(dropped.clone());
    takeover.take(move |_| drop(counted));
    assert!(!takeover.is_granted() && desk.taker().is_none(), "the head is not written");
    drop(takeover);
    desk.note_write();
    desk.note_flush();
    desk.note_write();
    assert!(desk.taker().is_none(), "more is being written");
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    drop(desk);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

/// A layer that hands a body on from a task of its own, as one does that reads ahead.
fn pumped(response: Response<Either>) -> Response<axum::body::Body> {
    response.map(|mut body| {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            // Long enough for the head to be on its way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                if sender.send(frame.into_data().unwrap()).await.is_err() {
                    return;
                }
            }
        });
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let piece: Bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(piece), receiver))
        });
        axum::body::Body::from_stream(pieces)
    })
}

#[tokio::test]
async fn a_body_that_another_task_reads_stays_with_http() {
    let app = Router::new().fallback(any(|request: Request<axum::body::Body>| async move {
        pumped(answer(request.extensions().get::<Takeover>().cloned()))
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, app));
    let all = said(address, &["GET / HTTP/1.1\nHost: x\nConnection: close\n\n"]).await;
    assert!(all.contains("http") && !all.contains("own"), "{all}");
}

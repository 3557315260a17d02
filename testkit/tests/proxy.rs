//! The chaos proxy, between a client and an echo.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use fanfare_testkit::proxy::{ChaosProxy, Direction};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// How one of the server's connections has ended.
type Ending = Result<(), ErrorKind>;

/// A server that sends back what it gets, and says how its connections end.
struct Echo {
    addr: SocketAddr,
    endings: mpsc::Receiver<Ending>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (ended, endings) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let ended = ended.clone();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let ending = tokio::io::copy(&mut from, &mut to).await;
                    let _ = ended.send(ending.map(|_| ()).map_err(|error| error.kind())).await;
                });
            }
        });
        Self { addr, endings }
    }

    async fn ending(&mut self) -> Ending {
        timeout(PATIENCE, self.endings.recv()).await.expect("the server's connection has not ended").unwrap()
    }
}

async fn set_up() -> (Echo, ChaosProxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.addr).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(exchange(&mut client, b"hello").await, b"hello");
    (echo, proxy, client)
}

async fn exchange(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).await.unwrap();
    read(client, bytes.len()).await
}

async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut answer = vec![0; length];
    timeout(PATIENCE, client.read_exact(&mut answer)).await.expect("no answer").unwrap();
    answer
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(200), client.read_u8()).await.is_err()
}

#[tokio::test]
async fn bytes_pass_unchanged_and_an_end_is_forwarded() {
    let (mut echo, proxy, mut client) = set_up().await;
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut from, mut to) = client.split();
    let mut received = Vec::new();
    let send = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let receive = timeout(PATIENCE, from.read_to_end(&mut received));
    tokio::join!(send, async { receive.await.expect("no end").unwrap() });
    assert!(sent == received);
    assert_eq!(echo.ending().await, Ok(()));
    timeout(PATIENCE, proxy.until_connections(|count| count == 0)).await.unwrap();
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_cut_is_an_end_in_good_order_for_both_sides() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.cut();
    assert_eq!(timeout(PATIENCE, client.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert_eq!(echo.ending().await, Ok(()));
    let mut another = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(exchange(&mut another, b"again").await, b"again");
}

#[tokio::test]
async fn a_reset_is_one_for_both_sides() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.reset();
    let error = timeout(PATIENCE, client.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(echo.ending().await, Err(ErrorKind::ConnectionReset));
    timeout(PATIENCE, proxy.until_connections(|count| count == 0)).await.unwrap();
    let mut another = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(exchange(&mut another, b"again").await, b"again");
}

#[tokio::test]
async fn who_is_refused_is_refused_by_the_kernel_and_at_the_same_port_again_later() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.refuse();
    assert!(timeout(PATIENCE, client.read(&mut [0])).await.unwrap().is_err());
    assert_eq!(echo.ending().await, Err(ErrorKind::ConnectionReset));
    let refused = async {
        loop {
            match TcpStream::connect(proxy.addr()).await {
                // Accepted before the port was closed.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error.kind(),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, refused).await.unwrap(), ErrorKind::ConnectionRefused);
    proxy.heal();
    let served = async {
        loop {
            if let Ok(stream) = TcpStream::connect(proxy.addr()).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut another = timeout(PATIENCE, served).await.unwrap();
    assert_eq!(exchange(&mut another, b"again").await, b"again");
}

#[tokio::test]
async fn a_black_hole_holds_everything_and_gives_it_back() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.blackhole();
    client.write_all(b"lost?").await.unwrap();
    assert!(is_silent(&mut client).await);
    let mut another = TcpStream::connect(proxy.addr()).await.unwrap();
    another.write_all(b"anybody?").await.unwrap();
    assert!(is_silent(&mut another).await);
    proxy.heal();
    assert_eq!(read(&mut client, 5).await, b"lost?");
    assert_eq!(read(&mut another, 8).await, b"anybody?");
    // The end of a connection does not pass either.
    proxy.blackhole();
    drop(client);
    assert!(timeout(Duration::from_millis(200), echo.endings.recv()).await.is_err());
    proxy.heal();
    assert_eq!(echo.ending().await, Ok(()));
}

#[tokio::test]
async fn a_half_open_connection_is_silent_in_one_direction() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.half_open(Direction::ToServer);
    client.write_all(b"ping").await.unwrap();
    assert!(is_silent(&mut client).await);
    proxy.heal();
    assert_eq!(read(&mut client, 4).await, b"ping");
    proxy.half_open(Direction::ToClient);
    client.write_all(b"pong").await.unwrap();
    assert!(is_silent(&mut client).await);
    proxy.heal();
    assert_eq!(read(&mut client, 4).await, b"pong");
}

#[tokio::test]
async fn latency_delays_and_does_not_slow_down() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.latency(Duration::from_millis(100));
    let began = Instant::now();
    // One after the other at once: each is late, but not later than the one before.
    for _ in 0..20 {
        client.write_all(b"0123456789").await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    read(&mut client, 200).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(4), "each waited for the one before it: {took:?}");
}

#[tokio::test]
async fn a_throttled_connection_takes_its_time() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.throttle(10_000);
    let began = Instant::now();
    exchange(&mut client, &[7; 4_000]).await;
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    proxy.heal();
    exchange(&mut client, &[7; 1_000_000]).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_proxy() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let addr = proxy.addr();
    drop(proxy);
    // An end or a reset: what matters is that both sides learn of it.
    assert!(matches!(timeout(PATIENCE, client.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    assert!(matches!(timeout(PATIENCE, server.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let gone = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("a task is left");
}

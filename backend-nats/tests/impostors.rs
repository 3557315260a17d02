//! What answers at the address is no NATS server, or none that is of use: an error that says so, bounded reading, no hot
//! loop.

mod support;

use std::time::Duration;

use fanfare_core::backend::{BackendErrorKind, BackendState};
use fanfare_nats::NatsBackend;
use fanfare_testkit::{
    backend::SECRET,
    faults::{Lone, impostor},
    server::Program,
};
use support::{
    PATIENCE, Setup, built, url_of,
    wrong::{check, refused},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};

#[tokio::test]
async fn servers_of_other_kinds_are_known() {
    for other in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"220 mail.example.org ESMTP\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"+OK Dovecot ready.\r\n",
        b"INFO {not json}\r\n",
    ] {
        let addr = impostor(other, b"").await;
        refused(NatsBackend::builder(url_of(addr, SECRET)), "is it a NATS").await;
    }
    for (old, says) in [
        (
            &b"INFO {\"version\":\"2.8.4\",\"headers\":true,\"max_payload\":1048576}\r\n"[..],
            "2.8.4: NATS 2.9 or newer",
        ),
        (b"INFO {\"version\":\"1.4.1\",\"max_payload\":1048576}\r\n", "1.4.1: NATS 2.9 or newer"),
        (b"INFO {\"version\":\"2.10.0\",\"headers\":false,\"max_payload\":1048576}\r\n", "headers"),
    ] {
        let addr = impostor(old, b"").await;
        refused(NatsBackend::builder(url_of(addr, SECRET)), says).await;
    }
}

/// One that takes a login, and throws the node out at once, is not asked again without a pause.
#[tokio::test]
async fn a_server_that_throws_out_is_left_in_peace() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let mut count = 0_u32;
        let end = tokio::time::Instant::now() + Duration::from_secs(6);
        while let Ok(Ok((mut client, _))) = tokio::time::timeout_at(end, listener.accept()).await {
            count += 1;
            let (mut said, greeting) = ([0; 4096], "INFO {\"version\":\"2.10.0\",\"headers\":true}\r\n");
            if client.write_all(greeting.as_bytes()).await.is_ok() && client.read(&mut said).await.is_ok() {
                let _ = client.write_all(b"PONG\r\n-ERR 'Stale Connection'\r\n").await;
                let _ = client.read(&mut said).await;
            }
        }
        count
    });
    let backend = built(NatsBackend::builder(url_of(addr, SECRET)));
    let error = timeout(PATIENCE, Lone::attempt(backend)).await.expect("an answer").expect_err("it is up");
    check(&error, "did not hear of us");
    let count = served.await.expect("a count");
    assert!((2..60).contains(&count), "{count} connections");
}

/// One that says nothing at all may yet be a server in trouble: nobody waits for ever, and nobody asks without a pause.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let addr = impostor(b"", b"").await;
    let backend = built(NatsBackend::builder(url_of(addr, SECRET)).answer_within(Duration::from_millis(300)));
    let error =
        timeout(PATIENCE, Lone::attempt(backend)).await.expect("an answer").expect_err("nobody is there");
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    check(&error, "NATS");
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let backend = built(NatsBackend::builder(format!("nats://app:{SECRET}@127.0.0.1:1")));
    let error = Lone::attempt(backend).await.expect_err("nobody is there");
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    check(&error, "is NATS running there");
}

/// A server's lines may be of any length and of any bytes: the client bounds what it reads.
#[tokio::test]
async fn what_a_server_says_is_bounded() {
    static ENDLESS: [u8; 8 << 20] = [b'I'; 8 << 20];
    let addr = impostor(&ENDLESS, b"").await;
    refused(NatsBackend::builder(url_of(addr, SECRET)), "is it a NATS").await;
}

/// A node that was started once stands all of it.
#[tokio::test]
async fn a_node_outlives_a_server_that_is_replaced_by_another_program() {
    let Some(mut setup) = Setup::start(Program::NatsCurrent).await else { return };
    let node = Lone::start(built(setup.builder())).await;
    setup.server.stop().await.expect("a signal");
    node.until_state(BackendState::Down).await;
    let listener = TcpListener::bind(setup.server.addr()).await.expect("its port");
    let before = setup.proxy.accepted();
    let other = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    sleep(Duration::from_secs(4)).await;
    let attempts = setup.proxy.accepted() - before;
    assert!((1..40).contains(&attempts), "{attempts} attempts in 4 s");
    other.abort();
    let _ = other.await;
    setup.server.restart().await.expect("a server");
    node.until_state(BackendState::Up).await;
    node.end().await;
}

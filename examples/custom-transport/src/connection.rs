//! One client, from its first line to its last.

use std::{
    future::{Future, pending, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame},
    outbox::{Outbox, Wire},
    session::{CloseKind, CloseReason, Handshake, Session},
};
use tokio::{
    net::TcpStream,
    time::{interval, sleep_until, timeout},
};

use crate::{encoder::Lines, socket::Socket};

/// How long a client may take for its first line, and to take a byte of what waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest first line.
const TOKEN: usize = 4096;

/// Serves a client.
pub(crate) async fn run(broker: Broker, format: Format, stream: TcpStream, address: IpAddr) {
    let socket = Arc::new(Socket::new(stream));
    let (mut unread, mut token) = (Vec::new(), String::new());
    let hello = socket.read_line(&mut unread, &mut token, TOKEN);
    if !timeout(PATIENCE, hello).await.unwrap_or(false) {
        return;
    }
    let mut handshake = Handshake::new("lines").with_address(address);
    if !token.is_empty() {
        handshake = handshake.with_token(token);
    }
    match broker.connect(handshake, &format).await {
        Ok((session, outbox)) => {
            outbox.attach(socket.clone());
            serve(&broker, session, outbox, &socket, unread).await;
        }
        Err(error) => {
            let mut line = bytes::BytesMut::new();
            Lines.encode(Frame::Close(&error.reason()), &mut line);
            // What a new socket does not take at once, it need not hear.
            let _ = socket.try_write(&[std::io::IoSlice::new(&line)]);
        }
    }
}

async fn serve(broker: &Broker, mut session: Session, outbox: Outbox, socket: &Socket, mut unread: Vec<u8>) {
    let reason = talk(broker, &mut session, &outbox, socket, &mut unread).await;
    // Nothing happens where the broker has ended it already.
    outbox.close(reason.clone());
    let _ = timeout(PATIENCE, poll_fn(|cx| outbox.poll_flush(cx))).await;
    session.close(reason).await;
}

/// Serves commands until the connection has a reason to end.
async fn talk(
    broker: &Broker,
    session: &mut Session,
    outbox: &Outbox,
    socket: &Socket,
    unread: &mut Vec<u8>,
) -> CloseReason {
    // A publish of the largest payload, each byte of it escaped.
    let longest = 6 * broker.limits().max_message + 4096;
    let mut heartbeat = interval(broker.ping_interval().min(PATIENCE / 2));
    let mut line = String::new();
    loop {
        let deadline = session.deadline();
        let expired = async {
            match deadline {
                Some((at, kind)) => {
                    sleep_until(at).await;
                    kind
                }
                None => pending().await,
            }
        };
        let came = tokio::select! {
            // Whatever the session awaits goes on meanwhile, and what the socket did not take goes out.
            over = poll_fn(|cx| {
                let _never = session.poll_progress(cx);
                outbox.poll_flush(cx)
            }) => return over,
            kind = expired => return kind.into(),
            _ = heartbeat.tick() => {
                if outbox.stalled_for().is_some_and(|stalled| stalled > PATIENCE) {
                    return CloseKind::SlowConsumer.into();
                }
                let _ = outbox.ping();
                continue;
            }
            came = socket.read_line(unread, &mut line, longest) => came,
        };
        if !came {
            let too_long = unread.len() > longest;
            return if too_long { CloseKind::TooBig.into() } else { CloseKind::Lost.into() };
        }
        if line.is_empty() {
            continue;
        }
        let served = async {
            match fanfare_protocol::decode_text(&line) {
                Ok(decoded) => session.handle(decoded.id, decoded.command).await,
                Err(error) => session.reject(error.id, error.error).await,
            }
        };
        if let Err(reason) = flushing(outbox, pin!(served)).await {
            return reason;
        }
        outbox.flush();
    }
}

/// Serves a command, writing meanwhile: it may wait until the client has read its replies.
async fn flushing(
    outbox: &Outbox,
    mut served: Pin<&mut (impl Future<Output = Result<(), CloseReason>> + Send)>,
) -> Result<(), CloseReason> {
    poll_fn(|cx| match served.as_mut().poll(cx) {
        Poll::Ready(served) => Poll::Ready(served),
        Poll::Pending => outbox.poll_flush(cx).map(Err),
    })
    .await
}

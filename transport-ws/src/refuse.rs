//! How a client is told that it is not let in: by HTTP, or, where a page could not see that, by a close frame.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    ConnectError,
    message::{Encoder, Frame},
    session::{CloseReason, CommandError, ErrorCode, Reply},
};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{encoder::V1, upgrade::Socket};

/// How long a client may take to read why it is refused.
const LINGER: Duration = Duration::from_secs(2);

/// A client that is not let in, as the core says it.
pub(crate) fn status_and_error(error: &ConnectError) -> (StatusCode, CommandError) {
    match error {
        ConnectError::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, CommandError::new(ErrorCode::Draining, error.to_string()))
        }
        ConnectError::Full { limit } => {
            let refused = CommandError::new(ErrorCode::LimitExceeded, error.to_string());
            (StatusCode::SERVICE_UNAVAILABLE, refused.limit(*limit as u64, *limit as u64 + 1))
        }
        ConnectError::TooMany { limit, .. } => {
            let refused = CommandError::new(ErrorCode::LimitExceeded, error.to_string());
            (StatusCode::TOO_MANY_REQUESTS, refused.limit(*limit as u64, *limit as u64 + 1))
        }
        ConnectError::Refused(refusal) => (status(refusal.code), refusal.clone().into()),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            CommandError::new(ErrorCode::Internal, "the client is not let in"),
        ),
    }
}

/// The HTTP status for an error of the wire format.
pub(crate) fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::LimitExceeded | ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::BackendUnavailable | ErrorCode::Draining => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A refusal by HTTP, its body an error of the wire format v1.
pub(crate) fn response(status: StatusCode, error: CommandError) -> Response<Full<Bytes>> {
    let retry_after = error.retry_after;
    let mut body = BytesMut::new();
    let reply = Reply::Error(Box::new(error));
    let _text = fanfare_protocol::encode(Frame::Reply { id: None, reply: &reply }, &mut body);
    let mut response = Response::new(Full::from(body.freeze()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 11.6.1.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(after) = retry_after {
        headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
    }
    response
}

/// Tells an accepted client why it is closed, in a task of its own.
pub(crate) fn spawn_goodbye(socket: Socket, reason: &CloseReason) {
    let mut words = BytesMut::new();
    V1.encode(Frame::Close(reason), &mut words);
    match socket {
        Socket::Tcp(stream, _) => drop(tokio::spawn(goodbye(stream, words))),
        Socket::Other(stream) => drop(tokio::spawn(goodbye(stream, words))),
    }
}

async fn goodbye(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: BytesMut) {
    let talk = async {
        stream.write_all(&words).await?;
        stream.shutdown().await?;
        // A socket that is closed while its client sends would take the last words back.
        let mut buffer = [0; 512];
        while stream.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, talk).await;
}

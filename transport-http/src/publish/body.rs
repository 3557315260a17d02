//! Reading a body, as far as it may be long and as long as it may take.

use std::{error::Error, pin::pin, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_core::session::{CommandError, ErrorCode};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::Refused;

/// Refuses what is said to be longer than `limit` bytes, before any of it is read.
pub(super) fn check_length<B: Body>(body: &B, limit: usize) -> Result<(), Refused> {
    let least = body.size_hint().lower();
    if least > limit as u64 { Err(too_large(limit, least)) } else { Ok(()) }
}

/// Reads a body of at most `limit` bytes into memory of its own: what a server hands out is often a small part of a large
/// buffer, and a payload may be kept for long.
pub(super) async fn read<B>(body: B, limit: usize, within: Duration) -> Result<Bytes, Refused>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut whole = BytesMut::with_capacity(announced.unwrap_or_default().min(limit));
    let collect = async {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            // Nobody reads the answer to a request that broke off; a layer's own limit may have ended it as well.
            let frame = frame.map_err(|_| bad("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.len() + data.remaining();
            if length > limit {
                return Err(too_large(limit, length as u64));
            }
            whole.put(data);
        }
        Ok(())
    };
    match timeout(within, collect).await {
        Ok(read) => read?,
        Err(_) => {
            let mut error = bad("the body took too long to come");
            error.retry = true;
            return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, error));
        }
    }
    // Without the room that was to spare.
    Ok(if whole.capacity() > whole.len() { Bytes::copy_from_slice(&whole) } else { whole.freeze() })
}

fn too_large(limit: usize, value: u64) -> Refused {
    let message = "the body is longer than a message may be";
    CommandError::new(ErrorCode::TooLarge, message).field("data").limit(limit as u64, value).into()
}

fn bad(message: &'static str) -> CommandError {
    CommandError::new(ErrorCode::BadRequest, message).field("data")
}

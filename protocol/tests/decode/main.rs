//! Every method of v1, and what is answered to frames that are none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod commands;
mod limits;
mod publishing;
mod refused;

use fanfare_core::{
    message::Position,
    session::{Command, ErrorCode, PublishCommand, RequestId},
};
use fanfare_protocol::{Decoded, decode_text};

fn ok(frame: &str) -> Decoded {
    decode_text(frame).unwrap_or_else(|error| panic!("{frame}: {error:?}"))
}

fn command(frame: &str) -> Command {
    ok(frame).command
}

fn publish(frame: &str) -> PublishCommand {
    match command(frame) {
        Command::Publish(publish) => publish,
        other => panic!("{frame}: {other:?}"),
    }
}

/// The id, the code and the field of the error.
fn refused(frame: &str) -> (Option<u64>, ErrorCode, Option<&'static str>) {
    let error = decode_text(frame).map(|d| panic!("{frame}: {d:?}")).unwrap_err();
    (error.id.map(RequestId::value), error.error.code, error.error.field)
}

fn position(cursor: &str) -> Position {
    cursor.parse().unwrap()
}

fn binary(header: &str, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [&length.to_be_bytes(), header.as_bytes(), payload].concat()
}

//! How long a frame takes: `cargo bench -p fanfare-protocol`.
#![allow(missing_docs, reason = "a benchmark has no API")]

use bytes::BytesMut;
use divan::{Bencher, black_box, counter::BytesCount};
use fanfare_core::{
    message::{Frame, LogPlace, Message, MessageParts, Payload, Publisher},
    session::{ClientId, Published, Reply, RequestId},
    topic::TopicName,
};
use fanfare_protocol::{decode_binary, decode_text, encode};

fn main() {
    divan::main();
}

/// A JSON payload of about `length` bytes, like a chat's.
fn payload(length: usize) -> String {
    let words = "the quick brown fox, ".repeat(length.div_ceil(21));
    format!(r#"{{"nick":"ann","room":7,"text":"{}"}}"#, &words[..length.saturating_sub(34)])
}

#[divan::bench(args = [64, 128, 1024, 16 * 1024])]
fn decode_publish(bencher: Bencher<'_, '_>, length: usize) {
    let frame = format!(
        r#"{{"id":17,"publish":{{"topic":"chat.lobby","event":"message","message_id":"m-17","data":{}}}}}"#,
        payload(length)
    );
    bencher.counter(BytesCount::of_str(&frame)).bench(|| decode_text(black_box(&frame)));
}

#[divan::bench]
fn decode_binary_publish(bencher: Bencher<'_, '_>) {
    let header = r#"{"id":17,"publish":{"topic":"camera.1","event":"frame"}}"#;
    let mut frame = vec![0, 0, 0, u8::try_from(header.len()).unwrap_or_default()];
    frame.extend_from_slice(header.as_bytes());
    frame.resize(frame.len() + 1024, 7);
    bencher.bench(|| decode_binary(black_box(&frame)));
}

#[divan::bench]
fn decode_subscribe(bencher: Bencher<'_, '_>) {
    bencher
        .bench(|| decode_text(black_box(r#"{"id":2,"subscribe":{"topic":"chat.lobby","after":"k3f9:41"}}"#)));
}

#[divan::bench]
fn decode_refused(bencher: Bencher<'_, '_>) {
    bencher.bench(|| decode_text(black_box(r#"{"id":2,"subscribe":{"topic":5}}"#)));
}

fn parts(payload: Payload) -> MessageParts {
    let topic = TopicName::new("chat.lobby").unwrap_or_else(|error| panic!("{error}"));
    let mut parts = MessageParts::new(topic, payload);
    parts.event = Some("message".into());
    parts.publisher = Some(Publisher { client: ClientId::random(), user: Some("ann".into()) });
    parts
}

fn bench_message(bencher: Bencher<'_, '_>, message: &Message) {
    let mut out = BytesMut::with_capacity(64 * 1024);
    bencher.bench_local(|| {
        out.clear();
        encode(Frame::Message(black_box(message)), &mut out)
    });
}

#[divan::bench(args = [64, 128, 1024, 16 * 1024])]
fn encode_message(bencher: Bencher<'_, '_>, length: usize) {
    let payload = Payload::parsed_json(payload(length)).unwrap_or_else(|error| panic!("{error}"));
    bench_message(bencher, &Message::ephemeral(parts(payload)));
}

#[divan::bench]
fn encode_logged_message(bencher: Bencher<'_, '_>) {
    let payload = Payload::parsed_json(payload(128)).unwrap_or_else(|error| panic!("{error}"));
    let position = "k3f9:123456".parse().unwrap_or_else(|error| panic!("{error}"));
    bench_message(bencher, &Message::logged(parts(payload), LogPlace { position, prev: 0 }));
}

#[divan::bench(args = [128, 16 * 1024])]
fn encode_text(bencher: Bencher<'_, '_>, length: usize) {
    bench_message(bencher, &Message::ephemeral(parts(Payload::text("plain words ".repeat(length / 12)))));
}

#[divan::bench]
fn encode_reply(bencher: Bencher<'_, '_>) {
    let mut out = BytesMut::with_capacity(1024);
    let reply = Reply::Published(Published::new("k3f9:123456".parse().ok(), false));
    bencher.bench_local(|| {
        out.clear();
        encode(Frame::Reply { id: RequestId::new(17), reply: black_box(&reply) }, &mut out)
    });
}

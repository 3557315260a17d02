//! The load generator tells a correct server from one that loses, doubles, reorders or misroutes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::fan::{self, Options, Report};
use clap::Parser;
use support::{Body, Fault, serve, stream};

const MESSAGES: u64 = 40;
const CONNS: u64 = 6;

/// Two topics of three subscribers each, twenty messages to each topic.
fn load(address: SocketAddr, more: &[&str]) -> Report {
    let url = format!("ws://{address}");
    let fixed = ["fan", "--url", &url, "--conns", "6", "--topics", "2", "--messages", "40"];
    let quick = ["--settle-ms", "20", "--linger-ms", "50", "--patience-ms", "300", "--sleep"];
    fan::run(&Options::parse_from(fixed.iter().chain(&quick).chain(more))).unwrap()
}

#[test]
fn a_correct_server_is_clean() {
    let report = load(serve(Fault::None), &[]);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.published, report.expected, report.received), (MESSAGES, MESSAGES * 3, MESSAGES * 3));
    assert_eq!(report.latency.count, MESSAGES * 3);
    assert!(report.latency.p50_us > 0.0 && report.latency.p50_us <= report.latency.max_us);
}

#[test]
fn losing_is_seen_and_silence_differs_from_telling() {
    let silent = load(serve(Fault::Lose), &[]);
    assert_eq!((silent.lost, silent.gaps_told, silent.abandoned), (2, 0, 2), "{silent}");
    assert!(!silent.is_clean());
    let told = load(serve(Fault::LoseAndTell), &[]);
    assert_eq!((told.lost, told.gaps_told, told.missed_told), (2, 2, 2), "{told}");
}

#[test]
fn doubling_is_seen() {
    let report = load(serve(Fault::Double), &[]);
    assert_eq!((report.doubled, report.lost, report.reordered), (2, 0, 0), "{report}");
    assert!(!report.is_clean());
}

#[test]
fn reordering_is_seen() {
    let report = load(serve(Fault::Swap), &[]);
    assert_eq!((report.reordered, report.lost, report.doubled), (2, 0, 0), "{report}");
    assert!(!report.is_clean());
}

#[test]
fn misrouting_is_seen() {
    let report = load(serve(Fault::Misroute), &[]);
    assert_eq!((report.misrouted, report.lost, report.doubled), (2, 0, 0), "{report}");
    assert!(!report.is_clean());
}

#[test]
fn a_disconnected_subscriber_is_dead_and_expected_no_more() {
    let report = load(serve(Fault::Disconnect), &["--window", "1"]);
    assert_eq!((report.dead, report.lost), (2, 2), "{report}");
    assert_eq!(report.expected, MESSAGES * 3 - 2 * 15, "{report}");
    assert!(report.trouble.unwrap().contains("4100 slow_consumer"));
}

#[test]
fn a_refused_publish_is_counted() {
    let report = load(serve(Fault::Refuse), &[]);
    assert_eq!((report.refused, report.lost), (2, 6), "{report}");
    assert!(report.trouble.unwrap().contains("rate_limited"));
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let report = load(serve(Fault::None), &["--rate", "200"]);
    assert!(report.is_clean(), "{report}");
    assert!(report.wall_s >= 39.0 / 200.0, "{report}");
}

#[test]
fn several_topics_on_a_connection() {
    let report = load(serve(Fault::None), &["--topics", "5", "--topics-per-conn", "4"]);
    assert!(report.is_clean(), "{report}");
    // Six connections of four topics each over five topics, eight messages to each topic.
    assert_eq!(report.received, CONNS * 4 * MESSAGES / 5);
}

#[test]
fn stalled_subscribers_are_not_waited_for_and_catch_up_at_the_end() {
    let report = load(serve(Fault::None), &["--stall", "2"]);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.expected, report.stalled, report.stalled_received), (MESSAGES * 2, 2, MESSAGES));
}

/// The same as [`load`] on event streams, whose publishers are HTTP's, with each way to cut a stream.
fn streams(fault: Fault, more: &[&str], check: impl Fn(Report)) {
    let bodies = [(Body::Plain, 9), (Body::Plain, 4096), (Body::Chunked(4096), 4096), (Body::Chunked(3), 11)];
    for (body, write) in bodies {
        check(load(stream(fault, body, write), &[&["--wire", "sse", "--post"], more].concat()));
    }
}

#[test]
fn a_correct_stream_is_clean() {
    streams(Fault::None, &[], |report| {
        assert!(report.is_clean(), "{report}");
        let counts = (report.published, report.expected, report.received, report.gaps_told);
        assert_eq!(counts, (MESSAGES, MESSAGES * 3, MESSAGES * 3, 0), "{report}");
    });
}

#[test]
fn what_a_stream_does_wrong_is_seen() {
    streams(Fault::Lose, &[], |report| {
        assert_eq!((report.lost, report.gaps_told, report.abandoned), (2, 0, 2), "{report}");
    });
    streams(Fault::LoseAndTell, &[], |report| {
        assert_eq!((report.lost, report.gaps_told, report.missed_told), (2, 2, 2), "{report}");
    });
    streams(Fault::Double, &[], |report| {
        assert_eq!((report.doubled, report.lost, report.reordered), (2, 0, 0), "{report}");
    });
    streams(Fault::Swap, &[], |report| {
        assert_eq!((report.reordered, report.lost, report.doubled), (2, 0, 0), "{report}");
    });
    streams(Fault::Misroute, &[], |report| {
        assert_eq!((report.misrouted, report.lost, report.doubled), (2, 0, 0), "{report}");
    });
}

#[test]
fn a_stream_that_ends_is_dead() {
    streams(Fault::Disconnect, &["--window", "1"], |report| {
        assert_eq!((report.dead, report.lost), (2, 2), "{report}");
        assert!(report.trouble.as_ref().unwrap().contains("slow_consumer"), "{report}");
    });
}

#[test]
fn a_refused_http_publish_is_counted() {
    streams(Fault::Refuse, &[], |report| {
        assert_eq!((report.refused, report.lost), (2, 6), "{report}");
        let trouble = report.trouble.as_ref().unwrap();
        assert!(trouble.contains("429 Too Many Requests slower"), "{trouble}");
    });
}

#[test]
fn several_topics_on_a_stream() {
    let more = ["--wire", "sse-v1", "--post", "--topics", "5", "--topics-per-conn", "4"];
    let report = load(stream(Fault::None, Body::Chunked(50), 64), &more);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.received, CONNS * 4 * MESSAGES / 5);
}

#[test]
fn stalled_streams_catch_up_at_the_end() {
    streams(Fault::None, &["--stall", "2"], |report| {
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.expected, report.stalled, report.stalled_received), (MESSAGES * 2, 2, MESSAGES));
    });
}

#[test]
fn a_refused_stream_is_an_error_that_says_the_status() {
    let url = format!("http://{}/private", stream(Fault::None, Body::Plain, 4096));
    let error = fan::run(&Options::parse_from(["fan", "--wire", "sse", "--url", &url])).unwrap_err();
    assert!(format!("{error:#}").contains("HTTP/1.1 403 Forbidden {\"error\":\"no\"}"), "{error:#}");
}

#[test]
fn the_probe_is_measured_apart() {
    let report = load(serve(Fault::None), &["--saturate", "--seconds", "0.5", "--probe-rate", "100"]);
    assert!(report.is_clean(), "{report}");
    let probe = report.probe.unwrap();
    // Half a second of 100 messages/s to 4 subscribers; a busy machine may make the last one late.
    assert!((150..=204).contains(&probe.count), "{probe:?}");
    assert_eq!(report.received, report.latency.count + probe.count);
}

#[test]
fn a_refused_connection_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{address}");
    assert!(fan::run(&Options::parse_from(["fan", "--url", &url, "--conns", "1"])).is_err());
}

#[test]
fn impossible_options_are_refused() {
    for wrong in [
        &["--conns", "0"][..],
        &["--payload", "4"],
        &["--stall", "1000"],
        &["--topics", "2", "--topics-per-conn", "3"],
        &["--topics", "2", "--topics-per-conn", "2", "--wire", "raw"],
        &["--topics", "2", "--topics-per-conn", "2", "--wire", "sse"],
        &["--wire", "sse-raw", "--post"],
        &["--rate", "0"],
        &["--warmup-seconds", "1"],
    ] {
        let options = Options::parse_from([&["fan"], wrong].concat());
        assert!(fan::run(&options).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_peer_delivers_and_its_process_is_read() {
    for wire in ["raw", "sse-raw"] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peer = Peer::start(address);
        let pid = peer.0.id().to_string();
        let more = ["--wire", wire, "--server-pid", &pid, "--conns", "60", "--messages", "400"];
        let url = format!("ws://{address}");
        let options = ["fan", "--url", &url, "--settle-ms", "50", "--strict"];
        let report = fan::run(&Options::parse_from(options.iter().chain(&more))).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.received, 60 * 400);
        assert!(report.server_us_per_delivery > 0.0 && report.bytes_per_conn > 0.0, "{report}");
        assert!(report.resident_idle > report.resident_before && report.resident_peak > 0, "{report}");
        let line: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(line["received"], 60 * 400);
    }
}

#[test]
fn the_server_delivers_over_every_wire() {
    for (options, wires) in [
        (
            &[][..],
            &[
                &["--wire", "v1"][..],
                &["--wire", "v1", "--post"],
                &["--wire", "plain"],
                &["--wire", "sse"],
                &["--wire", "sse", "--post"],
                &["--wire", "sse-v1", "--topics-per-conn", "3"],
            ][..],
        ),
        (&["--streams-by-http"], &[&["--wire", "sse"], &["--wire", "sse-v1", "--topics-per-conn", "3"]]),
        (&["--history", "100"], &[&["--wire", "v1"], &["--wire", "sse"]]),
    ] {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let options = [&["--commands-per-second", "1000000"], options].concat();
        let _server = Peer::run(env!("CARGO_BIN_EXE_server"), address, &options);
        let url = format!("http://{address}");
        for wire in wires {
            let load = ["fan", "--url", &url, "--conns", "40", "--topics", "5", "--messages", "1000"];
            let quick = ["--settle-ms", "50", "--strict"];
            let report = fan::run(&Options::parse_from(load.iter().chain(&quick).chain(*wire))).unwrap();
            assert!(report.is_clean(), "{options:?} {wire:?}: {report}");
            let topics_per_conn = if wire.contains(&"3") { 3 } else { 1 };
            assert_eq!(report.received, 40 * topics_per_conn * 1000 / 5, "{options:?} {wire:?}");
        }
    }
}

struct Peer(Child);

impl Peer {
    fn start(address: SocketAddr) -> Self {
        Self::run(env!("CARGO_BIN_EXE_peer"), address, &["--read-buffer", "4096"])
    }

    fn run(program: &str, address: SocketAddr, options: &[&str]) -> Self {
        let child = Command::new(program)
            .args(["--listen", &address.to_string()])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the peer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

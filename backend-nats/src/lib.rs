//! Fanfare's NATS backend: what is published on one process is delivered on all, and logs outlive processes.
//!
//! ```no_run
//! use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
//! use fanfare_nats::NatsBackend;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::builder()
//!     .policy(Open)
//!     .topic("chat.*", TopicConfig::new().history(50))
//!     .backend(NatsBackend::builder("nats://app:password@localhost:4222").prefix("myapp").build()?)
//!     .start()
//!     .await?;
//!
//! let mut room = broker.subscribe("chat.lobby").await?;
//! broker.publish("chat.lobby", "hello, wherever you are").await?;
//! let delivery = room.recv().await;
//! # drop(delivery); Ok(()) }
//! ```
//!
//! nats-server 2.9 or newer. Before 2.11 each read of a log makes a short-lived consumer, from then on it is one direct read.
//!
//! # URLs
//!
//! | URL | server |
//! | --- | --- |
//! | `nats://user:password@host:4222` | one server; login and port may be left out |
//! | `nats://token@host` | a login by token |
//! | `nats://host1,host2:4223` | several of a cluster; others that they tell of are used, too, with TLS under the name of who told, where that was a name and they are told of by IP addresses |
//! | `tls://..`, `nats+tls://..` | TLS (feature `tls`), which is also spoken where a server asks for it |
//! | `nats://host?creds=/run/app.creds` | a JWT with its key; `?nkey=SU..` is an nkey, `?token=..` a token |
//!
//! `nats://host1,nats://host2` is the same as `nats://host1,host2`. What is special in a login (`/ ? # @ %`) is percent-encoded. No log, error or `Debug` shows it.
//!
//! # What NATS holds
//!
//! `PREFIX` is `fanfare` unless set; a topic's name is a part of a subject as it is.
//!
//! | name | what | until |
//! | --- | --- | --- |
//! | `PREFIX.m.t.TOPIC` | subject: messages; `PREFIX.m.s.TOPIC` for topics that begin with `$` | |
//! | `PREFIX.n.NODE`, `PREFIX.n.all` | subjects: what nodes tell each other | |
//! | `PREFIX-log-EPOCH` | stream of `PREFIX.l.>`, which publishes again to `PREFIX.m.>`: the logs of all topics | thrice the longest ttl, 10 minutes at the least |
//! | `PREFIX-values` | stream of `PREFIX.v.>`: the last value of each key | 30 days |
//!
//! Both streams are made when the first logged topic is used. The limits of the first, `max_msgs_per_subject`, `max_age` and
//! `duplicate_window`, are those of the topic that needs most, and are raised when one comes that needs more; what another topic
//! retains is said with each message, and kept to by who reads. With [`Streams::Checked`] an operator makes them. The
//! name of such a stream does not say which one it is: nodes look at it after each read, and when a message comes that cannot be one of the
//! log that they know, so that one that was deleted and made anew is another log:
//!
//! ```text
//! nats stream add myapp-log --subjects 'PREFIX.l.>' --republish-source 'PREFIX.l.>' --republish-destination 'PREFIX.m.>' \
//!     --allow-direct --retention limits --discard old --storage file --replicas 3 \
//!     --max-msgs-per-subject 16384 --max-age 3h --dupe-window 2m
//! nats stream add PREFIX-values --subjects 'PREFIX.v.>' --allow-direct --max-msgs-per-subject 1 --max-age 30d
//! ```
//!
//! An offset is a sequence number of the stream, so that offsets of a topic grow and are not consecutive. The epoch of all logs is the
//! identity of the stream. A node has one connection, however many clients it serves.
//!
//! # When NATS is away
//!
//! - It is noticed within 10 s, also where nothing but silence says so: a server that says nothing for
//!   [`answer_within`](NatsBuilder::answer_within) when asked is given up.
//! - Subscribers of the same process go on getting what is published to ephemeral topics. Publishing to a logged
//!   topic fails at once, and says so; with [`publish_buffer`](NatsBuilder::publish_buffer) both wait for the server.
//! - A publish that was under way fails with `OutcomeUnknown`: publish it again with the same `message_id`, and it is stored once.
//! - New connections are tried without end, with full jitter, at most 0.8 s apart (5 s after a minute), at all servers that are known: a
//!   node is back within a second. A login that is refused is tried again more slowly; a credentials file is read anew each time.
//! - What a server refuses fails alone: a subscription beyond what it takes, a subject that the user may not use. A subscription that it ends,
//!   because permissions have changed, is told as a loss, and asked for again every ten seconds.
//! - A server that says that it is about to end (lame duck) is left without an outage: another connection is made beside the old one, with
//!   the same subscriptions, and takes over when the old one has brought all. What is published waits for a few tenths of a second.
//! - Back again, each node reads once what each logged topic missed, not once for each client. Subscribers of ephemeral
//!   topics are told of a gap.
//!
//! # When NATS loses something
//!
//! A stream that is deleted, or gone with the server's disk, is made anew under another name, and its logs are others: every
//! subscriber is told of a gap. So it is with one that comes back with fewer messages than it had acknowledged, as one in memory does
//! after a restart: as soon as a node that knows of an offset beyond its end meets it, the stream is set aside, and
//! all logs begin anew in another one. What it still holds stays there until its time is over or an operator removes it, as a warning says;
//! before server 2.10 it is deleted. (An offset is a number of the stream, and JetStream leaves none out: it cannot go on behind a hole.)
//! What knows of no such offset cannot see the loss: with [`Storage::Memory`] on several servers, or a file system that loses what was written, use
//! replicas.
//!
//! # What it does not do
//!
//! - In a cluster of servers `subscribe` is answered when the server of the node has the interest, which the other servers hear of as
//!   soon as their connections bring it: within about one of their round trips. An ephemeral message that another server takes in this
//!   time does not arrive, and where it was the topic's first one from its node nobody is told. Logged ones arrive: they are read.
//! - Message ids are remembered by the stream. After a restart it knows those of the messages that it still holds.
//! - A server that begins with TLS before it says what it is (`handshake_first`) is not understood.
//! - What nodes tell each other comes in frames of up to 60 KiB: a `max_payload` below 64 KiB is refused.
//! - Subscribing to a logged topic for the first time writes a mark of a few bytes, which stays as long as the stream holds messages: let
//!   not everybody subscribe to any name that matches a logged pattern.
//!
//! # Permissions
//!
//! What a user needs at the least: the first two for topics that are not logged, the third as well for those that are, and the last one
//! unless an operator makes the streams ([`Streams::Checked`]). The tests' users have no more.
//!
//! ```text
//! publish: PREFIX.m.> PREFIX.n.>
//! subscribe: PREFIX.m.> PREFIX.n.> _INBOX.>
//! publish for logs: PREFIX.l.> PREFIX.v.> $JS.API.STREAM.NAMES $JS.API.STREAM.INFO.* $JS.API.STREAM.PURGE.* $JS.API.STREAM.MSG.GET.* $JS.API.DIRECT.GET.* $JS.API.CONSUMER.CREATE.* $JS.API.CONSUMER.DELETE.*.* $JS.API.CONSUMER.MSG.NEXT.*.*
//! publish to manage streams: $JS.API.STREAM.CREATE.* $JS.API.STREAM.UPDATE.* $JS.API.STREAM.DELETE.*
//! ```
//!
//! `DIRECT.GET` reads of a stream of one replica, `MSG.GET` of one of several. The three of consumers are for servers before 2.11, and for
//! trimming topics that are bounded in bytes.
//! With a domain it is `$JS.DOMAIN.API` instead of `$JS.API`.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod keep;
mod log;
mod names;
mod receive;
mod settings;
mod wire;

pub use backend::NatsBackend;
use fanfare_core::backend::BackendError;
pub use settings::{NatsBuilder, Storage, Streams};

/// A backend for the servers at a [URL](crate#urls), with everything else as it is by default.
///
/// # Errors
///
/// [`Configuration`](fanfare_core::backend::BackendErrorKind::Configuration): what is wrong with the URL. Nothing is connected yet.
pub fn from_url(url: &str) -> Result<NatsBackend, BackendError> {
    NatsBackend::builder(url).build()
}

//! Fanfare's Redis backend: what is published on one process is delivered on all, and logs outlive processes.
//!
//! ```no_run
//! use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
//! use fanfare_redis::RedisBackend;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::builder()
//!     .policy(Open)
//!     .topic("chat.*", TopicConfig::new().history(50))
//!     .backend(RedisBackend::builder("redis://:password@localhost:6379").prefix("myapp:").build()?)
//!     .start()
//!     .await?;
//!
//! let mut room = broker.subscribe("chat.lobby").await?;
//! broker.publish("chat.lobby", "hello, wherever you are").await?;
//! let delivery = room.recv().await;
//! # drop(delivery); Ok(()) }
//! ```
//!
//! Redis 6.2 or newer, a Cluster from 7.0 on; Valkey from its first version on.
//!
//! # URLs
//!
//! | URL | server |
//! | --- | --- |
//! | `redis://user:password@host:6379/0` | one server; user, password, port and database may be left out |
//! | `rediss://..` | the same over TLS (feature `tls`): the system's root certificates, or [`RedisBuilder::tls_config`] |
//! | `redis+unix:///run/redis.sock?db=0&user=..&pass=..` | a unix socket |
//! | `redis+sentinel://:password@host1:26379,host2:26379/mymaster/0` | the master that the Sentinels name, wherever it moves; a login for the Sentinels themselves is [`RedisBuilder::sentinel_login`] |
//! | `redis-cluster://:password@host1,host2` | a Cluster; any of its servers will do for the beginning |
//!
//! `valkey://` and `valkeys://` mean the same. `redis-cluster://host1,redis-cluster://host2` is the same as `redis-cluster://host1,host2`: one login for
//! all. What is special in a login (`/ ? # @ %`) is percent-encoded. No log, error or `Debug` shows a password.
//!
//! Servers of a Cluster, and masters that Sentinels name, are told of by their addresses, unless they announce host names. With TLS their
//! certificate names the address, or a host of the URL.
//!
//! # What Redis holds
//!
//! `PREFIX` is `fanfare:` unless set, `DB` the number of the database, `{TOPIC}` the topic's name in braces, in which
//! `%`, `{` and `}` are written `%25`, `%7B` and `%7D`.
//!
//! | name | what | until |
//! | --- | --- | --- |
//! | `PREFIXmeta:{TOPIC}` | hash: epoch, last offset and size of the log; which run of the server wrote it | 24 h after the last write, or thrice the topic's ttl if that is longer; 30 days with last values |
//! | `PREFIXlog:{TOPIC}` | stream: the retained messages, `OFFSET-TIME` | the topic's limits; twice its ttl after the last write |
//! | `PREFIXvalues:{TOPIC}` | hash: the last value of each key | as `meta` |
//! | `PREFIXorder:{TOPIC}` | sorted set: the keys by offset | as `meta` |
//! | `PREFIXid:{TOPIC}:USER:ID` | the position of a `message_id` | the idempotency window |
//! | `PREFIXdbDB:topic:{TOPIC}` | channel: messages | |
//! | `PREFIXdbDB:node:{ID}`, `PREFIXdbDB:nodes` | channels: what nodes tell each other, and themselves | |
//!
//! Each node has two connections to each server, one for commands and one for subscriptions, however many clients it
//! serves. A logged publish is one call of one script; publishes of many tasks travel together.
//!
//! # When Redis is away
//!
//! - It is noticed within 10 s, also where nothing but silence says so: a server that says nothing for
//!   [`answer_within`](RedisBuilder::answer_within) when asked is given up, and a connection on which the node does not hear what it
//!   sends itself is given up, too.
//! - Subscribers of the same process go on getting what is published to ephemeral topics. Publishing to a logged
//!   topic fails at once, and says so; with [`publish_buffer`](RedisBuilder::publish_buffer) both wait for the server.
//! - A publish that was under way fails with `OutcomeUnknown`: publish it again with the same `message_id`, and it is stored once.
//! - New connections are tried without end, with full jitter, at most 0.8 s apart (5 s after a minute): a node is back within a second.
//! - Back again, each node reads once what each logged topic missed, not once for each client. Subscribers of ephemeral
//!   topics are told of a gap.
//!
//! # When Redis loses something
//!
//! A server that restarts, or a replica that takes over, may have lost the last messages it acknowledged, and
//! cannot know. The log's epoch goes on, and its offsets with a leap: every subscriber is told of a gap of unknown
//! size at that place, also one that recovers later and comes by it. What was retained before is still there, as far as Redis has
//! kept it. A log that is gone altogether (flushed, evicted) begins anew with another epoch. So a Redis without
//! persistence keeps the law, too.
//!
//! A server's restart, and a replica that becomes a master, are known by the server's run and replication ID, with which a node marks
//! the database (the key `PREFIXlife`) when it connects. On a Cluster, whose servers have nothing in common, nodes go by the runs of
//! the servers alone.
//!
//! # Access
//!
//! An ACL user needs `~PREFIX*`, `&PREFIX*`, and these commands (with `cluster|slots`, `spublish`, `ssubscribe`, `sunsubscribe`
//! on a Cluster):
//!
//! ```text
//! +auth +hello +client|setname +select +info +ping +script|load +evalsha +time +hmget +hset +hexists +hdel +del +get +set
//! +xadd +xrange +xrevrange +xtrim +zadd +zcard +zrange +zremrangebyrank +pexpire +pttl
//! +publish +subscribe +unsubscribe +psubscribe +punsubscribe
//! ```
//!
//! Subscriptions to patterns need `&*`, because Redis compares a pattern with those of the ACL letter by letter.
//!
//! A user who may not do what all need cannot start. Where topics are logged, nodes try what logs need on keys of no topic, `{%}`, whenever they have
//! connected, leave nothing there, and say what is missing; so they do where `maxmemory-policy` lets the server drop keys.
//!
//! # On a Cluster
//!
//! Topics are spread over the servers by their names, on sharded channels: each message goes to one server. A message to several topics
//! reaches a connection once for each of them that it is subscribed to. There are no patterns for sharded channels: subscribing to
//! one is refused, unless all nodes set [`cluster_patterns`](RedisBuilder::cluster_patterns). While a slot is moved, publishes to its logged topics
//! wait; they follow it in their order, and so do subscriptions, whose topics are told of a gap, or read on from the log.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod keep;
mod log;
mod names;
mod receive;
mod settings;
mod wire;

pub use backend::RedisBackend;
use fanfare_core::backend::BackendError;
pub use settings::RedisBuilder;

/// A backend for the server at a [URL](crate#urls), with everything else as it is by default.
///
/// # Errors
///
/// [`Configuration`](fanfare_core::backend::BackendErrorKind::Configuration): what is wrong with the URL. Nothing is connected yet.
pub fn from_url(url: &str) -> Result<RedisBackend, BackendError> {
    RedisBackend::builder(url).build()
}

//! The server that the load generator measures: an axum app that mounts Fanfare as any app would, with default
//! limits unless an option says otherwise. `/ws` and `/events` are the transports, `/publish` takes
//! messages by HTTP, `/echo` sends back each message, `/healthz` says `ok`.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    middleware::map_response,
    response::Response,
    routing::{any_service, get, get_service},
};
use clap::{Parser, ValueEnum};
use fanfare::{
    BackendFromUrl, Broker,
    http::{Publish, PublishConfig, Server},
    policy::Open,
    sse::EventStream,
    topic::{OverflowPolicy, TopicConfig},
    ws::{Config, Echo, WebSocket},
};
use tokio::net::TcpListener;

/// What a slow subscriber's full queue does.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Overflow {
    DropOldest,
    DropNewest,
    ConflateByKey,
    Disconnect,
    Resync,
}

// It has no `Debug`, for the backend's URL may hold a password.
#[derive(Parser)]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:9120")]
    listen: SocketAddr,
    /// What carries messages between servers: memory:, redis://HOST:PORT, nats://HOST:PORT and the like.
    #[arg(long, value_name = "URL", default_value = "memory:")]
    backend: String,
    /// Worker threads, and fan-out shards.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The largest message, bytes.
    #[arg(long)]
    max_message: Option<usize>,
    /// Retain so many messages of each topic: all topics become logged.
    #[arg(long)]
    history: Option<usize>,
    /// What happens to a message that meets a full queue.
    #[arg(long)]
    overflow: Option<Overflow>,
    /// Messages in one subscription's queue.
    #[arg(long)]
    queue: Option<usize>,
    /// Admit pages of this origin alone; may be repeated.
    #[arg(long)]
    origin: Vec<String>,
    /// Seconds until a client must have sent its request, and must be authenticated.
    #[arg(long)]
    handshake_timeout: Option<f64>,
    /// Sessions of lost connections that are kept for their clients to come back
    #[arg(long)]
    parked_sessions: Option<usize>,
    /// Seconds without a command until a client is closed.
    #[arg(long)]
    idle_timeout: Option<f64>,
    /// Commands of one connection a second, and twice as many at once.
    #[arg(long)]
    commands_per_second: Option<NonZeroU32>,
    /// Connections from one address.
    #[arg(long)]
    connections_per_address: Option<usize>,
    /// Leave event streams with HTTP, as they are under any other server.
    #[arg(long)]
    streams_by_http: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    bench::process::raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let broker = broker(&args).await?;
    let config = transport(&args)?;
    let events = get_service(EventStream::new(&broker)?);
    // A response that was given new extensions is not taken over.
    let events = if args.streams_by_http { events.layer(map_response(without_extensions)) } else { events };
    let app = Router::new()
        .route("/ws", any_service(WebSocket::new(&broker)?.config(config.clone())))
        .route("/events", events)
        .route("/publish", any_service(publish(&args, &broker)?))
        .route("/echo", any_service(Echo::new(config)))
        .route("/healthz", get(|| async { "ok" }));
    let mut server = Server::new();
    if let Some(seconds) = args.handshake_timeout {
        server = server.header_timeout(Duration::try_from_secs_f64(seconds)?);
    }
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    Ok(server.serve(listener, app).await?)
}

async fn without_extensions(mut response: Response) -> Response {
    response.extensions_mut().clear();
    response
}

async fn broker(args: &Args) -> anyhow::Result<Broker> {
    let mut topics = TopicConfig::new();
    if let Some(messages) = args.history {
        topics = topics.history(messages);
    }
    if let Some(overflow) = args.overflow {
        topics = topics.overflow(match overflow {
            Overflow::DropOldest => OverflowPolicy::DropOldest,
            Overflow::DropNewest => OverflowPolicy::DropNewest,
            Overflow::ConflateByKey => OverflowPolicy::ConflateByKey,
            Overflow::Disconnect => OverflowPolicy::Disconnect,
            Overflow::Resync => OverflowPolicy::Resync,
        });
    }
    if let Some(messages) = args.queue {
        topics = topics.queue_messages(messages);
    }
    let handshake = args.handshake_timeout.map(Duration::try_from_secs_f64).transpose()?;
    let builder = Broker::builder().backend_from_url(&args.backend)?;
    let builder = builder.policy(Open).default_topic(topics).limits(|limits| {
        if let Some(bytes) = args.max_message {
            limits.max_message = bytes;
        }
        if let Some(rate) = args.commands_per_second {
            limits.commands_per_second = rate;
            limits.commands_burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        }
        if let Some(within) = handshake {
            limits.authenticate_within = within;
        }
        if let Some(sessions) = args.parked_sessions {
            limits.parked_sessions = sessions;
        }
        limits.connections_per_address = args.connections_per_address;
    });
    Ok(builder.start().await?)
}

fn publish(args: &Args, broker: &Broker) -> anyhow::Result<Publish> {
    let mut config = PublishConfig::new();
    if !args.origin.is_empty() {
        config = config.allow_origins(&args.origin)?;
    }
    Ok(Publish::new(broker).config(config))
}

fn transport(args: &Args) -> anyhow::Result<Config> {
    let mut config = Config::new();
    if let Some(bytes) = args.max_message {
        config = config.max_message(bytes);
    }
    if !args.origin.is_empty() {
        config = config.allow_origins(&args.origin)?;
    }
    if let Some(seconds) = args.idle_timeout {
        config = config.idle_timeout(Duration::try_from_secs_f64(seconds)?);
    }
    Ok(config)
}

//! An app as an author would write it, with every transport mounted, which the acceptance tests run as a process.

mod policy;
mod tls;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Html,
    routing::{any_service, get, get_service},
};
use clap::Parser;
use fanfare::{
    Broker,
    http::{Publish, PublishConfig, Server},
    sse::{self, EventStream},
    topic::TopicConfig,
    ws::{self, WebSocket},
};
use futures_util::FutureExt;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

#[derive(Debug, Parser)]
struct Args {
    /// An address to listen on; may be repeated.
    #[arg(long)]
    listen: Vec<SocketAddr>,

    /// An address to listen on with TLS.
    #[arg(long, requires = "certificate", requires = "key")]
    tls_listen: Option<SocketAddr>,

    #[arg(long)]
    certificate: Option<PathBuf>,

    #[arg(long)]
    key: Option<PathBuf>,

    /// How often a silent client hears something, in milliseconds.
    #[arg(long, default_value = "25000")]
    ping: u64,

    /// After how long readers of streams come back, in milliseconds.
    #[arg(long, default_value = "2000")]
    retry: u64,

    /// How long the app takes to forget a client, in milliseconds.
    #[arg(long, default_value = "0")]
    farewell: u64,

    /// A page of this origin may read with its user's credentials.
    #[arg(long)]
    allow_origin: Option<HeaderValue>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();

    let broker = Broker::builder()
        .policy(policy::Visitors)
        .topic("logged.*", TopicConfig::new().history(100_000))
        .limits(|limits| {
            // The tests publish faster than a person does.
            limits.commands_per_second = NonZeroU32::MAX;
            limits.commands_burst = NonZeroU32::MAX;
        })
        .on_disconnected(move |_, _| sleep(Duration::from_millis(args.farewell)))
        .ping_interval(Duration::from_millis(args.ping))
        .start()
        .await?;
    let app = app(&broker, &args)?;

    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
        broker.drain(Duration::from_secs(10)).await;
    };
    let stop = stop.boxed().shared();
    let mut servers = JoinSet::new();
    for address in &args.listen {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        servers.spawn(Server::new().serve_until(listener, app.clone(), stop.clone()));
    }
    if let (Some(address), Some(chain), Some(key)) = (args.tls_listen, &args.certificate, &args.key) {
        let acceptor = tls::acceptor(chain, key)?;
        let listener = TcpListener::bind(address).await?;
        println!("https://{}", listener.local_addr()?);
        let (app, stop) = (app.clone(), stop.clone());
        servers.spawn(async move {
            tokio::select! {
                served = tls::serve(listener, acceptor, app) => served,
                () = stop => Ok(()),
            }
        });
    }
    while let Some(served) = servers.join_next().await {
        served??;
    }
    Ok(())
}

fn app(broker: &Broker, args: &Args) -> anyhow::Result<Router> {
    // The tests' proxies, and nobody else.
    let events = sse::Config::new().trusted_proxies(["127.0.0.1"])?.retry(Duration::from_millis(args.retry));
    let events = EventStream::new(broker)?.config(events);
    let publish = PublishConfig::new().trusted_proxies(["127.0.0.1"])?;
    let websocket = WebSocket::new(broker)?.config(ws::Config::new().trusted_proxies(["127.0.0.1"])?);
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>Acceptance</title>") }))
        .route("/events", get_service(events))
        .route("/publish", any_service(Publish::new(broker).config(publish)))
        .route("/ws", any_service(websocket));
    Ok(match &args.allow_origin {
        Some(origin) => app.layer(
            CorsLayer::new()
                .allow_origin(AllowOrigin::exact(origin.clone()))
                .allow_headers([CONTENT_TYPE])
                .allow_credentials(true),
        ),
        None => app,
    })
}

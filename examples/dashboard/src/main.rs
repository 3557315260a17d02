//! A dashboard: what this machine and this broker do, live, in any number of browsers, over server-sent events.
//!
//! It is small enough to be read, and made to be copied from:
//!
//! 1. [`publisher`] takes a [`sample`] of all figures every second and publishes it twice. `figures.now` has one message per
//!    figure, with the figure as its key: of a key only the newest value counts, so the topic *conflates* for who reads slowly, and
//!    keeps the *latest* value of each key for who joins. `figures.past` has one message per sample and keeps ten minutes of
//!    *history*, from which a page draws its lines at once, and a slow one reads again what its queue did not hold.
//! 2. A page reads both through one `EventSource` on `/events`. When the connection breaks, the browser comes back by itself and
//!    says where it stopped; what it missed comes first. When the *server* was started anew, its log is another one: the
//!    page is told by a `$gap`, and draws it as a gap in its lines, because that is what it is.
//! 3. Pages may publish, too: `POST /publish` to `demo.level` switches the [`demo`] load, of which every page then learns as of any
//!    other figure. The policy below allows that and nothing else.
//! 4. SIGTERM or Ctrl-C *drains* the broker: streams end with a word when to come back, and then the server ends.
//!
//! [`figures`] is the one place that knows the figures' names and units; [`machine`] reads /proc; [`web`] serves the page's files.

mod demo;
mod figures;
mod machine;
mod publisher;
mod sample;
mod web;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Parser;
use fanfare::{Broker, http::Server, policy::Rules};
use tokio::{net::TcpListener, sync::watch};

use crate::demo::Level;

/// How long the server takes to say goodbye when it is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Parser)]
#[command(about = "Live charts of a machine and its broker, over server-sent events")]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// How much the process publishes and reads itself, for something to see. The page has a switch for it, too.
    #[arg(long, value_enum, default_value_t)]
    demo: Level,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();

    // Everybody may see the figures and switch the demo; nobody anything else.
    let rules = Rules::new().subscribe("figures.*")?.publish(demo::WANTED)?;
    let broker = Broker::builder()
        .policy(rules)
        .topic(publisher::NOW, publisher::now())
        .topic(publisher::PAST, publisher::past());
    let broker = demo::configure(broker).start().await?;

    let (level, levels) = watch::channel(args.demo);
    tokio::spawn(publisher::run(broker.clone(), levels));
    tokio::spawn(demo::run(broker.clone(), level));

    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("http://{}", listener.local_addr()?);
    Ok(Server::new().serve_and_drain(listener, web::app(&broker)?, &broker, DRAIN).await?)
}

//! One connection through a proxy.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    conditions::{Direction, End},
    listener::Shared,
    pump::pump,
};

/// How long both sides may take to close after a cut; then the connection is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn serve(mut client: TcpStream, shared: &Shared) {
    let mut ends = shared.ends.subscribe();
    let _ = client.set_nodelay(true);
    let mut server = None;
    let ended = tokio::select! {
        ended = ends.changed() => ended.map_or(End::Reset, |()| ends.borrow().1),
        ended = forward(&mut client, &mut server, shared) => ended,
    };
    match ended {
        End::Fin => finish(client, server).await,
        End::Reset => {
            // Closing a socket that lingers for no time resets it.
            for stream in [Some(client), server].into_iter().flatten() {
                let _ = stream.set_zero_linger();
            }
        }
    }
}

/// Forwards until both directions have ended, or one has failed.
async fn forward(client: &mut TcpStream, server: &mut Option<TcpStream>, shared: &Shared) -> End {
    let mut conditions = shared.conditions.subscribe();
    // In a black hole nothing comes of a connection.
    let is_held = |held: [bool; 2]| held[Direction::ToServer as usize] || held[Direction::ToClient as usize];
    if conditions.wait_for(|conditions| !is_held(conditions.held)).await.is_err() {
        return End::Reset;
    }
    let Ok(connected) = TcpStream::connect(shared.target).await else { return End::Reset };
    let _ = connected.set_nodelay(true);
    let (from_server, to_server) = server.insert(connected).split();
    let (from_client, to_client) = client.split();
    let there = pump(from_client, to_server, conditions.clone(), Direction::ToServer);
    let back = pump(from_server, to_client, conditions, Direction::ToClient);
    match tokio::try_join!(there, back) {
        Ok(_) => End::Fin,
        Err(_) => End::Reset,
    }
}

/// Says FIN to both sides, and lets them answer: closing while something is unread would be a reset.
async fn finish(client: TcpStream, server: Option<TcpStream>) {
    let close = |stream: Option<TcpStream>| async move {
        let Some(mut stream) = stream else { return };
        let _ = stream.shutdown().await;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let _ = timeout(CLOSE_WITHIN, async { tokio::join!(close(Some(client)), close(server)) }).await;
}

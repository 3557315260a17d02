//! TLS in the process: rustls between the listener and the app.

use std::{io, path::Path, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tower_service::Service;

/// How long a client may take for its handshake, and then for each request's headers.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many connections there may be at once.
const CONNECTIONS: usize = 100_000;

/// Reads the certificate with its chain, and the key, both PEM.
pub(crate) fn acceptor(chain: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    // What the client takes of it: browsers HTTP/2 for streams of events, HTTP/1.1 for WebSocket.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves for good, or until the future is dropped. Connections that were accepted then go on.
pub(crate) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, app: Router) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for one: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let connection = connection(stream, acceptor.clone(), app.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

/// Serves one connection to its end. What goes wrong with it is the client's affair.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, app: Router) {
    let Ok(peer) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    let service = service_fn(move |mut request: Request<Incoming>| {
        // For policies, limits and trusted proxies.
        request.extensions_mut().insert(peer);
        app.clone().call(request)
    });
    if http2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).keep_alive_interval(PATIENCE).keep_alive_timeout(PATIENCE);
        let _ = http.max_concurrent_streams(100).serve_connection(stream, service).await;
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        let _ = http.serve_connection(stream, service).with_upgrades().await;
    }
}

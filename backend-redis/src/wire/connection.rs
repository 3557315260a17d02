//! A stream of bytes to a server, and the values in it.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt, stream};
use redis::{RedisError, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};

use crate::{
    error::{Trouble, answered},
    settings::{Address, Settings},
};

/// How much one answer may take: bytes. More is no answer to anything we ask.
const MAX_ANSWER: u64 = 256 << 20;

/// A connection on which values arrive and bytes are written.
pub(crate) struct Connection {
    pub(crate) values: Pin<Box<dyn Stream<Item = Result<Value, RedisError>> + Send>>,
    pub(crate) write: WriteHalf<Box<dyn Io>>,
    /// How many bytes have arrived.
    pub(crate) heard: Arc<AtomicU64>,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to a server. Nothing is said yet.
pub(crate) async fn connect(address: &Address, settings: &Settings) -> Result<Connection, Trouble> {
    let Address::Tcp(host, _) = address else { return connect_as(address, "", settings).await };
    let mut connected = connect_as(address, host, settings).await;
    if settings.tls && is_ip(host) {
        // Servers tell of each other by their addresses, and certificates name hosts: such as those of the URL.
        for name in settings.topology.hosts().filter(|name| !is_ip(name)) {
            if !connected.as_ref().is_err_and(Trouble::is_lasting) {
                break;
            }
            connected = connect_as(address, name, settings).await;
        }
    }
    connected
}

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Connects to a server whose certificate has this name, where TLS is spoken.
async fn connect_as(address: &Address, name: &str, settings: &Settings) -> Result<Connection, Trouble> {
    let connecting = timeout(settings.connect_within, open(address));
    let opened = connecting.await.unwrap_or_else(|_| {
        let limit = settings.connect_within;
        Err(Trouble::unavailable(format!("{address} did not accept a connection within {limit:?}")))
    })?;
    let io = match opened {
        Opened::Tcp(stream) if settings.tls => {
            let limit = settings.answer_within;
            timeout(limit, secure(stream, name, settings)).await.unwrap_or_else(|_| {
                Err(Trouble::unavailable(format!(
                    "{address} did not finish the TLS handshake within {limit:?}"
                )))
            })?
        }
        Opened::Tcp(stream) => Box::new(stream),
        #[cfg(unix)]
        Opened::Unix(stream) => Box::new(stream),
    };
    Ok(Connection::new(io))
}

enum Opened {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

async fn open(address: &Address) -> Result<Opened, Trouble> {
    let failed = |error| {
        Trouble::unavailable(format!("cannot connect to {address}: is Redis running there?")).caused_by(error)
    };
    match address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            Ok(Opened::Tcp(stream))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(Opened::Unix(tokio::net::UnixStream::connect(path).await.map_err(failed)?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(Trouble::configuration("this system has no unix sockets")),
    }
}

#[cfg(feature = "tls")]
async fn secure(stream: TcpStream, host: &str, settings: &Settings) -> Result<Box<dyn Io>, Trouble> {
    use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
    let config = match &settings.tls_config {
        Some(config) => config.clone(),
        None => Arc::new(super::tls::system_roots()?),
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Trouble::configuration("the host's name is none that a certificate could name"))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = connected.map_err(|error| {
        // A certificate that is not trusted stays so.
        let kind = match error.kind() {
            io::ErrorKind::InvalidData => fanfare_core::backend::BackendErrorKind::Configuration,
            _ => fanfare_core::backend::BackendErrorKind::Unavailable,
        };
        let message = "the TLS handshake failed: does the server speak TLS at this port, and is its certificate trusted?";
        Trouble::new(kind, message).caused_by(error)
    })?;
    Ok(Box::new(stream))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: TcpStream, _: &str, _: &Settings) -> Result<Box<dyn Io>, Trouble> {
    Err(Trouble::configuration("rediss:// needs the feature `tls` of fanfare-redis"))
}

impl Connection {
    fn new(io: Box<dyn Io>) -> Self {
        let heard = Arc::new(AtomicU64::new(0));
        let (read, write) = tokio::io::split(io);
        let read = Counted { read, heard: heard.clone(), answer: 0 };
        // The parser's state has types of another crate, which are not named this way.
        let values = stream::unfold((Default::default(), read), |(mut decoder, mut read)| async move {
            let value = redis::parse_redis_value_async(&mut decoder, &mut read).await;
            read.answer = 0;
            Some((value, (decoder, read)))
        });
        Self { values: values.boxed(), write, heard }
    }

    /// Sends commands, and waits for as many answers.
    pub(crate) async fn ask(&mut self, commands: &[bytes::Bytes]) -> Result<Vec<Value>, Trouble> {
        let lost = |error| {
            Trouble::unavailable("the connection was lost while the server was asked").caused_by(error)
        };
        self.write.write_all(&commands.concat()).await.map_err(lost)?;
        self.write.flush().await.map_err(lost)?;
        let mut answers = Vec::with_capacity(commands.len());
        while answers.len() < commands.len() {
            match self.values.next().await {
                // Nobody was asked for it.
                Some(Ok(Value::Push { .. })) => {}
                Some(Ok(value)) => answers.push(value),
                ended => {
                    // Who is turned away is told why, once, whatever was asked.
                    let why = answers.iter().find_map(|answer| match answer {
                        Value::ServerError(error) => Some(answered(error)),
                        _ => None,
                    });
                    let closed = || {
                        Trouble::unavailable(
                            "the server closed the connection instead of answering: does it want TLS, or none?",
                        )
                    };
                    let ended =
                        ended.and_then(Result::err).map_or_else(closed, |error| match broken(error) {
                            parsed if parsed.is_lasting() => parsed,
                            _ => closed(),
                        });
                    return Err(why.unwrap_or(ended));
                }
            }
        }
        Ok(answers)
    }
}

/// Why reading has ended.
pub(crate) fn broken(error: RedisError) -> Trouble {
    if error.kind() == redis::ErrorKind::Parse && !error.is_io_error() {
        return Trouble::configuration(
            "the server answers in something else than Redis's protocol: is it a Redis, and is TLS wanted or not?",
        );
    }
    let message =
        match std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) => source.kind().to_string(),
            None => "end of the stream".to_owned(),
        };
    Trouble::unavailable(format!("the server closed the connection ({message})"))
}

/// Counts what is read, and ends answers without end.
struct Counted {
    read: ReadHalf<Box<dyn Io>>,
    heard: Arc<AtomicU64>,
    answer: u64,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.read).poll_read(cx, buf))?;
        let count = (buf.filled().len() - before) as u64;
        self.heard.fetch_add(count, Ordering::Relaxed);
        self.answer += count;
        if self.answer > MAX_ANSWER {
            return Poll::Ready(Err(io::Error::other("an answer that is larger than any we ask for")));
        }
        Poll::Ready(Ok(()))
    }
}

//! A stream of bytes to a server, and the frames in it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    time::timeout,
};

use super::parser::{self, Frame};
use crate::{
    error::{Trouble, closed},
    settings::{Address, Settings},
};

/// How much is read at once: bytes.
const READ: usize = 64 << 10;

/// A connection on which frames arrive and bytes are written.
pub(crate) struct Connection {
    pub(crate) frames: Frames,
    pub(crate) write: WriteHalf<Box<dyn Io>>,
}

/// Frames as they arrive.
pub(crate) struct Frames {
    read: ReadHalf<Box<dyn Io>>,
    buffer: BytesMut,
    /// What has arrived before, and is the next to be given.
    pub(super) kept: VecDeque<Frame>,
    /// How many bytes have arrived.
    pub(crate) heard: Arc<AtomicU64>,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a server says of itself (NATS documentation, "Client Protocol", INFO).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServerInfo {
    pub(crate) server_id: String,
    pub(crate) version: String,
    pub(crate) headers: bool,
    pub(crate) jetstream: bool,
    pub(crate) tls_required: bool,
    pub(crate) nonce: String,
    pub(crate) max_payload: usize,
    pub(crate) connect_urls: Vec<String>,
    /// The server is about to end: lame duck.
    pub(crate) ldm: bool,
}

impl ServerInfo {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        serde_json::from_slice(bytes).map_err(|_| no_nats())
    }

    /// Major and minor version.
    pub(crate) fn version(&self) -> (u64, u64) {
        let plain = self.version.trim_start_matches('v');
        let mut numbers = plain.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// Connects to a server, and hears what it says of itself. With TLS its certificate has to have this name.
pub(crate) async fn connect(
    address: &Address,
    name: &str,
    settings: &Settings,
) -> Result<(Connection, ServerInfo), Trouble> {
    let limit = settings.connect_within;
    let stream = timeout(limit, open(address)).await.unwrap_or_else(|_| {
        Err(Trouble::unavailable(format!("{address} did not accept a connection within {limit:?}")))
    })?;
    let limit = settings.answer_within;
    let greeted = async {
        let mut plain = Connection::new(Box::new(stream));
        let info = match plain.frames.next().await? {
            Frame::Info(info) => ServerInfo::parse(&info)?,
            Frame::Error(error) => return Err(closed(&error)),
            _ => return Err(no_nats()),
        };
        if !info.tls_required && !settings.tls {
            return Ok((plain, info));
        }
        Ok((plain.secure(name, settings).await?, info))
    };
    timeout(limit, greeted).await.unwrap_or_else(|_| {
        Err(Trouble::unavailable(format!(
            "{address} accepted the connection, but did not greet us within {limit:?}: is it a NATS server?"
        )))
    })
}

async fn open(address: &Address) -> Result<TcpStream, Trouble> {
    let failed = |error| {
        Trouble::unavailable(format!("cannot connect to {address}: is NATS running there?")).caused_by(error)
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

fn no_nats() -> Trouble {
    Trouble::configuration(
        "the server speaks something else than NATS's protocol: is it a NATS server, and is this its client port?",
    )
}

impl Connection {
    fn new(io: Box<dyn Io>) -> Self {
        let (read, write) = tokio::io::split(io);
        let frames = Frames { read, buffer: BytesMut::new(), kept: VecDeque::new(), heard: Arc::default() };
        Self { frames, write }
    }

    #[cfg(feature = "tls")]
    async fn secure(self, name: &str, settings: &Settings) -> Result<Self, Trouble> {
        use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
        let config = super::tls::config(settings)?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Trouble::configuration("the host's name is none that a certificate could name"))?;
        let io = self.frames.read.unsplit(self.write);
        let secured = TlsConnector::from(config).connect(name, io).await.map_err(|error| {
            // A certificate that is not trusted stays so.
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => fanfare_core::backend::BackendErrorKind::Configuration,
                _ => fanfare_core::backend::BackendErrorKind::Unavailable,
            };
            let message =
                "the TLS handshake failed: does the server speak TLS, is its certificate trusted, and does it want one of ours?";
            Trouble::new(kind, message).caused_by(error)
        })?;
        Ok(Self::new(Box::new(secured)))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(self, _: &str, _: &Settings) -> Result<Self, Trouble> {
        Err(Trouble::configuration("the server wants TLS, which needs the feature `tls` of fanfare-nats"))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let written = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        written.await.map_err(|error| {
            Trouble::unavailable("the connection was lost while something was sent").caused_by(error)
        })
    }
}

impl Frames {
    /// The next frame. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Frame, Trouble> {
        match self.kept.pop_front() {
            Some(frame) => Ok(frame),
            None => self.arrive().await,
        }
    }

    /// The next frame that arrives, past what was kept. Cancel safe.
    pub(super) async fn arrive(&mut self) -> Result<Frame, Trouble> {
        loop {
            if let Some(frame) = parser::next(&mut self.buffer).map_err(|_| no_nats())? {
                return Ok(frame);
            }
            self.buffer.reserve(READ);
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Trouble::unavailable("the server closed the connection")),
                Ok(count) => self.heard.fetch_add(count as u64, Ordering::Relaxed),
                // With TLS 1.3 a server that wants a certificate says so after the handshake.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message =
                        "the server ended TLS: does it want a client's certificate, or another one?";
                    let kind = fanfare_core::backend::BackendErrorKind::Configuration;
                    return Err(Trouble::new(kind, message).caused_by(error));
                }
                Err(error) => return Err(Trouble::unavailable("the connection was lost").caused_by(error)),
            };
        }
    }
}

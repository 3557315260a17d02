//! What the tests stand on: processes, a proxy that cuts, clients.

mod app;
mod certificate;
mod curl;
mod nginx;
mod reader;
mod tools;
mod websocket;

use std::time::Duration;

pub(crate) use app::App;
pub(crate) use certificate::Certificate;
pub(crate) use curl::Curl;
pub(crate) use nginx::Nginx;
pub(crate) use reader::{Http, Line, Reader};
pub(crate) use tools::{chromium, found, python};
pub(crate) use websocket::WebSocket;

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A path of the checkout.
pub(crate) fn root(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// An address of this machine that was free a moment ago.
pub(crate) fn free() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

//! When a process is asked to stop.

use std::{future::Future, io};

/// Is ready when the process is asked to stop: by SIGTERM, as systemd, Docker and Kubernetes do it, or by SIGINT, which is Ctrl-C in a terminal. Where there are no
/// Unix signals, by Ctrl-C alone.
///
/// From this call on, not from the first poll, these signals no longer end the process by themselves.
///
/// ```no_run
/// # async fn run(app: axum::Router, broker: fanfare_core::Broker) -> std::io::Result<()> {
/// # use std::time::Duration;
/// let asked = fanfare_http::stop_signal()?;
/// // .. serve by whatever means, until
/// asked.await;
/// broker.drain(Duration::from_secs(10)).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The operating system's, where it does not let the process listen for a signal.
///
/// # Panics
///
/// Outside of a tokio runtime, or in one without I/O.
#[cfg(unix)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Is ready when the process is asked to stop, by Ctrl-C.
///
/// # Errors
///
/// The operating system's, where it does not let the process listen for it.
#[cfg(windows)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

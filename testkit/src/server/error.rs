//! Why a server does not run.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

/// Why a server does not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its folder could not be made or written to.
    #[error("the server's folder cannot be used")]
    Folder(#[source] io::Error),
    /// No port is free.
    #[error("no port is free")]
    Port(#[source] io::Error),
    /// The program cannot be run.
    #[error("{} cannot be run", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended before it was ready.
    #[error("the server has ended with {status}; it said:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of what it said.
        log: String,
    },
    /// The server was not ready in time.
    #[error("the server is not ready after {seconds} s; it said:\n{log}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The end of what it said.
        log: String,
    },
    /// The server did not take a signal.
    #[error("the server cannot be sent a signal")]
    Signal(#[source] io::Error),
}

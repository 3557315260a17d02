//! What goes wrong with Redis, in words that say what to do.

use std::{borrow::Cow, io, sync::Arc};

use fanfare_core::backend::{BackendError, BackendErrorKind};
use redis::ServerError;
use thiserror::Error;

/// A failure that can be told to several who wait. It holds no secret.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub(crate) struct Trouble {
    pub(crate) kind: BackendErrorKind,
    pub(crate) message: Cow<'static, str>,
    #[source]
    pub(crate) source: Option<Arc<io::Error>>,
}

impl Trouble {
    pub(crate) fn new(kind: BackendErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Unavailable, message)
    }

    pub(crate) fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Configuration, message)
    }

    pub(crate) fn io(message: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self { source: Some(Arc::new(source)), ..Self::unavailable(message) }
    }

    /// Waiting does not help: somebody has to change something.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self.kind, BackendErrorKind::Unavailable | BackendErrorKind::OutcomeUnknown)
    }

    pub(crate) fn into_error(self, operation: &'static str) -> BackendError {
        let error = BackendError::new(self.kind, operation, self.message);
        match self.source {
            Some(source) => error.caused_by(source),
            None => error,
        }
    }

    /// What a server answered in place of a result.
    pub(crate) fn of(error: &ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        match code(error) {
            "OOM" => Self::unavailable(
                "Redis has reached its maxmemory: raise it, retain less, or set a maxmemory-policy that evicts",
            ),
            "READONLY" => Self::unavailable(
                "the server is a replica and takes no writes: name the master, or use Sentinel or Cluster",
            ),
            "LOADING" => Self::unavailable("Redis is loading its data: it works when that is done"),
            "BUSY" => {
                Self::unavailable("Redis is busy with somebody's script: wait, or end it with SCRIPT KILL")
            }
            "MISCONF" => Self::unavailable(
                "Redis takes no writes because it cannot save to disk: see its log, or stop-writes-on-bgsave-error",
            ),
            "MASTERDOWN" => Self::unavailable("the replica has lost its master"),
            "CLUSTERDOWN" => Self::unavailable("the Cluster is down: slots are not served, see CLUSTER INFO"),
            "TRYAGAIN" | "MOVED" | "ASK" => Self::unavailable("the slot is being moved to another server"),
            "NOREPLICAS" => Self::unavailable("too few replicas are connected: see min-replicas-to-write"),
            "WRONGTYPE" => Self::new(
                BackendErrorKind::Corrupt,
                "a key under our prefix holds something else: does another program use the prefix? Choose another, or remove the key",
            ),
            "NOPERM" => Self::configuration(
                "the ACL user may not do this: it needs the keys and channels of the prefix, and the commands in the crate's documentation",
            ),
            "NOAUTH" => Self::configuration("the server wants a password: set one"),
            "WRONGPASS" => Self::configuration("the server refuses user or password"),
            "CROSSSLOT" => {
                Self::configuration("keys of one topic lie in different slots: is a proxy rewriting keys?")
            }
            "ERR" if details.contains("max number of clients") => {
                Self::unavailable("the server has as many clients as it takes: see `maxclients`")
            }
            code => {
                // What follows are arguments of ours.
                let details = details.split(", with args").next().unwrap_or_default();
                Self::new(BackendErrorKind::Refused, format!("Redis answered {code} {details}"))
            }
        }
    }
}

/// The code of an error; of one that Redis before 7 wrapped because it came out of a script, the code inside.
pub(crate) fn code(error: &ServerError) -> &str {
    let details = error.details().unwrap_or_default();
    if error.code() == "ERR" && details.contains("script") {
        for code in ["WRONGTYPE", "OOM", "READONLY", "MISCONF", "NOREPLICAS"] {
            if details.contains(code) {
                return code;
            }
        }
    }
    error.code()
}

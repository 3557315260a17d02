//! What goes wrong with Redis, in words that say what to do.

use fanfare_core::backend::BackendErrorKind;
pub(crate) use fanfare_core::backend::blocks::Trouble;
use redis::ServerError;

/// What a server answered in place of a result.
pub(crate) fn answered(error: &ServerError) -> Trouble {
    let details = error.details().unwrap_or_default();
    match code(error) {
        "OOM" => Trouble::unavailable("Redis has reached its maxmemory: raise it, or retain less"),
        "READONLY" => Trouble::unavailable(
            "the server is a replica and takes no writes: name the master, or use Sentinel or Cluster",
        ),
        "LOADING" => Trouble::unavailable("Redis is loading its data: it works when that is done"),
        "BUSY" => {
            Trouble::unavailable("Redis is busy with somebody's script: wait, or end it with SCRIPT KILL")
        }
        "MISCONF" => Trouble::unavailable(
            "Redis takes no writes because it cannot save to disk: see its log, or stop-writes-on-bgsave-error",
        ),
        "MASTERDOWN" => Trouble::unavailable("the replica has lost its master"),
        "CLUSTERDOWN" => Trouble::unavailable("the Cluster is down: slots are not served, see CLUSTER INFO"),
        "TRYAGAIN" | "MOVED" | "ASK" => Trouble::unavailable("the slot is being moved to another server"),
        "NOREPLICAS" => Trouble::unavailable("too few replicas are connected: see min-replicas-to-write"),
        "WRONGTYPE" => Trouble::new(
            BackendErrorKind::Corrupt,
            "a key under our prefix holds something else: does another program use the prefix? Choose another, or remove the key",
        ),
        "NOPERM" => Trouble::configuration(
            "the ACL user may not do this: it needs the keys and channels of the prefix, and the commands in the crate's documentation",
        ),
        "NOAUTH" => Trouble::configuration("the server wants a password: set one"),
        "WRONGPASS" => Trouble::configuration("the server refuses user or password"),
        "CROSSSLOT" => {
            Trouble::configuration("keys of one topic lie in different slots: is a proxy rewriting keys?")
        }
        "ERR" if details.contains("max number of clients") => {
            Trouble::unavailable("the server has as many clients as it takes: see `maxclients`")
        }
        code => {
            // What follows are arguments of ours.
            let details = details.split(", with args").next().unwrap_or_default();
            Trouble::new(BackendErrorKind::Refused, format!("Redis answered {code} {details}"))
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
        if details.contains("The user executing the script can't") {
            return "NOPERM";
        }
    }
    error.code()
}

//! What goes wrong with NATS, in words that say what to do.

pub(crate) use fanfare_core::backend::blocks::Trouble;

/// What a server says of a connection (`-ERR`).
pub(crate) fn closed(error: &str) -> Trouble {
    let lower = error.to_ascii_lowercase();
    let says = |text: &str| lower.contains(text);
    if says("authorization violation") || says("authentication") && !says("timeout") && !says("expired") {
        Trouble::configuration("the server refuses the login: see user, password, token, nkey or credentials")
    } else if says("authentication expired") || says("revoked") {
        Trouble::configuration("the server says that the credentials have expired or are revoked: renew them")
    } else if says("authentication timeout") {
        Trouble::unavailable("the server did not hear our login in time")
    } else if says("secure connection") || says("tls required") {
        Trouble::configuration("the server wants TLS: use a tls:// URL")
    } else if says("maximum connections") || says("maximum account") {
        Trouble::unavailable("the server has as many connections as it takes: see `max_connections`")
    } else if says("maximum subscriptions") {
        Trouble::refused(
            "the server takes no more subscriptions: see `max_subscriptions`, and what the account and the user may have",
        )
    } else if says("maximum payload") {
        Trouble::too_large("a message is larger than the server takes: see `max_payload`")
    } else if says("slow consumer") {
        Trouble::unavailable("the server gave the connection up because we read too slowly")
    } else if says("stale connection") {
        Trouble::unavailable("the server gave the connection up because it did not hear of us")
    } else if says("permissions violation") {
        Trouble::refused(
            "the user may not use a subject of ours: it needs those of the prefix, and what the crate's documentation lists",
        )
    } else {
        Trouble::unavailable(format!("the server closed the connection: {}", plain(error)))
    }
}

/// A server's words, as far as they are to be shown.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|ch| !ch.is_control()).take(200).collect()
}

//! Private lines: from one user to another, in all their tabs.

use fanfare::{
    calls::ClientCall,
    message::Payload,
    session::{ErrorCode, Refusal},
    topic::Address,
};
use serde::{Deserialize, Serialize};

/// How long a private line may be: characters.
const LONGEST: usize = 2_000;

/// What a page asks for.
#[derive(Deserialize)]
struct Whisper {
    to: String,
    text: String,
    /// The page's own name for the line, by which it knows it again.
    id: String,
}

/// What the tabs of both are sent. The server says whom it is from.
#[derive(Serialize)]
struct Private<'a> {
    from: &'a str,
    to: &'a str,
    text: &'a str,
    id: &'a str,
}

/// Sends a private line to all tabs of a user, and to all tabs of who wrote it, on whichever server they are. It is kept nowhere: so the answer
/// says how many tabs of the user there are, and where there is none the line is refused.
pub(crate) async fn whisper(call: ClientCall) -> Result<Payload, Refusal> {
    let Whisper { to, text, id } = call.payload.parse_json()?;
    let from = call.client.user().ok_or_else(|| Refusal::forbidden("say who you are first"))?;
    if !(1..=LONGEST).contains(&text.chars().count()) {
        return Err(Refusal::invalid_payload(format!("a line has 1 to {LONGEST} characters")));
    }
    let tabs = call.broker.clients().user(to.as_str()).count().await.map_err(not_sent)?;
    if tabs.total == 0 {
        return Err(if tabs.is_complete() {
            Refusal::invalid_payload(format!("{to} is not here"))
        } else {
            Refusal::new(ErrorCode::Timeout, "not every server has answered")
        });
    }
    let line = Payload::json(&Private { from, to: &to, text: &text, id: &id })?;
    let both = call.broker.publish(&Address::user(to.as_str()), line).also(&Address::user(from));
    both.event("private").await.map_err(not_sent)?;
    Ok(Payload::json(&tabs.total)?)
}

fn not_sent(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::Internal, error.to_string())
}

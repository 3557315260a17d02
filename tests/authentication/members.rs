use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use fanfare::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{ErrorCode, Handshake, Refusal},
    topic::{Address, TopicName},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, errors::ErrorKind};
use serde::{Deserialize, Serialize};

/// What the login signs.
#[derive(Deserialize, Serialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// Whom the token is for: a token of another service is none here.
    pub aud: String,
    /// When it ends: seconds since 1970.
    pub exp: u64,
    /// Its own name, by which it is taken back.
    pub jti: String,
    /// The teams that the user belongs to.
    #[serde(default)]
    pub teams: Vec<String>,
}

pub struct Members {
    key: DecodingKey,
    validation: Validation,
    denied: Arc<DenyList>,
}

impl Members {
    pub fn new(secret: &[u8], denied: Arc<DenyList>) -> Self {
        // Which algorithm is right is for us to say, not for the token.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&["fanfare"]);
        validation.set_required_spec_claims(&["exp", "sub", "aud"]);
        validation.leeway = 0; // else a token is good for a minute after its end
        Self { key: DecodingKey::from_secret(secret), validation, denied }
    }

    fn claims(&self, token: &str) -> Result<Claims, Refusal> {
        match decode::<Claims>(token, &self.key, &self.validation) {
            Ok(token) if self.denied.contains(&token.claims.jti) => {
                Err(Refusal::unauthenticated("the token was taken back"))
            }
            Ok(token) => Ok(token.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => {
                Err(Refusal::new(ErrorCode::TokenExpired, "the token has expired"))
            }
            // What is wrong with it is of use only to who tries to make one.
            Err(_) => Err(Refusal::unauthenticated("the token is not valid")),
        }
    }
}

#[async_trait]
impl Policy for Members {
    /// Asked when a client connects, and with each new token that it brings.
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let Some(token) = handshake.credential() else { return Ok(Admission::AwaitConnect) };
        let claims = self.claims(token)?;
        let left = Duration::from_secs(claims.exp.saturating_sub(now()));
        Ok(Admission::Accept(Identity::user(claims.sub.as_str()).expires_in(left).with_data(claims)))
    }

    /// Asked for each subscription, publish, call and so on.
    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let Some(claims) = who.data::<Claims>() else { return nobody() };
        let allowed = match action {
            // Private messages: to a user, but not to everybody at once.
            Action::PublishTo(address) => matches!(address, Address::User(_)),
            Action::Subscribe(topic)
            | Action::Keep(topic)
            | Action::History(topic)
            | Action::Presence(topic) => is_public(topic) || is_of_team(topic, claims),
            Action::Publish(topic) => is_of_team(topic, claims),
            Action::Call(method) => method.as_str() != "admin",
            // Not patterns, for one: `team.*` would be everybody's teams.
            _ => false,
        };
        if allowed { Verdict::allow() } else { nobody() }
    }
}

fn nobody<'a>() -> Verdict<'a> {
    Verdict::deny(Refusal::forbidden("this is not yours"))
}

fn is_public(topic: &TopicName) -> bool {
    topic.as_str().starts_with("news.")
}

/// `team.NAME` and all below it. The name stands in the topic as `TopicName::join(["team", name])` puts it there.
fn is_of_team(topic: &TopicName, claims: &Claims) -> bool {
    let mut segments = topic.as_str().split('.');
    let team = segments.next().filter(|first| *first == "team").and(segments.next());
    let team = team.and_then(|team| TopicName::unescape_segment(team).ok());
    team.is_some_and(|team| claims.teams.iter().any(|own| *own == team))
}

/// The tokens that were taken back before their time. Each stays until it would have ended anyway, so the list stays short.
#[derive(Default)]
pub struct DenyList(RwLock<HashMap<String, u64>>);

impl DenyList {
    pub fn add(&self, jti: &str, exp: u64) {
        let mut denied = self.0.write().unwrap_or_else(PoisonError::into_inner);
        denied.retain(|_, end| *end > now());
        denied.insert(jti.to_owned(), exp);
    }

    fn contains(&self, jti: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(jti)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

//! An operator with one account, and its users: keys and JSON web tokens as NATS has them (its documentation, "JWT in depth").

use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use nkeys::KeyPair;
use serde_json::{Value, json};

pub struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

/// What a user logs in with.
pub struct Credentials {
    pub seed: String,
    pub token: String,
    /// A credentials file.
    pub file: String,
}

impl Operator {
    pub fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// The lines by which a server knows them.
    pub fn lines(&self) -> String {
        let operator =
            token(&self.operator, &self.operator, json!({ "type": "operator", "version": 2 }), None);
        let limits = json!({
            "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1,
            "wildcards": true, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let account = |key: &KeyPair, limits: &Value| {
            let claims = json!({ "type": "account", "version": 2, "limits": limits });
            format!("{}: {}", key.public_key(), token(&self.operator, key, claims, None))
        };
        // The server's own account has no JetStream.
        let mut without = limits.clone();
        for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
            without[name] = json!(0);
        }
        format!(
            "operator: {operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}",
            self.system.public_key(),
            account(&self.account, &limits),
            account(&self.system, &without),
        )
    }

    /// A user whose token is valid until a number of seconds from now, or for ever.
    pub fn user(&self, expires_in: Option<i64>) -> Credentials {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let token = token(&self.account, &user, claims, expires_in);
        let seed = user.seed().expect("a seed");
        let file = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        Credentials { seed, token, file }
    }
}

fn token(issuer: &KeyPair, subject: &KeyPair, nats: Value, expires_in: Option<i64>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs().cast_signed();
    let name = subject.public_key();
    let mut claims = json!({ "jti": name, "iat": now - 60, "iss": issuer.public_key(), "sub": name, "name": name, "nats": nats });
    if let Some(seconds) = expires_in {
        claims["exp"] = json!(now + seconds);
    }
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

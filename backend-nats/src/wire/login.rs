//! Who we are for a server.

use serde::Serialize;

use crate::{
    error::Trouble,
    settings::{Login, Settings},
};

/// What a client says of itself (NATS documentation, "Client Protocol", CONNECT). It holds secrets: it is never shown.
#[derive(Default, Serialize)]
pub(crate) struct Hello {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'static str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    /// What we publish ourselves does not come back.
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Hello {
    pub(crate) async fn new(settings: &Settings, nonce: &str) -> Result<Self, Trouble> {
        let hello = Self {
            tls_required: settings.tls,
            name: "fanfare",
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            ..Self::default()
        };
        Ok(match &settings.login {
            Login::Nobody => hello,
            Login::User { user, password } => {
                Self { user: Some(user.clone()), pass: Some(password.reveal().to_owned()), ..hello }
            }
            Login::Token(token) => Self { auth_token: Some(token.reveal().to_owned()), ..hello },
            Login::Nkey(seed) => {
                let (key, sig) = sign(seed.reveal(), nonce)?;
                Self { nkey: Some(key), sig: Some(sig), ..hello }
            }
            Login::Credentials(text) => hello.with_credentials(text.reveal(), nonce)?,
            Login::CredentialsFile(file) => {
                let text = tokio::fs::read_to_string(file).await.map_err(|error| {
                    let message =
                        format!("the credentials file {} cannot be read ({})", file.display(), error.kind());
                    Trouble::configuration(message)
                })?;
                hello.with_credentials(&text, nonce)?
            }
        })
    }

    fn with_credentials(self, text: &str, nonce: &str) -> Result<Self, Trouble> {
        let mut blocks = blocks(text);
        let (Some(jwt), Some(seed)) = (blocks.next(), blocks.next()) else {
            return Err(Trouble::configuration(
                "the credentials hold no JWT and seed, each between lines of dashes: is it a .creds file?",
            ));
        };
        let (_, sig) = sign(seed, nonce)?;
        Ok(Self { jwt: Some(jwt.to_owned()), sig: Some(sig), ..self })
    }
}

/// The lines that stand between lines of dashes: `-----BEGIN ..` and `------END ..`.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
    })
}

/// The public key of a seed, and what it makes of a nonce.
#[cfg(feature = "nkeys")]
fn sign(seed: &str, nonce: &str) -> Result<(String, String), Trouble> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    // The library's errors may quote what is wrong.
    let key = nkeys::KeyPair::from_seed(seed.trim())
        .map_err(|_| Trouble::configuration("the nkey is no seed: one begins with SU"))?;
    if nonce.is_empty() {
        return Err(Trouble::configuration(
            "the server asks for no nkey: it has none configured, use another login",
        ));
    }
    let sig = key
        .sign(nonce.as_bytes())
        .map_err(|_| Trouble::configuration("the nkey cannot sign: is it a seed?"))?;
    Ok((key.public_key(), URL_SAFE_NO_PAD.encode(sig)))
}

#[cfg(not(feature = "nkeys"))]
fn sign(_: &str, _: &str) -> Result<(String, String), Trouble> {
    Err(Trouble::configuration("this login needs the feature `nkeys` of fanfare-nats"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_files_are_read() {
        let text = "-----BEGIN NATS USER JWT-----\neyJ0.abc\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
                    -----BEGIN USER NKEY SEED-----\nSUAB\n------END USER NKEY SEED------\n\n****\n";
        assert_eq!(blocks(text).collect::<Vec<_>>(), ["eyJ0.abc", "SUAB"]);
        assert_eq!(blocks("nothing").count(), 0);
    }
}

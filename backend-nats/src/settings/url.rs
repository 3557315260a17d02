//! Reads the URL of servers.

use std::path::PathBuf;

use fanfare_core::backend::{BackendError, BackendErrorKind};
use percent_encoding::percent_decode_str;

use super::{Address, Login, Secret};

/// The port of a NATS server.
const PORT: u16 = 4222;

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) servers: Vec<Address>,
    pub(crate) tls: bool,
    pub(crate) login: Login,
}

/// Reads a URL. Errors never quote it: it may hold a password.
pub(crate) fn parse(url: &str) -> Result<Parsed, BackendError> {
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| invalid("a URL begins with a scheme: nats://"))?;
    let tls = match scheme {
        "nats" => false,
        "tls" | "nats+tls" => true,
        _ => return Err(invalid("the URL's scheme is none of nats, tls, nats+tls")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        return Err(invalid("the URL has a path, which means nothing to NATS: nats://host:4222"));
    }
    let (mut login, mut servers) = (Login::Nobody, Vec::new());
    // Others write several URLs: nats://a:4222,nats://b:4222. A password may hold an `@` that was not escaped.
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.is_empty() {
        login = named(user)?;
    }
    for host in hosts.split(',') {
        servers.push(address(host)?);
    }
    for (name, value) in
        query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| pair.split_once('='))
    {
        match name {
            "token" => login = Login::Token(Secret::new(decode(value)?)),
            "nkey" => login = Login::Nkey(Secret::new(decode(value)?)),
            "creds" => login = Login::CredentialsFile(PathBuf::from(decode(value)?)),
            _ => return Err(invalid("the URL's query holds something else than token, nkey and creds")),
        }
    }
    Ok(Parsed { servers, tls, login })
}

/// `user:password`, or a token.
fn named(text: &str) -> Result<Login, BackendError> {
    Ok(match text.split_once(':') {
        Some((user, password)) => {
            Login::User { user: decode(user)?, password: Secret::new(decode(password)?) }
        }
        None => Login::Token(Secret::new(decode(text)?)),
    })
}

/// `host`, `host:port`, `[v6]:port`.
pub(super) fn address(text: &str) -> Result<Address, BackendError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid("the URL names no host"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| invalid("the URL's port is no number of 1 to 65535"))?,
        None => PORT,
    };
    Ok(Address { host: decode(host)?, port })
}

fn decode(text: &str) -> Result<String, BackendError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| invalid("the URL is not UTF-8"))
}

fn invalid(message: &'static str) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn urls_are_read() {
        let parsed = parse("nats://localhost").unwrap();
        assert_eq!(
            (parsed.servers, parsed.tls, parsed.login),
            (vec![at("localhost", 4222)], false, Login::Nobody)
        );
        let parsed = parse("tls://ann:p%40ss@[::1]:7000,b/").unwrap();
        assert_eq!((parsed.servers, parsed.tls), (vec![at("::1", 7000), at("b", 4222)], true));
        assert_eq!(parsed.login, Login::User { user: "ann".into(), password: Secret::new("p@ss") });
        assert_eq!(parse("nats://s3cret@h").unwrap().login, Login::Token(Secret::new("s3cret")));
        assert_eq!(parse("nats://h?token=a%26b").unwrap().login, Login::Token(Secret::new("a&b")));
        assert_eq!(parse("nats://h?nkey=SU").unwrap().login, Login::Nkey(Secret::new("SU")));
        let file = Login::CredentialsFile("/run/my app.creds".into());
        assert_eq!(parse("nats://h?creds=/run/my%20app.creds").unwrap().login, file);
    }

    #[test]
    fn what_is_no_url_is_refused_without_quoting_it() {
        for url in [
            "",
            "localhost",
            "http://u:hunter2@h",
            "nats://u:hunter2@",
            "nats://u:hunter2@h:port",
            "nats://u:hunter2@h:70000",
            "nats://u:hunter2@h/path",
            "nats://u:hunter2@a,,b",
            "nats://u:hunter2@h?x=y",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration, "{url}");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
    }
}

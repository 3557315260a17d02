//! Reads the URL of servers.

use std::path::PathBuf;

use fanfare_core::backend::{
    BackendError, BackendErrorKind,
    blocks::{self, ServerUrl},
};

use super::{Address, Login, Secret};

/// The port of a NATS server.
const PORT: u16 = 4222;

/// What a URL begins with, and whether TLS is spoken then.
const SCHEMES: [(&str, bool); 3] = [("nats", false), ("tls", true), ("nats+tls", true)];

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) servers: Vec<Address>,
    pub(crate) tls: bool,
    pub(crate) login: Login,
}

/// Reads a URL, or several with commas between them. Errors never quote them: they may hold a password.
pub(crate) fn parse(urls: &str) -> Result<Parsed, BackendError> {
    ServerUrl::read(urls, &SCHEMES, understand)
}

fn understand(url: ServerUrl<bool>) -> Result<Parsed, BackendError> {
    if !url.path.is_empty() {
        return Err(invalid("the URL has a path, which means nothing to NATS: nats://host:4222"));
    }
    let servers = url.addresses(PORT)?.into_iter().map(|(host, port)| Address { host, port }).collect();
    let mut login = match (url.user, url.password) {
        (None, None) => Login::Nobody,
        (Some(token), None) => Login::Token(Secret::new(token)),
        (user, Some(password)) => Login::User { user: user.unwrap_or_default(), password },
    };
    for (name, value) in url.query {
        login = match name.as_str() {
            "token" => Login::Token(Secret::new(value)),
            "nkey" => Login::Nkey(Secret::new(value)),
            "creds" => Login::CredentialsFile(PathBuf::from(value)),
            _ => return Err(invalid("the URL's query holds something else than token, nkey and creds")),
        }
    }
    Ok(Parsed { servers, tls: url.scheme, login })
}

/// `host`, `host:port`, `[v6]:port`.
pub(super) fn address(text: &str) -> Result<Address, BackendError> {
    blocks::address(text, PORT).map(|(host, port)| Address { host, port })
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
    fn several_urls_are_read_as_one() {
        let parsed = parse("nats://a:4222,nats://b:5000,c").unwrap();
        assert_eq!(parsed.servers, vec![at("a", 4222), at("b", 5000), at("c", 4222)]);
        assert_eq!((parsed.tls, parsed.login), (false, Login::Nobody));
        let ann = Login::User { user: "ann".into(), password: Secret::new("a,b") };
        for urls in
            ["tls://ann:a,b@a,nats+tls://b/", "tls://a,tls://ann:a,b@b", "tls://ann:a,b@a,tls://ann:a,b@b"]
        {
            let parsed = parse(urls).unwrap();
            assert_eq!((parsed.servers, parsed.tls), (vec![at("a", 4222), at("b", 4222)], true), "{urls}");
            assert_eq!(parsed.login, ann, "{urls}");
        }
        for (urls, says) in [("nats://a,tls://b", "alike"), ("nats://x@a,nats://y@b", "several logins")] {
            assert!(parse(urls).unwrap_err().message().contains(says), "{urls}");
        }
    }

    #[test]
    fn a_login_that_is_not_escaped_is_said() {
        for url in [
            "nats://u:hunter2/x@h",
            "nats://u:hunter2?x@h",
            "nats://u:hunter2#x@h",
            "nats://u:22/x@h:4222",
            "nats://u:22?x@h:4222",
            "nats://u:22#x@h:4222",
            "nats://a,nats://u:hunter2/x@h",
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.message().contains("percent-encode"), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{url}");
        }
        let file = Login::CredentialsFile("/run/app@host.creds".into());
        assert_eq!(parse("nats://h?creds=/run/app@host.creds").unwrap().login, file, "that is none");
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

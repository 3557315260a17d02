//! Reads the URL of servers.

use std::path::PathBuf;

use fanfare_core::backend::{BackendError, BackendErrorKind};
use percent_encoding::percent_decode_str;

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
    let mut parts =
        apart(urls).into_iter().map(|url| read(url).map_err(|error| unescaped(url).unwrap_or(error)));
    let mut all = parts.next().unwrap_or_else(|| read(urls))?;
    for parsed in parts {
        let Parsed { servers, tls, login } = parsed?;
        if tls != all.tls {
            return Err(invalid("some of the URLs say TLS, and others do not: write all of them alike"));
        }
        if all.login == Login::Nobody {
            all.login = login;
        } else if login != Login::Nobody && login != all.login {
            return Err(invalid("the URLs hold several logins: there is one for all servers"));
        }
        all.servers.extend(servers);
    }
    Ok(all)
}

/// The URLs of a list: a comma ends one where a scheme follows. Others are between hosts, or in a password.
fn apart(urls: &str) -> Vec<&str> {
    let (mut apart, mut begin) = (Vec::new(), 0);
    for (at, _) in urls.match_indices(',') {
        if SCHEMES.iter().any(|(scheme, _)| {
            urls[at + 1..].strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://"))
        }) {
            apart.push(&urls[begin..at]);
            begin = at + 1;
        }
    }
    apart.push(&urls[begin..]);
    apart
}

/// The error of a URL with an `@` behind what ends the hosts: its login holds what had to be escaped.
fn unescaped(url: &str) -> Option<BackendError> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#'])?;
    rest[end..].contains('@').then(|| {
        invalid(
            "percent-encode what is special in the login (/ is %2F, ? is %3F, # is %23, @ is %40), and name servers as host1,host2",
        )
    })
}

fn read(url: &str) -> Result<Parsed, BackendError> {
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| invalid("a URL begins with a scheme: nats://"))?;
    let (_, tls) = *SCHEMES
        .iter()
        .find(|(known, _)| *known == scheme)
        .ok_or_else(|| invalid("the URL's scheme is none of nats, tls, nats+tls"))?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() || !fragment.is_empty() {
        return Err(invalid(
            "the URL has a path or a fragment, which mean nothing to NATS: nats://host:4222",
        ));
    }
    let (mut login, mut servers) = (Login::Nobody, Vec::new());
    // A password may hold an `@` that was not escaped.
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.is_empty() {
        login = named(user)?;
    }
    for host in hosts.split(',') {
        servers.push(address(host)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("token", value) => login = Login::Token(Secret::new(decode(value)?)),
            ("nkey", value) => login = Login::Nkey(Secret::new(decode(value)?)),
            ("creds", value) => login = Login::CredentialsFile(PathBuf::from(decode(value)?)),
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

//! Where the Nomad agent is: the only place that requests, and with them the token, ever go.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

/// The address of a Nomad agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// HTTP or HTTPS.
    Tcp {
        /// Whether TLS is spoken.
        https: bool,
        /// A name or an IP address; one of version 6 has no brackets.
        host: String,
        /// The port: 4646 in most clusters, but without one in the address 80 or 443.
        port: u16,
    },
    /// A socket on this machine, over which plain HTTP is spoken.
    Unix(PathBuf),
}

impl Address {
    /// Reads `http://host:port`, `https://host:port` or `unix:///absolute/path`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without what it says: there may be a password in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMS: &str =
            "is not an address; write `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`";
        let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
        if rest.contains(['?', '#']) {
            return Err("has a query or a fragment; leave it out");
        }
        if scheme.eq_ignore_ascii_case("unix") {
            return match rest {
                _ if !rest.starts_with('/') || rest == "/" => {
                    Err("does not name a socket by an absolute path, as in `unix:///run/nomad.sock`")
                }
                // Nomad's own tools do not decode it; a path that means two things is better refused.
                _ if rest.contains('%') => Err("has a `%` in the path of its socket, which is not decoded"),
                _ => Ok(Self::Unix(PathBuf::from(rest))),
            };
        }
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(FORMS),
        };
        if rest.contains('@') {
            return Err("has a user or a password in it; the token goes into an environment variable");
        }
        let uri: Uri = text.parse().map_err(|_| FORMS)?;
        if !matches!(uri.path(), "" | "/") {
            return Err("has a path; Nomad's API is at the root of its address");
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(FORMS)?;
        let port = match uri.authority().and_then(|authority| authority.as_str().rsplit_once(':')) {
            // The end of an IPv6 address in brackets is no port.
            Some((_, port)) if !port.contains(']') => port.parse().map_err(|_| FORMS)?,
            _ if https => 443,
            _ => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Ok(Self::Tcp { https, host, port })
    }

    /// What stands before the path of a request: `http://host:port`. A socket has no name; Nomad's own
    /// client says 127.0.0.1.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Tcp { https, .. } => {
                format!("{}://{}", if *https { "https" } else { "http" }, self.authority())
            }
            Self::Unix(_) => "http://127.0.0.1".to_owned(),
        }
    }

    fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "127.0.0.1".to_owned(),
        }
    }
}

/// The address in one spelling, so that a scope does not depend on how it was written.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => f.write_str(&self.origin()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_every_way_to_write_it() {
        for (text, spelling) in [
            ("http://127.0.0.1:4646", "http://127.0.0.1:4646"),
            ("http://127.0.0.1:4646/", "http://127.0.0.1:4646"),
            ("HTTPS://Nomad.Example", "https://nomad.example:443"),
            ("http://nomad", "http://nomad:80"),
            ("https://[::1]:4646", "https://[::1]:4646"),
            ("http://[fe80::1]", "http://[fe80::1]:80"),
            ("unix:///run/nomad.sock", "unix:///run/nomad.sock"),
        ] {
            assert_eq!(
                Address::parse(text).map(|address| address.to_string()),
                Ok(spelling.to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            Address::parse("unix:///s").map(|address| address.origin()),
            Ok("http://127.0.0.1".into())
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "nomad:4646",
            "127.0.0.1:4646",
            "ftp://nomad",
            "http://",
            "http://:4646",
            "http://nomad:x",
            "http://nomad:99999",
            "http://u:p@nomad",
            "http://nomad?x=1",
            "http://nomad#x",
            "http://nomad/v1",
            "unix://relative.sock",
            "unix://host/path",
            "unix://",
            "unix:///",
            "unix:///a%20b",
            "unix:///a?b",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(!Address::parse("http://u:hunter2@nomad").unwrap_err().contains("hunter2"));
    }
}

//! The host's own HTTP: a question to a control plane, a look at whether a URL answers. All other traffic is the
//! providers'.
//!
//! Nothing is sent but what is asked for, no redirect is followed, and every request has a time and a size. It runs
//! on a thread that may block, so that nothing else waits for it. Proxies are those of the environment
//! (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), but never for this machine itself; authorities are those
//! that this machine trusts.

use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Uri, request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

/// What we call ourselves.
const AGENT: &str = concat!("crabbox/", env!("CARGO_PKG_VERSION"));

/// A request. It may hold a credential, and so is never shown.
pub(crate) struct Request {
    /// What to do.
    pub(crate) method: Method,
    /// Where: `http` or `https`, without credentials.
    pub(crate) url: Uri,
    /// What to say besides.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What to send; nothing is no body.
    pub(crate) body: String,
    /// How long it may take as a whole.
    pub(crate) within: Duration,
    /// How many bytes the answer may have.
    pub(crate) most: usize,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It has more bytes than it may have.
    TooLong(usize),
    /// It took longer than this.
    TooLate(Duration),
    /// Anything else.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(most) => {
                write!(f, "the answer is longer than {}", crate::output::human(*most as u64))
            }
            Self::TooLate(within) => write!(f, "no answer within {}", humantime::format_duration(*within)),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Asks, and waits for the whole answer.
pub(crate) async fn ask(request: Request) -> Result<Answer, Failure> {
    let asked = tokio::task::spawn_blocking(move || ask_blocking(request));
    asked.await.unwrap_or_else(|error| Err(Failure::Broken(error.to_string())))
}

/// Whether a host is this machine, whatever its name service says.
pub(crate) fn is_loopback(url: &Uri) -> bool {
    url.host().is_some_and(|host| host.eq_ignore_ascii_case("localhost"))
        || address(url).is_some_and(|address| address.is_loopback())
}

/// Whether a host is an address of a private network: RFC 1918, RFC 6598, link-local, RFC 4193.
pub(crate) fn is_private(url: &Uri) -> bool {
    match address(url) {
        Some(IpAddr::V4(address)) => {
            let [first, second, ..] = address.octets();
            address.is_private() || address.is_link_local() || (first == 100 && second & 0xc0 == 64)
        }
        Some(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        None => false,
    }
}

fn address(url: &Uri) -> Option<IpAddr> {
    url.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn ask_blocking(ask: Request) -> Result<Answer, Failure> {
    let Request { method, url, headers, body, within, most } = ask;
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => Failure::TooLate(within),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Failure::TooLate(within),
        ureq::Error::Io(error) => Failure::Broken(error.to_string()),
        error => Failure::Broken(error.to_string()),
    };
    let agent = agent(&url, within);
    let mut request = request::Builder::new().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let broken = |error: ureq::http::Error| Failure::Broken(error.to_string());
    let answer = match body.is_empty() {
        true => agent.run(request.body(()).map_err(broken)?),
        false => agent.run(request.body(body).map_err(broken)?),
    };
    let (parts, body) = answer.map_err(failed)?.into_parts();
    let mut bytes = Vec::new();
    let read = body.into_reader().take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.into()))?;
    if bytes.len() > most {
        return Err(Failure::TooLong(most));
    }
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes })
}

fn agent(url: &Uri, within: Duration) -> Agent {
    let here = is_loopback(url);
    let mut config = Agent::config_builder()
        .timeout_global(Some(within))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(AGENT)
        .proxy(if here { None } else { Proxy::try_from_env() });
    // A proxy may speak TLS even where the URL does not.
    if !here || url.scheme_str() == Some("https") {
        // One that is there already is as good.
        _ = rustls::crypto::ring::default_provider().install_default();
        config = config.tls_config(TlsConfig::builder().root_certs(authorities()).build());
    }
    config.build().new_agent()
}

/// The certificate authorities that this machine trusts. Reading them takes some milliseconds.
fn authorities() -> RootCerts {
    static READ: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let read = READ.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        Arc::new(found.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
    });
    RootCerts::Specific(Arc::clone(read))
}

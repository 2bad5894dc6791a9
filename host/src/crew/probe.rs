//! Whether the endpoints that `peers` gave answer from here, all at once: a HEAD to each URL, and a connection to each
//! machine that is reached by SSH. Nothing is sent along, and whatever the status is, somebody is there.

use std::time::Duration;

use crabbox_protocol::records::{Claim, CrewPeer, PeerBridge, PeerTransport};
use ureq::http::uri::{Authority, PathAndQuery};
use ureq::http::{Method, Uri};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::{Request, ask};
use crate::join::join;
use crate::output::foreign;
use crate::ssh;

/// How long a URL may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a machine may take: the connection is made on it, too.
const CONNECTING: Duration = Duration::from_secs(10);

/// How many URLs are asked at once.
const AT_ONCE: usize = 256;

/// How many machines are: each takes a process or two.
const MACHINES_AT_ONCE: usize = 16;

/// What is known of an endpoint.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The slug of its member.
    pub(crate) member: String,
    /// The endpoint, empty where there is none that could be asked.
    pub(crate) url: String,
    /// What came of it.
    pub(crate) found: Found,
}

/// What came of a look at a member.
#[derive(Debug)]
pub(crate) enum Found {
    /// An answer, with this status.
    Answer(u16),
    /// A connection by SSH.
    Connected,
    /// None, and why.
    Nothing(String),
    /// There is no URL, and how the provider left it.
    NoUrl(Option<PeerBridge>),
}

/// Looks at every member's URLs, and at the machines of those that are reached by SSH.
pub(crate) async fn probe(host: &Host, claims: &[Claim], peers: &[CrewPeer]) -> Vec<Probe> {
    let is_machine = |peer: &&CrewPeer| peer.transport == PeerTransport::Ssh && urls(peer).is_empty();
    let machines = peers.iter().filter(is_machine).map(async |peer| Probe {
        member: foreign(&peer.slug),
        url: peer.endpoint.as_deref().map(foreign).unwrap_or_default(),
        found: match connect(host, claims, peer).await {
            Ok(()) => Found::Connected,
            Err(error) => Found::Nothing(error.to_string()),
        },
    });
    let looks = peers.iter().filter(|peer| !is_machine(peer)).flat_map(|peer| {
        let urls = urls(peer);
        let none = urls.is_empty().then_some(None);
        urls.into_iter().map(Some).chain(none).map(async move |url| {
            let member = foreign(&peer.slug);
            match url {
                Some(url) => Probe { member, url: foreign(url), found: look(url).await },
                None => Probe { member, url: String::new(), found: Found::NoUrl(peer.bridge_state) },
            }
        })
    });
    let (urls, machines) = tokio::join!(join(AT_ONCE, looks), join(MACHINES_AT_ONCE, machines));
    let mut probes: Vec<Probe> = urls.into_iter().chain(machines).collect();
    probes.sort_by(|a, b| a.member.cmp(&b.member));
    probes
}

async fn connect(host: &Host, claims: &[Claim], peer: &CrewPeer) -> Result<()> {
    let claim = claims.iter().find(|claim| claim.lease.id == peer.lease_id);
    let claim = claim.ok_or_else(|| Error::failure("there is no such lease any more"))?;
    ssh::look(host, &host.chosen_for(claim).await?, claim, CONNECTING).await
}

/// A member's published ports, else where it is reached itself.
fn urls(peer: &CrewPeer) -> Vec<&str> {
    let is_url = |text: &&str| ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let mut urls: Vec<&str> = peer.targets.iter().map(|target| target.url.as_str()).filter(is_url).collect();
    if urls.is_empty() {
        urls.extend(peer.endpoint.as_deref().filter(is_url));
    }
    urls.sort_unstable();
    urls.dedup();
    urls
}

async fn look(url: &str) -> Found {
    let Some(url) = without_credentials(url) else { return Found::Nothing("it is no URL".to_owned()) };
    let asked = Request {
        method: Method::HEAD,
        url,
        headers: Vec::new(),
        body: String::new(),
        within: PATIENCE,
        most: 0,
    };
    match ask(asked).await {
        Ok(answer) => Found::Answer(answer.status),
        Err(failure) => Found::Nothing(foreign(&failure.to_string())),
    }
}

/// The URL, without what may stand before an `@`.
fn without_credentials(url: &str) -> Option<Uri> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    let authority = parts.authority?;
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    parts.authority = Some(place.parse::<Authority>().ok()?);
    parts.path_and_query = parts.path_and_query.or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

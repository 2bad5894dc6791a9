//! Whether the URLs that `peers` gave answer from here: a HEAD to each, all at once. Nothing is sent along, and whatever
//! the status is, somebody is there.

use std::time::Duration;

use crabbox_protocol::records::{CrewPeer, PeerBridge};
use ureq::http::uri::{Authority, PathAndQuery};
use ureq::http::{Method, Uri};

use crate::http::{Request, ask};
use crate::join::join;
use crate::output::foreign;

/// How long a URL may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many are asked at once.
const AT_ONCE: usize = 256;

/// What is known of a URL.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The slug of its member.
    pub(crate) member: String,
    /// The URL, empty where there is none.
    pub(crate) url: String,
    /// What came of it.
    pub(crate) found: Found,
}

/// What came of a look at a member.
#[derive(Debug)]
pub(crate) enum Found {
    /// An answer, with this status.
    Answer(u16),
    /// None, and why.
    Nothing(String),
    /// There is no URL, and how the provider left it.
    NoUrl(Option<PeerBridge>),
}

/// Looks at every member's URLs.
pub(crate) async fn probe(peers: &[CrewPeer]) -> Vec<Probe> {
    let looks = peers.iter().flat_map(|peer| {
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
    join(AT_ONCE, looks).await
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

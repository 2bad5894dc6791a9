//! Who of a crew reaches whom. What a member reaches depends on how it is reached itself: it has that network, and the
//! internet.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crabbox_protocol::CheckStatus;
use crabbox_protocol::records::{CrewPeer, PeerTransport};

use ureq::http::Uri;

use crate::http::{is_loopback, is_private};
use crate::output::foreign;

/// What is said about a crew as a whole.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// How many members are reached by each transport.
    pub(crate) breakdown: BTreeMap<PeerTransport, usize>,
    /// From, to, whether, and why.
    pub(crate) cells: Vec<Cell>,
}

/// A pair of transports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// How the one that wants to reach is reached itself.
    pub(crate) from: PeerTransport,
    /// How the one that is to be reached is.
    pub(crate) to: PeerTransport,
    /// Whether it works.
    pub(crate) status: CheckStatus,
    /// Why.
    pub(crate) why: Cow<'static, str>,
}

/// The matrix of the transports that there are.
pub(crate) fn matrix(peers: &[CrewPeer]) -> Matrix {
    let mut breakdown = BTreeMap::new();
    for peer in peers {
        *breakdown.entry(peer.transport).or_insert(0) += 1;
    }
    let all: Vec<PeerTransport> = breakdown.keys().copied().collect();
    let cells = all.iter().flat_map(|from| {
        all.iter().map(|to| {
            let (status, why) = match near(peers, *from, *to) {
                Some(why) => (CheckStatus::Warn, why.into()),
                None => {
                    let (status, why) = reaches(*from, *to);
                    (status, why.into())
                }
            };
            Cell { from: *from, to: *to, status, why }
        })
    });
    Matrix { cells: cells.collect(), breakdown }
}

/// Why a URL is no way for everybody: it leads somewhere on this machine only, and somebody who wants to reach it may be
/// elsewhere.
fn near(peers: &[CrewPeer], from: PeerTransport, to: PeerTransport) -> Option<String> {
    if to != PeerTransport::Url || reaches(from, to).0 != CheckStatus::Ok {
        return None;
    }
    let by = |transport: PeerTransport| peers.iter().filter(move |peer| peer.transport == transport);
    if let Some(one) = by(to)
        .find(|peer| is_at(peer, is_loopback))
        .filter(|_| !by(from).all(|peer| is_at(peer, is_loopback)))
    {
        return Some(format!("by its URL; that of {} leads there on this machine only", foreign(&one.slug)));
    }
    let one = by(to).find(|peer| is_at(peer, is_private))?;
    Some(format!("by its URL; that of {} leads there in its own network only", foreign(&one.slug)))
}

/// Whether a member's URL is of such a place.
fn is_at(peer: &CrewPeer, place: impl Fn(&Uri) -> bool) -> bool {
    let url = peer.endpoint.as_ref().filter(|_| peer.transport == PeerTransport::Url);
    url.and_then(|url| url.parse().ok()).is_some_and(|url| place(&url))
}

/// Whether a member reaches another, by how each of them is reached. Facts: Tailscale and TLS edges are reached from
/// wherever there is the internet; a forward by SSH ends on the machine that made it, which is yours.
fn reaches(from: PeerTransport, to: PeerTransport) -> (CheckStatus, &'static str) {
    use PeerTransport::{None, Pending, Ssh, Tailnet, Url};
    match (from, to) {
        (_, Pending) => (CheckStatus::Fail, "it is not reached yet"),
        (_, None) => (CheckStatus::Fail, "it is not reached at all"),
        (Pending, _) => (CheckStatus::Fail, "it does not run yet"),
        (None, _) => (CheckStatus::Fail, "nothing is known of its network"),
        (Tailnet, Tailnet) => (CheckStatus::Ok, "in the same tailnet"),
        (Url, Tailnet) => (CheckStatus::Fail, "it is not in the tailnet"),
        (Ssh, Tailnet) => (CheckStatus::Warn, "where the machine is in the tailnet by itself"),
        (Tailnet | Ssh | Url, Url) => (CheckStatus::Ok, "by its URL, as from everywhere"),
        (Tailnet | Ssh | Url, Ssh) => {
            (CheckStatus::Warn, "where that machine is reached directly; `crew connect` forwards to yours")
        }
    }
}

impl Cell {
    /// Whether it works, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.status {
            CheckStatus::Ok => "OK",
            CheckStatus::Warn => "WARN",
            _ => "NO",
        }
    }
}

impl Matrix {
    /// The matrix for people.
    pub(crate) fn render(&self, crew: &str, members: usize) -> String {
        let count = if members == 1 { "1 member".to_owned() } else { format!("{members} members") };
        let mut text = format!("crew {crew:?}: {count}\n");
        if self.breakdown.is_empty() {
            return text;
        }
        let breakdown: Vec<_> = self.breakdown.iter().map(|(one, n)| format!("{}={n}", one.name())).collect();
        text += &format!("  transports: {}\n  reachability:\n", breakdown.join(" "));
        for cell in &self.cells {
            let (from, to) = (cell.from.name(), cell.to.name());
            text += &format!("    {from:<7} -> {to:<7} : {} ({})\n", cell.word(), cell.why);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use PeerTransport::{None, Pending, Ssh, Tailnet, Url};
    use serde_json::json;

    use super::*;

    #[test]
    fn who_reaches_whom_is_not_the_same_both_ways() {
        let word = |from, to| reaches(from, to).0;
        let (ok, warn, no) = (CheckStatus::Ok, CheckStatus::Warn, CheckStatus::Fail);
        let table = [
            (Tailnet, [ok, ok, warn, no, no]),
            (Url, [no, ok, warn, no, no]),
            (Ssh, [warn, ok, warn, no, no]),
            (Pending, [no; 5]),
            (None, [no; 5]),
        ];
        for (from, row) in table {
            assert_eq!([Tailnet, Url, Ssh, Pending, None].map(|to| word(from, to)), row, "{from:?}");
        }
    }
    #[test]
    fn a_url_of_this_machine_is_no_way_from_elsewhere() {
        let peer = |slug: &str, transport: PeerTransport, endpoint: &str| -> CrewPeer {
            let (slug, endpoint) = (json!(slug), json!(endpoint));
            let peer = json!({
                "slug": slug, "leaseId": "cbx_000000000001", "provider": "p", "crew": "c",
                "transport": transport, "endpoint": endpoint,
            });
            serde_json::from_value(peer).unwrap()
        };
        let here = peer("here", Url, "http://127.0.0.1:80");
        let there = peer("there", Url, "https://a.example");
        let tail = peer("tail", Tailnet, "100.64.0.1");
        let cell = |peers: &[&CrewPeer], from, to| {
            let peers: Vec<CrewPeer> = peers.iter().map(|peer| (*peer).clone()).collect();
            let mut cells = matrix(&peers).cells.into_iter();
            let cell = cells.find(|cell| (cell.from, cell.to) == (from, to)).unwrap();
            (cell.status, cell.why.contains("that of here leads there on this machine only"))
        };
        assert_eq!(cell(&[&here, &here], Url, Url), (CheckStatus::Ok, false));
        assert_eq!(cell(&[&here, &there], Url, Url), (CheckStatus::Warn, true));
        assert_eq!(cell(&[&there, &tail], Tailnet, Url), (CheckStatus::Ok, false));
        assert_eq!(cell(&[&here, &there, &tail], Tailnet, Url), (CheckStatus::Warn, true));
        assert_eq!(cell(&[&here, &tail], Url, Tailnet), (CheckStatus::Fail, false));
        for (url, status) in [
            ("http://10.0.0.5:80", CheckStatus::Warn),
            ("http://172.16.0.1", CheckStatus::Warn),
            ("https://192.168.1.1", CheckStatus::Warn),
            ("http://169.254.1.1", CheckStatus::Warn),
            ("http://100.64.0.1", CheckStatus::Warn),
            ("http://[fd00::1]:80", CheckStatus::Warn),
            ("http://[fe80::1]", CheckStatus::Warn),
            ("http://100.128.0.1", CheckStatus::Ok),
            ("http://172.32.0.1", CheckStatus::Ok),
            ("http://[2001:db8::1]", CheckStatus::Ok),
            ("https://a.example", CheckStatus::Ok),
        ] {
            assert_eq!(cell(&[&peer("a", Url, url)], Url, Url).0, status, "{url}");
        }
    }
}

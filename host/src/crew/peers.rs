//! Who the members of a crew are, and how each is reached. What is recorded in a claim counts; where nothing is, the
//! provider is asked, all of them at once and each within its time. One that fails costs its own rows and no others.

use std::collections::BTreeMap;
use std::time::Duration;

use crabbox_protocol::records::{Claim, ClaimState, CrewPeer, PeerBridge, PeerTransport};
use crabbox_protocol::{BridgeParams, BridgeResult, BridgeState, BridgeTarget, Endpoint, Method, Transport};
use jiff::Timestamp;
use tokio::time::timeout;

use super::crew_name;
use crate::commands::ROLE;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::join::join;
use crate::output::foreign;
use crate::provider::{Ask, Locks};
use crate::workflow::same_scope;

/// How long a provider may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many providers are asked at once.
pub(crate) const AT_ONCE: usize = 16;

/// A port to be published on every member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// The port on each lease.
    pub(crate) port: u16,
    /// For how long, in milliseconds.
    pub(crate) ttl_ms: u64,
}

/// The claims of a crew, by slug and then by lease.
pub(crate) fn members(host: &Host, crew: &str, provider: Option<&str>) -> Result<Vec<Claim>> {
    let is = |claim: &Claim| {
        let theirs = claim.lease.crew.as_deref().map(crew_name);
        matches!(theirs, Some(Ok(Some(name))) if name == crew)
            && provider.is_none_or(|provider| claim.provider == provider)
    };
    let (claims, bad) = host.claims().list()?;
    bad.iter().for_each(|bad| crate::output::warn(bad.say()));
    let mut claims: Vec<Claim> = claims.into_iter().filter(is).collect();
    claims.sort_by(|a, b| (&a.lease.slug, a.lease.id.as_str()).cmp(&(&b.lease.slug, b.lease.id.as_str())));
    Ok(claims)
}

/// How each of them is reached. Without `share` nothing is changed anywhere.
pub(crate) async fn peers(host: &Host, crew: &str, claims: &[Claim], share: Option<Share>) -> Vec<CrewPeer> {
    join(AT_ONCE, claims.iter().map(|claim| peer(host, crew, claim, share))).await
}

async fn peer(host: &Host, crew: &str, claim: &Claim, share: Option<Share>) -> CrewPeer {
    let mut row = CrewPeer {
        slug: claim.lease.slug.clone(),
        lease_id: claim.lease.id.clone(),
        provider: claim.provider.clone(),
        crew: crew.to_owned(),
        role: claim.lease.labels.get(ROLE).cloned(),
        transport: PeerTransport::None,
        transports: Vec::new(),
        endpoint: None,
        labels: claim.lease.labels.clone(),
        note: None,
        expose: claim.expose.clone(),
        targets: Vec::new(),
        bridge_state: None,
    };
    row.labels.remove(ROLE);
    let chosen = host.chosen_for(claim).await;
    if let Ok(chosen) = &chosen {
        row.transports = declared(chosen);
    }
    known(&mut row, claim);
    if claim.stopped_at.is_some() || claim.state != ClaimState::Leased {
        let state = if claim.stopped_at.is_some() { "stopped" } else { claim.state.name() };
        return unreached(row, PeerTransport::Pending, format!("the lease is {state}"));
    }
    if row.endpoint.is_some() && share.is_none() {
        return row;
    }
    let asked = async {
        let chosen = chosen?;
        match chosen.manifest.has(Method::Bridge) {
            true => ask(host, &chosen, claim, share).await.map(Some),
            false => Ok(None),
        }
    };
    let asked = timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        let after = humantime::format_duration(PATIENCE);
        Err(Error::failure(format!("provider `{}` did not answer within {after}", claim.provider)))
    });
    match asked {
        Ok(Some(answers)) => heard(host, row, claim, answers),
        Ok(None) => by_ssh(row, claim, share),
        Err(error) => {
            let row = CrewPeer { bridge_state: Some(PeerBridge::Error), ..row };
            let transport = if row.endpoint.is_some() { row.transport } else { PeerTransport::None };
            unreached(row, transport, error.to_string())
        }
    }
}

/// What the provider declares, the best first: a tailnet, a URL, SSH.
fn declared(chosen: &Chosen) -> Vec<Transport> {
    let mut all: Vec<_> = chosen.manifest.transports.iter().copied().filter(|one| is_a_way(*one)).collect();
    if !chosen.manifest.has(Method::Run) {
        all.push(Transport::Ssh);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn is_a_way(transport: Transport) -> bool {
    !matches!(transport, Transport::None | Transport::Unknown)
}

/// Takes what the claim has, as far as it still holds.
fn known(row: &mut CrewPeer, claim: &Claim) {
    let now = Timestamp::now();
    let holds =
        |endpoint: &&Endpoint| is_a_way(endpoint.transport) && endpoint.expires_at.is_none_or(|at| at > now);
    let best = claim.endpoints.iter().filter(holds).min_by_key(|endpoint| endpoint.transport);
    let Some(best) = best else { return };
    row.transport = shown(best.transport);
    row.endpoint = Some(best.endpoint.clone());
    row.targets = claim.endpoints.iter().filter(holds).filter_map(target).collect();
}

fn target(endpoint: &Endpoint) -> Option<BridgeTarget> {
    Some(BridgeTarget {
        port: endpoint.port?,
        url: endpoint.endpoint.clone(),
        id: endpoint.id.clone()?,
        expires_at: endpoint.expires_at,
    })
}

fn shown(transport: Transport) -> PeerTransport {
    match transport {
        Transport::Tailnet => PeerTransport::Tailnet,
        Transport::Url => PeerTransport::Url,
        Transport::Ssh => PeerTransport::Ssh,
        Transport::None | Transport::Unknown => PeerTransport::None,
    }
}

/// Asks about the port to be shared, else about each that was promised, else about the lease.
async fn ask(host: &Host, chosen: &Chosen, claim: &Claim, share: Option<Share>) -> Result<Vec<BridgeResult>> {
    let (mut session, configured) = chosen.connect(host, Locks::default()).await?;
    let asked = async {
        same_scope(claim, &configured.scope)?;
        let mut ports: Vec<Option<u16>> = match share {
            Some(share) => vec![Some(share.port)],
            None => claim.expose.iter().copied().map(Some).collect(),
        };
        if ports.is_empty() {
            ports.push(None);
        }
        let mut answers = Vec::new();
        for port in ports {
            let params = BridgeParams {
                lease: claim.lease.clone(),
                port,
                publish: share.is_some(),
                ttl_ms: share.map(|share| share.ttl_ms),
            };
            answers.push(session.call(&params, Ask::default()).await?);
        }
        Ok(answers)
    };
    let answers = asked.await;
    session.close().await;
    answers
}

/// Takes what the provider said, and notes in the claim what holds for a while.
fn heard(host: &Host, mut row: CrewPeer, claim: &Claim, answers: Vec<BridgeResult>) -> CrewPeer {
    let state = |answer: &BridgeResult| match answer.state {
        BridgeState::Ready if answer.endpoint.is_some() => PeerBridge::Ready,
        BridgeState::Ready | BridgeState::Pending => PeerBridge::Pending,
        BridgeState::Unsupported => PeerBridge::Unsupported,
    };
    let best = answers.iter().min_by_key(|answer| (state(answer) as u8, answer.transport));
    let Some(best) = best else { return row };
    row.bridge_state = Some(state(best));
    row.note = best.message.as_deref().map(foreign);
    match state(best) {
        PeerBridge::Ready => {
            row.transport = shown(best.transport);
            row.endpoint = best.endpoint.as_deref().map(foreign);
            row.targets = answers.iter().flat_map(|answer| answer.targets.clone()).collect();
            note(host, claim, &row, &answers);
            row
        }
        PeerBridge::Pending => CrewPeer { transport: PeerTransport::Pending, ..row },
        // What was known of another port still holds.
        _ if row.endpoint.is_some() => row,
        _ => by_ssh(row, claim, None),
    }
}

/// Writes the endpoints into the claim. They can be asked for again, so a failure costs nothing.
fn note(host: &Host, claim: &Claim, row: &CrewPeer, answers: &[BridgeResult]) {
    let mut endpoints: BTreeMap<(Transport, Option<u16>), Endpoint> = claim
        .endpoints
        .iter()
        .map(|endpoint| ((endpoint.transport, endpoint.port), endpoint.clone()))
        .collect();
    for answer in answers.iter().filter(|answer| answer.state == BridgeState::Ready) {
        for target in &answer.targets {
            let endpoint = Endpoint {
                transport: answer.transport,
                endpoint: target.url.clone(),
                port: Some(target.port),
                id: Some(target.id.clone()),
                expires_at: target.expires_at,
            };
            endpoints.insert((answer.transport, Some(target.port)), endpoint);
        }
        if let (true, Some(whole)) = (answer.targets.is_empty(), &answer.endpoint) {
            let (transport, endpoint) = (answer.transport, whole.clone());
            let whole = Endpoint { transport, endpoint, port: None, id: None, expires_at: None };
            endpoints.insert((transport, None), whole);
        }
    }
    let endpoints: Vec<_> = endpoints.into_values().collect();
    if endpoints != claim.endpoints {
        _ = host.claims().update(&row.lease_id, false, |claim| {
            claim.endpoints.clone_from(&endpoints);
            Ok(())
        });
    }
}

/// A lease that no bridge leads to: by SSH, where the claim says how, else not at all.
fn by_ssh(row: CrewPeer, claim: &Claim, share: Option<Share>) -> CrewPeer {
    let Some(ssh) = &claim.ssh else {
        let why = match row.transports.is_empty() {
            true => format!("provider `{}` declares no way to its leases", claim.provider),
            false => "nothing is known of where it is reached".to_owned(),
        };
        let note = row.note.clone().unwrap_or(why);
        return unreached(row, PeerTransport::None, note);
    };
    let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
    let endpoint = Some(format!("ssh://{}@{}{port}", ssh.user, ssh.host));
    let proxied = !ssh.proxy_command.is_empty();
    let note = match (share, proxied) {
        (Some(_), _) => Some("a port cannot be published: `crabbox crew connect` forwards it".to_owned()),
        (None, true) => Some(format!("by a proxy: `crabbox ssh {}` has the command", row.slug)),
        (None, false) => row.note.clone(),
    };
    CrewPeer { transport: PeerTransport::Ssh, endpoint, note, ..row }
}

fn unreached(row: CrewPeer, transport: PeerTransport, note: String) -> CrewPeer {
    let endpoint =
        row.endpoint.clone().filter(|_| !matches!(transport, PeerTransport::None | PeerTransport::Pending));
    CrewPeer { transport, endpoint, note: Some(note), ..row }
}

/// The members for people, a line each, and a line more for each published port.
pub(crate) fn render(peers: &[CrewPeer]) -> String {
    if peers.is_empty() {
        return "no members\n".to_owned();
    }
    let mut text = String::new();
    for peer in peers {
        let mut words = vec![
            foreign(&peer.slug),
            format!("lease={}", peer.lease_id),
            format!("provider={}", foreign(&peer.provider)),
            format!("crew={}", peer.crew),
            format!("transport={}", peer.transport.name()),
        ];
        let more = [("role", &peer.role), ("endpoint", &peer.endpoint)];
        words.extend(
            more.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", foreign(value.as_deref()?)))),
        );
        words.extend(peer.note.as_ref().map(|note| format!("note={:?}", foreign(note))));
        text += &(words.join("\t") + "\n");
        for target in &peer.targets {
            let until = target.expires_at.map(|at| format!(" expires={at}")).unwrap_or_default();
            text += &format!(
                "  port={} url={} id={}{until}\n",
                target.port,
                foreign(&target.url),
                foreign(&target.id)
            );
        }
    }
    text
}

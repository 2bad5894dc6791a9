//! Who the members of a crew are, and how each is reached. What is recorded in a claim counts, and then nobody is asked;
//! where nothing is, the provider is. One that fails costs its own rows and no others.

use std::collections::BTreeMap;

use crabbox_protocol::records::{Claim, ClaimState, CrewPeer, PeerBridge, PeerTransport};
use crabbox_protocol::{BridgeResult, BridgeState, BridgeTarget, Endpoint, Method, Transport};
use jiff::Timestamp;

use super::ask::ask;
use super::crew_name;
use crate::commands::ROLE;
use crate::error::Result;
use crate::host::Host;
use crate::lease::BadClaim;
use crate::output::foreign;

/// A port to be published on every member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// The port on each lease.
    pub(crate) port: u16,
    /// For how long, in milliseconds.
    pub(crate) ttl_ms: u64,
}

/// The claims of a crew, by slug and then by lease. Claims that cannot be read and may be of the crew are warned of.
pub(crate) fn members(host: &Host, crew: &str, provider: Option<&str>) -> Result<Vec<Claim>> {
    let (mut claims, bad) = of_crew(host, crew)?;
    bad.iter().for_each(|bad| crate::output::warn(bad.say()));
    claims.retain(|claim| provider.is_none_or(|provider| claim.provider == provider));
    Ok(claims)
}

/// The claims of a crew, and those that may be of it and cannot be read.
pub(crate) fn of_crew(host: &Host, crew: &str) -> Result<(Vec<Claim>, Vec<BadClaim>)> {
    let is = |named: &str| matches!(crew_name(named), Ok(Some(name)) if name == crew);
    let (mut claims, mut bad) = host.claims().list()?;
    claims.retain(|claim| claim.lease.crew.as_deref().is_some_and(is));
    bad.retain(|bad| bad.crew.as_deref().is_none_or(is));
    claims.sort_by(|a, b| (&a.lease.slug, a.lease.id.as_str()).cmp(&(&b.lease.slug, b.lease.id.as_str())));
    Ok((claims, bad))
}

/// How each of them is reached. Without `share` nothing is changed anywhere. With `refresh` their providers are asked
/// also where something is known.
pub(crate) async fn peers(
    host: &Host,
    crew: &str,
    claims: &[Claim],
    share: Option<Share>,
    refresh: bool,
) -> Vec<CrewPeer> {
    let mut declared: BTreeMap<&str, Vec<Transport>> = BTreeMap::new();
    let mut rows: Vec<CrewPeer> = Vec::new();
    for claim in claims {
        let transports = declared.entry(&claim.provider).or_insert_with(|| declares(host, &claim.provider));
        rows.push(recorded(crew, claim, transports));
    }
    let is_open = |row: &CrewPeer| {
        row.transport != PeerTransport::Pending && (row.endpoint.is_none() || share.is_some() || refresh)
    };
    let (open, known): (Vec<_>, Vec<_>) = rows.into_iter().zip(claims).partition(|(row, _)| is_open(row));
    let asked: Vec<&Claim> = open.iter().map(|(_, claim)| *claim).collect();
    let answers = ask(host, &asked, share).await;
    let heard = open.into_iter().zip(answers).map(|((mut row, claim), answer)| {
        if row.transports.is_empty() {
            // By now it said what it declares.
            row.transports = declares(host, &claim.provider);
        }
        match answer {
            Ok(Some(answers)) => heard(host, row, claim, answers),
            // It has no `bridge`: what was known holds.
            Ok(None) if row.endpoint.is_some() => row,
            Ok(None) => by_ssh(row, claim, share),
            Err(error) => {
                let row = CrewPeer { bridge_state: Some(PeerBridge::Error), ..row };
                let transport = if row.endpoint.is_some() { row.transport } else { PeerTransport::None };
                unreached(row, transport, error.to_string())
            }
        }
    });
    let mut rows: Vec<CrewPeer> = known.into_iter().map(|(row, _)| row).chain(heard).collect();
    rows.sort_by(|a, b| (&a.slug, a.lease_id.as_str()).cmp(&(&b.slug, b.lease_id.as_str())));
    rows
}

/// A member as its claim has it.
fn recorded(crew: &str, claim: &Claim, transports: &[Transport]) -> CrewPeer {
    let mut row = CrewPeer {
        slug: claim.lease.slug.clone(),
        lease_id: claim.lease.id.clone(),
        provider: claim.provider.clone(),
        crew: crew.to_owned(),
        role: claim.lease.labels.get(ROLE).cloned(),
        transport: PeerTransport::None,
        transports: transports.to_vec(),
        endpoint: None,
        labels: claim.lease.labels.clone(),
        note: None,
        expose: claim.expose.clone(),
        targets: Vec::new(),
        bridge_state: None,
    };
    row.labels.remove(ROLE);
    known(&mut row, claim);
    if claim.stopped_at.is_some() || claim.state != ClaimState::Leased {
        let state = if claim.stopped_at.is_some() { "stopped" } else { claim.state.name() };
        return unreached(row, PeerTransport::Pending, format!("the lease is {state}"));
    }
    row
}

/// What a provider declared when it was last asked, the best first: a tailnet, a URL, SSH. Nothing where that is not
/// known; nobody is asked for it.
fn declares(host: &Host, provider: &str) -> Vec<Transport> {
    let Ok(found) = host.plugins.find(provider) else { return Vec::new() };
    let Some(manifest) = host.plugins.remembered(&found) else { return Vec::new() };
    let mut all: Vec<_> = manifest.transports.iter().copied().filter(|one| is_a_way(*one)).collect();
    if !manifest.has(Method::Run) {
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
    row.note = best.message.as_deref().map(foreign);
    row.targets = claim.endpoints.iter().filter(holds).filter_map(target).collect();
    if row.transports.is_empty() {
        // Its plugin is gone, or another one by now. This much it did declare.
        row.transports = vec![best.transport];
    }
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

/// Takes what the provider said, and notes in the claim what holds for a while.
fn heard(host: &Host, mut row: CrewPeer, claim: &Claim, answers: Vec<BridgeResult>) -> CrewPeer {
    let leads = |answer: &BridgeResult| {
        answer.endpoint.clone().or_else(|| answer.targets.first().map(|target| target.url.clone()))
    };
    let state = |answer: &BridgeResult| match answer.state {
        BridgeState::Ready if !is_a_way(answer.transport) => PeerBridge::Unsupported,
        BridgeState::Ready if leads(answer).is_some() => PeerBridge::Ready,
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
            row.endpoint = leads(best).as_deref().map(foreign);
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
    let endpoints: Vec<Endpoint> =
        answers.iter().filter(|answer| answer.state == BridgeState::Ready).flat_map(endpoints).collect();
    if endpoints.iter().all(|endpoint| claim.endpoints.contains(endpoint)) {
        return;
    }
    _ = host.claims().update(&row.lease_id, false, |claim| {
        let place = |endpoint: &Endpoint| (endpoint.transport, endpoint.port);
        claim.endpoints.retain(|old| endpoints.iter().all(|new| place(new) != place(old)));
        claim.endpoints.extend(endpoints.iter().cloned());
        claim.endpoints.sort_by_key(place);
        Ok(())
    });
}

/// The endpoints in an answer: the lease as a whole, unless that is one of its ports, and its ports.
fn endpoints(answer: &BridgeResult) -> impl Iterator<Item = Endpoint> {
    let (transport, message) = (answer.transport, answer.message.clone());
    let whole = answer.endpoint.clone();
    let whole = whole.filter(|whole| answer.targets.iter().all(|target| target.url != *whole));
    let whole = whole.map(|endpoint| {
        let message = message.clone();
        Endpoint { transport, endpoint, port: None, id: None, message, expires_at: None }
    });
    let ports = answer.targets.iter().map(move |target| Endpoint {
        transport,
        endpoint: target.url.clone(),
        port: Some(target.port),
        id: Some(target.id.clone()),
        message: message.clone(),
        expires_at: target.expires_at,
    });
    whole.into_iter().chain(ports.collect::<Vec<_>>())
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
        (Some(_), _) => Some(format!(
            "a port cannot be published: `crabbox crew connect {}` forwards those of `--expose`",
            row.crew
        )),
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

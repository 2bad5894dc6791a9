//! `crabbox doctor --crew`: who reaches whom, what the tailnet's policy says, and whether members answer.

use std::collections::BTreeMap;

use crabbox_protocol::CheckStatus;
use crabbox_protocol::records::{CrewPeer, DoctorRow, PeerBridge};
use serde_json::json;

use super::{policy, row};
use crate::commands::ProviderArgs;
use crate::crew::{Found, Matrix, Probe, matrix, members, peers, probe};
use crate::error::Result;
use crate::host::Host;

/// The rows of a crew. Returns the matrix for people.
pub(super) async fn rows(
    host: &Host,
    crew: &str,
    provider: &ProviderArgs,
    bridge: bool,
    checks: &mut Vec<DoctorRow>,
) -> Result<String> {
    let claims = members(host, crew, provider.provider.as_deref())?;
    // What is to be probed is what there is now.
    let peers = peers(host, crew, &claims, None, bridge).await;
    let matrix = matrix(&peers);
    checks.push(crew_row(crew, &peers, &matrix));
    checks.extend(matrix_rows(&matrix));
    checks.push(policy::row(host, crew, &claims).await);
    if bridge {
        checks.extend(probe(host, &claims, &peers).await.iter().map(bridge_row));
    }
    Ok(matrix.render(crew, peers.len()))
}

/// How many members there are, by transport.
fn crew_row(crew: &str, peers: &[CrewPeer], matrix: &Matrix) -> DoctorRow {
    let failing: Vec<_> = peers.iter().filter(|peer| peer.bridge_state == Some(PeerBridge::Error)).collect();
    let mut details = BTreeMap::from([("members".to_owned(), json!(peers.len()))]);
    for (transport, count) in &matrix.breakdown {
        details.insert(format!("transport_{}", transport.name()), json!(count));
    }
    let (status, message) = match (peers.len(), failing.as_slice()) {
        (0, _) => (CheckStatus::Skip, format!("crew {crew} has no members")),
        (1, []) => (CheckStatus::Ok, format!("crew {crew} has 1 member")),
        (count, []) => (CheckStatus::Ok, format!("crew {crew} has {count} members")),
        (count, [first, ..]) => {
            let why = first.note.as_deref().unwrap_or_default();
            let failed = failing.len();
            (
                CheckStatus::Warn,
                format!("crew {crew} has {count} members, of which {failed} could not be asked: {why}"),
            )
        }
    };
    DoctorRow { details, ..row("crew", status, message) }
}

/// Who reaches whom.
fn matrix_rows(matrix: &Matrix) -> impl Iterator<Item = DoctorRow> {
    matrix.cells.iter().map(|cell| {
        let details = BTreeMap::from([
            ("from".to_owned(), json!(cell.from.name())),
            ("to".to_owned(), json!(cell.to.name())),
            ("reach".to_owned(), json!(cell.word())),
        ]);
        let message = format!("{} -> {}: {} ({})", cell.from.name(), cell.to.name(), cell.word(), cell.why);
        // That some do not reach others is how it is, and no fault.
        let status = if cell.status == CheckStatus::Ok { CheckStatus::Ok } else { CheckStatus::Warn };
        DoctorRow { details, ..row("crew-matrix", status, message) }
    })
}

/// Whether a member answers.
fn bridge_row(probe: &Probe) -> DoctorRow {
    let Probe { member, url, .. } = probe;
    let mut details = BTreeMap::from([("member".to_owned(), json!(member))]);
    let (status, result, message) = match &probe.found {
        Found::Answer(code) => {
            details.insert("status".to_owned(), json!(code));
            (CheckStatus::Ok, "reachable", format!("{member}: {url} answers with {code}"))
        }
        Found::Connected => (CheckStatus::Ok, "reachable", format!("{member}: {url} answers by SSH")),
        Found::Nothing(why) => {
            (CheckStatus::Warn, "unreachable", format!("{member}: {url} does not answer: {why}"))
        }
        Found::NoUrl(state) => {
            let state = state.map_or("not asked".to_owned(), |state| format!("{state:?}").to_lowercase());
            let message = format!("{member} has no URL; its bridge: {state}");
            details.insert("bridgeState".to_owned(), json!(state));
            (CheckStatus::Skip, "no-targets", message)
        }
    };
    details.insert("result".to_owned(), json!(result));
    if !url.is_empty() {
        details.insert("url".to_owned(), json!(url));
    }
    DoctorRow { details, ..row("crew-bridge", status, message) }
}

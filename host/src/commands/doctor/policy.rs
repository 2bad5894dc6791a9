//! What the tailnet's policy says about a crew's tag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crabbox_protocol::records::{Claim, DoctorRow};
use crabbox_protocol::{CheckStatus, feature};
use serde_json::{Value, json};

use crate::crew::{AT_ONCE, Control, Owners, Standing, besides, is_opted_in, policy_rows, tag_of};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::join::join;

/// How long the control plane may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asked only where a member could be in a tailnet, and only with a key. Nothing is changed.
pub(super) async fn row(host: &Host, crew: &str, claims: &[Claim]) -> DoctorRow {
    let mut row = super::row("crew-policy", CheckStatus::Skip, "");
    if !any_joins_tailnets(host, claims).await {
        row.message = "no member's provider joins leases to a tailnet".to_owned();
        row.details = details([("reason", json!("provider_not_tailscale_capable"))]);
        return row;
    }
    let tag = tag_of(&host.env, crew, claims);
    let owners = Owners::of(&host.env);
    let rows = policy_rows(&tag, owners);
    let mut by_hand = format!("add to the policy: {}", rows.join("; "));
    by_hand.extend(besides(&tag, owners).map(|more| format!("; {more}")));
    row.details = details([("tag", json!(tag)), ("mode", json!("manual"))]);
    let (control, opted) = match ready(host) {
        Ok((Some(control), opted)) => (control, opted),
        Ok((None, _)) => {
            row.message =
                format!("the tailnet's policy is not looked at without TS_API_KEY; {tag} needs rows in it");
            row.details.extend(details([("rows", json!(rows))]));
            return DoctorRow { hint: Some(by_hand), ..row };
        }
        Err(error) => return failed(row, &error),
    };
    row.details.extend(details([("api", json!(control.api()))]));
    match control.look(&tag).await {
        Ok(Standing::There | Standing::Written) => {
            row.status = CheckStatus::Ok;
            row.message = format!("the tailnet's policy has the rows of {tag}");
            row.details.extend(details([("mode", json!("auto-managed"))]));
        }
        Ok(Standing::Missing) => {
            row.status = CheckStatus::Fail;
            row.message = format!("the tailnet's policy lacks rows of {tag}");
            let (mode, remedy) = match opted {
                true => ("auto-managed", "the next lease with `--tailscale` writes them".to_owned()),
                false => (
                    "manual",
                    format!("CRABBOX_CREW_ACL_BOOTSTRAP=1 lets the next lease write them; or {by_hand}"),
                ),
            };
            row.hint = Some(remedy);
            row.details.extend(details([("mode", json!(mode)), ("rows", json!(rows))]));
        }
        Ok(Standing::NoApi(why)) => {
            row.message = format!("control_plane_incompatible: there is no policy to look at: {why}");
            row.hint = Some(format!(
                "headscale takes its policy from a file or from `headscale policy set`; {by_hand}"
            ));
            row.details
                .extend(details([("reason", json!("control_plane_incompatible")), ("rows", json!(rows))]));
        }
        Err(error) => return failed(row, &error),
    }
    row
}

/// The control plane, and whether it may be written to.
fn ready(host: &Host) -> Result<(Option<Control>, bool)> {
    let control = Control::of(&host.env)?.map(|control| control.within(PATIENCE));
    Ok((control, is_opted_in(&host.env)?))
}

fn failed(row: DoctorRow, error: &Error) -> DoctorRow {
    let hint = error.hints.first().cloned();
    DoctorRow { status: CheckStatus::Fail, message: error.to_string(), hint, ..row }
}

fn details<const N: usize>(given: [(&str, Value); N]) -> BTreeMap<String, Value> {
    given.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Whether any provider of these leases can join them to a tailnet.
async fn any_joins_tailnets(host: &Host, claims: &[Claim]) -> bool {
    let mut seen = BTreeSet::new();
    let one_of_each = claims.iter().filter(|claim| seen.insert(&claim.provider));
    let joins = one_of_each.map(async |claim| {
        let chosen = host.chosen_for(claim).await;
        chosen.is_ok_and(|chosen| chosen.manifest.feature(feature::TAILSCALE))
    });
    join(AT_ONCE, joins).await.contains(&true)
}

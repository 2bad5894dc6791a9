//! `doctor`: does the API answer, is the key good, and what is there already? It only reads.

use crabbox_provider_kit::protocol::{Check, CheckStatus, ErrorKind, Lease};
use crabbox_provider_kit::{check, failed};

use crate::api::{Found, Names, Standing};
use crate::config::Version;
use crate::machine::Identity;
use crate::provider::{Freestyle, several};

impl Freestyle {
    /// Every check, and one for `lease`.
    pub(crate) async fn checks(&self, lease: Option<&Lease>) -> Vec<Check> {
        let inventory = match self.api.list().await {
            Ok(inventory) => inventory,
            Err(error) => {
                let is_key = error.kind() == ErrorKind::Auth;
                return vec![failed(if is_key { "key" } else { "api" }, &error)];
            }
        };
        let version = match self.settings.version {
            Version::V5 => 5,
            Version::V1 => 1,
        };
        let answers = format!("{} answers, in version {version}", self.settings.origin);
        let mut checks = vec![
            check("api", CheckStatus::Ok, answers),
            check("key", CheckStatus::Ok, "the API key is valid"),
            check("leases", CheckStatus::Ok, format!("{} in this account", inventory.machines.len())),
        ];
        if self.settings.version == Version::V1 {
            checks.extend([names(inventory.names), guard()]);
        }
        if let Some(lease) = lease {
            checks.push(self.check_of(lease).await);
        }
        checks
    }

    async fn check_of(&self, lease: &Lease) -> Check {
        let identity = Identity::of(lease);
        let (status, message) = match self.api.find(&identity).await {
            Ok(Found::Machine(machine)) if machine.standing == Standing::Running => {
                (CheckStatus::Ok, format!("machine {} runs", machine.id))
            }
            Ok(Found::Machine(machine)) => {
                (CheckStatus::Warn, format!("machine {} is {}", machine.id, machine.state))
            }
            Ok(Found::Absent) => (CheckStatus::Fail, format!("there is no machine {}", identity.name)),
            Ok(Found::Several(machines)) => (CheckStatus::Fail, several(&identity, &machines)),
            Ok(Found::Unknown(why)) => (CheckStatus::Warn, why),
            Err(error) => return failed("lease", &error),
        };
        check("lease", status, message)
    }
}

/// Whether machines are found by their names, which not every version of the API tells.
fn names(names: Names) -> Check {
    let (status, message) = match names {
        Names::Told => (CheckStatus::Ok, "machines are found by their names".to_owned()),
        Names::Nobody => (CheckStatus::Skip, "there is no machine here that could tell its name".to_owned()),
        Names::NotTold(count) => (
            CheckStatus::Warn,
            format!(
                "Freestyle tells the names of none of the {count} machines here: a lease is found only by what was \
                 recorded of it, and one whose creation was not answered not at all"
            ),
        ),
    };
    let mut row = check("names", status, message);
    if status == CheckStatus::Warn {
        row.hint =
            Some("use `apiVersion: v5`, or look for what is left over with Freestyle's own tools".to_owned());
    }
    row
}

/// What becomes of a machine that nobody deletes.
fn guard() -> Check {
    let message =
        "version 1 has no end of a machine: one that nobody deletes lives as long as it has traffic";
    let mut row = check("guard", CheckStatus::Warn, message);
    row.hint = Some("`apiVersion: v5` deletes it after the lease's time".to_owned());
    row
}

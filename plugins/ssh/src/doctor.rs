//! `doctor`: is the machine reached, and does it have what a lease needs? It changes nothing.

use std::time::Duration;

use crabbox_provider_kit::protocol::{Check, CheckStatus, Lease};
use crabbox_provider_kit::{check, failed};

use crate::provider::Machine;
use crate::script::Verb;
use crate::verbs::LOOK;

impl Machine {
    /// Every check, and one for `lease`.
    pub(crate) async fn checks(&self, lease: Option<&Lease>) -> Vec<Check> {
        let (name, shown) = (self.destination.name(), self.destination.shown());
        let mut checks = vec![check("destination", CheckStatus::Ok, format!("`{name}` is {shown}"))];
        let answer = match self.talk(Verb::Doctor, None, Duration::from_secs(25)).await {
            Ok(answer) => answer,
            Err(error) => {
                checks.push(failed("connection", &error));
                return checks;
            }
        };
        let get = |key: &str| answer.get(key).unwrap_or_default();
        checks.push(check(
            "connection",
            CheckStatus::Ok,
            format!("{name} answers, and is a {}", get("system")),
        ));
        checks.push(match get("writable") {
            "yes" => check("workRoot", CheckStatus::Ok, format!("leases can be made in `{}`", get("root"))),
            _ => {
                let mut row =
                    check("workRoot", CheckStatus::Fail, format!("`{}` cannot be written", get("root")));
                row.hint = Some("`workRoot` in the block `ssh` says where leases are".to_owned());
                row
            }
        });
        checks.push(match get("missing") {
            "" => check("programs", CheckStatus::Ok, "everything that crabbox uses is there"),
            missing => check("programs", CheckStatus::Fail, format!("the machine lacks {missing}")),
        });
        if get("leader").is_empty() {
            let message = "there is none of setsid, perl and python3, so the end of a command is found by its environment";
            checks.push(check("groups", CheckStatus::Warn, message));
        }
        if let Some(lease) = lease {
            let id = lease.r#ref.as_deref().unwrap_or(lease.id.as_str());
            checks.push(match self.talk(Verb::Look, Some((id, lease)), LOOK).await {
                Ok(answer) if answer.get("found") == Some("lease") => {
                    check("lease", CheckStatus::Ok, "its directory is there")
                }
                Ok(_) => check("lease", CheckStatus::Fail, "its directory is not there"),
                Err(error) => failed("lease", &error),
            });
        }
        checks
    }
}

//! `doctor`: does the API answer, is the key good, and what is there already? It only reads.

use crabbox_provider_kit::protocol::{Check, CheckStatus, Lease};
use crabbox_provider_kit::{Error, check};

use crate::machine::Identity;
use crate::provider::Freestyle;

impl Freestyle {
    /// Every check, and one for `lease`.
    pub(crate) async fn checks(&self, lease: Option<&Lease>) -> Vec<Check> {
        let mut checks = Vec::new();
        match self.listed().await {
            Ok(list) => {
                checks.push(check("api", CheckStatus::Ok, format!("{} answers", self.settings.origin)));
                checks.push(check("key", CheckStatus::Ok, "the API key is valid"));
                checks.push(check(
                    "leases",
                    CheckStatus::Ok,
                    format!("{} in this account", list.leases.len()),
                ));
            }
            Err(error) => {
                let name = if error.kind() == crabbox_provider_kit::protocol::ErrorKind::Auth {
                    "key"
                } else {
                    "api"
                };
                checks.push(failed(name, &error));
                return checks;
            }
        }
        if let Some(lease) = lease {
            let identity = Identity::of(lease);
            checks.push(match self.find(&identity).await {
                Ok(Some(vm)) if vm.state == "running" => {
                    check("lease", CheckStatus::Ok, format!("machine {} runs", vm.id))
                }
                Ok(Some(vm)) => {
                    check("lease", CheckStatus::Warn, format!("machine {} is {}", vm.id, vm.state))
                }
                Ok(None) => {
                    check("lease", CheckStatus::Fail, format!("there is no machine {}", identity.slug))
                }
                Err(error) => failed("lease", &error),
            });
        }
        checks
    }
}

fn failed(name: &str, error: &Error) -> Check {
    let data = error.as_object().data.as_ref();
    let causes = data.into_iter().flat_map(|data| &data.causes);
    let message = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let mut row = check(name, CheckStatus::Fail, message);
    row.hint = data.and_then(|data| data.hint.clone());
    row
}

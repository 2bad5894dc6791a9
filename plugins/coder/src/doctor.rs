//! `doctor`: is there a CLI, is it logged in, and what is there already? It asks `version`, `whoami` and `list`, and
//! nothing that changes anything.

use crabbox_provider_kit::protocol::{Check, CheckStatus, ErrorKind, Lease};
use crabbox_provider_kit::{Error, check, failed};

use crate::find::{Found, Sought};
use crate::provider::Coder;
use crate::standing::{Standing, standing};

impl Coder {
    /// Every check, and one for `lease`.
    pub(crate) async fn checks(&self, lease: Option<&Lease>) -> Vec<Check> {
        let mut checks = Vec::new();
        match self.cli.version().await {
            Ok(version) => checks.push(row("cli", CheckStatus::Ok, format!("coder {}", version.version))),
            Err(error) => {
                checks.push(no("cli", &error));
                checks.push(detailed(
                    row("auth", CheckStatus::Skip, "not checked".to_owned()),
                    "auth",
                    "unchecked",
                ));
                checks.push(detailed(
                    row("leases", CheckStatus::Skip, "not checked".to_owned()),
                    "inventory",
                    "unchecked",
                ));
                return checks;
            }
        }
        match self.cli.whoami().await {
            Ok(login) => {
                let message = format!("logged in as {} at {}", login.username, origin(&login.url));
                checks.push(detailed(row("auth", CheckStatus::Ok, message), "auth", "ready"));
            }
            Err(error) => {
                let auth = if error.kind() == ErrorKind::Auth { "missing_login" } else { "failed" };
                checks.push(detailed(no("auth", &error), "auth", auth));
                checks.push(detailed(
                    row("leases", CheckStatus::Skip, "not checked".to_owned()),
                    "inventory",
                    "unchecked",
                ));
                return checks;
            }
        }
        checks.push(match self.listed().await {
            Ok(list) => {
                let (count, prefix) = (list.leases.len(), &self.settings.prefix);
                let message = format!("{count} with names that begin with `{prefix}`");
                detailed(row("leases", CheckStatus::Ok, message), "inventory", "ready")
            }
            Err(error) => detailed(no("leases", &error), "inventory", "failed"),
        });
        checks.push(match &self.settings.template {
            Some(template) => row("template", CheckStatus::Ok, format!("`{template}` is configured")),
            None => {
                let mut none = row("template", CheckStatus::Warn, "none is configured: nothing can be made".to_owned());
                none.hint = Some("`coder templates list` shows them; set `--coder-template`, or `template` in the block `coder`".to_owned());
                none
            }
        });
        if let Some(lease) = lease {
            checks.push(self.check_lease(lease).await);
        }
        checks
    }

    async fn check_lease(&self, lease: &Lease) -> Check {
        let found = async {
            let sought = Sought::of(lease, &self.settings)?;
            self.cli.look(&sought, &self.settings).await
        };
        let (status, message) = match found.await {
            Err(error) => return no("lease", &error),
            Ok(Found::One(workspace)) => match standing(&workspace, &self.settings) {
                Ok(Standing::Ready(agent, None)) => {
                    (CheckStatus::Ok, format!("agent {} of {} is ready", agent.name, workspace.reference()))
                }
                Ok(Standing::Ready(_, Some(why)) | Standing::Starting(why) | Standing::Stopped(why)) => {
                    (CheckStatus::Warn, why)
                }
                Ok(Standing::Failed(why) | Standing::Leaving(why)) => (CheckStatus::Fail, why),
                Err(error) => return no("lease", &error),
            },
            Ok(Found::Several(_)) => (CheckStatus::Fail, "several workspaces have its name".to_owned()),
            Ok(Found::Absent | Found::Replaced) => (CheckStatus::Fail, "its workspace is gone".to_owned()),
            Ok(Found::Unseen) => (CheckStatus::Fail, "its workspace is not seen by this user".to_owned()),
        };
        row("lease", status, message)
    }
}

/// The deployment without whatever may be in a URL besides.
fn origin(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    url[..end].trim_end_matches('/')
}

fn row(name: &str, status: CheckStatus, message: String) -> Check {
    let mut row = check(name, status, message);
    row.details.insert("mutation".to_owned(), false.into());
    row
}

fn detailed(mut row: Check, key: &str, value: &str) -> Check {
    row.details.insert(key.to_owned(), value.into());
    row
}

/// A row for what could not be asked.
fn no(name: &str, error: &Error) -> Check {
    let mut row = failed(name, error);
    row.details.insert("mutation".to_owned(), false.into());
    row
}

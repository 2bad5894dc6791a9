//! `doctor`: is there an agent, does it let us in, and may we do there what a lease needs? It only reads.

mod capabilities;

use crabbox_provider_kit::protocol::{Check, CheckStatus, ErrorKind, Lease};
use crabbox_provider_kit::{Error, Result, check};
use serde_json::Value;

use crate::allocations::Standing;
use crate::api::{Node, Token, one_line};
use crate::job::Identity;
use crate::provider::{Found, Nomad};

impl Nomad {
    /// Every check, and one for `lease`. Where the agent cannot be reached, or the region not from it, the
    /// others are not asked for.
    pub(crate) async fn checks(&self, lease: Option<&Lease>) -> Vec<Check> {
        let mut checks = vec![self.reach().await];
        if checks[0].status == CheckStatus::Fail {
            return checks;
        }
        checks.push(self.region().await);
        if checks[1].status == CheckStatus::Fail {
            return checks;
        }
        let (row, token) = self.auth().await;
        let may_ask = row.status != CheckStatus::Fail;
        checks.push(row);
        if may_ask {
            checks.push(self.namespace().await);
            checks.push(self.capabilities(token.as_ref()).await);
            checks.push(self.nodes().await);
            checks.push(self.leases().await);
            if let Some(lease) = lease {
                checks.push(self.lease(lease).await);
            }
        }
        checks
    }

    /// Whether an agent answers. The question needs no token.
    async fn reach(&self) -> Check {
        let address = self.settings.address.to_string();
        match self.api.ask::<String>("/v1/status/leader").await {
            Ok(Ok(leader)) if leader.is_empty() => {
                let row = check(
                    "agent",
                    CheckStatus::Warn,
                    format!("{address} answers, and its cluster has no leader"),
                );
                hinted(row, "no_leader", "wait, or look at the servers' logs")
            }
            // Of that, the row about the region says more.
            Ok(Err(refusal)) if !refusal.text.contains("No path to region") => {
                failed("agent", self.api.error(&refusal))
            }
            Ok(_) => check("agent", CheckStatus::Ok, format!("{address} answers")),
            Err(error) => failed("agent", error),
        }
    }

    async fn region(&self) -> Check {
        let regions: Vec<String> = match self.api.get("/v1/regions", &[]).await {
            Ok(regions) => regions,
            Err(error) => return failed("region", error),
        };
        let all = regions.iter().map(|region| one_line(region)).collect::<Vec<_>>().join(", ");
        match &self.settings.configured_region {
            None => check(
                "region",
                CheckStatus::Ok,
                format!("none is configured; the agent's own is used of {all}"),
            ),
            Some(region) if regions.contains(region) => {
                check("region", CheckStatus::Ok, format!("`{region}` is there"))
            }
            Some(region) => {
                let row = check(
                    "region",
                    CheckStatus::Fail,
                    format!("there is no region `{region}`; there are {all}"),
                );
                hinted(row, "missing_region", "set `region` in the block `nomad`, or NOMAD_REGION")
            }
        }
    }

    /// Whether the token is one. Agents without ACLs answer in two ways, by version.
    async fn auth(&self) -> (Check, Option<Token>) {
        let name = self.api.token_env();
        let not_required = |token| {
            let row = check("token", CheckStatus::Ok, "the cluster has no ACLs, so no token is needed");
            (detailed(row, "auth", "not_required"), token)
        };
        match self.api.ask::<Token>("/v1/acl/token/self").await {
            Ok(Ok(token)) if token.accessor_id == "acls-disabled" => not_required(None),
            Ok(Ok(token)) if self.api.has_token() => {
                let row = check("token", CheckStatus::Ok, format!("the token in {name} is valid"));
                (detailed(row, "auth", "token"), Some(token))
            }
            Ok(Ok(token)) => {
                let row = check(
                    "token",
                    CheckStatus::Ok,
                    format!("{name} is not set; whoever has no token may come in"),
                );
                (detailed(row, "auth", "anonymous"), Some(token))
            }
            Ok(Err(refusal)) if refusal.status.as_u16() == 400 => not_required(None),
            // What has not the form of a token is refused in a way of its own.
            Ok(Err(refusal))
                if (refusal.is_denial() || refusal.text.contains("signed token")) && self.api.has_token() =>
            {
                let row = check("token", CheckStatus::Fail, format!("the token in {name} is not valid here"));
                (hinted(row, "invalid_auth", "has it expired, or is it another cluster's?"), None)
            }
            Ok(Err(refusal)) if refusal.is_denial() => {
                let row = check(
                    "token",
                    CheckStatus::Fail,
                    format!("the cluster wants a token, and {name} is not set"),
                );
                (hinted(row, "missing_token", &format!("set {name} to an ACL token's secret")), None)
            }
            Ok(Err(refusal)) => (failed("token", self.api.error(&refusal)), None),
            Err(error) => (failed("token", error), None),
        }
    }

    async fn namespace(&self) -> Check {
        let namespace = &self.settings.namespace;
        let path = format!("/v1/namespace/{}", crate::api::segment(namespace));
        match self.api.ask::<Value>(&path).await {
            Ok(Ok(_)) => check("namespace", CheckStatus::Ok, format!("`{namespace}` is there")),
            Ok(Err(refusal)) if refusal.status.as_u16() == 404 => {
                let row =
                    check("namespace", CheckStatus::Fail, format!("there is no namespace `{namespace}`"));
                hinted(row, "not_found", "set `namespace` in the block `nomad`, or NOMAD_NAMESPACE")
            }
            Ok(Err(refusal)) if refusal.is_denial() && !self.api.has_token() => {
                let name = self.api.token_env();
                let message = format!("without a token nothing is allowed in `{namespace}`");
                let row = check("namespace", CheckStatus::Fail, message);
                hinted(row, "missing_token", &format!("set {name} to an ACL token's secret"))
            }
            Ok(Err(refusal)) if refusal.is_denial() => {
                let message = format!("the token may do nothing in `{namespace}`");
                let row = check("namespace", CheckStatus::Fail, message);
                hinted(row, "invalid_auth", "docs/providers/nomad.md lists what its policies must hold")
            }
            Ok(Err(refusal)) => failed("namespace", self.api.error(&refusal)),
            Err(error) => failed("namespace", error),
        }
    }

    /// Whether some node could take a lease. Not every token may know.
    async fn nodes(&self) -> Check {
        let driver = &self.settings.driver;
        let nodes: Vec<Node> = match self.api.ask("/v1/nodes").await {
            Ok(Ok(nodes)) => nodes,
            Ok(Err(refusal)) if refusal.is_denial() => {
                return check(
                    "nodes",
                    CheckStatus::Skip,
                    "the token may not look at nodes, which no lease needs",
                );
            }
            Ok(Err(refusal)) => return failed("nodes", self.api.error(&refusal)),
            Err(error) => return failed("nodes", error),
        };
        let ready =
            nodes.iter().filter(|node| node.status == "ready" && node.scheduling_eligibility == "eligible");
        let has = |node: &&Node| {
            node.drivers.get(driver).and_then(Option::as_ref).is_some_and(|driver| driver.healthy)
        };
        let fit = ready.filter(has).count();
        let message = format!("{fit} of {} are ready and have the driver {driver}", nodes.len());
        match fit {
            0 => hinted(
                check("nodes", CheckStatus::Fail, message),
                "no_node",
                "`driver` in the block `nomad` names another",
            ),
            _ => check("nodes", CheckStatus::Ok, message),
        }
    }

    async fn leases(&self) -> Check {
        match self.listed().await {
            Ok(list) => check("leases", CheckStatus::Ok, format!("{} in this scope", list.leases.len())),
            Err(error) => failed("leases", error),
        }
    }

    async fn lease(&self, lease: &Lease) -> Check {
        let identity = Identity::of(lease, &self.settings);
        let stands: Result<_> = async {
            Ok(match self.find(&identity).await? {
                Found::Absent => (CheckStatus::Fail, format!("there is no job {}", identity.job_id)),
                Found::Stopped => (CheckStatus::Fail, format!("the job {} was stopped", identity.job_id)),
                Found::Ours(group) => match self.standing(&identity, &group).await? {
                    Standing::Ready(place) => (CheckStatus::Ok, format!("it is on node {}", place.node)),
                    Standing::Starting(why) => (CheckStatus::Warn, why),
                    Standing::Failed(why) => (CheckStatus::Fail, why),
                },
            })
        }
        .await;
        match stands {
            Ok((status, message)) => check("lease", status, message),
            Err(error) => failed("lease", error),
        }
    }
}

/// A row for what could not be asked.
fn failed(name: &str, error: Error) -> Check {
    let row = crabbox_provider_kit::failed(name, &error);
    let class = match error.kind() {
        ErrorKind::ConfigInvalid if row.message.starts_with("TLS ") => "tls",
        ErrorKind::ConfigInvalid => "config",
        ErrorKind::Auth => "invalid_auth",
        ErrorKind::Unavailable | ErrorKind::Transport | ErrorKind::Deadline => "connectivity",
        ErrorKind::NotFound => "not_found",
        _ => "api",
    };
    detailed(row, "class", class)
}

fn hinted(mut row: Check, class: &str, hint: &str) -> Check {
    row.hint = Some(hint.to_owned());
    detailed(row, "class", class)
}

fn detailed(mut row: Check, key: &str, value: &str) -> Check {
    row.details.insert(key.to_owned(), value.into());
    row
}

//! Published names: a rule of the edge, which ends TLS and forwards to a port of the machine.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::http::segment;
use serde::Deserialize;
use serde_json::json;

use super::super::client::PATIENCE;
use super::super::pages::{self, Page};
use super::super::{Published, refused};
use super::V5;

/// A rule as it is told.
#[derive(Debug, Deserialize)]
struct Rule {
    id: String,
    domain: String,
    #[serde(default)]
    destination: Destination,
}

/// Where a rule leads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Destination {
    vm_id: Option<String>,
    port: Option<u16>,
}

/// A page of rules.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    rules: Vec<Rule>,
    #[serde(default)]
    total_count: Option<usize>,
}

impl Page for Rules {
    type Item = Rule;

    fn open(self) -> (Vec<Rule>, Option<usize>) {
        (self.rules, self.total_count)
    }

    fn id(rule: &Rule) -> &str {
        &rule.id
    }
}

impl V5 {
    pub(crate) async fn published(&self, vm: &str) -> Result<Vec<Published>> {
        let rules = pages::all::<Rules>(&self.client, "/v5/tls", &[("vmId", vm)]).await?;
        Ok(rules.into_iter().filter_map(|rule| published(rule, vm)).collect())
    }

    pub(crate) async fn publish(&self, vm: &str, port: u16, domain: &str) -> Result<Published> {
        let rule = json!({
            "action": "allow",
            "domain": domain,
            "protocol": "http",
            "source": {"public": true},
            "destination": {"vmId": vm, "port": port},
        });
        let made = self.client.order::<Rule>("/v5/tls", &rule, PATIENCE).await?;
        let rule = made.map_err(|refusal| refused::error(&refusal))?;
        Ok(Published { id: rule.id, domain: domain.to_owned(), port })
    }

    pub(crate) async fn unpublish(&self, id: &str) -> Result<()> {
        self.client.delete(&format!("/v5/tls/{}", segment(id))).await
    }
}

/// What a rule publishes of a machine, if it does.
fn published(rule: Rule, vm: &str) -> Option<Published> {
    let port = rule.destination.port.filter(|_| rule.destination.vm_id.as_deref() == Some(vm))?;
    Some(Published { id: rule.id, domain: rule.domain, port })
}

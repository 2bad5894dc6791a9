//! Published names: a mapping of a domain to a port of the machine. All mappings of the account are in one list.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::http::segment;
use serde::Deserialize;
use serde_json::json;

use super::super::Published;
use super::super::client::PATIENCE;
use super::super::pages::{self, Page};
use super::V1;

/// A mapping as it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    domain: String,
    #[serde(default)]
    vm_id: Option<String>,
    #[serde(default)]
    vm_port: Option<u16>,
    #[serde(default)]
    unmapped_at: Option<String>,
}

impl Page for Vec<Mapping> {
    type Item = Mapping;

    fn open(self) -> (Vec<Mapping>, Option<usize>) {
        (self, None)
    }

    fn id(mapping: &Mapping) -> &str {
        &mapping.domain
    }
}

impl V1 {
    pub(crate) async fn published(&self, vm: &str) -> Result<Vec<Published>> {
        let all = pages::all::<Vec<Mapping>>(&self.client, "/domains/v1/mappings", &[]).await?;
        Ok(all.into_iter().filter_map(|mapping| published(mapping, vm)).collect())
    }

    pub(crate) async fn publish(&self, vm: &str, port: u16, domain: &str) -> Result<Published> {
        let path = format!("/domains/v1/mappings/{}", segment(domain));
        self.client.tell(&path, &json!({"vmId": vm, "vmPort": port}), PATIENCE).await?;
        Ok(Published { id: domain.to_owned(), domain: domain.to_owned(), port })
    }

    pub(crate) async fn unpublish(&self, id: &str) -> Result<()> {
        self.client.delete(&format!("/domains/v1/mappings/{}", segment(id))).await
    }
}

/// What a mapping publishes of a machine, if it does.
fn published(mapping: Mapping, vm: &str) -> Option<Published> {
    let is_open = mapping.unmapped_at.is_none() && mapping.vm_id.as_deref() == Some(vm);
    let port = mapping.vm_port.filter(|_| is_open)?;
    Some(Published { id: mapping.domain.clone(), domain: mapping.domain, port })
}

//! `bridge`: a port of the lease as a URL. Freestyle's edge ends TLS at a name below `style.dev` and forwards to the
//! port; the name is not to be guessed, but whoever has it gets in.

use crabbox_provider_kit::http::segment;
use crabbox_provider_kit::protocol::{
    BridgeParams, BridgeResult, BridgeState, BridgeTarget, Transport, UnbridgeOutcome, UnbridgeParams,
    UnbridgeResult,
};
use crabbox_provider_kit::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api::{TlsRule, TlsRules};
use crate::provider::Freestyle;

/// Below this any name may be used.
const ZONE: &str = "style.dev";

impl Freestyle {
    /// Answers `bridge`.
    pub(crate) async fn reachable(&self, params: &BridgeParams) -> Result<BridgeResult> {
        let vm = self.expect(&params.lease).await?;
        let rules = self.rules(&vm.id, params.port).await?;
        let expires_at = params.ttl_ms.and_then(|ms| i64::try_from(ms).ok()).map(SignedDuration::from_millis);
        let expires_at = expires_at.and_then(|time| Timestamp::now().checked_add(time).ok());
        match (rules.is_empty(), params.publish, params.port) {
            (false, _, _) => Ok(ready(&rules, expires_at)),
            (true, true, Some(port)) => Ok(ready(&[self.publish(&vm.id, port).await?], expires_at)),
            (true, true, None) => Ok(none("a port has to be named to be published")),
            (true, false, _) => Ok(none("nothing is published; it is done on request")),
        }
    }

    /// Answers `unbridge`.
    pub(crate) async fn unpublish(&self, params: &UnbridgeParams) -> Result<UnbridgeResult> {
        let vm = self.expect(&params.lease).await?;
        let mut outcome = UnbridgeOutcome::Absent;
        for rule in self.rules(&vm.id, params.port).await? {
            if params.id.as_ref().is_none_or(|id| *id == rule.id) {
                self.api.delete(&format!("/v5/tls/{}", segment(&rule.id))).await?;
                outcome = UnbridgeOutcome::Released;
            }
        }
        Ok(UnbridgeResult { outcome })
    }

    /// What is published of a machine.
    async fn rules(&self, vm: &str, port: Option<u16>) -> Result<Vec<TlsRule>> {
        let page: TlsRules = self.api.get("/v5/tls", &[("vmId", vm), ("limit", "100")]).await?;
        let leads = |rule: &TlsRule| {
            let to = &rule.destination;
            to.vm_id.as_deref() == Some(vm)
                && to.port.is_some()
                && port.is_none_or(|port| to.port == Some(port))
        };
        Ok(page.rules.into_iter().filter(leads).collect())
    }

    async fn publish(&self, vm: &str, port: u16) -> Result<TlsRule> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::internal("there is no randomness").cause(error))?;
        let label: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let rule = json!({
            "action": "allow",
            "domain": format!("crabbox-{label}.{ZONE}"),
            "protocol": "http",
            "source": {"public": true},
            "destination": {"vmId": vm, "port": port},
        });
        let made = self.api.order::<TlsRule>("/v5/tls", &rule, crate::api::PATIENCE).await?;
        made.map_err(|refusal| self.api.error(&refusal))
    }
}

fn ready(rules: &[TlsRule], expires_at: Option<Timestamp>) -> BridgeResult {
    let target = |rule: &TlsRule| BridgeTarget {
        port: rule.destination.port.unwrap_or_default(),
        url: format!("https://{}", rule.domain),
        id: rule.id.clone(),
        expires_at,
    };
    let targets: Vec<_> = rules.iter().map(target).collect();
    BridgeResult {
        state: BridgeState::Ready,
        transport: Transport::Url,
        endpoint: targets.first().map(|target| target.url.clone()),
        message: Some(
            "open to everybody who knows the name, until it is taken back or the lease ends".to_owned(),
        ),
        targets,
    }
}

fn none(why: &str) -> BridgeResult {
    BridgeResult {
        state: BridgeState::Unsupported,
        transport: Transport::None,
        endpoint: None,
        targets: Vec::new(),
        message: Some(why.to_owned()),
    }
}

//! `bridge`: where a port of the lease can be reached, if its job has one. Nothing is published here: ports are
//! part of the job, from `acquire` on.

use crabbox_provider_kit::protocol::{BridgeParams, BridgeResult, BridgeState, BridgeTarget, Transport};
use crabbox_provider_kit::{Error, Result};

use crate::allocations::Standing;
use crate::api::{AllocationDetails, PortMapping};
use crate::job::Identity;
use crate::provider::{Found, Nomad};

impl Nomad {
    /// Answers `bridge`.
    pub(crate) async fn reachable(&self, params: &BridgeParams) -> Result<BridgeResult> {
        let identity = Identity::of(&params.lease, &self.settings);
        let place = match self.find(&identity).await? {
            Found::Absent => return Err(Error::not_found(format!("there is no job {}", identity.job_id))),
            Found::Stopped => return Ok(none(BridgeState::Unsupported, "the job was stopped".to_owned())),
            Found::Ours(group) => match self.standing(&identity, &group).await? {
                Standing::Ready(place) => place,
                Standing::Starting(why) => return Ok(none(BridgeState::Pending, why)),
                Standing::Failed(why) => return Ok(none(BridgeState::Unsupported, why)),
            },
        };
        let path = format!("/v1/allocation/{}", place.allocation);
        let details: AllocationDetails = self.api.get(&path, &[]).await?;
        Ok(answer(&details.allocated_resources.shared.ports, params.port))
    }
}

/// The way to `port`, or to the lease as a whole, by the ports that the allocation was given.
fn answer(ports: &[PortMapping], wanted: Option<u16>) -> BridgeResult {
    let targets: Vec<_> =
        ports.iter().map(target).filter(|target| wanted.is_none_or(|port| port == target.port)).collect();
    let Some(first) = targets.first() else {
        return none(
            BridgeState::Unsupported,
            match wanted {
                Some(port) => format!(
                    "the job has no port that leads to {port}; ports are given to a lease when it is made"
                ),
                None => "the job has no ports; they are given to a lease when it is made".to_owned(),
            },
        );
    };
    BridgeResult {
        state: BridgeState::Ready,
        transport: Transport::Url,
        endpoint: Some(first.url.clone()),
        message: Some("reachable from wherever the node is; Nomad does not encrypt or protect it".to_owned()),
        targets,
    }
}

fn target(mapping: &PortMapping) -> BridgeTarget {
    let port = if mapping.to == 0 { mapping.value } else { mapping.to };
    let host = match mapping.host_ip.contains(':') {
        true => format!("[{}]", mapping.host_ip),
        false => mapping.host_ip.clone(),
    };
    let url = format!("http://{host}:{}", mapping.value);
    BridgeTarget { port, url, id: mapping.label.clone(), expires_at: None }
}

fn none(state: BridgeState, message: String) -> BridgeResult {
    BridgeResult {
        state,
        transport: Transport::None,
        endpoint: None,
        targets: Vec::new(),
        message: Some(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(label: &str, value: u16, to: u16, host_ip: &str) -> PortMapping {
        PortMapping { label: label.into(), value, to, host_ip: host_ip.into() }
    }

    #[test]
    fn a_port_is_found_by_where_it_leads_to() {
        let ports = [mapping("port8080", 23456, 8080, "10.0.0.5"), mapping("raw", 9000, 0, "fd00::5")];
        let found = answer(&ports, Some(8080));
        assert_eq!((found.state, found.transport), (BridgeState::Ready, Transport::Url));
        assert_eq!(found.endpoint.as_deref(), Some("http://10.0.0.5:23456"));
        assert_eq!(answer(&ports, Some(9000)).endpoint.as_deref(), Some("http://[fd00::5]:9000"));
        assert_eq!(answer(&ports, None).targets.len(), 2);
        for (ports, port) in [(&ports[..], Some(23456)), (&[], Some(1)), (&[], None)] {
            let found = answer(ports, port);
            assert_eq!((found.state, found.transport), (BridgeState::Unsupported, Transport::None));
            assert!(found.message.is_some() && found.endpoint.is_none());
        }
    }
}

//! Which ports of which members are forwarded, and why the others are not.

use std::collections::BTreeSet;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::{Claim, ClaimState, CrewConnection};

use super::names::names;

/// A member whose ports are forwarded.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What is known of its lease.
    pub(super) claim: Claim,
    /// Its name among the members.
    pub(super) name: String,
    /// Its role, where it is the only one that has it.
    pub(super) role: Option<String>,
}

/// What there is to be done for a crew.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The crew.
    pub(super) crew: String,
    /// Whose ports are forwarded.
    pub(super) members: Vec<Member>,
    /// Who is not reached by SSH.
    otherwise: Vec<String>,
    /// Who promised no port.
    silent: Vec<String>,
    /// Who is not there, and why.
    absent: Vec<String>,
}

impl Plan {
    /// `claims` are those of all members of the crew, `provider` says whose ports are wanted.
    pub(crate) fn of(crew: &str, claims: &[Claim], provider: Option<&str>) -> Self {
        let mut plan = Self {
            crew: crew.to_owned(),
            members: Vec::new(),
            otherwise: Vec::new(),
            silent: Vec::new(),
            absent: Vec::new(),
        };
        let wanted = |claim: &Claim| provider.is_none_or(|provider| claim.provider == provider);
        for (claim, names) in claims.iter().zip(names(claims)).filter(|(claim, _)| wanted(claim)) {
            let (name, role) = (names.own, names.role);
            if let Some(why) = absent(claim) {
                plan.absent.push(format!("{name} ({why})"));
            } else if claim.ssh.is_none() {
                plan.otherwise.push(name);
            } else if claim.expose.is_empty() {
                plan.silent.push(name);
            } else {
                plan.members.push(Member { claim: claim.clone(), name, role });
            }
        }
        plan
    }

    /// Whether there is nothing to forward.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether these are the forwards that were planned.
    pub(crate) fn is(&self, connection: &CrewConnection) -> bool {
        let planned: BTreeSet<(&LeaseId, u16)> = self
            .members
            .iter()
            .flat_map(|member| member.claim.expose.iter().map(|port| (&member.claim.lease.id, *port)))
            .collect();
        let there = connection.forwards.iter().map(|forward| (&forward.lease_id, forward.remote_port));
        planned == there.collect()
    }

    /// Who is left out, a line per reason.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let crew = &self.crew;
        let mut lines = Vec::new();
        let mut line = |names: &[String], why: &str| {
            if !names.is_empty() {
                lines.push(format!("not forwarded: {}: {why}", names.join(", ")));
            }
        };
        let peers = format!("not reached by SSH; `crabbox crew peers --crew {crew}` says how");
        line(&self.otherwise, &peers);
        line(&self.silent, "no port was promised; `--expose PORT` does that when a lease is made");
        line(&self.absent, "not there");
        lines
    }
}

/// Why a lease is not there, if it is not.
pub(super) fn absent(claim: &Claim) -> Option<&'static str> {
    match claim.state {
        ClaimState::Leased if claim.stopped_at.is_some() => Some("stopped"),
        ClaimState::Leased => None,
        state => Some(state.name()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crabbox_protocol::records::CrewForward;
    use serde_json::json;

    use super::*;

    /// A lease that is reached by SSH.
    pub(in super::super) fn claim(slug: &str, provider: &str) -> Claim {
        let hex: String = slug.bytes().map(|byte| format!("{byte:02x}")).collect();
        serde_json::from_value(json!({
            "version": 1, "revision": "", "state": "leased", "owner": "user", "provider": provider,
            "lease": {"id": format!("cbx_{:0>12}", &hex[..hex.len().min(12)]), "slug": slug, "name": slug, "crew": "shop"},
            "plugin": {"version": "1", "path": "/p", "sha256": ""},
            "scope": "here", "config": {}, "release": "delete", "createSettleMs": 0,
            "createdAt": "2026-01-01T00:00:00Z", "lastUsedAt": "2026-01-01T00:00:00Z",
            "ssh": {"user": "me", "host": "there", "workRoot": "/w"}, "expose": [80, 443],
        }))
        .unwrap()
    }

    #[test]
    fn what_is_forwarded_and_why_the_rest_is_not() {
        let mut claims: Vec<_> = ["a", "b", "c", "d", "e"].map(|slug| claim(slug, "p")).into();
        claims[1].ssh = None;
        claims[2].expose.clear();
        claims[3].stopped_at = Some(claims[3].created_at);
        claims[4].state = ClaimState::Releasing;
        claims.push(claim("f", "q"));
        let plan = Plan::of("shop", &claims, None);
        let named = |plan: &Plan| plan.members.iter().map(|member| member.name.clone()).collect::<Vec<_>>();
        assert_eq!(named(&plan), ["a", "f"]);
        let said = plan.left_out().join("\n");
        for part in [
            "b: not reached by SSH; `crabbox crew peers --crew shop`",
            "c: no port",
            "d (stopped), e (releasing)",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(named(&Plan::of("shop", &claims, Some("q"))), ["f"]);
        assert!(Plan::of("shop", &claims[1..5], None).is_empty());
    }

    #[test]
    fn what_stands_is_the_same_when_it_is_the_same_ports_of_the_same_leases() {
        let plan = Plan::of("shop", &[claim("a", "p")], None);
        let forward = |port| CrewForward {
            slug: "a".to_owned(),
            name: "a".to_owned(),
            role: None,
            lease_id: plan.members[0].claim.lease.id.clone(),
            provider: "p".to_owned(),
            remote_port: port,
            local_port: 51_820,
        };
        let connection = |ports: &[u16]| CrewConnection {
            crew: "shop".to_owned(),
            pid: 1,
            hosts_path: String::new(),
            env_path: String::new(),
            exports: Vec::new(),
            forwards: ports.iter().map(|port| forward(*port)).collect(),
        };
        assert!(plan.is(&connection(&[443, 80])));
        assert!(!plan.is(&connection(&[80])) && !plan.is(&connection(&[80, 443, 8080])));
    }
}

//! `bridge`: a port of the lease as a URL. Freestyle's edge ends TLS at a name below `style.dev` and forwards to the
//! port; the name is not to be guessed, but whoever has it gets in.
//!
//! Freestyle knows of no end of a name but its machine's. So the end is part of the name, and whenever the lease is
//! used or somebody asks to publish something, names whose time is over are taken back.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{
    BridgeParams, BridgeResult, BridgeState, BridgeTarget, Transport, UnbridgeOutcome, UnbridgeParams,
    UnbridgeResult,
};
use jiff::Timestamp;

use crate::api::{Machine, Published};
use crate::config::Version;
use crate::place::random;
use crate::provider::Freestyle;

/// Below this any name may be used.
const ZONE: &str = "style.dev";

impl Freestyle {
    /// Answers `bridge`.
    pub(crate) async fn reachable(&self, params: &BridgeParams) -> Result<BridgeResult> {
        let vm = self.expect(&params.lease).await?.id;
        let (over, mut open) = self.names(&vm).await?;
        open.retain(|name| params.port.is_none_or(|port| port == name.port));
        let over_but_open = over.len();
        if params.publish {
            self.close(&over).await?;
        }
        match (open.is_empty(), params.publish, params.port) {
            (false, ..) => Ok(ready(&open)),
            (true, true, Some(port)) => {
                let domain = domain(&random()?, end(Timestamp::now(), params.ttl_ms));
                Ok(ready(&[self.api.publish(&vm, port, &domain).await?]))
            }
            (true, true, None) => Ok(none("a port has to be named to be published")),
            (true, false, _) if over_but_open > 0 => {
                Ok(none("its time is over; it is taken back when the lease is used or ends"))
            }
            (true, false, _) => Ok(none("nothing is published; it is done on request")),
        }
    }

    /// Answers `unbridge`.
    pub(crate) async fn unpublish(&self, params: &UnbridgeParams) -> Result<UnbridgeResult> {
        let vm = self.expect(&params.lease).await?.id;
        let (over, open) = self.names(&vm).await?;
        self.close(&over).await?;
        let is_meant = |name: &&Published| {
            params.port.is_none_or(|port| port == name.port)
                && params.id.as_ref().is_none_or(|id| *id == name.id)
        };
        let meant: Vec<_> = open.iter().filter(is_meant).cloned().collect();
        self.close(&meant).await?;
        let was_there = !meant.is_empty() || over.iter().any(|name| is_meant(&name));
        Ok(UnbridgeResult {
            outcome: if was_there { UnbridgeOutcome::Released } else { UnbridgeOutcome::Absent },
        })
    }

    /// Takes back what was published of a machine for a time that is over.
    pub(crate) async fn close_what_is_over(&self, vm: &str) -> Result<()> {
        let (over, _) = self.names(vm).await?;
        self.close(&over).await
    }

    /// Takes back everything that was published of a machine which is about to be deleted, where it is not known that
    /// Freestyle does so by itself. A name that stays leads nowhere, and is no reason to keep the machine.
    pub(crate) async fn close_everything(&self, machine: &Machine) {
        if self.settings.version == Version::V1
            && let Ok(names) = self.api.published(&machine.id).await
        {
            _ = self.close(&names).await;
        }
    }

    async fn close(&self, names: &[Published]) -> Result<()> {
        for name in names {
            self.api.unpublish(&name.id).await?;
        }
        Ok(())
    }

    /// What is published of a machine: what has no time any more, and the rest.
    async fn names(&self, vm: &str) -> Result<(Vec<Published>, Vec<Published>)> {
        let (now, names) = (Timestamp::now(), self.api.published(vm).await?);
        Ok(names.into_iter().partition(|name| end_of(&name.domain).is_some_and(|end| end <= now)))
    }
}

/// A name that is not to be guessed, with its end, if it has one, in seconds of Unix time and hexadecimal digits.
fn domain(random: &str, end: Option<Timestamp>) -> String {
    let end = end.map(|end| format!("-{:x}", end.as_second())).unwrap_or_default();
    format!("crabbox-{random}{end}.{ZONE}")
}

/// When the time of a name is over, if it is one of ours that has an end.
fn end_of(domain: &str) -> Option<Timestamp> {
    let label = domain.strip_suffix(ZONE)?.strip_suffix('.')?.strip_prefix("crabbox-")?;
    let (_, end) = label.split_once('-')?;
    Timestamp::from_second(i64::from_str_radix(end, 16).ok()?).ok()
}

/// When a time from now is over, in whole seconds, rounded up.
fn end(now: Timestamp, ttl_ms: Option<u64>) -> Option<Timestamp> {
    let end = now.as_millisecond().checked_add(i64::try_from(ttl_ms?).ok()?)?;
    Timestamp::from_second(end.div_euclid(1000) + i64::from(end.rem_euclid(1000) > 0)).ok()
}

fn ready(names: &[Published]) -> BridgeResult {
    let target = |name: &Published| BridgeTarget {
        port: name.port,
        url: format!("https://{}", name.domain),
        id: name.id.clone(),
        expires_at: end_of(&name.domain),
    };
    let targets: Vec<_> = names.iter().map(target).collect();
    let message = match targets.iter().any(|target| target.expires_at.is_some()) {
        true => {
            "open to everybody who knows the name; Freestyle does not close it by itself: it is taken back when the \
             lease is used after its end, or ends"
        }
        false => "open to everybody who knows the name, until it is taken back or the lease ends",
    };
    BridgeResult {
        state: BridgeState::Ready,
        transport: Transport::Url,
        endpoint: targets.first().map(|target| target.url.clone()),
        message: Some(message.to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_is_in_the_name() {
        let now: Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let random = "0123456789abcdef0123456789abcdef";
        let with_end = domain(random, end(now, Some(60_000)));
        assert_eq!(end_of(&with_end).unwrap().to_string(), "2026-01-02T03:05:06Z");
        let label = with_end.strip_suffix(".style.dev").unwrap();
        assert!(label.len() <= 63 && label.contains(random), "{label}");
        let without = domain(random, end(now, None));
        assert_eq!(end_of(&without), None);
        assert_eq!(end(now, Some(u64::MAX)), None, "no end that anybody will see");
        for other in
            ["crabbox-x-7.example.com", "somebody-7f.style.dev", "crabbox-x-zz.style.dev", "style.dev"]
        {
            assert_eq!(end_of(other), None, "{other}");
        }
    }
}

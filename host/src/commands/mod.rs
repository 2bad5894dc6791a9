//! The commands: each resolves its input, has a workflow do the work, and prints.

mod cleanup;
mod cp;
mod crew;
mod doctor;
mod list;
mod run;
mod ssh;
mod status;
mod stop;
mod sync_plan;
mod tailnet;
mod warmup;

pub(crate) use cleanup::{CleanupArgs, cleanup};
pub(crate) use cp::{CpArgs, cp};
pub(crate) use crew::{CrewCommand, crew};
pub(crate) use doctor::{DoctorArgs, doctor};
pub(crate) use list::{ListArgs, list};
pub(crate) use run::{RunArgs, run};
pub(crate) use ssh::{ConnectArgs, SshArgs, connect, ssh};
pub(crate) use status::{StatusArgs, status};
pub(crate) use stop::{StopArgs, stop};
pub(crate) use sync_plan::{SyncPlanArgs, sync_plan};
pub(crate) use warmup::{WarmupArgs, warmup};

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use crabbox_protocol::records::Owner;

use self::tailnet::TailnetArgs;
use crate::config::parse_duration;
use crate::crew::{crew_name, label, ports};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lease::normalise_slug;
use crate::workflow::{Wish, ms};

/// Which provider.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProviderArgs {
    /// Use this provider
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

/// What a new lease is to be.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LeaseArgs {
    /// Call the new lease this, instead of by a name of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) slug: Option<String>,

    /// End a kept lease after this time, such as 90m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,

    /// End a kept lease that stood unused for this time, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// Make the new lease a member of this crew
    #[arg(long, alias = "pond", value_name = "NAME")]
    crew: Option<String>,

    /// Say what the new lease is in its crew, such as `db`
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,

    /// Label the new lease; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    lease_label: Vec<(String, String)>,

    /// Say that others will want to reach this port of the new lease; can be repeated
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    expose: Vec<u16>,

    #[command(flatten)]
    tailnet: TailnetArgs,
}

impl LeaseArgs {
    /// What the new lease is to be.
    pub(crate) fn wish(&self, host: &Host, owner: Owner) -> Result<Wish> {
        let mut labels: BTreeMap<String, String> = self.lease_label.iter().cloned().collect();
        if let Some(role) = &self.role {
            let role = label(&format!("{ROLE}={role}"));
            labels.extend([role.map_err(|problem| Error::usage(format!("`--role`: {problem}")))?]);
        }
        let crew = self.crew.as_deref().map(crew_name).transpose()?.flatten();
        Ok(Wish {
            tailscale: self.tailnet.wish(host, crew.as_deref())?,
            slug: self.slug.as_deref().map(normalise_slug).transpose()?,
            owner,
            ttl_ms: ms(host.settings.ttl.value),
            idle_timeout_ms: ms(host.settings.idle_timeout.value),
            crew,
            labels,
            expose: ports(&self.expose)?,
        })
    }

    /// What is given of what only a new lease can be.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--slug", self.slug.is_some()),
            ("--crew", self.crew.is_some()),
            ("--role", self.role.is_some()),
            ("--lease-label", !self.lease_label.is_empty()),
            ("--expose", !self.expose.is_empty()),
        ];
        flags.into_iter().find_map(|(flag, given)| given.then_some(flag)).or(self.tailnet.given())
    }
}

/// The label that says what a lease is in its crew.
pub(crate) const ROLE: &str = "role";

/// A lease by id or slug, as a word or as `--id`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WhichLease {
    /// The lease's id or slug
    #[arg(value_name = "LEASE")]
    lease: Option<String>,

    /// The lease's id or slug
    #[arg(long, value_name = "LEASE", conflicts_with = "lease")]
    id: Option<String>,
}

impl WhichLease {
    /// What the user called the lease.
    pub(crate) fn name(&self) -> Result<&str> {
        self.given().ok_or_else(|| {
            Error::usage("no lease is named").hint("give its id or slug; `crabbox list` shows them")
        })
    }

    /// What the user called the lease, if anything.
    pub(crate) fn given(&self) -> Option<&str> {
        self.lease.as_deref().or(self.id.as_deref())
    }
}

/// Reads a duration that is more than nothing.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it has to be more than nothing".to_owned()),
        other => other,
    }
}

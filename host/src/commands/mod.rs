//! The commands: each resolves its input, has a workflow do the work, and prints.

mod cleanup;
mod doctor;
mod list;
mod run;
mod ssh;
mod status;
mod stop;
mod sync_plan;
mod warmup;

pub(crate) use cleanup::{CleanupArgs, cleanup};
pub(crate) use doctor::{DoctorArgs, doctor};
pub(crate) use list::{ListArgs, list};
pub(crate) use run::{RunArgs, run};
pub(crate) use ssh::{ConnectArgs, SshArgs, connect, ssh};
pub(crate) use status::{StatusArgs, status};
pub(crate) use stop::{StopArgs, stop};
pub(crate) use sync_plan::{SyncPlanArgs, sync_plan};
pub(crate) use warmup::{WarmupArgs, warmup};

use std::time::Duration;

use clap::Args;

use crate::config::parse_duration;
use crate::error::{Error, Result};

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
}

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

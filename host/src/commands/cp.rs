//! `crabbox cp`

use std::ffi::OsString;

use clap::Args;
use crabbox_protocol::Lifecycle;

use super::ProviderArgs;
use crate::copy::{Copy, lease_in, shown};
use crate::error::{Error, Result};
use crate::host::{Host, Selection};
use crate::workflow::{check_manifest, copy, usable};

/// Copy files to a lease, or from it
///
/// One side is `LEASE:PATH`, a path on a lease: absolute, or below its workspace. The other is a path here, or `-`
/// for standard input or output. A directory is copied with all that is in it, a link as a link. A file here whose
/// name has a colon is written `./a:b`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CpArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// What to copy
    #[arg(value_name = "SRC", required = true)]
    pub(crate) sources: Vec<OsString>,

    /// Where to: into a directory that is there, or to a new name
    #[arg(value_name = "DST", required = true)]
    pub(crate) destination: OsString,
}

/// Copies, and returns what to exit with.
pub(crate) async fn cp(host: &Host, args: CpArgs, selection: Selection) -> Result<u8> {
    let (lease, what) = Copy::parse(&args.sources, &args.destination)?;
    if selection.explicit().is_some() {
        let found = host.plugins.find(selection.name())?;
        if host.plugins.manifest(&found).await?.manifest.lifecycle == Lifecycle::OneShot {
            let name = selection.name();
            return Err(Error::usage(format!("`cp` is not supported for provider={name}: it has no leases")));
        }
    }
    let claim = host.claims().find(&lease, selection.explicit()).map_err(|error| {
        let mut words = args.sources.iter().chain([&args.destination]);
        match words.find(|word| lease_in(word).is_some() && host.env.cwd().join(word).exists()) {
            Some(word) => error.hint(format!("the file here is written `./{}`", shown(word))),
            None => error,
        }
    })?;
    usable(&claim)?;
    let chosen = host.chosen_for_with(&claim, &selection).await?;
    check_manifest(&chosen)?;
    copy(host, chosen, &claim, what).await
}

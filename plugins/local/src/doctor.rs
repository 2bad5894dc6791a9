//! `doctor`: does this machine have what leases need? Nothing is changed to find out.

use std::path::Path;

use crabbox_provider_kit::check;
use crabbox_provider_kit::protocol::{Check, CheckStatus, Lease};
use rustix::fs::{Access, access};

use crate::store::{Found, Store};

/// Every check, and one for `lease`.
pub(crate) fn checks(store: &Store, lease: Option<&Lease>) -> Vec<Check> {
    let mut checks = vec![directory(store.root()), leases(store), shell()];
    checks.extend(lease.map(|lease| match store.expect(lease) {
        Ok(directory) => check("lease", CheckStatus::Ok, format!("it is `{}`", directory.display())),
        Err(error) => check("lease", CheckStatus::Fail, error.to_string()),
    }));
    checks
}

/// The root, or what it would be made in, has to be writable.
fn directory(root: &Path) -> Check {
    let there = root.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(root);
    let writable = there.is_dir() && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let mut check = match (writable, there == root) {
        (true, true) => check("directory", CheckStatus::Ok, format!("leases are in `{}`", root.display())),
        (true, false) => {
            let message = format!("leases will be in `{}`, which is made when needed", root.display());
            check("directory", CheckStatus::Ok, message)
        }
        (false, _) => {
            let message = format!("`{}` is not a directory that you can write to", there.display());
            let mut check = check("directory", CheckStatus::Fail, message);
            check.hint = Some("change its owner or mode, or set `root` in the block `local`".to_owned());
            check
        }
    };
    check.details.insert("root".to_owned(), root.display().to_string().into());
    check
}

/// How many leases there are, and whether any was left half-way.
fn leases(store: &Store) -> Check {
    let (leases, complete) = match store.list() {
        Ok(list) => list,
        Err(error) => return check("leases", CheckStatus::Fail, error.to_string()),
    };
    let halfway = leases.iter().filter(|(_, found)| !matches!(found, Found::Lease(_))).count();
    let mut row = check("leases", CheckStatus::Ok, format!("{} on this machine", leases.len()));
    if halfway > 0 || !complete {
        row.status = CheckStatus::Warn;
        row.message = match halfway {
            0 => format!("{}, and some that cannot be read", row.message),
            _ => format!("{}, {halfway} of them left half-way", row.message),
        };
        row.hint = Some("`crabbox cleanup` releases what a dead run left".to_owned());
    }
    row
}

/// The host sends scripts for `sh`.
fn shell() -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("sh"));
    match found.into_iter().find(|sh| access(sh, Access::EXEC_OK).is_ok()) {
        Some(sh) => check("shell", CheckStatus::Ok, format!("`{}`", sh.display())),
        None => {
            let mut check = check("shell", CheckStatus::Fail, "there is no `sh` on PATH");
            check.hint = Some("put a POSIX shell on PATH".to_owned());
            check
        }
    }
}

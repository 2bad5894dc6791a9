//! `put`: a file comes to the lease whole, or not at all.

use crabbox_protocol::{Method, PutParams};

use super::check::{Check, value};
use super::lease::{LOOK, lease_of};
use super::ledger::{Finding, Verdict};
use super::running::sh;
use crate::lease::file_at;
use crate::output::foreign;

/// A file to be placed, with bytes of every kind.
fn put_params(check: &Check<'_>, to: &str) -> Result<(PutParams, Vec<u8>), Finding> {
    let content: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 256) as u8).collect();
    let path = check.world.path("put");
    let file = file_at(&path, |out| out.write_all(&content));
    let file =
        file.map_err(|error| Finding::skipped(format!("cannot write `{}`: {error}", path.display())))?;
    let lease = lease_of(check)?;
    let (path, size, sha256) = (file.path, file.size, file.sha256);
    Ok((PutParams { lease, path, to: to.to_owned(), size, sha256, mode: 0o640 }, content))
}

/// It comes as it is, to a path whose directories are not there.
pub(super) async fn places(check: &mut Check<'_>) -> Verdict {
    let to = "check-put/a/b";
    let (params, content) = put_params(check, to)?;
    let mut talk = check.ready().await?;
    talk.call(Method::Put, value(&params), LOOK).await?;
    let root = params.lease.root.unwrap_or_else(|| ".".to_owned());
    let script = "cd \"$1\" && cat \"$2\" && ls -ld \"$2\" | cut -c 1-10 >&2; rm -rf check-put";
    let ended = sh(check, &mut talk, script, &[&root, to]).await?;
    if ended.out.bytes != content {
        return Err(talk.finding(format!("there are {} bytes of it on the lease", ended.out.size)));
    }
    if ended.err.bytes.trim_ascii() != b"-rw-r-----" {
        let mode = String::from_utf8_lossy(&ended.err.bytes).into_owned();
        return Err(talk.finding(format!("its mode is `{}`, not 0640", foreign(&mode))));
    }
    talk.close().await;
    Ok(())
}

/// Nothing comes that is not what was said.
pub(super) async fn verifies(check: &mut Check<'_>) -> Verdict {
    let (good, _) = put_params(check, "check-put-wrong")?;
    let mut talk = check.ready().await?;
    let other = format!("{:064x}", 1);
    for params in [PutParams { sha256: other, ..good.clone() }, PutParams { size: good.size + 1, ..good }] {
        if talk.ask(Method::Put.name(), value(&params), LOOK).await?.is_ok() {
            return Err(talk.finding("it took the file"));
        }
    }
    talk.close().await;
    Ok(())
}

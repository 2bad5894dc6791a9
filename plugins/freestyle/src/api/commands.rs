//! What both versions have in common in executing commands.

use std::time::Duration;

use crabbox_provider_kit::http::{Bytes, Refusal, one_line};
use crabbox_provider_kit::protocol::Remote;
use crabbox_provider_kit::{Error, Result};

use super::{Command, Executed, refused};

/// The longest that a command may take: a day. It is always said how long, because what it is otherwise, 30 s, is
/// too short for anybody.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);

/// How much longer than the command its answer may take.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How long a command of our own may take.
const OURS: Duration = Duration::from_secs(120);

/// A command of our own.
pub(crate) fn as_root(line: &str, stdin: Bytes) -> Command<'_> {
    Command { line, user: "root", stdin, limit: OURS }
}

/// That a command of our own has done its work. No error repeats the line: it may have a file in it.
///
/// # Errors
///
/// `provider` with what it said, `deadline` when it was ended.
pub(crate) fn succeeded(executed: Executed) -> Result<()> {
    match executed.status {
        Some(0) => Ok(()),
        Some(code) => Err(Error::provider(format!("a command on the machine failed with {code}"))
            .cause(one_line(&executed.stderr))),
        None => Err(Error::deadline("a command on the machine was ended because it took too long")),
    }
}

/// An error without what Freestyle said of the order, which may have repeated it: there was a file in it.
pub(super) fn wordless(error: Error) -> Error {
    let retryable = error.as_object().data.as_ref().and_then(|data| data.retryable);
    let bare = Error::new(error.kind(), "a command that writes a piece of a file was not executed");
    bare.retryable(retryable == Some(true))
}

/// What a refusal to execute means. Where a gateway refuses, or nobody waited long enough, the command may run.
pub(super) fn refused(refusal: &Refusal) -> Error {
    let error = refused::error(refusal);
    let is_definite = refusal.status.is_client_error() && refusal.status.as_u16() != 408;
    error.remote(if is_definite { Remote::Absent } else { Remote::Unknown })
}

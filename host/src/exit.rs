//! The exit codes: a public contract, described in docs/cli.md.

use crabbox_protocol::ErrorKind;

/// What crabbox exits with when the code is not the command's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Success,
    /// A provider or crabbox itself failed, or a cleanup did after a success.
    Failure,
    /// The command line, the configuration, or something that is not supported.
    Usage,
    /// Not logged in, or something that is needed is missing.
    Auth,
    /// No such lease, not ours, or gone.
    NotFound,
    /// No room, a limit, out of reach, or too slow.
    Unavailable,
    /// The sync failed.
    Sync,
    /// The way to the lease broke, or a kill could not be confirmed.
    Transport,
    /// `--timeout` was over.
    Timeout,
    /// Ended by a signal with this number.
    Signal(u8),
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Auth => 3,
            Self::NotFound => 4,
            Self::Unavailable => 5,
            Self::Sync => 6,
            Self::Transport => 7,
            Self::Timeout => 124,
            Self::Signal(number) => 128u8.saturating_add(number),
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConfigInvalid | ErrorKind::Unsupported | ErrorKind::InputRequired => Self::Usage,
            ErrorKind::Auth | ErrorKind::Prerequisite => Self::Auth,
            ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Ambiguous => Self::NotFound,
            ErrorKind::Quota
            | ErrorKind::Capacity
            | ErrorKind::Unavailable
            | ErrorKind::RateLimited
            | ErrorKind::Deadline => Self::Unavailable,
            ErrorKind::Transport => Self::Transport,
            _ => Self::Failure,
        }
    }
}

//! What can go wrong between the host and a plugin.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crabbox_protocol::records::PluginState;
use crabbox_protocol::{CancelReason, ErrorKind, ErrorObject, Method, Remote};
use thiserror::Error as ThisError;

use crate::error::Error;
use crate::exit::Exit;
use crate::output::foreign;

/// What went wrong between the host and a plugin.
///
/// Every variant names the provider, so that a message makes sense away from its call site.
#[derive(Debug, ThisError)]
pub(crate) enum ProviderError {
    /// The executable could not be started.
    #[error("failed to start provider `{provider}` (`{}`)", path.display())]
    Spawn { provider: String, path: PathBuf, source: io::Error },
    /// The process ended before it answered.
    #[error("provider `{provider}` ended before it answered `{method}`: {}", describe(*status))]
    Exited { provider: String, method: Method, status: ExitStatus, said: String },
    /// Something was sent that is no message, or a message that nobody asked for.
    #[error("provider `{provider}` broke the protocol while it answered `{method}`: {problem}")]
    Broken { provider: String, method: Method, problem: String, line: String, said: String },
    /// The result does not fit the method.
    #[error("provider `{provider}` answered `{method}` with something else than its result: {problem}")]
    BadResult { provider: String, method: Method, problem: String, line: String },
    /// The answer did not come in time.
    #[error("provider `{provider}` did not answer `{method}` within {}", humantime::format_duration(*after))]
    Deadline { provider: String, method: Method, after: Duration, answered: bool, said: String },
    /// The user or a reader that went away ended it.
    #[error("`{method}` of provider `{provider}` was cancelled")]
    Cancelled { provider: String, method: Method, reason: CancelReason, remote: Remote, answered: bool },
    /// The plugin said no.
    #[error("{}", foreign(&error.message))]
    Refused { provider: String, method: Method, error: Box<ErrorObject> },
    /// No common protocol version.
    #[error("provider `{provider}` speaks protocol {theirs}, and this crabbox speaks {ours}")]
    Version { provider: String, theirs: u32, ours: u32 },
    /// The lease was reached by SSH, and the connection broke.
    #[error("{}", error.message)]
    Connection { provider: String, error: Box<Error> },
    /// Talking to the process failed.
    #[error("failed to talk to provider `{provider}`")]
    Io { provider: String, source: io::Error },
}

/// An exit status in words.
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl ProviderError {
    /// The state that the plugin has in `plugins list`.
    pub(crate) fn state(&self) -> PluginState {
        match self {
            Self::Version { .. } => PluginState::Incompatible,
            _ => PluginState::Invalid,
        }
    }

    /// The kind, as if the plugin had said it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { error, .. } => error.kind(),
            Self::Deadline { .. } => ErrorKind::Deadline,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::Spawn { .. } => ErrorKind::Prerequisite,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Connection { .. } => ErrorKind::Transport,
            _ => ErrorKind::Provider,
        }
    }

    /// Whether the plugin answered, so that its process can be asked again.
    pub(crate) fn answered(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::BadResult { .. } | Self::Connection { .. } => true,
            Self::Deadline { answered, .. } | Self::Cancelled { answered, .. } => *answered,
            _ => false,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Spawn { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("make it executable: `chmod +x {}`", path.display()))
            }
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the interpreter in its first line may be missing".to_owned())
            }
            Self::Version { theirs, ours, provider } if theirs > ours => {
                Some(format!("update crabbox, or install an older crabbox-provider-{provider}"))
            }
            Self::Version { provider, .. } => Some(format!("update crabbox-provider-{provider}")),
            Self::Refused { error, .. } => error.data.as_ref()?.hint.as_deref().map(foreign),
            Self::Deadline { provider, method: Method::Initialize, .. } => Some(format!(
                "it has to answer by itself, at once; this is a fault of crabbox-provider-{provider}"
            )),
            Self::Broken { provider, .. }
            | Self::BadResult { provider, .. }
            | Self::Exited { provider, .. } => {
                Some(format!("this is a fault of crabbox-provider-{provider}, not of your command"))
            }
            _ => None,
        }
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        match self {
            Self::Spawn { source, .. } | Self::Io { source, .. } => causes.push(source.to_string()),
            Self::Refused { error, .. } => {
                causes.extend(error.data.iter().flat_map(|d| &d.causes).map(|c| foreign(c)));
            }
            Self::Broken { line, .. } | Self::BadResult { line, .. } if !line.is_empty() => {
                causes.push(format!("it sent `{line}`"));
            }
            _ => {}
        }
        if let Self::Exited { said, .. } | Self::Broken { said, .. } | Self::Deadline { said, .. } = self
            && !said.is_empty()
        {
            causes.push(format!("the last that it said: {said}"));
        }
        causes
    }

    /// What the user is told when a command fails with it. The exit code follows from the kind.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Spawn { .. } => Exit::Auth,
            error => error.kind().into(),
        }
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        if let ProviderError::Connection { error, .. } = error {
            return *error;
        }
        let message = match &error {
            ProviderError::Refused { provider, .. } => format!("provider `{provider}`: {error}"),
            _ => error.to_string(),
        };
        let mut result = Self::new(error.exit(), message);
        result.causes = error.causes();
        result.hints.extend(error.hint());
        result
    }
}

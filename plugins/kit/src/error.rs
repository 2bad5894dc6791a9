//! Errors that cross the wire: a kind, what happened, why, and what to do next.

use std::fmt;
use std::io;

use crabbox_protocol::{ErrorData, ErrorKind, ErrorObject, Method, Remote};

/// What the kit and a provider's methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed request, as the host will hear of it.
///
/// The message says what happened and to what; [`cause`](Self::cause) says why;
/// [`hint`](Self::hint) says what the user can do. The host reacts to the kind only, so nothing in the
/// text has to be parsed. No text may hold a secret.
#[derive(Clone, PartialEq)]
pub struct Error {
    object: Box<ErrorObject>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

kinds! {
    /// The configuration is wrong.
    config_invalid = ConfigInvalid;
    /// The provider does not do this.
    unsupported = Unsupported;
    /// A person would have to answer a question first.
    input_required = InputRequired;
    /// Not logged in, or not allowed.
    auth = Auth;
    /// Something that the provider needs is missing, such as a program.
    prerequisite = Prerequisite;
    /// The lease, or what else the request names, does not exist. For a file or program that is missing there is
    /// [`prerequisite`](Self::prerequisite).
    not_found = NotFound;
    /// It exists and is not ours, or is in a state that forbids this.
    conflict = Conflict;
    /// Several things match.
    ambiguous = Ambiguous;
    /// A limit of the account is reached.
    quota = Quota;
    /// The backend has no room now.
    capacity = Capacity;
    /// The backend cannot be reached, or is down.
    unavailable = Unavailable;
    /// Too many requests.
    rate_limited = RateLimited;
    /// It took longer than was allowed.
    deadline = Deadline;
    /// The host cancelled it.
    cancelled = Cancelled;
    /// The way to the lease broke; the fate of what ran there is not known.
    transport = Transport;
    /// The backend answered something that it should not have.
    provider = Provider;
    /// A fault of the plugin itself.
    internal = Internal;
}

impl Error {
    /// Makes an error of `kind`. There is a constructor for each kind besides.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { object: Box::new(ErrorObject::new(kind, message)) }
    }

    /// The answer to a method that the provider does not have (code -32601).
    pub fn method_not_found(method: &str) -> Self {
        Self { object: Box::new(ErrorObject::method_not_found(method)) }
    }

    pub(crate) fn not_there(method: Method) -> Self {
        Self::method_not_found(method.name())
    }

    /// Says what the user can do next, in one sentence.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data().hint = Some(hint.into());
        self
    }

    /// Adds why it happened. Causes are listed in the order in which they are added, the nearest first.
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.data().causes.push(cause.to_string());
        self
    }

    /// Says whether the same request, unchanged, may succeed later.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.data().retryable = Some(retryable);
        self
    }

    /// Says that the same request may succeed in this many milliseconds.
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        let data = self.data();
        (data.retryable, data.retry_after_ms) = (Some(true), Some(ms));
        self
    }

    /// Of `acquire`: `false` says that certainly nothing was created, so the host forgets the lease at
    /// once. Absent, the host goes on looking for it.
    pub fn created(mut self, created: bool) -> Self {
        self.data().created = Some(created);
        self
    }

    /// Of `run`: what became of the command. Absent means `unknown`, and the host makes sure.
    pub fn remote(mut self, remote: Remote) -> Self {
        self.data().remote = Some(remote);
        self
    }

    /// The error's kind.
    pub fn kind(&self) -> ErrorKind {
        self.object.kind()
    }

    /// The error as it goes over the wire.
    pub fn as_object(&self) -> &ErrorObject {
        &self.object
    }

    pub(crate) fn into_object(self) -> ErrorObject {
        *self.object
    }

    fn data(&mut self) -> &mut ErrorData {
        self.object.data.get_or_insert(ErrorData {
            kind: ErrorKind::Internal,
            retryable: None,
            retry_after_ms: None,
            hint: None,
            causes: Vec::new(),
            created: None,
            remote: None,
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.object, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object.message)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(kind_of(&error), error.to_string())
    }
}

/// The kind that comes nearest to what the operating system said.
fn kind_of(error: &io::Error) -> ErrorKind {
    use io::ErrorKind as Io;
    match error.kind() {
        // A file or program that is missing; that a lease does not exist, only its provider can say.
        Io::NotFound | Io::NotADirectory => ErrorKind::Prerequisite,
        Io::PermissionDenied => ErrorKind::Auth,
        Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::Conflict,
        Io::TimedOut => ErrorKind::Deadline,
        Io::StorageFull => ErrorKind::Capacity,
        Io::QuotaExceeded => ErrorKind::Quota,
        Io::ConnectionRefused | Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown => {
            ErrorKind::Unavailable
        }
        Io::ConnectionReset | Io::ConnectionAborted | Io::NotConnected | Io::BrokenPipe => {
            ErrorKind::Transport
        }
        _ => ErrorKind::Internal,
    }
}

/// Says what was being done when an error of the operating system came.
pub trait Doing<T> {
    /// Turns an error into ``cannot {what}``, with the error as its cause and the nearest kind.
    ///
    /// # Errors
    ///
    /// Whatever was an error before.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            Error::new(kind_of(&error), format!("cannot {}", what())).cause(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_keeps_its_kind_and_becomes_the_cause() {
        let result = std::fs::read("/nonexistent/file");
        let error = result.doing(|| "read `/nonexistent/file`".to_owned()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Prerequisite, "no lease was looked for");
        assert_eq!(error.to_string(), "cannot read `/nonexistent/file`");
        let causes = error.as_object().data.as_ref().unwrap().causes.clone();
        assert_eq!(causes, ["No such file or directory (os error 2)"]);
    }

    #[test]
    fn everything_that_is_said_reaches_the_wire() {
        let error = Error::quota("12 of 12 leases are in use")
            .hint("release one")
            .cause("HTTP 429")
            .retry_after_ms(500)
            .created(false)
            .remote(Remote::Absent);
        let wire = serde_json::to_value(error.as_object()).unwrap();
        assert_eq!(
            wire,
            serde_json::json!({"code": -32000, "message": "12 of 12 leases are in use", "data": {
                "kind": "quota", "retryable": true, "retryAfterMs": 500, "hint": "release one",
                "causes": ["HTTP 429"], "created": false, "remote": "absent",
            }})
        );
    }
}

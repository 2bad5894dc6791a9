//! Why there is no connection: what ssh said, in our words, and whether another attempt can help.

use super::target::Target;
use crate::Exit;
use crate::error::Error;
use crate::output::foreign;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to tell.
    pub(crate) error: Error,
    /// Whether another attempt would fail, too.
    pub(crate) is_final: bool,
    /// Whether the connection stands, and takes no session more.
    pub(super) is_full: bool,
}

/// What ssh says, what it means, and what to do about it. From OpenSSH's sources (sshconnect.c, sshconnect2.c,
/// readconf.c); the words have been the same for many years.
const FINAL: &[(&str, Exit, &str, &str)] = &[
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        Exit::Auth,
        "the machine shows another host key than the one that is known",
        "either somebody is in between, or the machine was made anew: if you know that it was, remove the old key from the file that ssh names",
    ),
    (
        "Host key verification failed",
        Exit::Auth,
        "the machine's host key is not known",
        "connect once by hand and compare the fingerprint: `ssh {}`",
    ),
    (
        "Permission denied (",
        Exit::Auth,
        "the machine does not let you in",
        "crabbox never asks for a password or a passphrase: is the key in your agent (`ssh-add -l`), and is SSH_AUTH_SOCK set?",
    ),
    (
        "Too many authentication failures",
        Exit::Auth,
        "the machine does not let you in",
        "your agent has more keys than the machine looks at: name the one that counts in ssh's configuration (IdentityFile, IdentitiesOnly)",
    ),
    (
        "Bad configuration option",
        Exit::Usage,
        "ssh refuses its configuration",
        "`ssh -G {}` shows what it makes of it",
    ),
    (
        "Bad owner or permissions",
        Exit::Usage,
        "ssh refuses its configuration",
        "`ssh -G {}` shows what it makes of it",
    ),
];

impl Failure {
    /// The connection was not made. `said` is what ssh and its proxy said.
    pub(super) fn of(target: &Target, said: &str) -> Self {
        let known = FINAL.iter().find(|(words, ..)| said.contains(words));
        let message = format!("cannot connect to {}", target.shown());
        let error = match known {
            Some((_, exit, what, hint)) => {
                Error::new(*exit, format!("{message}: {what}")).hint(hint.replace("{}", &target.shown()))
            }
            None => Error::new(Exit::Unavailable, message),
        };
        Self { error: with_causes(error, said), is_final: known.is_some(), is_full: false }
    }

    /// Another attempt may do better.
    pub(super) fn passing(error: Error) -> Self {
        Self { error, is_final: false, is_full: false }
    }

    /// No other attempt will do better.
    pub(super) fn lasting(error: Error) -> Self {
        Self { error, is_final: true, is_full: false }
    }
}

/// What the client says when the server takes no session more (mux.c).
const FULL: &str = "Session open refused by peer";

impl Failure {
    /// The connection does not carry what it should. `said` is what ssh said.
    pub(super) fn broken(target: &Target, said: &str) -> Self {
        let is_full = said.contains(FULL);
        let shown = target.shown();
        let error = match is_full {
            true => {
                Error::new(Exit::Transport, format!("{shown} takes no more sessions over one connection"))
                    .hint("wait for a run to end, or raise MaxSessions in its sshd_config (10 by default)")
            }
            false => Error::new(Exit::Transport, format!("the SSH connection to {shown} broke")),
        };
        Self { error: with_causes(error, said), is_final: false, is_full }
    }
}

/// The last lines that were said, safe to print.
pub(super) fn with_causes(mut error: Error, said: &str) -> Error {
    let lines: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.bytes().all(|byte| byte == b'@'))
        .collect();
    error.causes.extend(lines.iter().skip(lines.len().saturating_sub(3)).map(|line| foreign(line)));
    error
}

//! Why there is no connection: what ssh said. There are no codes but 255, only sentences, which are OpenSSH's own.

use crabbox_provider_kit::Error;
use crabbox_provider_kit::protocol::ErrorKind;

use crate::destination::Destination;

/// What ssh says, what kind of error that is, what it means, and what to do about it.
const KNOWN: &[(&str, ErrorKind, &str, &str)] = &[
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        ErrorKind::Auth,
        "it shows another host key than the one that is known",
        "somebody may be in between; if you know that the machine was made anew, `ssh-keygen -R` forgets its old key",
    ),
    (
        "Host key verification failed",
        ErrorKind::Auth,
        "its host key is not known",
        "connect once by hand, and compare the fingerprint that ssh shows",
    ),
    (
        "Permission denied (",
        ErrorKind::Auth,
        "it does not let you in",
        "nobody is asked for a password or a passphrase: is the key in your agent (`ssh-add -l`), and is SSH_AUTH_SOCK set?",
    ),
    (
        "Too many authentication failures",
        ErrorKind::Auth,
        "it does not let you in",
        "name the key that counts: `IdentityFile` and `IdentitiesOnly` in ~/.ssh/config, or `identityFile` in `hosts`",
    ),
    (
        "Bad configuration option",
        ErrorKind::ConfigInvalid,
        "ssh refuses its configuration",
        "`ssh -G` shows it",
    ),
    (
        "Bad owner or permissions",
        ErrorKind::ConfigInvalid,
        "ssh refuses its configuration",
        "`ssh -G` shows it",
    ),
    ("Could not resolve hostname", ErrorKind::Unavailable, "its name is not known", "is it spelled right?"),
    ("Connection refused", ErrorKind::Unavailable, "nobody listens there", "is the machine up?"),
    ("Connection timed out", ErrorKind::Unavailable, "it does not answer", "is the machine up?"),
    ("Operation timed out", ErrorKind::Unavailable, "it does not answer", "is the machine up?"),
    (
        "No route to host",
        ErrorKind::Unavailable,
        "there is no way to it",
        "is the machine up, and you in its network?",
    ),
    ("Network is unreachable", ErrorKind::Unavailable, "there is no way to it", "are you in its network?"),
];

/// The error of a connection that was not made, or broke before the script's end.
pub(crate) fn failure(destination: &Destination, code: Option<i32>, said: &str) -> Error {
    let (name, shown) = (destination.name(), destination.shown());
    // What start-up files say on the machine is in there, too: of the network ssh speaks in its own name.
    let is_said = |words: &str, kind: ErrorKind| {
        let own = |line: &&str| kind != ErrorKind::Unavailable || line.starts_with("ssh: ");
        said.lines().filter(own).any(|line| line.contains(words))
    };
    let known = KNOWN.iter().find(|(words, kind, ..)| is_said(words, *kind));
    let error = match (known, code) {
        (Some((_, kind, what, hint)), Some(255)) => {
            // That ssh got so far means that the script did not.
            Error::new(*kind, format!("cannot connect to {shown}: {what}")).hint(*hint).created(false)
        }
        (_, Some(255) | None) => {
            Error::transport(format!("the connection to {shown} was not made, or broke"))
                .hint(format!("`ssh {name} true` should say nothing"))
        }
        (_, Some(code)) => Error::provider(format!("{shown} does not execute `/bin/sh`: exit code {code}"))
            .hint(format!("`ssh {name} /bin/sh -c true` should say nothing")),
    };
    match last_line(said) {
        line if line.is_empty() => error,
        line => error.cause(line),
    }
}

/// The last line that says something, without control characters.
pub(crate) fn last_line(said: &str) -> String {
    let line = said.lines().rev().map(str::trim).find(|line| line.contains(|c: char| c.is_alphanumeric()));
    line.unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect()
}

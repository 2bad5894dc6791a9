//! Leases that are reached by SSH: the provider says where, and everything else is the host's, as everywhere.
//!
//! `target` turns what a plugin said into arguments for the user's own `ssh`. `place` is the directory of a lease's
//! connection, `master` opens and closes the connection, `failure` says why there is none. `exchange` executes an
//! argv over it, as a plugin's `run` would, and `say` a short script of ours. `forward` brings ports of a lease here, over
//! a connection of its own, and `look` only looks whether there can be one. `docs/architecture.md`, "By SSH".

mod exchange;
mod failure;
mod forward;
mod look;
mod master;
mod place;
mod say;
mod target;

pub(crate) use failure::Failure;
pub(crate) use forward::Carrier;
pub(crate) use look::look;
pub(crate) use master::Connection;
pub(crate) use place::{Place, close_lost};
pub(crate) use say::Answer;
pub(crate) use target::program;

/// A word for a POSIX shell, and for fish.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@=,+".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Words for a POSIX shell, as one line.
pub(crate) fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

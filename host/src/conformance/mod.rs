//! `crabbox plugins check`: whether an executable keeps to the protocol, seen from outside.
//!
//! `rules` are data; how they are tried stands in a module per group: `handshake`, `manifest`, `requests`,
//! `configuration`, `lease`, `ssh`, `run`, `cancel`. `talk` is a conversation, strict where the host is lenient:
//! each line is judged by `line`, and every verdict goes to the `ledger`. `world` is a home without a user.

mod bridge;
mod cancel;
mod check;
mod configuration;
mod handshake;
mod lease;
mod ledger;
mod lifeline;
mod line;
mod made;
mod manifest;
mod output;
mod processes;
mod put;
mod report;
mod requests;
mod rules;
mod run;
mod running;
mod ssh;
mod sync;
mod talk;
mod world;

pub(crate) use report::{CheckArgs, check};

#[cfg(test)]
mod tests;

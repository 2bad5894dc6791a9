//! End to end: crabbox and its providers as a user has them.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod bad_input;
mod build;
mod check;
mod coder;
mod coder_double;
mod coder_live;
mod config;
mod cp;
mod crash;
mod crew;
mod docs;
mod first_run;
mod flood;
mod flue;
mod freestyle;
mod lease;
mod lifeline;
mod matrix;
mod nomad;
mod nomad_live;
mod output;
mod pins;
mod plugins;
mod rude;
mod signals;
mod ssh_lease;
mod ssh_provider;
mod ssh_server;
mod support;
mod sync;
mod templates;
mod trace;
mod transcripts;
mod tree;

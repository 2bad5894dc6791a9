//! End to end: crabbox and its providers as a user has them.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod crash;
mod first_run;
mod lease;
mod output;
mod signals;
mod support;

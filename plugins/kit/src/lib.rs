//! What the author of a crabbox provider in Rust depends on.
//!
//! A provider is an executable, `crabbox-provider-NAME`, that speaks the provider protocol on standard
//! input and output. Implement [`Provider`] and call [`serve()`]; the kit does the rest: framing, the
//! manifest, configuration and its schema, cancellation, output, progress, exactly one response for
//! every request, errors with kind, hint and causes, and an end that leaves no process behind.
//!
//! With the feature `http` there is a client for the API of a backend. [`testing`] has a host for the tests of a provider's executable.
//!
//! All of a small provider, a directory for each lease:
//!
//! ```no_run
#![doc = include_str!("../examples/minimal.rs")]
//! ```
#![warn(missing_docs)]

mod about;
mod configured;
mod error;
mod provider;

mod cancel;
mod context;
mod sink;

mod process;
mod program;
mod pump;

mod dispatch;
mod outbox;
mod serve;
mod session;
mod stdio;

pub mod group;
#[cfg(feature = "http")]
pub mod http;
pub mod processes;
pub mod testing;

pub use about::About;
pub use cancel::CancelToken;
pub use configured::{Configured, Secrets, problem};
pub use context::Context;
pub use crabbox_protocol as protocol;
pub use error::{Doing, Error, Result};
pub use process::{GRACE, Process};
pub use program::{Ended, Program, Running};
pub use provider::{Provider, check, failed};
pub use serve::serve;
pub use session::serve_on;
pub use sink::Sink;

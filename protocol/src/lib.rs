//! The messages between crabbox and its provider executables.
//!
//! JSON-RPC 2.0, one message per line. This crate has the types, the line
//! framing, the tolerant decoder and the JSON Schemas made from the types. It
//! does no I/O. The specification in prose is `docs/protocol.md`.
//!
//! Modules stand in the order of a conversation.
#![warn(missing_docs)]

mod ids;
mod secret;

mod decode;
mod envelope;
mod error;
mod lenient;
mod line;
mod method;

mod bridge;
mod configure;
mod initialize;
mod lease;
mod output;
mod run;

pub mod records;
pub mod schemas;

pub use bridge::*;
pub use configure::*;
pub use decode::{Decoded, HostMessage, Incoming, PluginMessage, decode_host_line, decode_plugin_line};
pub use envelope::{Failure, Note, Request, Success, encode};
pub use error::{ErrorData, ErrorKind, ErrorObject};
pub use ids::{InvalidId, LeaseId, RequestId, RunId, is_provider_name};
pub use initialize::*;
pub use lease::*;
pub use lenient::{Repair, decode_lenient};
pub use line::{LineBuffer, LineTooLong, MAX_LINE};
pub use method::{Call, Method};
pub use output::*;
pub use run::*;
pub use secret::Secret;

/// The protocol versions that this crate speaks, newest first.
pub const VERSIONS: &[u32] = &[1];

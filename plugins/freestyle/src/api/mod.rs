//! Freestyle's HTTP API, version 5, and the one place for the key.

mod background;
mod client;
mod files;
mod refused;
mod types;

pub(crate) use client::{Api, PATIENCE};
pub(crate) use files::Part;
pub(crate) use types::{Executed, TlsRule, TlsRules, Vm, Vms};

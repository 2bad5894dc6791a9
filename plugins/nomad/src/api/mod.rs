//! Nomad's HTTP API, and the one place for the token.

mod client;
mod refused;
mod types;

pub(crate) mod tls;

pub(crate) use client::{Api, Reply};
pub(crate) use crabbox_provider_kit::http::{Refusal, Stream, Tls, one_line, segment};
pub(crate) use types::{
    Allocation, AllocationDetails, Evaluation, Job, JobRow, NamespaceRule, Node, PlacementFailure, Policy,
    PolicyRow, PortMapping, TaskState, Token,
};

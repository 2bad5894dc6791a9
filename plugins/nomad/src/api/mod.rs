//! Nomad's HTTP API: one connection logic for requests and for WebSockets, one place for the token.

mod client;
mod connect;
mod failure;
mod path;
mod tls;
mod types;

pub(crate) use client::Api;
pub(crate) use connect::Stream;
pub(crate) use failure::{Refusal, one_line};
pub(crate) use path::segment;
pub(crate) use tls::Tls;
pub(crate) use types::{
    Allocation, AllocationDetails, Evaluation, Job, JobRow, NamespaceRule, Node, PlacementFailure, Policy,
    PolicyRow, PortMapping, TaskState, Token,
};

//! Crews: leases of any provider as one named group. A crew is no thing of its own: it is there while a claim names it.
//!
//! `name` makes names comparable, `peers` says who the members are and how each is reached, `ask` asks their providers,
//! `matrix` says who of them reaches whom, `tag` is what its leases wear in a tailnet.

mod ask;
mod matrix;
mod name;
mod peers;
mod tag;
mod unshare;

pub(crate) use ask::AT_ONCE;
pub(crate) use matrix::matrix;
pub(crate) use name::{crew_name, label, ports};
pub(crate) use peers::{Share, members, peers, render};
pub(crate) use tag::tag;
pub(crate) use unshare::unshare;

//! Crews: leases of any provider as one named group. A crew is no thing of its own: it is there while a claim names it.
//!
//! `name` makes names comparable, `peers` says who the members are and how each is reached, `ask` asks their providers,
//! `matrix` says who of them reaches whom, `connect` brings ports of members to this machine, `tag` is what its leases
//! wear in a tailnet, `policy` what is said of that tag there, `admit` sees to that before a lease is made, `guest`
//! gives names to those who wear it, `probe` looks whether URLs answer, `unshare` takes back what was published.

mod admit;
mod ask;
pub(crate) mod connect;
pub(crate) mod guest;
mod matrix;
mod name;
mod peers;
mod policy;
mod probe;
mod tag;
mod unshare;

pub(crate) use admit::{admit, check as check_policy};
pub(crate) use ask::AT_ONCE;
pub(crate) use matrix::{Matrix, matrix};
pub(crate) use name::{crew_name, label, ports};
pub(crate) use peers::{Share, members, peers, render};
pub(crate) use policy::{CONTROL_URL, Control, Standing, is_opted_in, rows as policy_rows};
pub(crate) use probe::{Found, Probe, probe};
pub(crate) use tag::tag;
pub(crate) use unshare::unshare;

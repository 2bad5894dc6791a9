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

/// The variable that holds the key with which a new lease joins a tailnet, unless the user names another. Upstream's name.
pub(crate) const AUTH_KEY: &str = "CRABBOX_TAILSCALE_AUTH_KEY";

/// The variable that holds the key to the API of a tailnet's control plane. Tailscale's name.
pub(crate) const API_KEY: &str = "TS_API_KEY";

/// Variables that no command gets, whatever is allowed.
pub(crate) const TAILNET_KEYS: [&str; 2] = [API_KEY, AUTH_KEY];

pub(crate) use admit::{admit, check as check_policy};
pub(crate) use ask::AT_ONCE;
pub(crate) use matrix::{Matrix, matrix};
pub(crate) use name::{crew_name, label, ports};
pub(crate) use peers::{Share, members, of_crew, peers, render};
pub(crate) use policy::{
    Control, MAYBE_WRITTEN, Owners, Standing, besides, control_url, is_opted_in, rows as policy_rows,
};
pub(crate) use probe::{Found, Probe, probe};
pub(crate) use tag::{tag, tag_of};
pub(crate) use unshare::unshare;

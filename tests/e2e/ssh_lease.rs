//! Leases that are reached by SSH, by a provider of a test's own: what the host does with a destination.

mod connection;
mod cp;
mod life;
mod site;
mod trouble;

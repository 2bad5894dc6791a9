//! The job that is a lease: what it is called, how it is known to be ours, and what is in it.

mod identity;
mod spec;
mod template;

pub(crate) use identity::{EXPIRES_AT, Identity, LEASE_ID, MANAGED, SCOPE, SLUG};
pub(crate) use spec::{Order, group_of, job};

#[cfg(test)]
mod tests;

//! Crews: leases of any provider as one named group.

mod members;
mod peers;
mod share;
mod tailnet;

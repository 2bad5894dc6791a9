//! Bringing the working tree over: the same way for every provider.
//!
//! `tree` says what the tree is, `bundle` packs it, and `apply.sh` unpacks it on the lease, where it
//! came on standard input like everything else. What it promises: `docs/architecture.md`, "Sync".

mod bundle;
mod filter;
mod tree;

pub(crate) use bundle::{Apply, apply_script, pack_workspace, write_bundle};
pub(crate) use filter::Filter;
pub(crate) use tree::{Tree, find_root};

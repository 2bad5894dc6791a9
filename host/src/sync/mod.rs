//! Bringing the working tree over: the same way for every provider.
//!
//! `tree` says which files there are: those that `git` lists and that no pattern of `builtin` and `filter`
//! leaves out. `guard` says whether they are too many, `plan` shows them. `index` knows what is in them, and
//! the `manifest` of both is compared with what the lease has (`bases`). The `engine` makes requests of it: a
//! `bundle` of what differs and `apply.sh`, which places it on the lease. What it promises:
//! `docs/architecture.md`, "Sync".

mod bases;
mod builtin;
mod bundle;
mod engine;
mod filter;
mod git;
mod guard;
mod index;
mod manifest;
mod plan;
mod tree;

pub(crate) use bases::{Bases, forget_lost_leases};
pub(crate) use bundle::{Bundle, Exact, append_link, pack_workspace, plain_header, unwritable};
pub(crate) use engine::{Apply, Difference, Engine, Heard, Way, failed, finish_script};
pub(crate) use filter::Filter;
pub(crate) use git::find_root;
pub(crate) use guard::Guard;
pub(crate) use index::{forget_lost_repositories, manifest_of};
pub(crate) use plan::{a_few, plan, warn_of_protected};
pub(crate) use tree::Tree;

//! `crabbox crew connect`: the ports of the members that are reached by SSH, on this machine.
//!
//! `plan` says which ports of which members, `names` what they are called, `ports` where they go. `seat` makes sure
//! that one process at a time does this for a crew, and tells others which. `supervise` opens the connections, writes
//! what `files` holds, and stays until one of them ends; `aside` has a process in the background do it.
//! `docs/architecture.md`, "Ports of a crew".

mod aside;
mod files;
mod names;
mod plan;
mod ports;
mod seat;
mod supervise;

pub(crate) use aside::{Answer, aside, hold};
pub(crate) use plan::Plan;
pub(crate) use seat::{Ended, Seat, Taken, connected_to, disconnect, nameable, standing};
pub(crate) use supervise::supervise;

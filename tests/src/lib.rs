//! What the tests need: the executables, a world of its own for each test, and tools that may be absent.

mod binaries;
pub mod coder;
pub mod flood;
pub mod flue;
pub mod freestyle;
mod network;
pub mod nomad;
mod rude;
mod script;
pub mod sshd;
pub mod tailnet;
mod tools;
mod world;

pub use binaries::{Profile, binaries, binary};
pub use network::{Network, Place};
pub use rude::{Ended, peak_of};
pub use script::quoted;
pub use tools::{skip, tool};
pub use world::{Plugin, World, ended, wait_for};

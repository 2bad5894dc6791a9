//! A provider's process and the conversation with it.
//!
//! `guard` makes sure that nothing outlives the host, `process` starts and ends the plugin, `session`
//! asks it, `exchange` is one request on its way, `ladder` how one is ended, `relay` carries a command's output, `interrupt` hears the user,
//! `trace` writes down what is said. How they work together:
//! `docs/architecture.md`, "A plugin's process".

mod error;
mod exchange;
mod guard;
mod interrupt;
mod ladder;
mod process;
mod relay;
mod session;
mod stderr;
pub(crate) mod trace;

pub(crate) use error::ProviderError;
pub(crate) use exchange::{at, reader_gone};
pub(crate) use guard::{GUARD_ARGUMENT, Guard, guard_main, own_program};
pub(crate) use interrupt::Interrupts;
pub(crate) use ladder::{Ladder, Rung};
pub(crate) use process::{Locks, Process, REAP, STEP, Spawn};
pub(crate) use relay::{Delivered, Relay, make_fifo};
pub(crate) use session::{Ask, Event, Session, default_scope, probe};

//! Freestyle, from crabbox down to an emulated cloud, and what holds that emulator to the real one.

mod answers;
mod checklist;
mod crash;
mod emulator;
mod honesty;
mod life;
mod put;
mod site;
mod talk;
mod trouble;
mod v1;
mod v1_names;

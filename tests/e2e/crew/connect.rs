//! Ports of members that are reached by SSH, on this machine.

mod files;
mod life;
mod others;
mod settings;
mod site;
mod trouble;

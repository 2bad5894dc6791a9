//! The emulator's own tests: that it does what the real agent was seen to do, and that its faults happen.

mod acl;
mod api;
mod client;
mod exec;
mod faults;
mod listeners;

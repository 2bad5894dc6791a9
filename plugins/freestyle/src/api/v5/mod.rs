//! Version 5, as the official client (npm `freestyle` 0.2.17) speaks it.

mod exec;
mod files;
mod machines;
mod names;
mod sizes;

use super::client::{Client, Dialect};
use crate::settings::Settings;

pub(super) use exec::STDIN;
use sizes::Sized;

/// Version 5 of the API.
#[derive(Debug)]
pub(crate) struct V5 {
    client: Client,
    sized: Sized,
}

impl V5 {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &Settings) -> Self {
        let dialect = Dialect { results: "/v5/background-requests/", all_in_background: true };
        let sized = Sized::new(settings.snapshot.as_deref(), settings.size);
        Self { client: Client::new(settings, dialect), sized }
    }
}

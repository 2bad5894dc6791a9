//! `doctor`: is there an agent, does it let us in, and may we do there what a lease needs? Reads only.

use crabbox_provider_kit::protocol::{Check, Lease};

use crate::provider::Nomad;

impl Nomad {
    /// Every check, and one for `lease`.
    pub(crate) async fn checks(&self, _lease: Option<&Lease>) -> Vec<Check> {
        Vec::new()
    }
}

//! What can be made to go wrong, at any time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Transition;

/// Everything that can be made to go wrong. Change it with [`Coder::faults`](super::Coder::faults).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Faults {
    /// The session has expired: the server answers 401.
    pub signed_out: bool,
    /// Nothing answers at the deployment's address.
    pub unreachable: bool,
    /// The server answers every request with this status and message.
    pub server_error: Option<(u16, String)>,
    /// Lines that every command which asks the server writes on standard error first.
    pub warnings: Vec<String>,
    /// The next build of each of these kinds fails, with this text of the provisioner.
    pub builds: Vec<(Transition, String)>,
    /// The next builds that are asked for are refused, as when another is under way.
    pub conflicts: usize,
    /// A workspace that is created can be seen, and found, only this much later.
    pub late_row: Duration,
    /// The first word of commands that do nothing, for ever.
    pub hangs: Vec<String>,
    /// What `list` writes in place of what it should.
    pub list_output: Option<String>,
    /// Every command takes this much longer.
    pub slow: Duration,
    /// The administrator has blocked file transfers. For workspaces that nobody has connected to yet.
    pub no_file_transfer: bool,
}

impl Faults {
    /// The text with which a build that begins now fails, which is counted.
    pub(super) fn build_failure(&mut self, transition: Transition) -> Option<String> {
        let index = self.builds.iter().position(|(of, _)| *of == transition)?;
        Some(self.builds.remove(index).1)
    }

    /// Whether a build that is asked for now is refused, which is counted.
    pub(super) fn conflict(&mut self) -> bool {
        let conflict = self.conflicts > 0;
        self.conflicts = self.conflicts.saturating_sub(1);
        conflict
    }
}

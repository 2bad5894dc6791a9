//! What both versions of the API have, in one set of words.

use std::collections::BTreeMap;
use std::time::Duration;

use crabbox_provider_kit::http::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Its identifier, which Freestyle has given.
    pub(crate) id: String,
    /// Its name, which we have given: the slug of version 5. Version 1 may not tell it.
    pub(crate) name: Option<String>,
    /// What it is doing.
    pub(crate) standing: Standing,
    /// The same in the API's word, for messages.
    pub(crate) state: String,
    /// What was written into it.
    pub(crate) metadata: BTreeMap<String, String>,
    /// What it has, where that is told.
    pub(crate) size: Option<Size>,
    /// When it was made.
    pub(crate) created_at: Option<Timestamp>,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It will run.
    Starting,
    /// It runs.
    Running,
    /// It will sleep.
    Leaving,
    /// It does not run, and can be started: paused, suspended or stopped.
    Asleep,
    /// It will never run again.
    Lost,
    /// The API has a word for it that we do not know.
    Unknown,
}

/// What a machine has, or has to have at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// CPUs.
    pub(crate) cpu: u32,
    /// MiB of memory.
    pub(crate) memory_mib: u32,
}

/// What looking for a lease's machine has found.
#[derive(Debug)]
pub(crate) enum Found {
    /// It, verified.
    Machine(Machine),
    /// Several that bear its name, which nobody else gives.
    Several(Vec<Machine>),
    /// Certainly nothing.
    Absent,
    /// There is no telling, and this is why.
    Unknown(String),
}

/// What crabbox has made in an account.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// The machines that are known to be ours.
    pub(crate) machines: Vec<Machine>,
    /// Whether machines can be found by their names.
    pub(crate) names: Names,
}

/// Whether the API tells the names of machines. It tells them if it tells any: a machine without a name may be
/// somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// It does.
    Told,
    /// There is no machine that could tell.
    Nobody,
    /// It does not, and there are so many machines.
    NotTold(usize),
}

/// What a new machine is to be, beyond its name and what was configured.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// What people call the machine.
    pub(crate) display_name: &'a str,
    /// What people call the lease.
    pub(crate) slug: &'a str,
    /// When Freestyle is to delete it by itself, should nobody else do it: so long after it was made.
    pub(crate) ttl: Option<Duration>,
}

/// A command for a machine's shell.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    /// The line.
    pub(crate) line: &'a str,
    /// The user on the machine.
    pub(crate) user: &'a str,
    /// Its standard input, at most [`longest_stdin`](super::Api::longest_stdin); empty if nothing is said.
    pub(crate) stdin: Bytes,
    /// How long it may take. Where the API does not allow that much, as long as it allows.
    pub(crate) limit: Duration,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Its exit code; none when it took too long and was ended.
    pub(crate) status: Option<i32>,
    /// What it wrote, as far as that is text.
    pub(crate) stdout: String,
    /// What it wrote as errors, as far as that is text.
    pub(crate) stderr: String,
    /// How long it was allowed to take.
    pub(crate) limit: Duration,
}

/// Some of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// These bytes, at least one.
    Bytes(Bytes),
    /// Nothing beyond what was read, or no such file: more may come.
    Nothing,
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Nothing } else { Self::Bytes(bytes) }
    }
}

/// A published name.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// What takes it back.
    pub(crate) id: String,
    /// The name.
    pub(crate) domain: String,
    /// The port that it leads to.
    pub(crate) port: u16,
}

/// The answer to a command, which is the same in both versions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    #[serde(default)]
    status_code: Option<i32>,
    #[serde(default, deserialize_with = "nullable")]
    stdout: String,
    #[serde(default, deserialize_with = "nullable")]
    stderr: String,
}

impl Ended {
    /// With how long the command was allowed to take.
    pub(super) fn within(self, limit: Duration) -> Executed {
        Executed { status: self.status_code, stdout: self.stdout, stderr: self.stderr, limit }
    }
}

/// `null` is taken for the default.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Whole milliseconds.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

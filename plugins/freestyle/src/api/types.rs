//! What of Freestyle's answers is used. Names are Freestyle's; what may be absent is optional.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// `null` is taken for the default.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vm {
    /// Its identifier.
    pub(crate) id: String,
    /// Its name, unique in the account.
    #[serde(default)]
    pub(crate) slug: Option<String>,
    /// `starting`, `running`, `pausing`, `paused` or `stopped`.
    #[serde(default)]
    pub(crate) state: String,
    /// What was written into it.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// What it has.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) resources: Resources,
    /// When it was made.
    #[serde(default)]
    pub(crate) created_at: Option<Timestamp>,
}

/// What a machine has.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    /// CPUs.
    pub(crate) cpu: u32,
    /// MiB.
    pub(crate) memory: u32,
}

/// A page of machines.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vms {
    /// These.
    pub(crate) vms: Vec<Vm>,
    /// How many there are in all.
    #[serde(default)]
    pub(crate) total_count: Option<u64>,
}

/// What became of a command.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Executed {
    /// Its exit code; none when it took too long and was ended.
    #[serde(default)]
    pub(crate) status_code: Option<i32>,
    /// What the shell around it said.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) stderr: String,
}

/// A page of published names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsRules {
    /// These.
    pub(crate) rules: Vec<TlsRule>,
}

/// A published name.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TlsRule {
    /// Its identifier.
    pub(crate) id: String,
    /// The name.
    pub(crate) domain: String,
    /// Where it leads.
    #[serde(default)]
    pub(crate) destination: Destination,
}

/// Where a name leads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Destination {
    /// The machine.
    pub(crate) vm_id: Option<String>,
    /// The port.
    pub(crate) port: Option<u16>,
}

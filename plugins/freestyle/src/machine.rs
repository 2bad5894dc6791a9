//! How a machine is known to be a certain lease: its name, what is written into it, and the identifier that was
//! recorded.

use std::collections::BTreeMap;

use crabbox_provider_kit::protocol::Lease;
use crabbox_provider_kit::{Error, Result};
use serde_json::{Value, json};

use crate::api::Machine;

/// Says that a machine is ours.
pub(crate) const MANAGED: &str = "crabbox";

/// The lease's id.
pub(crate) const LEASE: &str = "crabbox-lease";

/// The lease's slug: for people, and no proof.
pub(crate) const SLUG: &str = "crabbox-slug";

/// What a lease's machine is called and what it must say: a function of the lease's id alone. And what was recorded
/// of it, which may be nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The machine's name, unique in the account: `crabbox-` and the digits of the lease's id.
    pub(crate) name: String,
    /// The lease's id.
    pub(crate) lease_id: String,
    /// The machine's identifier, if it was recorded. No proof where a name can be asked for.
    pub(crate) vm: Option<String>,
}

impl Identity {
    /// The identity of a lease, or of the machine that it was adopted from.
    pub(crate) fn of(lease: &Lease) -> Self {
        let adopted = lease.r#ref.as_deref().and_then(digits);
        let digits = adopted.unwrap_or_else(|| lease.id.as_str().trim_start_matches("cbx_"));
        let recorded = lease.state.as_ref().and_then(|state| state.get("vm")).and_then(Value::as_str);
        let vm = recorded.filter(|vm| !vm.is_empty()).map(str::to_owned);
        Self { name: format!("crabbox-{digits}"), lease_id: format!("cbx_{digits}"), vm }
    }

    /// Records which machine it is.
    pub(crate) fn at(self, machine: &Machine) -> Self {
        Self { vm: Some(machine.id.clone()), ..self }
    }

    /// What is recorded of a machine.
    pub(crate) fn state(machine: &Machine) -> Value {
        json!({"vm": machine.id})
    }

    /// What is written into the machine, where that can be done.
    pub(crate) fn metadata(&self, slug: &str) -> BTreeMap<&'static str, String> {
        // A value has at most 63 characters.
        let slug = slug.chars().take(63).collect();
        BTreeMap::from([(MANAGED, "true".to_owned()), (LEASE, self.lease_id.clone()), (SLUG, slug)])
    }

    /// Checks that a machine is this lease's, by its name and by what is written into it.
    ///
    /// # Errors
    ///
    /// `conflict`.
    pub(crate) fn verify(&self, machine: &Machine) -> Result<()> {
        let says = |key: &str, value: &str| machine.metadata.get(key).is_some_and(|found| found == value);
        let is_named = machine.name.as_deref() == Some(&self.name);
        match is_named && says(MANAGED, "true") && says(LEASE, &self.lease_id) {
            true => Ok(()),
            false => Err(self.not_ours(machine, "its slug or its metadata differ")),
        }
    }

    /// Checks that a machine whose identifier was recorded is this lease's, by its name, if that is told.
    ///
    /// # Errors
    ///
    /// `conflict`.
    pub(crate) fn verify_name(&self, machine: &Machine) -> Result<()> {
        match machine.name.as_ref().is_none_or(|name| *name == self.name) {
            true => Ok(()),
            false => Err(self.not_ours(machine, "its name differs")),
        }
    }

    fn not_ours(&self, machine: &Machine, why: &str) -> Error {
        Error::conflict(format!("the machine {} ({}) is not this lease's", self.name, machine.id))
            .cause(why)
            .hint("nothing was changed; look at it with `freestyle vm get`")
    }
}

/// Whether a name is one that we give.
pub(crate) fn is_ours(name: &str) -> bool {
    digits(name).is_some()
}

/// The id of the lease whose machine has this name, if it is one of ours.
pub(crate) fn lease_of(name: &str) -> Option<String> {
    digits(name).map(|digits| format!("cbx_{digits}"))
}

/// The digits in a name, if it is one of ours.
fn digits(name: &str) -> Option<&str> {
    let digits = name.strip_prefix("crabbox-")?;
    (digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .then_some(digits)
}

#[cfg(test)]
mod tests {
    use crate::api::Standing;

    use super::*;

    fn identity(state: Value) -> Identity {
        let lease = json!({
            "id": "cbx_5f3a9c0e71b2", "slug": "blue-otter", "name": "crabbox-blue-otter-1", "state": state,
        });
        Identity::of(&serde_json::from_value(lease).unwrap())
    }

    fn machine(name: Option<&str>, metadata: BTreeMap<&'static str, String>) -> Machine {
        Machine {
            id: "vm-1".to_owned(),
            name: name.map(str::to_owned),
            standing: Standing::Running,
            state: "running".to_owned(),
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            size: None,
            created_at: None,
        }
    }

    #[test]
    fn a_machine_that_differs_is_not_the_leases() {
        let identity = identity(json!({"vm": "vm-1"}));
        let (name, ours) = ("crabbox-5f3a9c0e71b2", Some("crabbox-5f3a9c0e71b2"));
        assert_eq!((identity.name.as_str(), identity.vm.as_deref()), (name, Some("vm-1")));
        let good = identity.metadata("blue-otter");
        identity.verify(&machine(ours, good.clone())).unwrap();
        let mut other = good.clone();
        other.insert(LEASE, "cbx_000000000000".to_owned());
        let mut unmanaged = good.clone();
        unmanaged.remove(MANAGED);
        for (name, metadata) in [
            (Some("other"), good.clone()),
            (None, good),
            (ours, other),
            (ours, unmanaged),
            (ours, BTreeMap::new()),
        ] {
            assert!(identity.verify(&machine(name, metadata)).is_err());
        }
    }

    #[test]
    fn a_recorded_machine_may_be_silent_about_its_name_and_not_differ() {
        let identity = identity(json!({"vm": "vm-1"}));
        identity.verify_name(&machine(None, BTreeMap::new())).unwrap();
        identity.verify_name(&machine(Some("crabbox-5f3a9c0e71b2"), BTreeMap::new())).unwrap();
        assert!(identity.verify_name(&machine(Some("crabbox-000000000000"), BTreeMap::new())).is_err());
    }

    #[test]
    fn a_state_of_any_shape_may_come() {
        for state in [json!(null), json!({}), json!({"vm": 3}), json!({"vm": ""}), json!("vm-1"), json!([1])]
        {
            assert_eq!(identity(state).vm, None);
        }
    }

    #[test]
    fn only_names_of_ours_are_ours() {
        assert_eq!(lease_of("crabbox-5f3a9c0e71b2").unwrap(), "cbx_5f3a9c0e71b2");
        for name in ["crabbox-5f3a9c0e71b", "crabbox-5F3A9C0E71B2", "crabbox-blue-otter-1", "x", ""] {
            assert!(!is_ours(name), "{name}");
        }
    }
}

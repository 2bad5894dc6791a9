//! How a machine is known to be a certain lease: its slug, and what is written into it.

use std::collections::BTreeMap;

use crabbox_provider_kit::protocol::Lease;
use crabbox_provider_kit::{Error, Result};

use crate::api::Vm;

/// Says that a machine is ours.
pub(crate) const MANAGED: &str = "crabbox";

/// The lease's id.
pub(crate) const LEASE: &str = "crabbox-lease";

/// The lease's slug: for people, and no proof.
pub(crate) const SLUG: &str = "crabbox-slug";

/// What a lease's machine is called and what it must say. A function of the lease's id alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The machine's slug, unique in the account: `crabbox-` and the digits of the lease's id.
    pub(crate) slug: String,
    /// The lease's id.
    pub(crate) lease_id: String,
}

impl Identity {
    /// The identity of a lease, or of the machine that it was adopted from.
    pub(crate) fn of(lease: &Lease) -> Self {
        let adopted = lease.r#ref.as_deref().and_then(digits);
        let digits = adopted.unwrap_or_else(|| lease.id.as_str().trim_start_matches("cbx_"));
        Self { slug: format!("crabbox-{digits}"), lease_id: format!("cbx_{digits}") }
    }

    /// What is written into the machine.
    pub(crate) fn metadata(&self, slug: &str) -> BTreeMap<&'static str, String> {
        // A value has at most 63 characters.
        let slug = slug.chars().take(63).collect();
        BTreeMap::from([(MANAGED, "true".to_owned()), (LEASE, self.lease_id.clone()), (SLUG, slug)])
    }

    /// The path of the lease's machine in the API: a slug stands wherever an id does.
    pub(crate) fn path(&self) -> String {
        format!("/v5/vms/{}", self.slug)
    }

    /// Checks that a machine is this lease's.
    ///
    /// # Errors
    ///
    /// `conflict`.
    pub(crate) fn verify(&self, vm: &Vm) -> Result<()> {
        let says = |key: &str, value: &str| vm.metadata.get(key).is_some_and(|found| found == value);
        match says(MANAGED, "true") && says(LEASE, &self.lease_id) && vm.slug.as_deref() == Some(&self.slug) {
            true => Ok(()),
            false => {
                Err(Error::conflict(format!("the machine {} ({}) is not this lease's", self.slug, vm.id))
                    .cause("its slug or its metadata differ")
                    .hint("nothing was changed; look at it with `freestyle vm get`"))
            }
        }
    }
}

/// The digits in a slug, if it is one of ours.
fn digits(slug: &str) -> Option<&str> {
    let digits = slug.strip_prefix("crabbox-")?;
    (digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .then_some(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_machine_that_differs_is_not_the_leases() {
        let lease: Lease = serde_json::from_value(
            json!({"id": "cbx_5f3a9c0e71b2", "slug": "blue-otter", "name": "crabbox-blue-otter-1"}),
        )
        .unwrap();
        let identity = Identity::of(&lease);
        assert_eq!(identity.path(), "/v5/vms/crabbox-5f3a9c0e71b2");
        let vm = |slug: Value, metadata: Value| -> Vm {
            serde_json::from_value(json!({"id": "vm-1", "slug": slug, "metadata": metadata})).unwrap()
        };
        let good = json!(identity.metadata("blue-otter"));
        identity.verify(&vm(json!("crabbox-5f3a9c0e71b2"), good.clone())).unwrap();
        let mut other = good.clone();
        other["crabbox-lease"] = json!("cbx_000000000000");
        for (slug, metadata) in [
            (json!("other"), good.clone()),
            (Value::Null, good),
            (json!("crabbox-5f3a9c0e71b2"), other),
            (json!("crabbox-5f3a9c0e71b2"), Value::Null),
        ] {
            assert!(identity.verify(&vm(slug, metadata)).is_err());
        }
    }
}

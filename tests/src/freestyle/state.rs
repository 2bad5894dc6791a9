//! What exists: VMs, their rules, uploads, background requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::guest::Guest;

/// The account that all belongs to.
pub(super) const ACCOUNT: &str = "acc-00000000000000000000000000000001";

/// What exists.
#[derive(Default)]
pub(super) struct State {
    /// In the order of their creation.
    pub(super) vms: Vec<Vm>,
    pub(super) firewall: Vec<Rule>,
    pub(super) tls: Vec<Rule>,
    pub(super) uploads: BTreeMap<String, Upload>,
    /// Without an answer as long as the request is under way.
    pub(super) background: BTreeMap<String, Option<Answer>>,
    /// The domains that v1 maps to a VM's port.
    pub(super) mappings: BTreeMap<String, (String, u16)>,
}

/// A VM.
#[derive(Clone)]
pub(super) struct Vm {
    pub(super) id: String,
    /// Whether it was made by v1, which is another cluster.
    pub(super) v1: bool,
    /// In v5's words.
    pub(super) state: &'static str,
    pub(super) slug: Option<String>,
    pub(super) resources: Resources,
    pub(super) snapshot: Snapshot,
    /// What was said when it was created or changed, and is told again.
    pub(super) settings: Map<String, Value>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) guest: Arc<Guest>,
}

/// The size of a VM: CPUs, memory and disk in MiB.
#[derive(Clone, Copy)]
pub(super) struct Resources {
    pub(super) cpu: u64,
    pub(super) memory: u64,
    pub(super) storage: u64,
}

/// What a VM was booted from.
#[derive(Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) id: &'static str,
    pub(super) slug: &'static str,
    pub(super) resources: Resources,
}

/// A rule of the firewall or of the TLS edge.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) id: String,
    /// As it is told.
    pub(super) body: Map<String, Value>,
}

/// An upload in chunks.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) vm: String,
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Option<String>,
    pub(super) mode: Option<u32>,
    pub(super) received: Vec<u8>,
}

impl State {
    /// The VM with this id, or this slug.
    pub(super) fn find(&self, key: &str) -> Option<&Vm> {
        let by_id = self.vms.iter().find(|vm| !vm.v1 && vm.id == key);
        by_id.or_else(|| self.vms.iter().find(|vm| !vm.v1 && vm.slug.as_deref() == Some(key)))
    }

    /// The VM with this id, of either version.
    pub(super) fn vm(&self, id: &str) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.id == id)
    }

    /// Changes a VM, if it still exists.
    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Vm)) {
        if let Some(vm) = self.vms.iter_mut().find(|vm| vm.id == id) {
            change(vm);
            vm.updated = Timestamp::now();
        }
    }

    /// Takes a VM out, and everything that dies with it.
    pub(super) fn remove(&mut self, id: &str) -> Option<Vm> {
        let index = self.vms.iter().position(|vm| vm.id == id)?;
        self.firewall.retain(|rule| !rule.depends_on(id));
        self.tls.retain(|rule| !rule.depends_on(id));
        self.uploads.retain(|_, upload| upload.vm != id);
        self.mappings.retain(|_, (vm, _)| vm != id);
        Some(self.vms.remove(index))
    }
}

impl Rule {
    /// A rule that is new; `vms` are those that it names.
    pub(super) fn new(prefix: &str, mut body: Map<String, Value>, vms: &[&Vm]) -> Self {
        let id = format!("{prefix}-{}", hex(32));
        let dependencies: Vec<Value> = vms
            .iter()
            .map(|vm| {
                let mut one = json!({"kind": "vm", "id": vm.id});
                if let Some(slug) = &vm.slug {
                    one["slug"] = slug.as_str().into();
                }
                one
            })
            .collect();
        let now = Timestamp::now().to_string();
        body.insert("id".to_owned(), id.as_str().into());
        body.insert("accountId".to_owned(), ACCOUNT.into());
        body.insert("dependencies".to_owned(), dependencies.into());
        body.insert("createdAt".to_owned(), now.as_str().into());
        body.insert("updatedAt".to_owned(), now.into());
        Self { id, body }
    }

    /// Says whether the rule dies with this VM.
    pub(super) fn depends_on(&self, id: &str) -> bool {
        self.body["dependencies"].as_array().is_some_and(|all| all.iter().any(|it| it["id"] == id))
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn value(&self) -> Value {
        Value::Object(self.body.clone())
    }
}

impl Resources {
    pub(super) const fn new(cpu: u64, memory_gib: u64, storage_gib: u64) -> Self {
        Self { cpu, memory: memory_gib * 1024, storage: storage_gib * 1024 }
    }

    pub(super) fn value(self) -> Value {
        json!({"cpu": self.cpu, "memory": self.memory, "storage": self.storage})
    }
}

impl Vm {
    /// The VM as v5 tells it.
    pub(super) fn value(&self) -> Value {
        let mut all = self.settings.clone();
        let networks = all.remove("vpcs").unwrap_or_else(|| json!([]));
        let run = (Timestamp::now() - self.created).get_seconds().max(0);
        let told = json!({
            "id": self.id,
            "state": self.state,
            "resources": self.resources.value(),
            "snapshotId": self.snapshot.id,
            "sourceSnapshotSlug": self.snapshot.slug,
            "sourceSnapshotSlugAtCreate": self.snapshot.slug,
            "metadata": self.metadata,
            "vpcs": networks,
            "networks": networks,
            "totalRunSeconds": run,
            "createdAt": self.created.to_string(),
            "updatedAt": self.updated.to_string(),
        });
        if let Value::Object(told) = told {
            all.extend(told);
        }
        if let Some(slug) = &self.slug {
            all.insert("slug".to_owned(), slug.as_str().into());
        }
        all.entry("automaticRestart").or_insert(true.into());
        Value::Object(all)
    }
}

/// Random hexadecimal digits.
pub(super) fn hex(digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[fastrand::usize(..16)])).collect()
}

//! `acquire`: makes the machine, unless it is there, and waits until it runs.

use std::time::Duration;

use crabbox_provider_kit::protocol::{AcquireParams, LeaseReport};
use crabbox_provider_kit::{Context, Error, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::Vm;
use crate::machine::Identity;
use crate::provider::Freestyle;

/// How long a creation may take.
const CREATING: Duration = Duration::from_secs(300);

/// How long a machine may take to run.
const STARTING: Duration = Duration::from_secs(300);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// How much longer than the lease a machine may live that nobody has deleted, in seconds.
const GRACE_S: u64 = 900;

impl Freestyle {
    /// Answers `acquire`.
    pub(crate) async fn make(&self, params: &AcquireParams, context: &Context) -> Result<LeaseReport> {
        if let Some(target) = params.target.as_deref().filter(|target| *target != "linux") {
            return Err(Error::unsupported(format!("there are no `{target}` machines here"))
                .hint("leave out the target")
                .created(false));
        }
        let identity = Identity::of(&params.lease);
        let vm = match self.find(&identity).await.map_err(|error| error.created(false))? {
            Some(vm) => vm,
            None => self.create(&identity, params).await?,
        };
        context.lease(self.report(&identity, &vm)).await?;
        let vm = self.running(&identity, vm, context).await?;
        let vm = self.sized(vm).await?;
        let message =
            format!("machine {} with {} CPUs and {} MiB", vm.id, vm.resources.cpu, vm.resources.memory);
        Ok(LeaseReport { message: Some(message), ..self.report(&identity, &vm) })
    }

    /// Makes the machine. Freestyle deletes it by itself when it stops, or some time after the lease is over.
    async fn create(&self, identity: &Identity, params: &AcquireParams) -> Result<Vm> {
        let mut body = json!({
            "slug": identity.slug,
            "displayName": params.lease.name,
            "metadata": identity.metadata(&params.lease.slug),
            "autoDeleteSeconds": 0,
            // To everywhere, and from nowhere.
            "firewall": {"rules": [{"action": "allow", "source": {}, "destination": {"public": true}}]},
        });
        if let Some(ttl) = params.ttl_ms {
            body["ttlSeconds"] = json!(ttl.div_ceil(1000).saturating_add(GRACE_S));
        }
        if let Some(snapshot) = &self.settings.snapshot {
            body["snapshotId"] = json!(snapshot);
        }
        let error = match self.api.order::<Vm>("/v5/vms", &body, CREATING).await {
            Ok(Ok(vm)) => {
                // What an answer leaves out is no reason to doubt it.
                return Ok(self.find(identity).await?.unwrap_or(vm));
            }
            Ok(Err(refusal)) if refusal.status.as_u16() < 500 => self.api.error(&refusal).created(false),
            Ok(Err(refusal)) => self.api.error(&refusal),
            Err(error) => error,
        };
        // The answer may have been lost, or the slug be taken: by us, or by somebody else.
        match self.find(identity).await {
            Ok(Some(vm)) => Ok(vm),
            Err(other) if other.kind() == crabbox_provider_kit::protocol::ErrorKind::Conflict => {
                Err(other.created(false))
            }
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// Waits until the machine runs, and starts one that does not.
    pub(crate) async fn running(&self, identity: &Identity, mut vm: Vm, context: &Context) -> Result<Vm> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            match vm.state.as_str() {
                "running" => return Ok(vm),
                "paused" | "stopped" => self.start(&vm).await?,
                _ if begun.elapsed() > STARTING => {
                    let waited = STARTING.as_secs();
                    return Err(Error::deadline(format!(
                        "machine {} is {} after {waited} s",
                        vm.id, vm.state
                    )));
                }
                state if !told => {
                    context.progress(format!("waiting: machine {} is {state}", vm.id)).await?;
                    told = true;
                }
                _ => {}
            }
            sleep(PAUSE).await;
            let found = self.find(identity).await?;
            vm = found.ok_or_else(|| Error::not_found(format!("machine {} is gone", vm.id)))?;
        }
    }

    /// Starts a machine that is paused or stopped.
    pub(crate) async fn start(&self, vm: &Vm) -> Result<()> {
        let started =
            self.api.order::<Value>(&format!("/v5/vms/{}/start", vm.id), &json!({}), CREATING).await?;
        started.map(drop).map_err(|refusal| self.api.error(&refusal))
    }

    /// Enlarges the machine to what was asked for, where its snapshot has less.
    async fn sized(&self, vm: Vm) -> Result<Vm> {
        let Some(size) = self.settings.size else {
            return Ok(vm);
        };
        let (cpu, memory) = (size.cpu.max(vm.resources.cpu), size.memory_mib.max(vm.resources.memory));
        if (cpu, memory) == (vm.resources.cpu, vm.resources.memory) {
            return Ok(vm);
        }
        let path = format!("/v5/vms/{}/resize", vm.id);
        let resized = self.api.order::<Vm>(&path, &json!({"cpu": cpu, "memory": memory}), CREATING).await?;
        resized
            .map_err(|refusal| self.api.error(&refusal).hint("`vcpus` and `memoryGb` say what is asked for"))
    }

    /// What is known of a lease.
    pub(crate) fn report(&self, identity: &Identity, vm: &Vm) -> LeaseReport {
        LeaseReport {
            r#ref: Some(identity.slug.clone()),
            state: Some(json!({"vm": vm.id})),
            root: Some(self.settings.directory.clone()),
            labels: [("vm".to_owned(), vm.id.clone())].into(),
            ..LeaseReport::default()
        }
    }
}

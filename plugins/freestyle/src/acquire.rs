//! `acquire`: makes the machine, unless it is there, and waits until it runs.

use std::time::Duration;

use crabbox_provider_kit::protocol::{AcquireParams, ErrorKind, LeaseReport};
use crabbox_provider_kit::{Context, Error, Result};
use tokio::time::{Instant, sleep};

use crate::api::{Found, Machine, Order, Standing};
use crate::machine::Identity;
use crate::provider::{Freestyle, several};
use crate::shell::quoted;

/// How long a machine may take to run.
const STARTING: Duration = Duration::from_secs(300);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// How much longer than the lease a machine may live that nobody has deleted.
const GRACE: Duration = Duration::from_secs(900);

impl Freestyle {
    /// Answers `acquire`.
    pub(crate) async fn make(&self, params: &AcquireParams, context: &Context) -> Result<LeaseReport> {
        if let Some(target) = params.target.as_deref().filter(|target| *target != "linux") {
            return Err(Error::unsupported(format!("there are no `{target}` machines here"))
                .hint("leave out the target")
                .created(false));
        }
        let identity = Identity::of(&params.lease);
        let machine = match self.api.find(&identity).await.map_err(|error| error.created(false))? {
            Found::Machine(machine) => machine,
            Found::Several(machines) => return Err(Error::ambiguous(several(&identity, &machines))),
            // Where names are not told, a lease that was made without its being recorded is made once more.
            Found::Absent | Found::Unknown(_) => self.create(&identity, params).await?,
        };
        // Where names are not told, this is all that will ever be known of it.
        context.lease(self.report(&identity, &machine)).await?;
        let identity = identity.at(&machine);
        let machine = self.running(&identity, machine, context).await?;
        let machine = self.api.enlarge(machine).await?;
        self.prepare(&machine).await?;
        let size = machine.size.map(|has| format!(" with {} CPUs and {} MiB", has.cpu, has.memory_mib));
        let message = format!("machine {}{}", machine.id, size.unwrap_or_default());
        Ok(LeaseReport { message: Some(message), ..self.report(&identity, &machine) })
    }

    /// Makes the machine. Freestyle deletes it by itself some time after the lease is over.
    async fn create(&self, identity: &Identity, params: &AcquireParams) -> Result<Machine> {
        let ttl = params.ttl_ms.map(|ms| Duration::from_secs(ms.div_ceil(1000)).saturating_add(GRACE));
        let order = Order { display_name: &params.lease.name, slug: &params.lease.slug, ttl };
        let error = match self.api.create(identity, &order).await {
            Ok(machine) => return Ok(machine),
            Err(error) => error,
        };
        // The answer may have been lost, or the name be taken: by us, or by somebody else.
        match self.api.find(identity).await {
            Ok(Found::Machine(machine)) => Ok(machine),
            Err(other) if other.kind() == ErrorKind::Conflict => Err(other.created(false)),
            _ => Err(error),
        }
    }

    /// Waits until the machine runs, and starts one that sleeps.
    pub(crate) async fn running(
        &self,
        identity: &Identity,
        mut machine: Machine,
        context: &Context,
    ) -> Result<Machine> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let (id, state) = (&machine.id, &machine.state);
            match machine.standing {
                Standing::Running => return Ok(machine),
                Standing::Lost => {
                    return Err(Error::unavailable(format!(
                        "machine {id} is {state}, and will not run again"
                    )));
                }
                Standing::Asleep => self.api.start(id).await?,
                _ if begun.elapsed() > STARTING => {
                    let waited = STARTING.as_secs();
                    return Err(Error::deadline(format!("machine {id} is {state} after {waited} s")));
                }
                _ if !told && begun.elapsed() > PAUSE => {
                    context.progress(format!("waiting: machine {id} is {state}")).await?;
                    told = true;
                }
                _ => {}
            }
            machine = match self.api.find(identity).await? {
                Found::Machine(found) => found,
                _ => return Err(Error::not_found(format!("machine {id} is gone"))),
            };
            if machine.standing != Standing::Running {
                sleep(PAUSE).await;
            }
        }
    }

    /// Makes the lease's directory where the user of the lease may not make it himself.
    async fn prepare(&self, machine: &Machine) -> Result<()> {
        if self.settings.linux_user == "root" {
            return Ok(());
        }
        let (directory, user) = (quoted(&self.settings.directory), quoted(&self.settings.linux_user));
        let line = format!("mkdir -p {directory} && chown {user} {directory}");
        self.as_root(&machine.id, &line).await.map_err(|error| {
            error.hint(format!("is there a user {} on the machine?", self.settings.linux_user))
        })
    }

    /// What is known of a lease.
    pub(crate) fn report(&self, identity: &Identity, machine: &Machine) -> LeaseReport {
        LeaseReport {
            r#ref: Some(identity.name.clone()),
            state: Some(Identity::state(machine)),
            root: Some(self.settings.directory.clone()),
            labels: [("vm".to_owned(), machine.id.clone())].into(),
            ..LeaseReport::default()
        }
    }
}

//! A check under way: the plugin, where it is tried, and what was found so far.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crabbox_protocol::{Call, ConfigureParams, ConfigureResult, Lifecycle, Manifest, Method, Ssh, VERSIONS};
use serde_json::{Value, json};

use super::ledger::{Finding, Ledger, Verdict};
use super::made::Made;
use super::report::CheckArgs;
use super::rules::{self, Need, Rule};
use super::talk::{Launch, SOON, Talk};
use super::world::{Vars, World};
use super::{bridge, cancel, configuration, handshake, lease, manifest, requests, run, ssh, sync};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::provider::{Locks, Spawn};

/// A check under way.
pub(super) struct Check<'h> {
    pub(super) host: &'h Host,
    /// The executable.
    pub(super) path: PathBuf,
    /// The provider's name by the executable's, where that has one.
    pub(super) file_name: Option<String>,
    /// Whether leases are made with the user's own configuration.
    pub(super) live: bool,
    /// The longest that an answer is waited for.
    patience: Duration,
    pub(super) world: World,
    pub(super) ledger: Rc<RefCell<Ledger>>,
    /// The environment that a plugin gets now.
    pub(super) env: Vars,
    /// What the plugin says about itself, once it has, as it stood on the line.
    pub(super) manifest: Option<Manifest>,
    pub(super) raw: Value,
    /// What it is configured with now, and what it said to that.
    pub(super) params: ConfigureParams,
    pub(super) configured: ConfigureResult,
    /// Where things can be run, or why nowhere.
    pub(super) place: Result<Place, String>,
    /// How the lease is reached by SSH, where it says so.
    pub(super) ssh: Option<Ssh>,
    /// Leases that may exist.
    pub(super) made: Vec<Made>,
}

/// Where things can be run.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// On a lease.
    Lease(Box<crabbox_protocol::Lease>),
    /// In a run that brings its workspace.
    OneShot,
}

impl<'h> Check<'h> {
    /// Prepares to check an executable.
    pub(super) fn new(
        host: &'h Host,
        path: &Path,
        file_name: Option<String>,
        args: &CheckArgs,
    ) -> Result<Self> {
        let world =
            World::new().map_err(|error| Error::failure("cannot make a temporary directory").cause(error))?;
        Ok(Self {
            env: world.seal(&host.plugins.base()),
            host,
            path: path.to_owned(),
            file_name,
            live: args.live,
            patience: args.deadline.unwrap_or(Duration::MAX),
            world,
            ledger: Rc::default(),
            manifest: None,
            raw: Value::Null,
            params: ConfigureParams::default(),
            configured: ConfigureResult::default(),
            place: Err("nothing was tried".to_owned()),
            ssh: None,
            made: Vec::new(),
        })
    }

    /// Tries every rule.
    pub(super) async fn everything(&mut self) -> Result<()> {
        handshake::first(self).await;
        if self.manifest.is_none() {
            return Ok(());
        }
        handshake::check(self).await;
        manifest::check(self).await;
        configuration::check(self).await;
        requests::check(self).await;
        self.place = configuration::place(self).await?;
        lease::make(self).await;
        lease::check(self).await;
        bridge::check(self).await;
        ssh::check(self).await;
        run::check(self).await;
        cancel::check(self).await;
        sync::check(self).await;
        run::ends(self).await;
        lease::release(self).await;
        self.ledger.borrow_mut().nothing_found();
        Ok(())
    }

    /// Tries a rule, if what it needs is there.
    pub(super) async fn rule(&mut self, rule: &'static Rule, try_it: impl AsyncFnOnce(&mut Self) -> Verdict) {
        let verdict = match self.lacks(rule) {
            Some(why) => Err(Finding::skipped(why)),
            None => try_it(self).await,
        };
        self.ledger.borrow_mut().judge(rule, verdict);
    }

    /// Notes a verdict.
    pub(super) fn judge(&self, rule: &'static Rule, verdict: Verdict) {
        self.ledger.borrow_mut().judge(rule, verdict);
    }

    /// What a rule needs and is not there.
    fn lacks(&self, rule: &'static Rule) -> Option<String> {
        rule.needs.iter().find_map(|need| match need {
            Need::Has(method) if self.has(*method) => None,
            Need::Has(method) => Some(format!("it has no `{method}`")),
            Need::Feature(name) if self.feature(name) => None,
            Need::Feature(name) => Some(format!("it does not declare `{name}`")),
            Need::Place | Need::Lease | Need::OneShot if self.place.is_err() => self.place.clone().err(),
            Need::Place if self.has(Method::Run) => None,
            Need::Place => Some("it has no `run`: the host runs by SSH".to_owned()),
            Need::Lease if matches!(self.place, Ok(Place::Lease(_))) => None,
            Need::Lease => Some("it has no leases".to_owned()),
            Need::Ssh if !self.has(Method::Run) => None,
            Need::Ssh => Some("it runs commands itself".to_owned()),
            Need::OneShot if matches!(self.place, Ok(Place::OneShot)) => None,
            Need::OneShot => Some("it has leases".to_owned()),
            Need::Live if self.live => None,
            Need::Live => Some("`--live` was not given".to_owned()),
        })
    }

    /// Whether the plugin answers a method.
    pub(super) fn has(&self, method: Method) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.has(method))
    }

    /// Whether it declares a feature, also under its configuration.
    pub(super) fn feature(&self, name: &str) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.feature(name))
            && !self.configured.withdrawn.iter().any(|withdrawn| withdrawn == name)
    }

    /// Whether it has no leases.
    pub(super) fn is_one_shot(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.lifecycle == Lifecycle::OneShot)
    }

    /// The provider's name.
    pub(super) fn name(&self) -> String {
        let manifest = self.manifest.as_ref().map(|manifest| manifest.name.clone());
        self.file_name.clone().or(manifest).unwrap_or_else(|| "plugin".to_owned())
    }

    /// How the plugin is started as the host starts it, with this environment.
    pub(super) fn launch(&self, env: &[(OsString, OsString)]) -> Launch {
        let spawn = Spawn {
            provider: self.name(),
            path: self.path.clone(),
            env: env.to_vec(),
            locks: Locks::default(),
        };
        Launch {
            spawn,
            directory: "/".into(),
            before: Vec::new(),
            after: vec!["--stdio".to_owned()],
            patience: self.patience,
        }
    }

    /// A plugin that was started and told nothing.
    pub(super) fn talk(&self) -> Result<Talk, Finding> {
        Talk::start(&self.launch(&self.env), &self.ledger)
    }

    /// A plugin that has introduced itself and is configured.
    pub(super) async fn ready(&self) -> Result<Talk, Finding> {
        self.ready_by(&self.launch(&self.env)).await
    }

    /// The same, started in this way.
    pub(super) async fn ready_by(&self, launch: &Launch) -> Result<Talk, Finding> {
        let mut talk = Talk::start(launch, &self.ledger)?;
        talk.call(Method::Initialize, hello(VERSIONS), SOON).await?;
        if self.has(Method::Configure) && self.ledger.borrow().passed(rules::CONFIGURED) {
            talk.call(Method::Configure, value(&self.params), SOON).await?;
        }
        Ok(talk)
    }
}

/// The params of `initialize`.
pub(super) fn hello(versions: &[u32]) -> Value {
    json!({"versions": versions, "host": {"name": "crabbox", "version": env!("CARGO_PKG_VERSION")}})
}

/// Params as JSON. Those of the protocol can always be written.
pub(super) fn value(params: &impl serde::Serialize) -> Value {
    serde_json::to_value(params).unwrap_or_default()
}

/// Reads a result as the host does. What the host cannot read is judged where every line is.
pub(super) fn read<P: Call>(result: Value) -> Result<P::Result, Finding> {
    crabbox_protocol::decode_lenient(result, &mut Vec::new())
        .map_err(|error| Finding::skipped(format!("the result cannot be read, see `results-fit`: {error}")))
}

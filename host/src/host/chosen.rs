//! A provider with its configuration, ready to be asked.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crabbox_protocol::records::{Claim, ClaimPlugin};
use crabbox_protocol::{ConfigureParams, ConfigureResult, Manifest, Problem};

use super::Host;
use crate::config::{FlagValues, Resolved, Schema, override_recorded, resolve};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::{foreign, hide, warn};
use crate::plugins::Found;
use crate::provider::{Locks, Session};

/// A provider with its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// The provider's name.
    pub(crate) name: String,
    /// The executable.
    pub(crate) found: Found,
    /// What it says about itself.
    pub(crate) manifest: Manifest,
    /// What it is told.
    pub(crate) params: ConfigureParams,
    /// The environment that it gets.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The variables that its configuration asks for.
    pub(crate) pass: BTreeSet<String>,
    /// The auth key of the tailnet that a new lease joins, in its variable. The plugin gets it, and nothing else that
    /// is started.
    lent: Option<(OsString, OsString)>,
    /// The variable that holds or held such a key. No command gets it.
    pub(crate) auth_key: Option<String>,
    /// What claims record of it.
    pub(crate) plugin: ClaimPlugin,
    /// The flags that a printed stop command repeats.
    pub(crate) release_flags: Vec<String>,
}

impl Chosen {
    /// With today's configuration. What the cached manifest does not allow, the plugin is asked about once.
    pub(super) async fn from_config(host: &Host, name: &str, flags: &FlagValues) -> Result<Self> {
        let find = |schema: &Schema| resolve(name, schema, &host.env, &host.files, flags);
        Self::with(host, host.plugins.find(name)?, find).await
    }

    /// With the configuration that a lease was made with, and flags on top.
    pub(super) async fn for_claim(host: &Host, claim: &Claim, flags: &FlagValues) -> Result<Self> {
        let find = |schema: &Schema| {
            override_recorded(&claim.provider, schema, &claim.config, &host.env, &host.files, flags)
        };
        let found = host.plugins.find(&claim.provider).map_err(|error| {
            let ClaimPlugin { version, path, .. } = &claim.plugin;
            let (path, version) = (foreign(path), foreign(version));
            error.cause(format!("lease {} was made by `{path}`, version {version}", claim.lease.slug))
        })?;
        let chosen = Self::with(host, found, find).await?;
        let auth_key = claim.tailscale.as_ref().map(|tailscale| tailscale.auth_key_env.clone());
        Ok(Self { auth_key, ..chosen })
    }

    async fn with(host: &Host, found: Found, find: impl Fn(&Schema) -> Result<Resolved>) -> Result<Self> {
        let name = found.name.clone();
        let mut known = host.plugins.manifest(&found).await?;
        let resolved = match find(&Schema::of(&known.manifest)) {
            Ok(resolved) => resolved,
            Err(_) => {
                known = host.plugins.refresh(&found).await?;
                find(&Schema::of(&known.manifest))?
            }
        };
        resolved.warnings.iter().for_each(warn);
        let secrets = resolved.secrets.values().filter_map(|secret| host.env.get(&secret.env)?.to_str());
        secrets.for_each(hide);
        Ok(Self {
            env: host.plugins.environment(&name, &known.manifest, &resolved.pass),
            pass: resolved.pass,
            lent: None,
            auth_key: None,
            plugin: ClaimPlugin {
                version: known.manifest.version.clone(),
                path: found.path.to_string_lossy().into_owned(),
                sha256: known.sha256,
            },
            name,
            found,
            params: ConfigureParams { config: resolved.config, secrets: resolved.secrets },
            release_flags: resolved.release_flags,
            manifest: known.manifest,
        })
    }

    /// Has the plugin get the variable that holds a tailnet's auth key.
    pub(super) fn lend(&mut self, host: &Host, name: &str) {
        self.lent = host.env.get(name).map(|value| (OsString::from(name), value.to_owned()));
        self.auth_key = Some(name.to_owned());
    }

    /// Starts the plugin and configures it. Everything that is wrong with the configuration is one error.
    pub(crate) async fn connect(&self, host: &Host, locks: Locks) -> Result<(Session, ConfigureResult)> {
        let session = self.open(host, locks).await?;
        if *session.manifest() != self.manifest {
            host.plugins.observed(&self.found, session.manifest())?;
        }
        self.configure(session).await
    }

    /// Starts the plugin.
    pub(crate) async fn open(&self, host: &Host, locks: Locks) -> Result<Session> {
        let lent = self.lent.iter();
        let others = self.env.iter().filter(|(name, _)| lent.clone().all(|(lent, _)| lent != name));
        let env: Vec<_> = others.chain(lent.clone()).cloned().collect();
        let spawn = host.plugins.spawn(&self.found, &env, locks)?;
        Ok(Session::open(&spawn).await?)
    }

    /// Configures a plugin that was started.
    pub(super) async fn configure(&self, mut session: Session) -> Result<(Session, ConfigureResult)> {
        match session.configure(&self.params).await {
            Ok(result) if result.problems.is_empty() => Ok((session, result)),
            Ok(result) => {
                session.close().await;
                Err(misconfigured(&self.name, &result.problems))
            }
            Err(error) => {
                session.abandon().await;
                Err(error.into())
            }
        }
    }
}

/// All that a plugin finds wrong with its configuration, as one error.
fn misconfigured(provider: &str, problems: &[Problem]) -> Error {
    let exit = problems.first().and_then(|problem| problem.kind).map_or(Exit::Usage, Exit::from);
    let text = |problem: &Problem| match problem.key.as_str() {
        "" => foreign(&problem.message),
        key => format!("`{provider}.{}`: {}", foreign(key), foreign(&problem.message)),
    };
    let mut error = match problems {
        [only] => Error::new(exit, format!("provider `{provider}` is not configured: {}", text(only))),
        many => many.iter().fold(
            Error::new(exit, format!("provider `{provider}` is not configured: {} problems", many.len())),
            |error, problem| error.cause(text(problem)),
        ),
    };
    error.hints = problems.iter().filter_map(|problem| problem.hint.as_deref().map(foreign)).collect();
    error.hints.dedup();
    error.hint(format!("`crabbox plugins describe {provider}` shows every key and where it can be set"))
}

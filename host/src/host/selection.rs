//! Which provider the user chose, and what was said to it on the command line.

use crabbox_protocol::{ConfigureResult, Tailscale};

use super::{Chosen, Host};
use crate::config::{FlagValues, Source};
use crate::error::Result;
use crate::provider::{Locks, Session};

/// The provider of this command.
#[derive(Debug)]
pub(crate) struct Selection {
    name: String,
    source: Source,
    flags: FlagValues,
    lent: Option<String>,
    none: FlagValues,
}

impl Selection {
    /// `name` is the provider whose flags were parsed; the settings say why it is that one.
    pub(crate) fn new(host: &Host, name: &str, flags: FlagValues) -> Self {
        let source = host.settings.provider.source.clone();
        Self { name: name.to_owned(), source, flags, lent: None, none: FlagValues::default() }
    }

    /// The provider's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the choice comes from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The provider, if this very command line names it.
    pub(crate) fn explicit(&self) -> Option<&str> {
        matches!(self.source, Source::Flag(_)).then_some(self.name.as_str())
    }

    /// The flags, if they were for that provider.
    pub(super) fn flags_for(&self, provider: &str) -> &FlagValues {
        if provider == self.name { &self.flags } else { &self.none }
    }

    /// Has the plugin of a new lease see the variable that holds the tailnet's auth key. The command never does.
    pub(crate) fn lend(&mut self, tailscale: Option<&Tailscale>) {
        self.lent = tailscale.map(|tailscale| tailscale.auth_key_env.clone());
    }

    /// The provider with today's configuration.
    pub(crate) async fn choose(&self, host: &Host) -> Result<Chosen> {
        let mut chosen = Chosen::from_config(host, &self.name, &self.flags).await?;
        if let Some(name) = &self.lent {
            chosen.lend(host, name);
        }
        Ok(chosen)
    }

    /// Starts the plugin of a new lease. One that says something else about itself than the cache did is
    /// chosen anew, once.
    pub(crate) async fn connect(
        &self,
        host: &Host,
        chosen: Chosen,
        locks: impl Fn() -> Result<Locks>,
    ) -> Result<(Chosen, Session, ConfigureResult)> {
        let session = chosen.open(host, locks()?).await?;
        if *session.manifest() == chosen.manifest {
            let (session, configured) = chosen.configure(session).await?;
            return Ok((chosen, session, configured));
        }
        let observed = host.plugins.observed(&chosen.found, session.manifest());
        session.close().await;
        observed?;
        let chosen = self.choose(host).await?;
        crate::workflow::check_manifest(&chosen)?;
        let session = chosen.open(host, locks()?).await?;
        let (session, configured) = chosen.configure(session).await?;
        Ok((chosen, session, configured))
    }
}

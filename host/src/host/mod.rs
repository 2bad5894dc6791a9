//! What every command has: where things are, what was configured, and which plugins there are.

mod chosen;
mod selection;

pub(crate) use chosen::Chosen;
pub(crate) use selection::Selection;

use crabbox_protocol::records::Claim;

use crate::config::{
    Credentials, Env, Files, FlagValues, Forwarded, HostFlags, Schema, Settings, forward, repository_root,
};
use crate::crew::TAILNET_KEYS;
use crate::error::Result;
use crate::join::join;
use crate::lease::Claims;
use crate::paths::Paths;
use crate::plugins::{AT_ONCE, Plugins, credential_names};

/// This machine, this user, and this place in it.
#[derive(Debug)]
pub(crate) struct Host {
    /// Where crabbox keeps things.
    pub(crate) paths: Paths,
    /// The environment and the working directory.
    pub(crate) env: Env,
    /// The configuration files.
    pub(crate) files: Files,
    /// The host's own settings.
    pub(crate) settings: Settings,
    /// The plugins.
    pub(crate) plugins: Plugins,
}

impl Host {
    /// Reads what is configured. Starts nothing and makes nothing.
    pub(crate) fn open(env: Env) -> Result<Self> {
        let paths = Paths::find()?;
        let files = Files::load(&env, &paths, repository_root(env.cwd()).as_deref())?;
        let settings = Settings::find(&env, &files, &HostFlags::default())?;
        let plugins = Plugins::new(&env, &paths, &files, &settings);
        Ok(Self { paths, env, files, settings, plugins })
    }

    /// Applies the flags among the settings.
    pub(crate) fn apply(&mut self, flags: &HostFlags) -> Result<()> {
        self.settings = Settings::find(&self.env, &self.files, flags)?;
        Ok(())
    }

    /// The claims of this user.
    pub(crate) fn claims(&self) -> Claims {
        Claims::new(&self.paths)
    }

    /// The provider of a lease, as it was configured when the lease was made.
    pub(crate) async fn chosen_for(&self, claim: &Claim) -> Result<Chosen> {
        Chosen::for_claim(self, claim, &FlagValues::default()).await
    }

    /// The same, with the flags of this command on top.
    pub(crate) async fn chosen_for_with(&self, claim: &Claim, selection: &Selection) -> Result<Chosen> {
        Chosen::for_claim(self, claim, selection.flags_for(&claim.provider)).await
    }

    /// Which of this process's variables the command gets.
    pub(crate) fn forward(&self, chosen: &Chosen, allow: &[String]) -> Result<Forwarded> {
        let schema = Schema::of(&chosen.manifest);
        let own = credential_names(&chosen.name, &schema, Some(&chosen.params.config));
        let tailnet: Vec<&str> = TAILNET_KEYS.iter().copied().chain(chosen.auth_key.as_deref()).collect();
        let others = || self.plugins.credentials_of_others(&chosen.name);
        let credentials = Credentials { own: &own, tailnet: &tailnet, others: &others };
        forward(&chosen.name, &self.env, &self.settings.env_allow, allow, &credentials)
    }

    /// What the user should know about the configuration files.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let is_provider = |name: &str| self.plugins.has(name);
        let mut warnings = self.settings.warnings.clone();
        warnings.extend(Settings::unknown_keys(&self.files, &is_provider));
        warnings
    }

    /// Every plugin that can be asked, or the one of that name.
    pub(crate) async fn usable_plugins(&self, only: Option<&str>) -> Result<Vec<Chosen>> {
        let names = match only {
            Some(name) => vec![name.to_owned()],
            None => self.plugins.all().usable().map(|found| found.name.clone()).collect(),
        };
        let flags = FlagValues::default();
        let all = names.iter().map(|name| Chosen::from_config(self, name, &flags));
        let all = join(AT_ONCE, all).await.into_iter();
        match only {
            Some(_) => all.collect(),
            // One that is broken, or not configured here, holds up nobody.
            None => Ok(all.flatten().collect()),
        }
    }
}

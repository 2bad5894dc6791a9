//! The installed plugins: where they are, what they say about themselves, what they may see.
//!
//! `discovery` finds executables without starting any, `cache` remembers what each said about itself,
//! `check` says whether that is acceptable, `env` decides which variables a plugin gets. `list` and
//! `describe` print, `new` writes a plugin to start from. `pins` has those that the user pinned: only what it agrees
//! to is started.

mod cache;
mod check;
mod describe;
mod discovery;
mod env;
mod list;
mod new;
mod pins;
mod templates;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use crabbox_protocol::Manifest;
use crabbox_protocol::records::PinState;

pub(crate) use cache::{Known, Refusal};
pub(crate) use check::{check, check_methods, check_name, check_requires, check_schema};
pub(crate) use describe::{DescribeArgs, describe};
pub(crate) use discovery::{Discovered, Found};
pub(crate) use env::credential_names;
pub(crate) use list::{ListArgs, list};
pub(crate) use new::{NewArgs, new};
pub(crate) use pins::{PinArgs, pin, unpin};

#[cfg(test)]
pub(crate) use check::HOST_FLAGS;

use crate::config::{Env, Files, PluginSettings, Schema, Settings};
use crate::error::Result;
use crate::paths::Paths;
use crate::provider::{Locks, Spawn, trace};
use cache::{Asked, Manifests};
use discovery::Places;
use pins::Pins;

/// What every plugin's executable is named before its own name.
pub(crate) const PREFIX: &str = "crabbox-provider-";

/// How many plugins are asked at once.
pub(crate) const AT_ONCE: usize = 8;

/// The plugins of this user, as one command sees them.
#[derive(Debug)]
pub(crate) struct Plugins {
    env: Env,
    places: Places,
    manifests: Manifests,
    settings: BTreeMap<String, PluginSettings>,
    /// What plugins said when this very command asked them: none is asked twice.
    answers: RefCell<BTreeMap<PathBuf, Result<Known>>>,
}

impl Plugins {
    /// Looks at nothing yet.
    pub(crate) fn new(env: &Env, paths: &Paths, files: &Files, settings: &Settings) -> Self {
        let beside = std::env::current_exe().and_then(|exe| exe.canonicalize()).ok();
        let beside = beside.and_then(|exe| Some(exe.parent()?.to_owned()));
        Self {
            env: env.clone(),
            places: Places::new(env, settings.plugin_paths(), beside, files.user_file().to_owned()),
            manifests: Manifests::new(paths, env::base(env)),
            settings: settings.plugins.clone(),
            answers: RefCell::default(),
        }
    }

    /// The plugin of one provider, without looking at any other.
    pub(crate) fn find(&self, name: &str) -> Result<Found> {
        self.places.one(name)
    }

    /// The executable at a path, which need not be in any of the places.
    pub(crate) fn at(&self, path: &std::path::Path) -> Result<Found> {
        discovery::at(path)
    }

    /// Whether there is a plugin of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.has(name)
    }

    /// All plugins, by name. Starts none.
    pub(crate) fn all(&self) -> Discovered {
        self.places.all()
    }

    /// What a plugin says about itself, from the cache where it can. A cached failure is not believed: the
    /// plugin is asked again.
    pub(crate) async fn manifest(&self, found: &Found) -> Result<Known> {
        self.allows(found)?;
        match self.manifests.cached(found).map(Asked::known) {
            Some(Ok(known)) => Ok(known),
            _ => self.refresh(found).await,
        }
    }

    /// What a plugin said about itself at another time, if that is remembered. Starts nothing.
    pub(crate) fn remembered(&self, found: &Found) -> Option<Manifest> {
        self.manifests.cached(found)?.outcome.ok()
    }

    /// Asks a plugin again, before something that its cached manifest says becomes an error.
    pub(crate) async fn refresh(&self, found: &Found) -> Result<Known> {
        if let Some(answer) = self.answers.borrow().get(&found.path) {
            return answer.clone();
        }
        let answer = self.manifests.ask(found).await.known().map_err(|refusal| refusal.into_error(found));
        self.answers.borrow_mut().insert(found.path.clone(), answer.clone());
        answer
    }

    /// What each plugin says about itself or why it does not, from the cache where it can, all others at
    /// once. `fresh` asks all of them.
    async fn ask(&self, found: &[Found], fresh: bool) -> Vec<Asked> {
        self.manifests.all(found, fresh).await
    }

    /// Fails unless the pin of a plugin, if there is one, allows it to be started.
    pub(crate) fn allows(&self, found: &Found) -> Result<()> {
        self.manifests.verify(found).map(drop).map_err(|refusal| refusal.into_error(found))
    }

    /// What is needed to start a plugin, if its pin allows that.
    pub(crate) fn spawn(&self, found: &Found, env: &[(OsString, OsString)], locks: Locks) -> Result<Spawn> {
        self.allows(found)?;
        // What a plugin asks for besides what all get may well be secret.
        let base = env::base(&self.env);
        for (_, value) in env.iter().filter(|variable| !base.contains(variable)) {
            let is_path = value.as_encoded_bytes().starts_with(b"/") && std::path::Path::new(value).exists();
            if !is_path && let Some(value) = value.to_str() {
                trace::hide(value);
            }
        }
        let (provider, path) = (found.name.clone(), found.path.clone());
        Ok(Spawn { provider, path, env: env.to_vec(), locks })
    }

    /// Whether a plugin is pinned. `None` also where that cannot be told, which a start would say.
    fn pin_of(&self, found: &Found) -> Option<PinState> {
        self.manifests.verify(found).unwrap_or_else(|refusal| refusal.pin)
    }

    /// What the user has pinned.
    fn pins(&self) -> &Pins {
        self.manifests.pins()
    }

    /// What a session's plugin said about itself just now. Says whether that is new, and remembers it.
    pub(crate) fn observed(&self, found: &Found, manifest: &Manifest) -> Result<bool> {
        self.answers.borrow_mut().remove(&found.path);
        self.manifests.observed(found, manifest).map_err(|refusal| refusal.into_error(found))
    }

    /// The environment of a plugin's process. `pass` are the variables that its configuration asks for.
    pub(crate) fn environment(
        &self,
        name: &str,
        manifest: &Manifest,
        pass: &BTreeSet<String>,
    ) -> Vec<(OsString, OsString)> {
        let extra = self.settings.get(name).and_then(|settings| settings.env.as_ref());
        let extra = extra.map(|names| names.value.as_slice()).unwrap_or_default();
        env::of_plugin(&self.env, manifest, extra, pass)
    }

    /// What every plugin gets, whatever it asks for.
    pub(crate) fn base(&self) -> Vec<(OsString, OsString)> {
        env::base(&self.env)
    }

    /// Variables that look like a provider's and that its plugin does not get.
    pub(crate) fn withheld(&self, name: &str, manifest: &Manifest, pass: &BTreeSet<String>) -> Vec<String> {
        let given = self.environment(name, manifest, pass);
        env::withheld(&self.env, name, &Schema::of(manifest), &given)
    }

    /// The credential variables of all installed providers but one, with their providers, as far as their
    /// manifests are cached.
    pub(crate) fn credentials_of_others(&self, name: &str) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        for found in self.all().usable().filter(|found| found.name != name) {
            let Some(Ok(known)) = self.manifests.cached(found).map(Asked::known) else { continue };
            for variable in credential_names(&found.name, &Schema::of(&known.manifest), None) {
                owners.entry(variable).or_insert_with(|| found.name.clone());
            }
        }
        owners
    }

    /// For the help of `--provider`: the installed providers, with what their cached manifests say they are.
    pub(crate) fn installed(&self) -> Vec<(String, Option<String>)> {
        let discovered = self.all();
        let summary = |found: &Found| self.manifests.cached(found)?.outcome.ok()?.summary;
        discovered.usable().map(|found| (found.name.clone(), summary(found))).collect()
    }
}

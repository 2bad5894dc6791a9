//! What plugins said about themselves, remembered so that no command has to ask.
//!
//! One small file per executable, valid for one state of the file and one version of crabbox. Failures are
//! remembered as well, so that a plugin that does not answer costs its five seconds once. Nothing depends
//! on the cache: a file that cannot be read counts as absent, one that cannot be written is left.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crabbox_protocol::Manifest;
use crabbox_protocol::records::{PinState, PluginState};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::discovery::{Found, Identity};
use super::pins::Pins;
use super::{AT_ONCE, check};
use crate::error::Error;
use crate::exit::Exit;
use crate::join::join;
use crate::paths::{Paths, private_dir, replace};
use crate::provider::ProviderError;

/// Changes with what is in a file. What older versions wrote is not read.
const FORMAT: u32 = 1;

/// What is known about a plugin that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What it says about itself.
    pub(crate) manifest: Manifest,
    /// The SHA-256 of its executable; empty where it could not be read.
    pub(crate) sha256: String,
    /// Whether nobody was asked.
    pub(crate) cached: bool,
}

/// What became of asking a plugin who it is.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What it says about itself, or why it cannot be used.
    pub(super) outcome: Result<Manifest, Refusal>,
    /// The SHA-256 of its executable; empty where it could not be read.
    pub(super) sha256: String,
    /// Whether it was asked at another time.
    pub(super) cached: bool,
}

impl Asked {
    /// What is known, if the plugin can be used.
    pub(super) fn known(self) -> Result<Known, Refusal> {
        let Self { outcome, sha256, cached } = self;
        outcome.map(|manifest| Known { manifest, sha256, cached })
    }
}

/// Why a plugin cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// `invalid` or `incompatible`.
    pub(crate) state: PluginState,
    /// Why, in one sentence.
    pub(crate) reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// What a command exits with that needs the plugin, where the state does not say it.
    #[serde(skip)]
    pub(crate) exit: Option<Exit>,
    /// Whether that is because of a pin.
    #[serde(skip)]
    pub(crate) pin: Option<PinState>,
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        let (state, hint, exit) = (error.state(), error.hint(), Some(error.exit()));
        Self { state, reason: Error::from(error).to_string(), hint, exit, pin: None }
    }
}

impl Refusal {
    /// What a command says that needs the plugin.
    pub(super) fn into_error(self, found: &Found) -> Error {
        let exit = self.exit.unwrap_or(match self.state {
            PluginState::Incompatible => Exit::Usage,
            _ => Exit::Failure,
        });
        let place = format!("the plugin is `{}` (from {})", found.path.display(), found.source.name());
        let mut error = Error::new(exit, self.reason).cause(place);
        error.hints.extend(self.hint);
        error
    }
}

/// A file of the cache.
#[derive(Serialize, Deserialize)]
struct Entry {
    format: u32,
    host: String,
    name: String,
    target: PathBuf,
    identity: Identity,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
}

/// Where manifests come from: the cache, or the plugins themselves.
#[derive(Debug)]
pub(super) struct Manifests {
    directory: PathBuf,
    /// What a plugin gets to say who it is.
    env: Vec<(OsString, OsString)>,
    pins: Pins,
}

impl Manifests {
    pub(super) fn new(paths: &Paths, env: Vec<(OsString, OsString)>) -> Self {
        Self { directory: paths.cache.join("manifests"), env, pins: Pins::new(paths) }
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Whether a plugin is pinned; one that is not what was pinned is refused. Comes before every start.
    pub(super) fn verify(&self, found: &Found) -> Result<Option<PinState>, Refusal> {
        self.pins.verify(found, || {
            // The file may have changed since it was found.
            let identity = Identity::of(&found.path).ok()?;
            let now = Found { identity, ..found.clone() };
            Some(self.cached(&now)?.sha256).filter(|sha256| !sha256.is_empty())
        })
    }

    /// What is remembered of a plugin.
    pub(super) fn cached(&self, found: &Found) -> Option<Asked> {
        let target = found.path.canonicalize().ok()?;
        let text = fs::read(self.file(&found.name, &target)).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        let valid = entry.format == FORMAT
            && entry.host == env!("CARGO_PKG_VERSION")
            && entry.name == found.name
            && entry.target == target
            && entry.identity == found.identity;
        let outcome = match (entry.manifest, entry.refusal) {
            (Some(manifest), None) => Ok(manifest),
            (None, Some(refusal)) => Err(refusal),
            _ => return None,
        };
        valid.then_some(Asked { outcome, sha256: entry.sha256, cached: true })
    }

    /// Asks a plugin, and remembers the answer. What its pin forbids is not asked.
    pub(super) async fn ask(&self, found: &Found) -> Asked {
        if let Err(refusal) = self.verify(found) {
            return Asked { outcome: Err(refusal), sha256: String::new(), cached: false };
        }
        let answer = crate::provider::probe(&found.path, &found.name, &self.env).await;
        let outcome = answer.map_err(Refusal::from).and_then(|manifest| {
            check(&found.name, &manifest)?;
            Ok(manifest)
        });
        self.remember(found, outcome)
    }

    /// What is known of each plugin, in their order. Those that are not in the cache are asked, several at
    /// once; with `fresh` all are.
    pub(super) async fn all(&self, found: &[Found], fresh: bool) -> Vec<Asked> {
        let one = async |found| match self.cached(found) {
            Some(asked) if !fresh && self.verify(found).is_ok() => asked,
            _ => self.ask(found).await,
        };
        join(AT_ONCE, found.iter().map(one)).await
    }

    /// Compares what a session's plugin said with what is remembered. Says whether it is new.
    pub(super) fn observed(&self, found: &Found, manifest: &Manifest) -> Result<bool, Refusal> {
        if self.cached(found).is_some_and(|asked| asked.outcome.as_ref() == Ok(manifest)) {
            return Ok(false);
        }
        check(&found.name, manifest)?;
        self.remember(found, Ok(manifest.clone()));
        Ok(true)
    }

    fn remember(&self, found: &Found, outcome: Result<Manifest, Refusal>) -> Asked {
        let sha256 = sha256(&found.path).unwrap_or_default();
        let asked = Asked { outcome, sha256, cached: false };
        // Written while it was asked or read: the answer may be the old one's.
        if Identity::of(&found.path).is_ok_and(|now| now == found.identity) {
            // A cache that cannot be written costs time, nothing else.
            let _ = self.write(found, &asked);
        }
        asked
    }

    fn write(&self, found: &Found, asked: &Asked) -> io::Result<()> {
        let target = found.path.canonicalize()?;
        let file = self.file(&found.name, &target);
        let (manifest, refusal) = match asked.outcome.clone() {
            Ok(manifest) => (Some(manifest), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let entry = Entry {
            format: FORMAT,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            name: found.name.clone(),
            target,
            identity: found.identity,
            sha256: asked.sha256.clone(),
            manifest,
            refusal,
        };
        private_dir(&self.directory).map_err(io::Error::other)?;
        replace(&file, &serde_json::to_vec(&entry)?, false)
    }

    /// The cache's file for one name of one executable: a file may speak for several providers, each under a
    /// name of its own.
    fn file(&self, name: &str, target: &Path) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(target.as_os_str().as_bytes());
        self.directory.join(format!("{name}-{}.json", &hex(&hash.finalize())[..16]))
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;

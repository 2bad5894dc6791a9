//! The plugins that the user has pinned: `plugins.lock`, and whether an executable is still the one.
//!
//! Nothing is pinned unless the user says so. A pinned plugin is started only while its path and its SHA-256
//! are those of the lock. The digest is taken from the cache for as long as the file is what it was when it
//! was cached, so a run costs no more than a look at the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use crabbox_protocol::records::{PinState, PluginState};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::cache::{Refusal, sha256};
use super::discovery::FoundIn;
use super::{Found, Plugins};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output;
use crate::paths::{Paths, private_dir, replace};

/// Changes with what is in the file.
const VERSION: u32 = 1;

/// Which plugin
#[derive(Debug, Clone, Args)]
pub(crate) struct PinArgs {
    /// The provider
    #[arg(value_name = "NAME")]
    name: String,
}

/// Pins a plugin as it is now.
pub(crate) fn pin(plugins: &Plugins, args: &PinArgs) -> Result<()> {
    let found = plugins.find(&args.name)?;
    let pin = Pin::of(&found)
        .map_err(|error| Error::failure(format!("cannot read `{}`", found.path.display())).cause(error))?;
    let text = format!("pinned {} sha256={} path={}\n", found.name, pin.sha256, pin.path);
    plugins.pins().change(|lock| {
        if let Some(old) = lock.insert(found.name, pin.clone()).filter(|old| *old != pin) {
            output::say(format!("it was pinned to sha256={} path={}", old.sha256, old.path));
        }
    })?;
    output::data(&text)
}

/// Takes a pin away. One that is not there is no error.
pub(crate) fn unpin(plugins: &Plugins, args: &PinArgs) -> Result<()> {
    let mut old = None;
    plugins.pins().change(|lock| old = lock.remove(&args.name))?;
    match old {
        Some(_) => output::data(&format!("unpinned {}\n", output::foreign(&args.name))),
        None => {
            output::say(format!("provider `{}` is not pinned", output::foreign(&args.name)));
            Ok(())
        }
    }
}

/// Which executable a provider may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    /// The file itself, behind all links.
    path: String,
    sha256: String,
}

impl Pin {
    /// The executable as it is now.
    fn of(found: &Found) -> io::Result<Self> {
        let path = found.path.canonicalize()?.into_os_string().into_string();
        let path = path.map_err(|_| io::Error::other("its path is not UTF-8"))?;
        let sha256 = sha256(&found.path)?;
        Ok(Self { path, sha256 })
    }
}

/// What is in `plugins.lock`.
#[derive(Debug, Serialize, Deserialize)]
struct Lock {
    version: u32,
    plugins: BTreeMap<String, Pin>,
}

/// The user's `plugins.lock`.
#[derive(Debug)]
pub(crate) struct Pins {
    file: PathBuf,
}

impl Pins {
    pub(super) fn new(paths: &Paths) -> Self {
        Self { file: paths.config.join("plugins.lock") }
    }

    /// Whether a plugin is pinned, and if so, whether it is what was pinned. `known` is the digest of the
    /// file as it is now, where that is known.
    pub(super) fn verify(
        &self,
        found: &Found,
        known: impl FnOnce() -> Option<String>,
    ) -> Result<Option<PinState>, Refusal> {
        // Whoever writes a path has chosen the executable; a pin is about what is found under a name.
        if found.source == FoundIn::Words {
            return Ok(None);
        }
        let refuse = |reason: String, hint: String| Refusal {
            state: PluginState::Invalid,
            reason,
            hint: Some(hint),
            // What is needed, the executable that the user trusts, is not there.
            exit: Some(Exit::Auth),
            pin: Some(PinState::Broken),
        };
        let lock = self.load().map_err(|error| Refusal {
            exit: Some(error.exit),
            pin: None,
            ..refuse(error.to_string(), self.mend())
        })?;
        let name = &found.name;
        let Some(pin) = lock.plugins.get(name) else { return Ok(None) };
        let accept = format!("if you trust what is there now, `crabbox plugins pin {name}` accepts it");
        let path = found.path.canonicalize().unwrap_or_else(|_| found.path.clone());
        let moved = (path.as_os_str() != pin.path.as_str())
            .then(|| format!("it is `{}`, and pinned is `{}`", path.display(), pin.path));
        let digest = match known().map_or_else(|| sha256(&path), Ok) {
            Ok(digest) => digest,
            Err(error) => {
                return Err(refuse(
                    format!("provider `{name}` is pinned and cannot be read: {error}"),
                    accept,
                ));
            }
        };
        let changed =
            (digest != pin.sha256).then(|| format!("its SHA-256 is {digest}, and pinned is {}", pin.sha256));
        let differences: Vec<_> = moved.into_iter().chain(changed).collect();
        match differences.is_empty() {
            true => Ok(Some(PinState::Pinned)),
            false => {
                let differences = differences.join("; ");
                Err(refuse(
                    format!("provider `{name}` is not the executable that is pinned: {differences}"),
                    accept,
                ))
            }
        }
    }

    fn mend(&self) -> String {
        format!("mend `{}`, or remove it, and with it every pin", self.file.display())
    }

    /// Reads the file. None is an empty one; what cannot be understood is an error, because a pin that is
    /// overlooked protects nobody.
    fn load(&self) -> Result<Lock> {
        let empty = || Lock { version: VERSION, plugins: BTreeMap::new() };
        let wrong = |why: String| {
            Error::usage(format!("cannot read the pins in `{}`", self.file.display())).cause(why)
        };
        let text = match fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let lock: Lock = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if lock.version != VERSION {
            return Err(wrong(format!("it is version {}, and this crabbox knows {VERSION}", lock.version)));
        }
        Ok(lock)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Pin>)) -> Result<()> {
        let failed =
            |error: io::Error| Error::failure(format!("cannot write `{}`", self.file.display())).cause(error);
        let directory = self.file.parent().unwrap_or(Path::new("."));
        private_dir(directory)?;
        // So that two who pin at once both have their way. Let go when it is dropped.
        let gate = File::open(directory).map_err(failed)?;
        flock(&gate, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        let mut lock = self.load().map_err(|error| error.hint(self.mend()))?;
        change(&mut lock.plugins);
        let text = serde_json::to_string_pretty(&lock).map_err(|error| failed(error.into()))? + "\n";
        replace(&self.file, text.as_bytes(), true).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(text: &str) -> (tempfile::TempDir, Pins) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("plugins.lock");
        fs::write(&file, text).unwrap();
        (directory, Pins { file })
    }

    fn found(name: &str, path: &str) -> Found {
        Found {
            name: name.into(),
            path: path.into(),
            source: FoundIn::Path,
            identity: Default::default(),
            shadowed_by: None,
            problem: None,
        }
    }

    #[test]
    fn the_digest_that_is_known_is_believed_and_the_file_is_not_read() {
        let (_directory, pins) =
            pins(r#"{"version": 1, "plugins": {"a": {"path": "/gone/a", "sha256": "12"}}}"#);
        let verify = |name, path, known: &str| {
            pins.verify(&found(name, path), || Some(known.to_owned())).map_err(|refusal| refusal.reason)
        };
        assert_eq!(verify("a", "/gone/a", "12"), Ok(Some(PinState::Pinned)));
        assert_eq!(verify("b", "/gone/b", "12"), Ok(None));
        let changed =
            "provider `a` is not the executable that is pinned: its SHA-256 is 34, and pinned is 12";
        assert_eq!(verify("a", "/gone/a", "34"), Err(changed.to_owned()));
        let moved =
            "provider `a` is not the executable that is pinned: it is `/gone/b`, and pinned is `/gone/a`";
        assert_eq!(verify("a", "/gone/b", "12"), Err(moved.to_owned()));
    }

    #[test]
    fn what_is_not_known_is_read() {
        let (_directory, pins) =
            pins(r#"{"version": 1, "plugins": {"a": {"path": "/gone/a", "sha256": "12"}}}"#);
        let refusal = pins.verify(&found("a", "/gone/a"), || None).unwrap_err();
        assert!(refusal.reason.contains("is pinned and cannot be read"), "{}", refusal.reason);
    }

    #[test]
    fn pins_that_cannot_be_understood_are_never_overlooked() {
        for text in ["", "{}", r#"{"version": 2, "plugins": {}}"#, r#"{"version": 1, "plugins": {"a": 1}}"#] {
            let (_directory, pins) = pins(text);
            let refusal = pins.verify(&found("b", "/gone/b"), || None).unwrap_err();
            assert!(refusal.reason.starts_with("cannot read the pins in"), "{}", refusal.reason);
            assert_eq!(refusal.exit.map(Exit::code), Some(2));
        }
    }
}

//! The claims on disk: `claims/LEASEID.json`.
//!
//! Every change reads the file, changes it and replaces it by one rename under one short lock, so that
//! two hosts never undo each other's.

use std::fs;
use std::io;
use std::path::PathBuf;

use crabbox_protocol::records::Claim;
use crabbox_protocol::{LeaseId, is_provider_name};

use super::lock::LockFile;
use super::names::{is_slug, slug};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault::{Fault, pass};
use crate::output::foreign;
use crate::paths::{Paths, private_dir, replace, sweep};

/// The largest claim that is read, and so the largest that is written.
const LARGEST: u64 = 1024 * 1024;

/// The store of claims.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    paths: Paths,
}

/// A file among the claims that is none.
#[derive(Debug, Clone)]
pub(crate) struct BadClaim {
    /// The file.
    pub(crate) path: PathBuf,
    /// What is wrong with it. Safe to print.
    pub(crate) problem: String,
    /// The crew that it names; empty for none. Nothing where that cannot be read.
    pub(crate) crew: Option<String>,
}

impl BadClaim {
    /// What is said of it, in one line that is safe to print.
    pub(crate) fn say(&self) -> String {
        let path = foreign(&self.path.display().to_string());
        format!("the claim `{path}` cannot be used: {}", self.problem)
    }

    fn error(&self) -> Error {
        Error::usage(self.say())
            .hint("if it was edited by hand, put it right; removing it makes crabbox forget a lease that may still cost money")
    }
}

impl Claims {
    /// Opens the store. Creates nothing.
    pub(crate) fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    /// All claims, by id, and what is no claim.
    pub(crate) fn list(&self) -> Result<(Vec<Claim>, Vec<BadClaim>)> {
        let directory = self.paths.claims();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => {
                return Err(Error::failure(format!("cannot read the claims in `{}`", directory.display()))
                    .cause(error));
            }
        };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let (mut claims, mut bad) = (Vec::new(), Vec::new());
        for name in names {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = directory.join(&name);
            let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse::<LeaseId>().ok()) else {
                bad.push(BadClaim { path, problem: "its name is not LEASEID.json".to_owned(), crew: None });
                continue;
            };
            match self.read(&id) {
                Ok(Some(claim)) => claims.push(claim),
                Ok(None) => {}
                Err(problem) => bad.push(problem),
            }
        }
        Ok((claims, bad))
    }

    /// The claim of a lease, if there is one.
    pub(crate) fn load(&self, id: &LeaseId) -> Result<Option<Claim>> {
        self.read(id).map_err(|bad| bad.error())
    }

    /// The claim that the user means by an id or a slug.
    pub(crate) fn find(&self, name: &str, provider: Option<&str>) -> Result<Claim> {
        let of_provider = |claim: &Claim| provider.is_none_or(|provider| claim.provider == provider);
        let unknown = || {
            let mut error = Error::new(
                Exit::NotFound,
                match provider {
                    Some(provider) => format!("no lease `{}` of provider `{provider}`", name.escape_debug()),
                    None => format!("no lease `{}`", name.escape_debug()),
                },
            );
            error.hints.push("`crabbox list` shows your leases".to_owned());
            error
        };
        if let Ok(id) = name.parse::<LeaseId>() {
            return self.load(&id)?.filter(of_provider).ok_or_else(unknown);
        }
        let wanted = super::normalise_slug(name)?;
        let (claims, bad) = self.list()?;
        let mut found = claims.into_iter().filter(|claim| claim.lease.slug == wanted && of_provider(claim));
        match (found.next(), found.next()) {
            (Some(claim), None) => Ok(claim),
            (Some(first), Some(second)) => Err(Error::new(
                Exit::NotFound,
                format!("two leases are called `{wanted}`: {} and {}", first.lease.id, second.lease.id),
            )
            .hint("give the id instead")),
            (None, _) => Err(bad.first().map_or_else(unknown, |bad| unknown().cause(bad.error()))),
        }
    }

    /// Records a new lease. Its slug is the requested one, which must be free, or one of its own.
    /// On disk on return.
    pub(crate) fn create(&self, claim: &mut Claim, requested: Option<&str>) -> Result<()> {
        private_dir(&self.paths.claims())?;
        let _lock = self.lock()?;
        let (claims, bad) = self.list()?;
        let id = &claim.lease.id;
        let owner = |slug: &str| claims.iter().find(|claim| claim.lease.slug == slug);
        claim.lease.slug = match requested {
            Some(slug) => {
                if let Some(bad) = bad.first() {
                    return Err(bad.error());
                }
                if let Some(other) = owner(slug) {
                    return Err(Error::new(
                        Exit::NotFound,
                        format!(
                            "the slug `{slug}` belongs to lease {} of provider `{}`",
                            other.lease.id, other.provider
                        ),
                    )
                    .hint(format!("use that lease with `--id {slug}`, or choose another slug")));
                }
                slug.to_owned()
            }
            None => (0..20)
                .map(|attempt| slug(id, attempt))
                .find(|slug| owner(slug).is_none())
                .unwrap_or_else(|| id.as_str().replace('_', "-")),
        };
        claim.lease.name = super::remote_name(id, &claim.lease.slug);
        if let Some(tailscale) = &mut claim.tailscale {
            tailscale.hostname = format!("crabbox-{}", claim.lease.slug);
        }
        self.write(claim, true)?;
        pass(Fault::ClaimCreated);
        Ok(())
    }

    /// Changes a claim. With `durable` the change is on disk on return.
    pub(crate) fn update(
        &self,
        id: &LeaseId,
        durable: bool,
        change: impl FnOnce(&mut Claim) -> Result<()>,
    ) -> Result<Claim> {
        let _lock = self.lock()?;
        let claim = self.load(id)?;
        let mut claim = claim.ok_or_else(|| {
            Error::new(Exit::NotFound, format!("lease {id} is gone: something else released it meanwhile"))
        })?;
        change(&mut claim)?;
        self.write(&mut claim, durable)?;
        pass(Fault::ClaimChanged);
        Ok(claim)
    }

    /// Removes what a writer left that was killed. Writers hold the lock, so whatever is there is nobody's.
    pub(crate) fn sweep(&self) -> Result<()> {
        if self.paths.claims().exists() {
            let _lock = self.lock()?;
            sweep(&self.paths.claims());
        }
        Ok(())
    }

    /// Forgets a lease.
    pub(crate) fn remove(&self, id: &LeaseId) -> Result<()> {
        let _lock = self.lock()?;
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::failure(format!("cannot remove the claim of lease {id}")).cause(error))
            }
            _ => {
                pass(Fault::ClaimRemoved);
                Ok(())
            }
        }
    }

    fn path(&self, id: &LeaseId) -> PathBuf {
        self.paths.claims().join(format!("{id}.json"))
    }

    fn lock(&self) -> Result<LockFile> {
        // Something else of the state directory may be there before this is.
        private_dir(&self.paths.locks())?;
        LockFile::lock(&self.paths.locks().join("claims.lock")).map_err(|error| {
            Error::failure("cannot lock the claims").cause(error).hint("make the state directory writable")
        })
    }

    fn read(&self, id: &LeaseId) -> Result<Option<Claim>, BadClaim> {
        let path = self.path(id);
        let bad = |problem: String| BadClaim { path: path.clone(), problem: foreign(&problem), crew: None };
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
            Ok(metadata) if !metadata.is_file() => return Err(bad("it is not a regular file".to_owned())),
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(bad("it is larger than 1 MiB".to_owned()));
            }
            Ok(_) => {}
        }
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| bad(error.to_string()))?,
        };
        let bad = |problem: String| BadClaim { crew: crew_in(&text), ..bad(problem) };
        let claim: Claim = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if claim.version != 1 {
            return Err(bad(format!("it is of version {}, and this crabbox knows version 1", claim.version)));
        }
        if claim.lease.id != *id {
            return Err(bad(format!("it is about lease {}", claim.lease.id)));
        }
        // Both are printed, and are words of the commands that are printed.
        if !is_provider_name(&claim.provider) {
            return Err(bad(format!("`{}` is not a provider's name", claim.provider)));
        }
        if !is_slug(&claim.lease.slug) {
            return Err(bad(format!("`{}` is no slug", claim.lease.slug)));
        }
        Ok(Some(claim))
    }

    fn write(&self, claim: &mut Claim, durable: bool) -> Result<()> {
        let mut revision = [0; 16];
        getrandom::fill(&mut revision)
            .map_err(|error| Error::failure("the system gives no random numbers").cause(error))?;
        claim.revision = revision.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.path(&claim.lease.id);
        let failed = |error: io::Error| {
            Error::failure(format!("cannot write the claim `{}`", path.display()))
                .cause(error)
                .hint("crabbox makes no lease that it cannot record; make the state directory writable")
        };
        let mut text = serde_json::to_vec_pretty(claim).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        // Nobody could read it again, and the lease with it would be lost.
        if text.len() as u64 > LARGEST {
            let (id, provider, size) = (&claim.lease.id, &claim.provider, text.len());
            return Err(Error::failure(format!(
                "the claim of lease {id} would have {size} bytes, and 1 MiB is the most"
            ))
            .cause(format!("most of it is what provider `{provider}` said about the lease"))
            .hint(format!("this is a fault of crabbox-provider-{provider}, not of your command")));
        }
        replace(&path, &text, durable).map_err(failed)
    }
}

/// What a text that is no claim of ours says of its crew, as far as it is JSON with a lease in it.
fn crew_in(text: &[u8]) -> Option<String> {
    let claim: serde_json::Value = serde_json::from_slice(text).ok()?;
    match claim.get("lease")?.get("crew") {
        None => Some(String::new()),
        Some(crew) => crew.as_str().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "cbx_000000000001";

    fn store() -> (tempfile::TempDir, Claims) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let paths = Paths { state: base.into(), cache: base.into(), config: base.into() };
        (dir, Claims::new(&paths))
    }

    fn good() -> Value {
        json!({
            "version": 1, "revision": "", "state": "leased", "owner": "user", "provider": "acme",
            "lease": {"id": ID, "slug": "demo", "name": "crabbox-demo"},
            "plugin": {"version": "1", "path": "/p", "sha256": ""},
            "scope": "here", "config": {}, "release": "delete", "createSettleMs": 0,
            "createdAt": "2026-01-01T00:00:00Z", "lastUsedAt": "2026-01-01T00:00:00Z",
        })
    }

    fn claim() -> Claim {
        serde_json::from_value(good()).unwrap()
    }

    #[test]
    fn a_claim_that_could_not_be_read_again_is_not_written() {
        let (_dir, claims) = store();
        claims.create(&mut claim(), Some("demo")).unwrap();
        let id = ID.parse().unwrap();
        let grown = |count: usize| {
            claims.update(&id, true, |claim| {
                claim.lease.state = Some("x".repeat(count).into());
                Ok(())
            })
        };
        let before = fs::read(claims.path(&id)).unwrap();
        let error = grown(1024 * 1024).unwrap_err();
        assert!(error.message.contains("would have") && error.exit.code() == 1, "{error}");
        assert!(error.hints[0].contains("a fault of crabbox-provider-acme"), "{error:?}");
        assert_eq!(fs::read(claims.path(&id)).unwrap(), before, "the old one stays");
        assert_eq!(fs::read_dir(claims.paths.claims()).unwrap().count(), 1, "and nothing beside it");
        // Whatever is written can be read.
        let fits = 1024 * 1024 - before.len() - "  \"state\": \"\",\n".len() - 16;
        grown(fits).unwrap();
        assert!(claims.load(&id).unwrap().is_some());
    }

    #[test]
    fn claims_can_be_there_before_locks_are() {
        let (_dir, claims) = store();
        private_dir(&claims.paths.claims()).unwrap();
        let id: LeaseId = ID.parse().unwrap();
        fs::write(claims.path(&id), good().to_string()).unwrap();
        claims.update(&id, false, |_| Ok(())).unwrap();
    }

    #[test]
    fn what_was_edited_by_hand_does_not_reach_the_terminal() {
        let (_dir, claims) = store();
        private_dir(&claims.paths.claims()).unwrap();
        let id: LeaseId = ID.parse().unwrap();
        let with = |pointer: &str, value: &str| {
            let mut claim = good();
            *claim.pointer_mut(pointer).unwrap() = value.into();
            fs::write(claims.path(&id), claim.to_string()).unwrap();
            claims.load(&id)
        };
        assert!(with("/provider", "acme").unwrap().is_some());
        for (pointer, value, why) in [
            ("/provider", "a\u{1b}[2J", "`a\\u{1b}[2J` is not a provider's name"),
            ("/provider", "../evil", "`../evil` is not a provider's name"),
            ("/lease/slug", "x; rm -rf /", "`x; rm -rf /` is no slug"),
            ("/lease/slug", "", "`` is no slug"),
            ("/lease/slug", "-x", "`-x` is no slug"),
            ("/state", "a\u{1b}[2J", "unknown variant `a\\u{1b}[2J`"),
        ] {
            let error = with(pointer, value).unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert!(!error.message.chars().any(char::is_control), "{error:?}");
        }
        fs::remove_file(claims.path(&id)).unwrap();
        fs::write(claims.paths.claims().join("\u{1b}[2J.json"), "").unwrap();
        let (_, bad) = claims.list().unwrap();
        assert!(!bad[0].say().chars().any(char::is_control), "{:?}", bad[0].say());
    }
}

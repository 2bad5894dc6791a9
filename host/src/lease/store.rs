//! The claims on disk: `claims/LEASEID.json`.
//!
//! Every change reads the file, changes it and replaces it by one rename under one short lock, so that
//! two hosts never undo each other's.

use std::fs;
use std::io;
use std::path::PathBuf;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;

use super::lock::LockFile;
use super::names::slug;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::paths::{NEW, Paths, private_dir, replace};

/// The largest claim that is read.
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
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl BadClaim {
    fn error(&self) -> Error {
        Error::usage(format!("the claim `{}` cannot be used: {}", self.path.display(), self.problem))
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
                bad.push(BadClaim { path, problem: "its name is not LEASEID.json".to_owned() });
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
        private_dir(&self.paths.locks())?;
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
        self.write(claim, true)
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
        Ok(claim)
    }

    /// Removes what a writer left that was killed. Writers hold the lock, so whatever is there is nobody's.
    pub(crate) fn sweep(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(self.paths.claims()) else { return Ok(()) };
        let _lock = self.lock()?;
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
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
            _ => Ok(()),
        }
    }

    fn path(&self, id: &LeaseId) -> PathBuf {
        self.paths.claims().join(format!("{id}.json"))
    }

    fn lock(&self) -> Result<LockFile> {
        LockFile::lock(&self.paths.locks().join("claims.lock")).map_err(|error| {
            Error::failure("cannot lock the claims").cause(error).hint("make the state directory writable")
        })
    }

    fn read(&self, id: &LeaseId) -> Result<Option<Claim>, BadClaim> {
        let path = self.path(id);
        let bad = |problem: String| BadClaim { path: path.clone(), problem };
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
        let claim: Claim = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if claim.version != 1 {
            return Err(bad(format!("it is of version {}, and this crabbox knows version 1", claim.version)));
        }
        if claim.lease.id != *id {
            return Err(bad(format!("it is about lease {}", claim.lease.id)));
        }
        Ok(Some(claim))
    }

    fn write(&self, claim: &mut Claim, durable: bool) -> Result<()> {
        let mut revision = [0; 16];
        getrandom::fill(&mut revision)
            .map_err(|error| Error::failure("the system gives no random numbers").cause(error))?;
        claim.revision = revision.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.path(&claim.lease.id);
        let text = serde_json::to_vec_pretty(claim).map_err(io::Error::from);
        text.and_then(|text| replace(&path, &[&text[..], b"\n"].concat(), durable)).map_err(|error| {
            Error::failure(format!("cannot write the claim `{}`", path.display()))
                .cause(error)
                .hint("crabbox makes no lease that it cannot record; make the state directory writable")
        })
    }
}

//! The file in a lease's directory that says whose it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crabbox_provider_kit::protocol::{Lease, LeaseId};
use crabbox_provider_kit::{Doing as _, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The marker's name in the lease's directory.
pub(crate) const FILE: &str = ".crabbox-lease.json";

/// What a lease's directory says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    pub(crate) id: LeaseId,
    pub(crate) slug: String,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
}

impl Marker {
    pub(crate) fn of(lease: &Lease) -> Self {
        Self {
            id: lease.id.clone(),
            slug: lease.slug.clone(),
            name: lease.name.clone(),
            labels: lease.labels.clone(),
            created_at: Timestamp::now(),
        }
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).doing(|| format!("write `{}`", path.display()))
    }

    /// Reads the marker of `directory` and makes sure that it is that of lease `id`.
    ///
    /// # Errors
    ///
    /// `conflict` when there is none or it names another lease: the directory is not ours then.
    pub(crate) fn read(directory: &Path, id: &LeaseId) -> Result<Self> {
        let path = directory.join(FILE);
        let foreign = |why: String| {
            Error::conflict(format!("`{}` is not the directory of lease `{id}`: {why}", directory.display()))
                .hint("look at it, and remove it by hand if nobody needs it")
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(foreign(format!("it has no `{FILE}`")));
            }
            Err(error) => return Err(error).doing(|| format!("read `{}`", path.display())),
        };
        let marker: Self = serde_json::from_slice(&text)
            .map_err(|error| foreign(format!("its `{FILE}` cannot be read")).cause(error))?;
        if marker.id != *id {
            return Err(foreign(format!("its `{FILE}` names lease `{}`", marker.id)));
        }
        Ok(marker)
    }
}

//! `put`: a file of this machine goes to the lease, verified there.

use std::path::Path;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{PutParams, PutResult};

use crate::provider::Freestyle;

impl Freestyle {
    /// Answers `put`.
    pub(crate) async fn place(&self, params: &PutParams) -> Result<PutResult> {
        let vm = self.expect(&params.lease).await?;
        let to = match params.to.starts_with('/') {
            true => params.to.clone(),
            false => format!("{}/{}", self.settings.directory, params.to),
        };
        self.api
            .upload(&vm.id, Path::new(&params.path), params.size, &params.sha256, &to, params.mode)
            .await?;
        Ok(PutResult::default())
    }
}

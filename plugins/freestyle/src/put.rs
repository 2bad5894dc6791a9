//! `put`: a file of this machine goes to the lease, verified there.

use crabbox_provider_kit::protocol::{PutParams, PutResult};
use crabbox_provider_kit::{Context, Result};

use crate::provider::Freestyle;
use crate::source::Source;

impl Freestyle {
    /// Answers `put`.
    pub(crate) async fn put_file(&self, params: &PutParams, context: &Context) -> Result<PutResult> {
        let mut source = Source::open(&params.path, params.size, &params.sha256).await?;
        let machine = self.expect(&params.lease).await?;
        let to = match params.to.starts_with('/') {
            true => params.to.clone(),
            false => format!("{}/{}", self.settings.directory, params.to),
        };
        self.place(&machine.id, &mut source, &to, params.mode, context).await?;
        Ok(PutResult::default())
    }
}

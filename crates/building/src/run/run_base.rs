//! What everything in a sandbox stands on: under whose ids it runs, and the base as it lies on this machine.

use std::time::Duration;

use patchadm_bulk_values::result::Digest;

use super::request::RunError;
use crate::base::{BaseLayer, base_digest, base_layer, build_user, fetching_user};
use crate::ids::BUILD_ID;
use crate::ids::SandboxIds;
use crate::sandbox::BuildUser;
use crate::sources::Sources;
use crate::task::{must_be_accessible, with_layer_kind};
use crate::work::Work;

/// The base of a run.
#[derive(Clone, Debug)]
pub struct RunBase {
    /// Under whose ids builds run.
    pub user: BuildUser,
    /// The base as it lies on this machine.
    pub layer: BaseLayer,
    /// The digest of the base.
    pub digest: Digest,
    /// Where sources come from, and who fetches them.
    pub sources: Sources,
}

impl RunBase {
    /// Lays the base of a bulk build out, where that is not done yet, and takes its digest: it reads the state of every object
    /// of the base.
    pub fn prepare(work: &Work) -> Result<Self, RunError> {
        let user = build_user(&work.conf);
        let fetches_as = fetching_user(&work.conf).map_err(RunError::User)?;
        let ids = SandboxIds::of_caller(&work.conf).map_err(RunError::User)?;
        let digest = base_digest(&work.conf).map_err(RunError::Base)?;
        let layer = base_layer(&work.conf, (ids, user), &digest.to_string())
            .and_then(|layer| with_layer_kind(work, layer, user));
        let layer = layer.map_err(|error| RunError::Base(error.to_string()))?;
        must_be_accessible(work, &layer, user).map_err(RunError::User)?;
        let sources = Sources {
            directories: work.conf.file_sources.clone(),
            user: fetches_as.or_else(|| ids.on_disk(BUILD_ID).map(|id| (id, id))),
            time: work.conf.scan_time.map(Duration::from_secs),
            ..Sources::default()
        };
        Ok(Self { user, layer, digest, sources })
    }

    /// Returns the base with its digest.
    pub fn with_digest(&self) -> (&BaseLayer, Digest) {
        (&self.layer, self.digest)
    }
}

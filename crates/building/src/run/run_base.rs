//! What everything in a sandbox stands on: under whose ids it runs, and the base as it lies on this machine.

use patchadm_bulk::result::Digest;

use super::request::RunError;
use crate::base::{BaseLayer, base_digest, base_layer, build_user};
use crate::sandbox::BuildUser;
use crate::task::with_layer_kind;
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
}

impl RunBase {
    /// Lays the base of a bulk build out, where that is not done yet, and takes its digest: it reads the state of every object
    /// of the base.
    pub fn prepare(work: &Work) -> Result<Self, RunError> {
        let user = build_user(&work.conf).map_err(RunError::User)?;
        let layer = base_layer(&work.conf, user).and_then(|layer| with_layer_kind(work, layer, user));
        let layer = layer.map_err(|error| RunError::Base(error.to_string()))?;
        let digest = base_digest(&work.conf).map_err(RunError::Base)?;
        Ok(Self { user, layer, digest })
    }

    /// Returns the base with its digest.
    pub fn with_digest(&self) -> (&BaseLayer, Digest) {
        (&self.layer, self.digest)
    }
}

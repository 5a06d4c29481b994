//! What a run makes patches with at its end, and how the run ends where they were not made or published.

use std::cell::RefCell;

use serde_json::Value;

use crate::patches::template;
use crate::patches_ends::patches_failed;
use crate::publishing::{Publisher, made_patch};
use patchadm_building::patches::MadePatches;
use patchadm_building::run::EndedRun;
use patchadm_building::work::Work;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Stop};
use patchadm_making::build::BuildRequest;
use patchadm_svr4::patch::PatchId;

/// The codes that say more than that something failed: of the disk, of damage, of rights, of slots, of keys.
const MORE_THAN_FAILED: [u8; 5] = [18, 33, 36, 40, 41];

/// What patches are made and published with.
pub(crate) struct PatchPreparation {
    template: BuildRequest,
    publisher: Option<Publisher>,
    /// Why they were not published.
    unpublished: RefCell<Option<anyhow::Error>>,
}

impl PatchPreparation {
    /// Prepares patches; the key is read before anything is built.
    pub(crate) fn of(call: &mut Invocation, work: &Work, makes_set: bool) -> anyhow::Result<Self> {
        let template = template(call.surroundings.now.timestamp())?;
        let publisher = if makes_set { Publisher::of(call, work)? } else { None };
        Ok(Self { template, publisher, unpublished: RefCell::new(None) })
    }

    /// Returns the request for every patch, whatever its id.
    pub(crate) fn template(&self) -> BuildRequest {
        self.template.clone()
    }

    /// Publishes patches; returns what documents tell of it, or why that failed.
    pub(crate) fn publish(
        &self,
        made: &MadePatches,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<Option<Value>, String> {
        let Some(publisher) = self.publisher.as_ref().filter(|_| made_patch(made)) else { return Ok(None) };
        match publisher.publish(interrupt) {
            Ok(published) => Ok(Some(published.document)),
            Err(error) => {
                let reason = format!("{error:#}");
                self.unpublished.replace(Some(error));
                Err(reason)
            }
        }
    }

    /// Returns the code of a run whose patches were not made or published for another reason than that one failed.
    pub(crate) fn exit(self, ended: &EndedRun) -> Option<Exit> {
        let unpublished = self.unpublished.into_inner();
        let stopped = unpublished.and_then(|error| error.downcast::<Stop>().ok());
        match stopped.or_else(|| ended.patches_error.as_ref().map(patches_failed)) {
            Some(Stop::Refused { exit, .. }) if MORE_THAN_FAILED.contains(&exit.code()) => Some(exit),
            _ => None,
        }
    }
}

/// Returns a request with another id.
pub(crate) fn with_id(template: &BuildRequest, id: PatchId) -> BuildRequest {
    BuildRequest { id, ..template.clone() }
}

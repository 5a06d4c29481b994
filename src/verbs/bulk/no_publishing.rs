//! The place of publishing in a program that was built without signatures: nothing is published.

use serde_json::Value;

use crate::call::Invocation;
use crate::reply::{Exit, Stop};
use patchadm_building::patches::MadePatches;
use patchadm_building::work::Work;

/// Publishes nothing: there is none.
pub(super) enum Publisher {}

/// What was published.
pub(super) struct Published {
    /// What documents tell of it.
    pub(super) document: Value,
    /// What people are told of it.
    pub(super) lines: Vec<String>,
}

/// Tells that nothing is to be published.
pub(super) fn made_patch(_made: &MadePatches) -> bool {
    false
}

impl Publisher {
    /// Refuses a configured depot.
    pub(super) fn of(_call: &mut Invocation, work: &Work) -> anyhow::Result<Option<Self>> {
        match &work.conf.depot {
            None => Ok(None),
            Some(_) => {
                let message = "this program was built without signatures: it cannot publish".to_owned();
                Err(Stop::Refused { exit: Exit::SIGNATURE, message }.into())
            }
        }
    }

    /// Publishes nothing.
    pub(super) fn publish(&self, _interrupt: &dyn Fn() -> Option<i32>) -> anyhow::Result<Published> {
        match *self {}
    }
}

//! Replaces `publishing` in a program without signatures.

use serde_json::Value;

use patchadm_building::patches::MadePatches;
use patchadm_building::work::BulkWork;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Stop};

pub(crate) enum Publisher {}

pub(crate) struct PublishReply {
    pub(crate) document: Value,
    pub(crate) lines: Vec<String>,
}

pub(crate) fn made_patch(_made: &MadePatches) -> bool {
    false
}

impl Publisher {
    pub(crate) fn of(_call: &mut Invocation, work: &BulkWork) -> anyhow::Result<Option<Self>> {
        match &work.conf.depot {
            None => Ok(None),
            Some(_) => {
                let message = "this program was built without signatures: it cannot publish".to_owned();
                Err(Stop::Refused { exit: Exit::SIGNATURE, message }.into())
            }
        }
    }

    pub(crate) fn publish(&self, _interrupt: &dyn Fn() -> Option<i32>) -> anyhow::Result<PublishReply> {
        match *self {}
    }
}

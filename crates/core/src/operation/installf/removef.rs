//! `removef`: a package gives objects up (removef(1M)).

use std::collections::BTreeSet;

use crate::operation::installf::target::{InstallfError, InstallfTarget, inside, package};
use crate::operation::session::Caller;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::registration::{GivingUp, finish_giving_up, give_up};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, OwnerStatus};

/// The options and operands of removef(1M).
#[derive(Clone, Debug)]
pub struct RemovefRequest {
    /// The package instance.
    pub package: String,
    /// The objects that it gives up; `None` to make what it has given up final.
    pub paths: Option<Vec<ObjectPath>>,
    /// The run in the environment: set for scripts of a run.
    pub run: Option<String>,
}

/// Objects that were given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovefOutcome {
    /// The paths, sorted, that no other package owns, so that the caller may remove them.
    pub removable: Vec<ObjectPath>,
    /// Sentences for a person.
    pub notes: Vec<String>,
}

/// Gives objects up, or declares that final.
pub fn removef(
    root: &Root,
    request: &RemovefRequest,
    caller: &Caller<'_>,
) -> Result<RemovefOutcome, InstallfError> {
    let package = package(&request.package)?;
    let mut target = InstallfTarget::open(root, &package, request.run.as_deref(), caller)?;
    let now = &caller.now;
    let GivingUp { plan, entries, removable, notes } = if let Some(paths) = &request.paths {
        let paths: BTreeSet<ObjectPath> = paths.iter().map(|path| inside(root, path)).collect();
        give_up(&package, &paths, &target.inventory(paths.clone())?, now)
    } else {
        let marked = target.recorded(&package, &[OwnerStatus::Removing])?;
        finish_giving_up(&package, &target.inventory(marked)?, now)
    };
    target.carry_out((Command::Removef, &package), &plan, entries)?;
    Ok(RemovefOutcome { removable, notes })
}

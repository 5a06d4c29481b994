//! `patchadm undo`: undoes a run by an ordinary backout or application, which the history links to that run.

pub use super::undone_run::{RunWork, UndoneRun, number_of, run_to_undo};

use std::ffi::OsString;

use super::apply::{ApplyReport, ApplyRequest, DepotOperands, PatchOperands};
use super::back_out::{BackOutReport, BackOutRequest, back_out_patches};
use super::offered::apply_patches;
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::session::Caller;
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::Root;

/// Backs out exactly the run's patches, or none. Ignores patches of the request.
pub fn undo_application(
    root: &Root,
    run: &UndoneRun,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    let request =
        BackOutRequest { ids: run.work.patches().to_vec(), undone: Some(run.clone()), ..request.clone() };
    back_out_patches(root, &request, &caller.undoing(&run.name))
}

/// Applies exactly the run's patches from the request's depot. Ignores patches and choices of the request.
pub fn undo_backout(
    root: &Root,
    run: &UndoneRun,
    request: &ApplyRequest,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let depot = request.depot.as_ref().and_then(|of_depot| of_depot.depot.clone());
    let patches = PatchOperands::Words(run.work.patches().iter().map(OsString::from).collect());
    let request = ApplyRequest {
        depot: Some(DepotOperands { depot, patches }),
        choices: SetRequest { withdrawn: true, no_requires: true, ..SetRequest::default() },
        ..request.clone()
    };
    apply_patches(root, &request, Some(session), &caller.undoing(&run.name))
}

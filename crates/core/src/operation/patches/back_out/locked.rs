//! Backing patches out of a root that is locked.

use super::input::KnownRecords;
use super::order::dependents_first;
use super::planner::back_out_all;
use super::request::{BackOutOutcome, BackOutRequest};
use super::selection::selected;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::run_of;
use crate::operation::run::Execution;
use crate::operation::session::Session;
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::history::TrialFault;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::trial::TrialRecord;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// Backs out the patches of a request, all of which are planned first.
pub(in crate::operation) fn back_out_locked(
    session: &Session<'_>,
    request: &BackOutRequest,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let ids = named(request, &session.ground.policy)?;
    back_out_named(session, request, ids)
}

/// Does the same with patches that were named.
pub(super) fn back_out_named(
    session: &Session<'_>,
    request: &BackOutRequest,
    ids: Vec<PatchId>,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let read = KnownRecords::of(&session.ground)?;
    let ids = selected(&session.ground, request, &read.applied, ids)?;
    let ids = dependents_first(&session.ground, &read.applied, ids);
    let input = (&session.ground, request, session.caller);
    back_out_all(input, &ids, read, Execution::Perform(session))
}

/// The patches that are named, each once.
pub(super) fn named(request: &BackOutRequest, policy: &Policy) -> Result<Vec<PatchId>, Failure> {
    let mut named: Vec<PatchId> = Vec::new();
    for id in &request.ids {
        let id = PatchId::parse(id, &policy.separator);
        let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
        if !named.contains(&id) {
            named.push(id);
        }
    }
    Ok(named)
}

/// Returns the patches of a trial that are still applied. A record that names patches of another run is not believed.
pub(in crate::operation) fn still_applied(
    session: &Session<'_>,
    record: &TrialRecord,
) -> Result<Vec<String>, Failure> {
    let ground = &session.ground;
    let view = RecordView::live(&ground.root);
    let applied = KnownRecords::of(ground)?.applied;
    let number = Run::parse(&record.run).map(|run| run.number);
    let mut still = Vec::new();
    for patch in &record.patches {
        let Some(known) = applied.iter().find(|known| known.id.to_string() == *patch) else { continue };
        for package in &known.packages {
            let by = run_of(&ledger::counting(&view, package).map_err(ArchiveError::from)?, patch);
            if by.is_none() || by != number {
                let by = by.map_or("a run that is not known".to_owned(), |by| format!("run {by}"));
                let path = ground.root.show(&places::trial_record());
                let (run, patch) = (record.run.clone(), patch.clone());
                return Err(TrialFault::OtherRun { path, run, patch, by }.into());
            }
        }
        still.push(patch.clone());
    }
    Ok(still)
}

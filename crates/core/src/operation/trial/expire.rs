//! Ends a trial that was not confirmed: backs out its patches, like `undo`.

use std::collections::BTreeMap;

use super::request::TrialChange;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::patches::back_out::BackOutRequest;
use crate::operation::patches::back_out::locked::{back_out_locked, still_applied};
use crate::operation::patches::overtaken::RegistrationRefreshRequest;
use crate::operation::patches::overtaken::planner::refresh_locked;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::queries::patch_objects::ObjectAction;
use crate::operation::queries::patch_objects::patch_files;
use crate::operation::session::{Caller, RootAndPolicy, Session, must_agree};
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::native::NativeOrigin;
use patchadm_inputs::trial::{OverReason, TrialRecord};
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// For runs that change no package.
const NO_PACKAGE: &str = "patchadm";

/// For runs that only record a trial.
const TRIAL: &str = "trial";

pub(in crate::operation) enum FoundTrial {
    None,
    Expired(String, Vec<String>),
    Running(TrialRecord),
    /// Over, but its patches cannot be backed out.
    Stuck(TrialRecord, Failure),
}

impl FoundTrial {
    pub(in crate::operation) fn must_be_none(self, caller: &Caller<'_>) -> Result<(), Failure> {
        match self {
            Self::None | Self::Expired(..) => Ok(()),
            Self::Running(record) => Err(on_trial(&record, caller)),
            Self::Stuck(record, failure) => {
                Err(Failure::StuckTrial { run: record.run, failure: Box::new(failure) })
            }
        }
    }

    pub(in crate::operation) fn record(&self) -> Option<&TrialRecord> {
        match self {
            Self::None | Self::Expired(..) => None,
            Self::Running(record) | Self::Stuck(record, _) => Some(record),
        }
    }
}

pub(in crate::operation) fn on_trial(record: &TrialRecord, caller: &Caller<'_>) -> Failure {
    let until = (caller.shown_time)(record.until, record.duration.is_short());
    Failure::OnTrial { run: record.run.clone(), until }
}

pub(super) fn write_record<'a>(
    session: Session<'a>,
    record: &TrialRecord,
    change: TrialChange,
) -> (Session<'a>, Result<Receipt, Failure>) {
    let caller = session.caller.doing(TRIAL);
    let write = RecordChange::Write {
        path: places::trial_record(),
        bytes: record.write(),
        mode: Mode::of(0o644),
        mtime: None,
    };
    session.acting_as(&caller, change, |session| perform_records(session, TRIAL, vec![write]))
}

/// Backs the trial out at the beginning of another command.
pub(super) fn expired(
    session: Session<'_>,
    record: TrialRecord,
    reason: OverReason,
) -> Result<(Session<'_>, FoundTrial), Failure> {
    let (session, done) = end_by_backout(session, &record, ("expired", None));
    match done {
        Ok(receipt) => {
            let run = record.run;
            let left = left_paths(&session, &run);
            let left = left.map(|left| format!(", {left}")).unwrap_or_default();
            let told = format!("the trial of run {run} was over ({}): it was reverted{left}", why(reason));
            let notes: Vec<String> = receipt.into_iter().flat_map(|receipt| receipt.notes).collect();
            let session = session.noticing([vec![told], notes.clone()].concat());
            Ok((session, FoundTrial::Expired(run, notes)))
        }
        // The root is unknown, or somebody wants the command to end.
        Err(failure @ Failure::Trial(_)) => Err(failure),
        Err(failure) if failure.signal().is_some() || is_left_undone(&failure) => Err(failure),
        Err(failure) => {
            let (session, record) = tell_stuck(session, record, &failure);
            Ok((session, FoundTrial::Stuck(record, failure)))
        }
    }
}

/// Tells of paths that were not restored.
fn left_paths(session: &Session<'_>, run: &str) -> Option<String> {
    let history = readable_history(&RecordView::live(&session.ground.root));
    let end = history.iter().rev().find_map(|entry| entry.trial_end.as_ref().filter(|end| end.run == run))?;
    end.left.as_ref().map(ToString::to_string)
}

fn is_left_undone(failure: &Failure) -> bool {
    !matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
}

fn why(reason: OverReason) -> &'static str {
    match reason {
        OverReason::TimeIsUp => "not confirmed in time",
        OverReason::OtherBoot => "the machine was booted since",
        OverReason::ClockWasSet => "the clock was set",
        OverReason::ProbeFailed => "its probe failed",
    }
}

/// One run backs out the patches and ends the trial. `end` is the history's word, `note` the reason. Stale registrations
/// are updated first: the package manager's files stay.
fn end_by_backout<'a>(
    session: Session<'a>,
    record: &TrialRecord,
    (end, note): (&str, Option<&str>),
) -> (Session<'a>, Result<Option<Receipt>, Failure>) {
    let caller = session.caller;
    let claims = match TrialClaims::read(&session.ground, record) {
        Ok(claims) => claims,
        Err(failure) => return (session, Err(failure)),
    };
    let (session, refreshed) =
        session.acting_as(&caller.doing(Command::Patchrm.name()), TrialChange::None, |session| {
            must_agree(&session.ground.root, session.caller.interrupt, |_| false)?;
            refresh_locked(session, &RegistrationRefreshRequest::default())?;
            session.ground.forget_native_changes();
            still_applied(session, record)
        });
    let patches = match refreshed {
        Ok(patches) => patches,
        Err(failure) => return (session, Err(failure)),
    };
    let native = match claims.native(&session.ground, caller.interrupt) {
        Ok(native) => native,
        Err(failure) => return (session, Err(failure)),
    };
    let change = TrialChange::ending_beside(record, end, &patches, native);
    let backing_out = caller.doing(Command::Patchrm.name()).noting(note);
    let (session, done) = session.acting_as(&backing_out.undoing(&record.run), change, |session| {
        if patches.is_empty() {
            // The patches are gone already.
            return perform_records(session, Command::Patchrm.name(), Vec::new()).map(Some);
        }
        let scripts =
            PatchScriptRequest { settings: caller.scripts.clone(), ..PatchScriptRequest::default() };
        let request = BackOutRequest { ids: patches.clone(), scripts, ..BackOutRequest::default() };
        let outcomes = back_out_locked(session, &request)?;
        let mut receipt = None;
        for outcome in outcomes {
            match outcome.result {
                Ok(done) => receipt = done.or(receipt),
                // Another patch has the reason.
                Err(Failure::NotTried(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(receipt)
    });
    session.ground.forget_native_changes();
    (session, done)
}

pub(super) fn perform_records(
    session: &Session<'_>,
    command: &'static str,
    records: Vec<RecordChange>,
) -> Result<Receipt, Failure> {
    let package = PkgInst::new(NO_PACKAGE).map_err(|error| Failure::BadId(error.to_string()))?;
    let empty = Plan::empty(command, session.caller.now.trailer(command, &package));
    session.perform(&Plan { records, ..empty }, &mut NoContent, None, String::new())
}

/// Errors are ignored: the next command reports it again.
fn tell_stuck<'a>(
    session: Session<'a>,
    record: TrialRecord,
    failure: &Failure,
) -> (Session<'a>, TrialRecord) {
    let stuck = record.stuck_because(&failure.to_string());
    if stuck == record {
        return (session, record);
    }
    let (session, written) = write_record(session, &stuck, TrialChange::telling(&record, "stuck"));
    (session, if written.is_ok() { stuck } else { record })
}

/// Backs out a run whose check failed. Another command may have ended the trial, which is no error.
pub(super) fn end_failed_trial(
    root: &Root,
    run: &str,
    note: &str,
    caller: &Caller<'_>,
) -> Result<Option<Receipt>, Failure> {
    let session = Session::begin(RootAndPolicy::of(root)?, caller)?;
    let record = trial(&RecordView::live(root))?.filter(|record| record.run == run);
    let Some(record) = record else { return Ok(None) };
    let (session, done) = end_by_backout(session, &record, ("failed", Some(note)));
    match done {
        Err(failure) if failure.signal().is_none() && !is_left_undone(&failure) => {
            tell_stuck(session, record, &failure);
            Err(Failure::StuckTrial { run: run.to_owned(), failure: Box::new(failure) })
        }
        other => other,
    }
}

/// States that patches found at paths of adopted packages.
struct TrialClaims(BTreeMap<ObjectPath, ClaimedState>);

enum ClaimedState {
    Nothing,
    Object(RecordedState),
    Unknown,
}

impl TrialClaims {
    /// Call this before any of the patches ends.
    pub(super) fn read(ground: &RootAndPolicy, record: &TrialRecord) -> Result<Self, Failure> {
        let packages = ground.packages()?;
        let mut found = BTreeMap::new();
        if !packages.values().any(|installed| NativeOrigin::of(&installed.params).is_some()) {
            return Ok(Self(found));
        }
        for id in &record.patches {
            // The backout reports unreadable undo data.
            let files = patch_files(&ground.root, id).ok().flatten().unwrap_or_default();
            let of_native = files.into_iter().filter(|of| {
                packages.get(&of.package).is_some_and(|one| NativeOrigin::of(&one.params).is_some())
            });
            for object in of_native.flat_map(|of| of.objects) {
                if object.action != Some(ObjectAction::Unchanged) {
                    let was = match (object.action, object.was) {
                        (None, _) => ClaimedState::Unknown,
                        (Some(_), None) => ClaimedState::Nothing,
                        (Some(_), Some(was)) => ClaimedState::Object(was),
                    };
                    found.entry(object.path).or_insert(was);
                }
            }
        }
        let lost = overtaken_patches(&ground.root, &marker(&ground.root)?.unwrap_or_default())?;
        let of_trial = lost.patches.iter().filter(|one| record.patches.contains(&one.patch));
        for path in of_trial.flat_map(OvertakenPatch::lost_paths) {
            found.entry(path).or_insert(ClaimedState::Unknown);
        }
        Ok(Self(found))
    }

    /// With the manager's name.
    pub(super) fn native(
        &self,
        ground: &RootAndPolicy,
        interrupt: Interrupt<'_>,
    ) -> Result<BTreeMap<ObjectPath, &'static str>, Failure> {
        let (index, resolver) = (ground.native_index(), ground.root.resolver());
        let mut native = BTreeMap::new();
        let places =
            self.0.keys().map(|path| resolver.locate_to_compare(path)).collect::<Result<Vec<_>, _>>()?;
        let owners = index
            .owners_of(self.0.keys().zip(&places), &resolver, interrupt)
            .map_err(Failure::or_interrupted(interrupt))?;
        for ((path, was), place) in self.0.iter().zip(&places) {
            let Some(owner) = owners.of(path).first() else { continue };
            let now = ground.root.live_at_until(place, interrupt);
            let now = now.map_err(Failure::or_interrupted(interrupt))?.as_ref().map(RecordedState::of);
            let is_as_found = match (was, &now) {
                (ClaimedState::Nothing, None) => true,
                (ClaimedState::Object(was), Some(now)) => {
                    let differ = StateDifferences::between(was, now);
                    !differ.is_of_content() && differ.mode == 0
                }
                _ => false,
            };
            if !is_as_found {
                native.insert(path.clone(), owner.origin.manager.name());
            }
        }
        Ok(native)
    }
}

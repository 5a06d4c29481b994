//! `patchadm recover`: the recovery that every changing command begins with, and measures for a lost journal or an
//! unidentified root.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::object_check::{CheckedAspects, ObjectCheckRequest, check_objects};
use super::patches::undo_directory::{MOVABLE, is_movable};
use super::session::{Caller, RootAndPolicy, Session, may_change, must_have_database};
use super::trial::{ExpiryReport, end_expired_trial};
use crate::script::end_leftovers;
use patchadm_changeset::records::marker_of;
use patchadm_changeset::transaction::{
    Cause, JournalFate, KeptStage, Phase, Recovered, RootCondition, TransactionError, discard_journal,
    keep_stage, renew_identity,
};
use patchadm_inputs::database::{DatabaseError, RecordView, all, installed, policy};
use patchadm_planning::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_rootfs::{Dir, Root, random};
use patchadm_svr4::package::{Mode, ObjectPath, rule};
use patchadm_svr4::places::own_directory;

const TOLD: usize = 200;

#[derive(Debug)]
pub struct Recovery {
    /// Work before the recovery; empty for a plain one.
    pub done: Vec<String>,
    pub run: Recovered,
    /// The end of an expired trial, after the recovery.
    pub trial: Option<String>,
    /// Patches that a tool without recovery left half applied; they cannot be recovered.
    pub interrupted: Vec<Interrupted>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecoveryAid {
    #[default]
    None,
    /// Gives up a damaged or missing journal, if its run provably ended, or a copy tells its changes.
    DiscardJournal,
    /// Moves journal and stage here, whatever the run has changed.
    KeepStage(PathBuf),
    /// Gives the root a new marker.
    NewIdentity,
}

/// `undo_dir` may have undo archives of the run outside the root.
pub fn recover_root(root: &Root, undo_dir: Option<&Path>, caller: &Caller<'_>) -> Result<Recovery, Failure> {
    recover_with_aid(root, undo_dir, &RecoveryAid::None, caller)
}

pub fn recover_with_aid(
    root: &Root,
    undo_dir: Option<&Path>,
    aid: &RecoveryAid,
    caller: &Caller<'_>,
) -> Result<Recovery, Failure> {
    may_change(root)?;
    if *aid == RecoveryAid::NewIdentity {
        must_have_database(root)?;
    }
    // Without this directory, no run ever began.
    if root.list(&own_directory())?.is_none() && *aid != RecoveryAid::NewIdentity {
        must_have_database(root)?;
        let (run, done) = (Recovered::Nothing, Vec::new());
        return Ok(Recovery { done, run, trial: None, interrupted: left_half_applied(root)? });
    }
    let ground = RootAndPolicy::of(root)?.naming(undo_dir);
    let mut trial = None;
    let (done, run) = match aid {
        RecoveryAid::None => {
            let recovered = Session::begin_recovery(ground, caller, |_, _| Ok(()))?.recovered;
            // The report tells of it in its own words.
            let caller = Caller { did_first: &|_| {}, ..caller.clone() };
            let ExpiryReport { ended, notes } = end_expired_trial(root, &caller)?;
            trial = ended.map(|run| format!("The trial of run {run} was over: it was reverted."));
            (Vec::new(), recovered.with_notes(notes))
        }
        RecoveryAid::DiscardJournal => discarded(ground, caller)?,
        RecoveryAid::KeepStage(to) => kept(ground, to, caller)?,
        RecoveryAid::NewIdentity => renewed(ground, caller)?,
    };
    Ok(Recovery { done, run, trial, interrupted: left_half_applied(root)? })
}

/// Recovers before a native package manager begins. An expired trial is left to the next command.
pub fn recover_before_native(root: &Root, caller: &Caller<'_>) -> Result<Recovered, Failure> {
    // Without this directory, no run ever began.
    if root.list(&own_directory())?.is_none() {
        return Ok(Recovered::Nothing);
    }
    Ok(Session::begin_recovery(RootAndPolicy::of(root)?, caller, |_, _| Ok(()))?.recovered)
}

type Aided = (Vec<String>, Recovered);

fn discarded(ground: RootAndPolicy, caller: &Caller<'_>) -> Result<Aided, Failure> {
    let mut fate = JournalFate::Whole;
    let session = Session::begin_recovery(ground, caller, |root, lock| {
        // No script may continue while its work is undone.
        let _quiet = end_leftovers(root, None, caller.interrupt)?;
        fate = discard_journal(root, lock).map_err(|error| Failure::Unrecovered { error })?;
        Ok(())
    })?;
    let done = match fate {
        JournalFate::Whole => Vec::new(),
        JournalFate::Discarded { kept: None } => vec!["The missing journal is no longer needed.".to_owned()],
        JournalFate::Discarded { kept: Some(kept) } => {
            vec![format!("The damaged journal was set aside as {kept}.")]
        }
    };
    Ok((done, session.recovered))
}

/// Moves journal and stage away, and describes the root without them.
fn kept(ground: RootAndPolicy, to: &Path, caller: &Caller<'_>) -> Result<Aided, Failure> {
    let place = keeping_place(&ground.host, to)?;
    let mut kept: Option<KeptStage> = None;
    let session = Session::begin_recovery(ground, caller, |root, lock| {
        let _quiet = end_leftovers(root, None, caller.interrupt)?;
        kept = keep_stage(root, lock, &place).map_err(|error| Failure::Unrecovered { error })?;
        Ok(())
    })?;
    let Some(KeptStage { names, elsewhere }) = kept else { return Ok((Vec::new(), session.recovered)) };
    let mut done = vec![format!("Moved to {}: {}.", to.display(), names.join(", "))];
    done.extend(elsewhere.iter().map(|path| format!("Kept where it is: {path}.")));
    let notes = not_as_recorded(&session.ground);
    Ok((done, session.recovered.with_notes(notes)))
}

fn keeping_place(host: &Root, to: &Path) -> Result<Dir, Failure> {
    let wrong = |reason| refused(Cause::KeepingPlace { path: to.display().to_string(), reason });
    let path = ObjectPath::new(to.as_os_str().as_bytes())
        .map_err(|_| wrong("is not an absolute path without `..`"))?;
    let physical = host.resolver().locate_dir(&path)?;
    let dir = if let Some(dir) = host.dir_if_there(&physical)? {
        dir
    } else {
        let above = physical.parent().unwrap_or_else(ObjectPath::root);
        let above = host.dir_if_there(&above)?.ok_or_else(|| wrong("has no directory above it"))?;
        above.make_dir(physical.name(), Mode::of(0o700))?
    };
    let is_private = dir.is_own()? && dir.itself()?.mode.bits() & 0o022 == 0;
    if !rule::holds("keep-stage.place", is_private) {
        return Err(wrong("belongs to another user or is writable by others"));
    }
    if is_movable(host, to)? {
        return Err(wrong(MOVABLE));
    }
    Ok(dir)
}

fn not_as_recorded(ground: &RootAndPolicy) -> Vec<String> {
    let aspects = CheckedAspects { attributes: true, contents: true, ..CheckedAspects::default() };
    let workers = ground.root.workers();
    let request = ObjectCheckRequest { aspects, workers, ..ObjectCheckRequest::default() };
    let report = match check_objects(&ground.root, &ground.host, &request) {
        Ok(report) => report,
        Err(error) => return vec![format!("the root cannot be compared with its records: {error}")],
    };
    let differing = report.checked.iter().filter(|object| !object.findings.is_empty());
    let mut told: Vec<String> = differing
        .map(|object| format!("{} differs from its record", ground.root.show(&object.path)))
        .collect();
    let more = told.len().saturating_sub(TOLD);
    if more > 0 {
        told.truncate(TOLD);
        told.push(format!("{more} more differ from their records: pkgchk(8) lists them"));
    }
    told
}

fn renewed(ground: RootAndPolicy, caller: &Caller<'_>) -> Result<Aided, Failure> {
    let marker = marker_of(random()?);
    let session = Session::begin_recovery(ground, caller, |root, lock| {
        renew_identity(root, lock, &marker).map_err(|error| match error.cause {
            Cause::Journal { .. } => Failure::Unrecovered { error },
            _ => Failure::Identity { error },
        })
    })?;
    session.log(format!("# {} new identity {marker}\n", caller.time).as_bytes())?;
    Ok((vec![format!("The root has the new identity {marker}.")], session.recovered))
}

fn refused(cause: Cause) -> Failure {
    let left = RootCondition::Unchanged;
    Failure::Unrecovered { error: TransactionError { phase: Phase::Recover, cause, left } }
}

fn left_half_applied(root: &Root) -> Result<Vec<Interrupted>, Failure> {
    let separator = policy::of_root(root)?.separator;
    let half = all::each(&RecordView::live(root), |package| {
        let inst = package.inst();
        let installed = match installed::installed(package.view(), inst) {
            // Commands that need the record report its defects.
            Err(DatabaseError::Damaged(_)) => None,
            read => read?,
        };
        Ok::<_, Failure>(installed.map(|installed| interrupted(inst, &installed, &separator)))
    })?;
    Ok(half.into_iter().flatten().collect())
}

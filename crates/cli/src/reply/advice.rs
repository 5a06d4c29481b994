//! The command to type next after a failure, with the options of the command that asked. Refusals bring their own
//! advice.

use rustix::io::Errno;

use super::depot_end::depot_advice;

use patchadm_changeset::format::journal::JournalError;
use patchadm_changeset::transaction::{Cause, Phase, RootCondition, TransactionError};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::mend::RegistrationRepair;
use patchadm_core::script::ScriptError;
use patchadm_inputs::database::ledger::LedgerFault;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordRepair, ViewError};
use patchadm_inputs::depot::StaleIndex;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::password::without_password;
use patchadm_inputs::sign::SignatureState;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{LockError, RootError};

/// Returns the next step for the user; empty if nothing helps.
pub fn hint(wording: &Wording, command: Command, failure: &Failure) -> String {
    if let Some(told) = failure.untrusted() {
        return told.way_on();
    }
    if let Some(damage) = failure.damage() {
        return mending(damage);
    }
    match failure {
        Failure::Refused(refusal) => refusal.hint(wording),
        Failure::Unrecovered { error } => unrecovered(wording, &error.cause),
        Failure::Identity { error } => match error.cause {
            Cause::Unfinished { .. } => format!("Run {} first.", wording.verb("recover")),
            _ => format!(
                "Run {}: undo archives that the ledger names stay usable.",
                wording.verb("recover --new-identity")
            ),
        },
        Failure::Database(DatabaseError::View(ViewError::Journal { reason, .. })) => {
            lost_journal(wording, reason)
        }
        Failure::Transaction(error) => of_transaction(wording, command, error),
        _ if failure.is_refused_access() => who_may_read(),
        Failure::Root(error)
        | Failure::Database(DatabaseError::View(ViewError::Root(error)))
        | Failure::Archive(ArchiveError::Root(error) | ArchiveError::View(ViewError::Root(error))) => {
            remedy(error.errno()).to_owned()
        }
        Failure::Source(error) if is_of_process(errno_of(&error.problem)) => {
            remedy(errno_of(&error.problem)).to_owned()
        }
        Failure::Source(error) => name_the_patches(wording, error),
        Failure::Archive(error) => of_archive(wording, command, error),
        _ => before_anything(wording, failure),
    }
}

/// Returns the hint after a failure that comes before anything is read for a plan, and after that of a script.
fn before_anything(wording: &Wording, failure: &Failure) -> String {
    match failure {
        Failure::Unvouched(_) => {
            without_trusted_key(wording, "anybody on the way may decide what is applied")
        }
        Failure::PatchPackage(_) => format!("Apply the patch: {}.", wording.verb("add PATCH")),
        Failure::NoDepot { last: None, .. } => {
            "Name the directory of the patches, or an address, with -M.".to_owned()
        }
        Failure::NoDepot { last: Some(last), .. } => {
            let last = without_password(last);
            format!("Name it again with -M {}, or as `depot` in the policy.", Wording::quoted(&last))
        }
        Failure::Plan(fault) => fault.way_on().to_owned(),
        Failure::OwnedByRoot(_) => "Run it again without `--as-owner`.".to_owned(),
        Failure::Lock(LockError::Held { .. }) => match wording.wait() {
            Some(option) => format!("Try again when it has finished, or wait for it with {option}."),
            None => "Try again when it has finished.".to_owned(),
        },
        Failure::Scripts(ScriptError::Locked { .. }) => "Try again when it has finished.".to_owned(),
        Failure::BackoutDirectory { .. } => {
            format!("Name a directory that is there, from / on, with {}.", wording.undo_dir())
        }
        Failure::ExchangeDirectory { .. } => {
            "Name directories of the root, from / on, none inside another.".to_owned()
        }
        Failure::Script(failure) => {
            failure.context.log.as_ref().map_or_else(String::new, |log| format!("See {log} for details."))
        }
        Failure::ReadOnly(_) => remedy(Some(Errno::ROFS)).to_owned(),
        Failure::NotPrivileged(_) => "Run it as root, or as the owner of the root directory.".to_owned(),
        Failure::NoDatabase(_) if wording.wait().is_some() => format!(
            "Register a tree with {}; {} registers a package of dpkg or rpm.",
            wording.verb("adopt --pkg PKG --pkg-version VERSION --dir DIR"),
            wording.verb("add --adopt PATCH")
        ),
        Failure::NoDatabase(_) => {
            "A package that pkgadd installs below another directory makes the database of a new root there."
                .to_owned()
        }
        Failure::StaleIndex(StaleIndex::Expired { .. }) => {
            "Tell the keeper of the depot, who makes a new one with `patchadm publish --refresh DEPOT`."
                .to_owned()
        }
        Failure::StaleIndex(_) => format!(
            "Find out why; if the depot was begun anew, take its line out of {}.",
            wording.path("var/sadm/patchadm/depots")
        ),
        Failure::DepotMemory { path, .. } => format!("Put {path} back from a backup, or take out that line."),
        Failure::Depot(error) => depot_advice(error),
        Failure::OnTrial { run, .. } => format!(
            "Keep it with {}, or revert it with {}.",
            wording.verb("confirm"),
            wording.verb(&format!("undo {}", number_of(run)))
        ),
        Failure::TrialOver { .. } => format!("{} does it now.", wording.verb("recover")),
        Failure::StuckTrial { run, .. } => format!(
            "Fix the problems listed above and run {}, or keep run {} with {}.",
            wording.verb("recover"),
            number_of(run),
            wording.verb("confirm --despite-failure")
        ),
        Failure::NotConfirmed(_) => format!("{} tells what became of it.", wording.verb("history")),
        Failure::Trial(_) => format!(
            "Remove {}: what is applied stays, and nothing is on trial.",
            wording.path("var/sadm/patchadm/trial")
        ),
        Failure::DuringRun(_) => format!(
            "Try again when that run has ended; if it was interrupted, {} puts the root right.",
            wording.verb("recover")
        ),
        _ => String::new(),
    }
}

/// Returns the number of a run, which is enough to name it.
fn number_of(run: &str) -> &str {
    run.split_once('-').map_or(run, |(number, _)| number)
}

/// Empty for a caller who may read everything.
fn who_may_read() -> String {
    if rustix::process::geteuid().is_root() {
        return String::new();
    }
    "Run the same command as root, or as the owner of the root directory.".to_owned()
}

fn of_archive(wording: &Wording, command: Command, error: &ArchiveError) -> String {
    match error {
        ArchiveError::Missing { remote: true, .. }
            if matches!(
                command,
                Command::Patchrm | Command::Commit | Command::Repack | Command::UndoExport
            ) =>
        {
            format!("Name the directory that holds the undo data with {}.", wording.undo_dir())
        }
        ArchiveError::Outside { .. } => format!(
            "Name the directory that holds the undo data with {}, if it is the right one.",
            wording.undo_dir()
        ),
        ArchiveError::Exported { .. } => {
            format!("Bring it back with {}, and the file that it was exported to.", wording.verb("undo-data import FILE"))
        }
        ArchiveError::Lost { .. } => {
            "Put it back from a backup of the root, as it was; without it the patch stays.".to_owned()
        }
        ArchiveError::Earlier { .. } => {
            "Back the patch out with the version of patchadm that applied it, which reads the root until this one has \
             changed it; without that the patch stays, and later ones can be applied over it."
                .to_owned()
        }
        ArchiveError::OtherRoot { .. } => adopt(wording, " --foreign"),
        ArchiveError::NotBound { .. } | ArchiveError::Ledger(_) => {
            adopt(wording, "")
        }
        _ => String::new(),
    }
}

fn of_transaction(wording: &Wording, command: Command, error: &TransactionError) -> String {
    match (&error.left, &error.cause) {
        (RootCondition::InDoubt, _) => format!("Run {}.", wording.verb("recover")),
        (RootCondition::Unfinished(_), _) => put_right(wording),
        (_, Cause::Changed(_) | Cause::Appeared(_)) => {
            "Try again when nobody else changes these files.".to_owned()
        }
        (_, Cause::Ledger(fault)) if is_damaged(fault.as_ref()) => adopt(wording, ""),
        (_, cause) if cause.is_no_space() && is_of_undo_data(command, error.phase) => format!(
            "Make room on the file system, or keep undo data on another one with {}.",
            wording.undo_dir()
        ),
        (_, cause) => remedy(cause.errno()).to_owned(),
    }
}

/// Returns true if the undo data could be kept elsewhere.
fn is_of_undo_data(command: Command, phase: Phase) -> bool {
    command == Command::Patchadd && phase == Phase::Snapshot
}

/// The ledger does not know an archive.
fn adopt(wording: &Wording, option: &str) -> String {
    format!(
        "Put the right archive back; or run {}, which compares that of patch ID with the records and binds it.",
        wording.verb(&format!("recover --adopt-undo ID{option}"))
    )
}

fn unrecovered(wording: &Wording, cause: &Cause) -> String {
    match cause {
        Cause::Journal { path, reason } if path.ends_with("/journal") => lost_journal(wording, reason),
        Cause::Doubt { .. } => format!(
            "Put the journal back from a backup; or run {}, which moves stage and journal to DIR, deletes nothing and \
             lists what is not as recorded.",
            wording.verb("recover --keep-stage DIR")
        ),
        Cause::DomainMissing { .. } => format!(
            "Mount that file system, or put the stage of the run back; if it is lost for good, run {}, which moves the \
             journal to DIR, deletes nothing and lists what is not as recorded.",
            wording.verb("recover --keep-stage DIR")
        ),
        Cause::KeepingPlace { .. } => {
            "Name an empty directory of your own on the file system of var/sadm/patchadm.".to_owned()
        }
        _ => put_right(wording),
    }
}

fn lost_journal(wording: &Wording, reason: &JournalError) -> String {
    match reason {
        JournalError::Version(_) => "Use the version of patchadm that wrote it.".to_owned(),
        JournalError::Earlier(_) => format!(
            "Let the version of patchadm that wrote it recover the run, then continue with this one; if it is no longer \
             at hand, run {}, which moves stage and journal to DIR, deletes nothing and lists what is not as recorded.",
            wording.verb("recover --keep-stage DIR")
        ),
        _ => format!(
            "Run {}: it proves that no run is unfinished, or ends the one that is, and keeps the journal.",
            wording.verb("recover --discard-journal")
        ),
    }
}

fn put_right(wording: &Wording) -> String {
    format!("Fix the problem named above, then run {}.", wording.verb("recover"))
}

/// Empty if nothing can be said.
fn remedy(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => "Make room on the file system and try again.",
        Some(Errno::ROFS) => "Mount the file system for writing and try again.",
        Some(Errno::IO) => "Look for errors of the disk in the log of the system before you try again.",
        Some(Errno::MFILE | Errno::NFILE) => "Allow more open files (ulimit -n) and try again.",
        Some(Errno::NOMEM) => "Allow more memory (ulimit -v) and try again.",
        Some(Errno::FBIG) => "Allow larger files (ulimit -f) and try again.",
        _ => "",
    }
}

/// Tells how to apply the patches of a directory that is not a package; empty for other problems.
fn name_the_patches(wording: &Wording, error: &SourceError) -> String {
    if let SourceProblem::Signature(verdict) = &error.problem
        && [SignatureState::Unsigned, SignatureState::UnknownKey].contains(&verdict.state)
    {
        return without_trusted_key(wording, "you take it as it is");
    }
    let SourceProblem::HoldsPatches(_) = &error.problem else { return String::new() };
    let directory = error.path.display().to_string();
    format!("Patches are applied by patchadd: {}", wording.command("patchadd", &directory))
}

fn without_trusted_key(wording: &Wording, condition: &str) -> String {
    let (trust, option) = (wording.verb("key trust FILE"), wording.no_signatures());
    format!("Trust the key of its publisher ({trust}), or use {option} if {condition}.")
}

/// Returns a damaged record that stops nothing, as a note.
pub fn damage_remark(damage: &RecordDamage) -> String {
    format!("{damage}. {}", mending(damage))
}

pub fn mending(damage: &RecordDamage) -> String {
    let root = damage.root.as_ref().map(|root| format!(" -R {root}")).unwrap_or_default();
    let option = |package: &str| format!("`pkgchk -f{root}{package}`");
    match RegistrationRepair::of(damage) {
        Some(RegistrationRepair::Refresh(package, manager)) => {
            return format!(
                "Run `patchadm{root} adopt --refresh`, which registers {package} anew as {manager} has it."
            );
        }
        Some(RegistrationRepair::Adoption(package, manager)) => {
            let removed = out_of_contents(damage, &option).map(|way| format!(" {way}")).unwrap_or_default();
            return format!(
                "Run `patchadm{root} adopt --{manager} NAME`, which registers {package} anew; patches of it end, and can be \
                 applied again.{removed}"
            );
        }
        None => {}
    }
    match &damage.repair {
        RecordRepair::Package(package) => format!(
            "Install {package} again with pkgadd, which makes its record anew; or run {}, which makes it anew from what \
             is left of it.",
            option(&format!(" {package}"))
        ),
        RecordRepair::Installation(package) => {
            format!("Install {package} again with pkgadd, or put its directory back from a backup.")
        }
        RecordRepair::Owner { package, .. } => {
            let removed = out_of_contents(damage, &option).unwrap_or_default();
            format!("Install {package} again with pkgadd, or put its directory back from a backup. {removed}")
        }
        RecordRepair::Contents => {
            format!("Run {}, which makes it anew from the records of packages and patches.", option(""))
        }
        RecordRepair::LostCopy { package, is_patched }
            if *is_patched || NativeManager::of_package_name(package).is_some() =>
        {
            "Put the directory back from a backup; patches are applied and backed out without it, but what is damaged later \
             cannot be made anew."
                .to_owned()
        }
        RecordRepair::LostCopy { package, .. } => format!(
            "Put the directory back from a backup, or install {package} again with pkgadd; patches are applied and backed \
             out without it, but what is damaged later cannot be made anew."
        ),
        RecordRepair::Stages => {
            "Put it back from a backup, or take the line out: its stage then brings no owners, and is promoted by its directory."
                .to_owned()
        }
        RecordRepair::EmptyDirectory(package) => {
            format!(
                "Remove it with `rmdir {}` if {package} is not installed, else install it again.",
                damage.file
            )
        }
    }
}

/// Tells how to remove a removed package from `contents`, if that is the damage.
fn out_of_contents(damage: &RecordDamage, pkgchk: &dyn Fn(&str) -> String) -> Option<String> {
    let RecordRepair::Owner { package, .. } = &damage.repair else { return None };
    let pkgchk = pkgchk(&format!(" {package}"));
    Some(format!(
        "If {package} was removed, run {pkgchk}, which takes it out of contents and touches no object."
    ))
}

pub(super) fn errno_of(problem: &SourceProblem) -> Option<Errno> {
    let SourceProblem::Io { error, .. } = problem else { return None };
    let inside = || error.get_ref()?.downcast_ref::<RootError>()?.errno();
    Errno::from_io_error(error).or_else(inside)
}

/// Returns true for limits of this process, not faults of its input.
pub(super) fn is_of_process(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

pub(super) fn is_damaged(fault: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(fault.downcast_ref(), Some(LedgerFault::Damaged { .. }))
}

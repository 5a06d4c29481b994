//! The command to type next after a failure, with the options of the command that asked. Refusals bring their own
//! advice.

use std::path::Path;

use rustix::io::Errno;

use super::depot_end::{depot_advice, index_advice};

use patchadm_changeset::format::journal::JournalError;
use patchadm_changeset::transaction::{Cause, Phase, RootCondition, TransactionError};
use patchadm_core::operation::depots::DepotError;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::mend::RegistrationRepair;
use patchadm_core::operation::patches::undo::number_of;
use patchadm_core::operation::trial::ConfirmRefusal;
use patchadm_core::script::ScriptError;
use patchadm_inputs::database::ledger::LedgerFault;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordRepair, ViewError};
use patchadm_inputs::depot::StaleIndex;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::password::without_password;
use patchadm_inputs::sign::{KeyDirectoryError, SignatureState};
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

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
            Cause::Unfinished { .. } => format!("run {} first", wording.verb("recover")),
            _ => format!(
                "run {}; undo archives in the ledger stay usable",
                wording.verb("recover --new-identity")
            ),
        },
        Failure::Database(DatabaseError::View(ViewError::Journal { reason, .. })) => {
            lost_journal(wording, reason)
        }
        Failure::Transaction(error) => of_transaction(wording, command, error),
        _ if failure.is_refused_access() => who_may_read(),
        Failure::Root(error)
        | Failure::Keys(KeyDirectoryError::Root(error))
        | Failure::Database(DatabaseError::View(ViewError::Root(error)))
        | Failure::Archive(ArchiveError::Root(error) | ArchiveError::View(ViewError::Root(error))) => {
            remedy(error.errno()).to_owned()
        }
        Failure::Source(error) if is_of_process(errno_of(&error.problem)) => {
            remedy(errno_of(&error.problem)).to_owned()
        }
        Failure::Source(error) => of_source(wording, error),
        Failure::Archive(error) => of_archive(wording, command, error),
        _ => before_anything(wording, failure),
    }
}

/// Returns the hint after a failure that comes before anything is read for a plan, and after that of a script.
fn before_anything(wording: &Wording, failure: &Failure) -> String {
    match failure {
        Failure::Unvouched(_) => without_trusted_key(wording, "you accept whatever the network delivers"),
        Failure::PatchPackage(_) => format!("apply the patch: {}", wording.verb("add PATCH")),
        Failure::NoDepot { last: None, .. } => format!("run {}", wording.verb("update -M DEPOT")),
        Failure::NoDepot { last: Some(last), ignored: Some(_) } => {
            // The message says which policy counts.
            format!("specify it again with `-M {}`", Wording::quoted(&without_password(last)))
        }
        Failure::NoDepot { last: Some(last), .. } => {
            let last = without_password(last);
            format!("run {}", wording.verb(&format!("update -M {}", Wording::quoted(&last))))
        }
        Failure::Plan(fault) => fault.way_on().to_owned(),
        Failure::OwnedByRoot(_) => "run it again without `--as-owner`".to_owned(),
        Failure::Lock(LockError::Held { .. }) => match wording.wait() {
            Some(option) => format!("try again when it has finished, or wait for it with `{option}`"),
            None => "try again when it has finished".to_owned(),
        },
        Failure::Scripts(ScriptError::Locked { .. }) => "try again when it has finished".to_owned(),
        Failure::BackoutDirectory { .. } => {
            format!("specify the absolute path of an existing directory with `{}`", wording.undo_dir())
        }
        Failure::ExchangeDirectory { .. } => {
            "name absolute paths of directories in the root, none inside another".to_owned()
        }
        Failure::Script(failure) => {
            failure.context.log.as_ref().map_or_else(String::new, |log| format!("see {log} for details"))
        }
        Failure::ReadOnly(_) => remedy(Some(Errno::ROFS)).to_owned(),
        Failure::NotPrivileged(_) => {
            "run it as the owner of the root directory, or as root, with `--as-owner` if that is another user"
                .to_owned()
        }
        Failure::NoDatabase(_) if wording.wait().is_some() => wording.registration(),
        Failure::NoDatabase(_) => {
            "to make a new root, install a package there with `patchadm pkgadd -R`".to_owned()
        }
        Failure::StaleIndex(StaleIndex::Expired { .. }) => {
            "ask the maintainer of the depot to run `patchadm publish --refresh DEPOT`".to_owned()
        }
        Failure::StaleIndex(_) => format!(
            "find out why; if the depot was recreated, remove its line from {}",
            wording.path("var/sadm/patchadm/depots")
        ),
        Failure::DepotMemory { path, .. } => format!("restore {path} from a backup, or remove that line"),
        Failure::Depot(error) => match &**error {
            DepotError::IndexSignature { verdict, .. } => {
                index_advice(verdict.state, &wording.verb("key trust FILE"))
            }
            error => depot_advice(error),
        },
        Failure::OnTrial { run, .. } => format!(
            "keep it with {}, or revert it with {}",
            wording.verb("confirm"),
            wording.verb(&format!("undo {}", number_of(run)))
        ),
        Failure::TrialOver { .. } => format!("run {} to revert it now", wording.verb("recover")),
        Failure::StuckTrial { run, .. } => format!(
            "fix the problems listed above and run {}, or keep run {} with {}",
            wording.verb("recover"),
            number_of(run),
            wording.verb("confirm --despite-failure")
        ),
        Failure::NotConfirmed(ConfirmRefusal::NoTrial) => {
            format!("{} lists the runs, and those that were reverted", wording.verb("history"))
        }
        Failure::NotConfirmed(_) => format!("see {} for its outcome", wording.verb("history")),
        Failure::Trial(_) => format!(
            "remove {}; the patches stay applied, without a trial",
            wording.path("var/sadm/patchadm/trial")
        ),
        Failure::DuringRun(_) => format!(
            "try again when that run has ended; if it was interrupted, run {}",
            wording.verb("recover")
        ),
        _ => String::new(),
    }
}

/// Empty for a caller who may read everything.
fn who_may_read() -> String {
    if rustix::process::geteuid().is_root() {
        return String::new();
    }
    "run the same command as root, or as the owner of the root directory".to_owned()
}

fn of_archive(wording: &Wording, command: Command, error: &ArchiveError) -> String {
    match error {
        ArchiveError::Missing { remote: true, .. }
            if matches!(
                command,
                Command::Patchrm | Command::Commit | Command::Repack | Command::UndoExport
            ) =>
        {
            format!("specify the directory of the undo data with `{}`", wording.undo_dir())
        }
        ArchiveError::Outside { .. } => format!(
            "if this is the right directory, specify it with `{}`",
            wording.undo_dir()
        ),
        ArchiveError::Exported { .. } => {
            format!("restore it with {} from the file it was exported to", wording.verb("undo-data import FILE"))
        }
        ArchiveError::Lost { .. } => {
            "restore it from a backup of the root; without it the patch cannot be removed".to_owned()
        }
        ArchiveError::Earlier { .. } => {
            "remove the patch with the version of patchadm that applied it, before this version changes the root; otherwise the patch stays, and later patches can still be applied"
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
        (RootCondition::InDoubt, _) => format!("run {}", wording.verb("recover")),
        (RootCondition::Unfinished(_), cause) => put_right(wording, cause),
        (_, Cause::Changed(_) | Cause::Appeared(_)) => {
            "try again when nobody else is changing these files".to_owned()
        }
        (_, Cause::Ledger(fault)) if is_damaged(fault.as_ref()) => adopt(wording, ""),
        (_, cause) if cause.is_no_space() && is_of_undo_data(command, error.phase) => format!(
            "free space on the file system, or keep undo data on another one with `{}`",
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
        "restore the right archive, or run {} to check the archive of patch ID against the records and register it",
        wording.verb(&format!("recover --adopt-undo ID{option}"))
    )
}

fn unrecovered(wording: &Wording, cause: &Cause) -> String {
    match cause {
        Cause::Journal { path, reason } if path.ends_with("/journal") => lost_journal(wording, reason),
        Cause::Doubt { .. } => format!(
            "restore the journal from a backup, or run {} to move the stage and the journal to DIR; it deletes nothing, and lists the objects that differ from their records",
            wording.verb("recover --keep-stage DIR")
        ),
        Cause::DomainMissing { .. } => format!(
            "mount that file system, or restore the stage of the run; if it is lost, run {} to move the journal to DIR; it deletes nothing, and lists the objects that differ from their records",
            wording.verb("recover --keep-stage DIR")
        ),
        Cause::KeepingPlace { .. } => {
            "specify an empty directory that you own on the file system of var/sadm/patchadm".to_owned()
        }
        cause => put_right(wording, cause),
    }
}

fn lost_journal(wording: &Wording, reason: &JournalError) -> String {
    match reason {
        JournalError::Version(_) => "use the version of patchadm that wrote it".to_owned(),
        JournalError::Earlier(_) => format!(
            "recover the run with the version of patchadm that wrote it, then continue with this one; if you no longer have it, run {} to move the stage and the journal to DIR; it deletes nothing, and lists the objects that differ from their records",
            wording.verb("recover --keep-stage DIR")
        ),
        _ => format!(
            "run {}: it verifies that no run is unfinished, or ends that run, and keeps the journal",
            wording.verb("recover --discard-journal")
        ),
    }
}

fn put_right(wording: &Wording, cause: &Cause) -> String {
    match cause {
        Cause::Root(RootError::Untrusted(told)) => {
            format!("{}; then run {}", told.way_on(), wording.verb("recover"))
        }
        _ => format!("fix the problem named above, then run {}", wording.verb("recover")),
    }
}

/// Empty if nothing can be said.
fn remedy(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => "free space on the file system and try again",
        Some(Errno::ROFS) => "mount the file system read-write and try again",
        Some(Errno::IO) => "look for disk errors in the system log before you try again",
        Some(Errno::MFILE | Errno::NFILE) => "allow more open files (`ulimit -n`) and try again",
        Some(Errno::NOMEM) => "allow more memory (`ulimit -v`) and try again",
        Some(Errno::FBIG) => "allow larger files (`ulimit -f`) and try again",
        _ => "",
    }
}

/// Empty if nothing helps.
fn of_source(wording: &Wording, error: &SourceError) -> String {
    match &error.problem {
        SourceProblem::Signature(verdict) if verdict.state == SignatureState::Unsigned => format!(
            "get a signed copy, or sign it with a trusted key: `patchadm sign --key FILE PATCH`; or use `{}` if you accept it unsigned",
            wording.no_signatures()
        ),
        SourceProblem::Signature(verdict) if verdict.state == SignatureState::UnknownKey => {
            without_trusted_key(wording, "you accept it unsigned")
        }
        SourceProblem::HoldsPatches(_) => {
            let directory = error.path.display().to_string();
            format!("apply patches with patchadd: {}", wording.command("patchadd", &directory))
        }
        // Only verbs wait.
        SourceProblem::NotFound if wording.wait().is_some() && is_id(&error.path) => {
            "to take it from a depot, add `-M DEPOT`".to_owned()
        }
        _ => String::new(),
    }
}

fn is_id(path: &Path) -> bool {
    path.to_str().is_some_and(|name| !name.contains('/') && PatchId::new(name).is_ok())
}

fn without_trusted_key(wording: &Wording, condition: &str) -> String {
    let (trust, keys, option) = (wording.verb("key trust FILE"), wording.keys(), wording.no_signatures());
    format!(
        "trust the key of the publisher with {trust}, specify the directory of the key with `{keys}`, or use `{option}` if {condition}"
    )
}

/// Returns a damaged record that stops nothing, as a note.
pub fn damage_remark(damage: &RecordDamage) -> String {
    format!("{damage}; {}", mending(damage))
}

pub fn mending(damage: &RecordDamage) -> String {
    let root = damage.root.as_ref().map(|root| format!(" -R {root}")).unwrap_or_default();
    let reinstall = |package: &PkgInst| {
        format!("reinstall {package} with patchadm pkgadd, or adopt it again if it was adopted")
    };
    let option = |package: &str| format!("`patchadm pkgchk -f{root}{package}`");
    match RegistrationRepair::of(damage) {
        Some(RegistrationRepair::Refresh(package, manager)) => {
            return format!(
                "run `patchadm{root} adopt --refresh` to register {package} again from the records of {manager}"
            );
        }
        Some(RegistrationRepair::Adoption(package, manager)) => {
            let removed = out_of_contents(damage, &option).map(|way| format!("; {way}")).unwrap_or_default();
            return format!(
                "run `patchadm{root} adopt --{manager} NAME` to register {package} again; its patches are forgotten, and can be applied again{removed}"
            );
        }
        None => {}
    }
    match &damage.repair {
        RecordRepair::Package(package) => format!(
            "run {} to rebuild its record from what is left, or reinstall {package} with patchadm pkgadd unless it was adopted",
            option(&format!(" {package}"))
        ),
        RecordRepair::Installation(package) => {
            format!("{}, or restore its directory from a backup", reinstall(package))
        }
        RecordRepair::Owner { package, .. } => {
            let removed = out_of_contents(damage, &option).unwrap_or_default();
            format!("{}, or restore its directory from a backup; {removed}", reinstall(package))
        }
        RecordRepair::Contents => {
            format!("run {} to rebuild it from the records of packages and patches", option(""))
        }
        RecordRepair::LostCopy { package, is_patched }
            if *is_patched || NativeManager::of_package_name(package).is_some() =>
        {
            "restore the directory from a backup; patches can be applied and removed without it, but later damage cannot be repaired"
                .to_owned()
        }
        RecordRepair::LostCopy { package, .. } => format!(
            "restore the directory from a backup, or reinstall {package} with patchadm pkgadd; patches can be applied and removed without it, but later damage cannot be repaired"
        ),
        RecordRepair::Stages => {
            "restore it from a backup, or remove the line; then specify its stage by directory; it is promoted without owners"
                .to_owned()
        }
        RecordRepair::EmptyDirectory(package) => {
            format!(
                "remove it with `rmdir {}` if {package} is not installed, else reinstall the package",
                damage.file
            )
        }
    }
}

/// Tells how to remove a removed package from `contents`, if that is the damage.
fn out_of_contents(damage: &RecordDamage, pkgchk: &dyn Fn(&str) -> String) -> Option<String> {
    let RecordRepair::Owner { package, .. } = &damage.repair else { return None };
    let pkgchk = pkgchk(&format!(" {package}"));
    Some(format!("if {package} was removed, run {pkgchk} to remove it from contents; no object is touched"))
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

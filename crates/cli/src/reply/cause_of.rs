//! The cause of each error: `cause` in JSON documents.

use std::io;

use rustix::io::Errno;

use super::cause::ExitCause;
use crate::surroundings::SurroundingsError;
use patchadm_changeset::transaction::{Cause, RootCondition, TransactionError};
use patchadm_core::operation::depots::{DepotError, FlagsFileError};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::undo_file::UndoFileFault;
use patchadm_core::operation::plan_file::PlanFault;
use patchadm_core::operation::trial::ConfirmRefusal;
use patchadm_core::script::ScriptError;
use patchadm_core::script::protocol::ResponseError;
use patchadm_inputs::cache::CacheError;
use patchadm_inputs::database::ledger::LedgerFault;
use patchadm_inputs::database::policy::PolicyError;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, ViewError};
use patchadm_inputs::http::{HttpError, HttpProblem};
use patchadm_inputs::native::NativeError;
use patchadm_inputs::sign::KeyDirectoryError;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{
    BroughtReason, Command, ObjectProblem, PromotionReason, Reason, Refusal, SetReason, UndoReason,
};
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::cpio::CpioError;
use patchadm_svr4::format::datastream::DatastreamError;

/// Returns true if the planner or a check of trust refuses the operation. A word that is no id is wrong usage, and a
/// patch that the depot lacks is a missing operand.
pub fn is_refusal(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(refusal) => {
            !matches!(*refusal.reason, Reason::BadId(_) | Reason::InSet(SetReason::NotInDepot(_)))
        }
        Failure::NotPrivileged(_) => true,
        Failure::Archive(archive) => matches!(
            archive,
            ArchiveError::NotBound { .. }
                | ArchiveError::Outside { .. }
                | ArchiveError::OtherRoot { .. }
                | ArchiveError::Exported { .. }
        ),
        _ => false,
    }
}

pub fn cause_of(failure: &Failure) -> ExitCause {
    if failure.untrusted().is_some() {
        return ExitCause::UntrustedRoot;
    }
    match failure {
        Failure::Refused(refusal) => of_refusal(refusal),
        Failure::Source(error) => of_source(error),
        Failure::NotPrivileged(_) => ExitCause::NoRights,
        Failure::ReadOnly(_) => ExitCause::ReadOnly,
        Failure::NotTried(_) | Failure::NotWithout(_) => ExitCause::Ok,
        Failure::NotConfirmed(ConfirmRefusal::Ended { .. } | ConfirmRefusal::EndedNow(_)) => {
            ExitCause::TrialOver
        }
        Failure::NotInDepot { .. }
        | Failure::NoDepot { .. }
        | Failure::Native(NativeError::Package { .. }) => ExitCause::NotFound,
        Failure::NotConfirmed(_) | Failure::UnknownPoint(_) => ExitCause::Unknown,
        Failure::NoDatabase(_) => ExitCause::NoDatabase,
        Failure::Lock(LockError::Held { .. }) | Failure::Scripts(ScriptError::Locked { .. }) => {
            ExitCause::Locked
        }
        Failure::Lock(LockError::Root(error))
        | Failure::Root(error)
        | Failure::Archive(ArchiveError::Root(error))
        | Failure::Policy(PolicyError::Root(error))
        | Failure::Scripts(ScriptError::Root(error))
        | Failure::Keys(KeyDirectoryError::Root(error))
        | Failure::Native(NativeError::Root(error))
        | Failure::Response(ResponseError::Root(error)) => of_root(error),
        Failure::Unrecovered { error } if error.left == RootCondition::InDoubt => ExitCause::InDoubt,
        Failure::Unrecovered { error } => match error.cause {
            Cause::Journal { .. } | Cause::Doubt { .. } => ExitCause::InDoubt,
            Cause::KeepingPlace { .. } => ExitCause::NotApplicable,
            _ => ExitCause::Unfinished,
        },
        Failure::DuringRun(_) | Failure::TrialOver { .. } => ExitCause::Unfinished,
        Failure::Identity { error } => of_transaction(error),
        Failure::Transaction(error) => of_transaction(error),
        Failure::Database(error) => of_database(error),
        Failure::Archive(ArchiveError::View(error)) => of_view(error),
        Failure::Archive(ArchiveError::Ledger(fault)) => of_ledger(fault),
        Failure::Archive(_) => ExitCause::UndoData,
        Failure::Keys(_) | Failure::StaleIndex(_) | Failure::Unvouched(_) | Failure::PatchPackage(_) => {
            ExitCause::Signature
        }
        Failure::DepotMemory { .. } | Failure::Trial(_) => ExitCause::DamagedRecord,
        Failure::Depot(error) => of_depot(error),
        Failure::Policy(PolicyError::NotTheHosts(_)) => ExitCause::UntrustedRoot,
        Failure::UndoFile(fault) => of_undo_file(fault),
        Failure::Plan(fault) => of_plan_file(fault),
        Failure::Native(NativeError::Records { .. }) => ExitCause::DamagedInput,
        Failure::Policy(_) | Failure::BadFile(_) | Failure::BadResponseFile(_) => ExitCause::Settings,
        Failure::OwnedByRoot(_) | Failure::ExchangeDirectory { .. } | Failure::BackoutDirectory { .. } => {
            ExitCause::NotApplicable
        }
        Failure::BadId(_) => ExitCause::Usage,
        Failure::Script(_) | Failure::Scripts(_) | Failure::Response(_) => ExitCause::Script,
        Failure::Declined => ExitCause::Declined,
        Failure::OnTrial { .. } => ExitCause::OnTrial,
        Failure::StuckTrial { failure, .. } => match cause_of(failure) {
            ExitCause::Space => ExitCause::Space,
            _ => ExitCause::UndoData,
        },
    }
}

fn of_plan_file(fault: &PlanFault) -> ExitCause {
    match fault {
        PlanFault::Unreadable { error, .. } | PlanFault::Source { error, .. } => of_io(error),
        PlanFault::Unwritable { error, .. } => of_root(error),
        PlanFault::Bad { .. } => ExitCause::DamagedInput,
        PlanFault::Differs { .. } | PlanFault::OtherUndoData => ExitCause::Edited,
    }
}

pub(super) fn of_surroundings(error: &SurroundingsError) -> ExitCause {
    match error {
        SurroundingsError::RootContends => ExitCause::Usage,
        _ => ExitCause::Settings,
    }
}

fn of_undo_file(fault: &UndoFileFault) -> ExitCause {
    match fault {
        UndoFileFault::Unwritable { error, .. } | UndoFileFault::Unreadable { error, .. } => of_io(error),
        UndoFileFault::Exists(_) => ExitCause::Exists,
        UndoFileFault::Inside(_) => ExitCause::NotApplicable,
        UndoFileFault::NotInFile { .. } => ExitCause::NotFound,
        UndoFileFault::Bad { .. } | UndoFileFault::Damaged { .. } => ExitCause::DamagedInput,
        UndoFileFault::OtherRoot { .. }
        | UndoFileFault::OtherRun { .. }
        | UndoFileFault::NotExported { .. }
        | UndoFileFault::NoMarker => ExitCause::UndoData,
    }
}

pub fn of_depot(error: &DepotError) -> ExitCause {
    match error {
        DepotError::Http(HttpError { problem: HttpProblem::Interrupted(_), .. })
        | DepotError::Interrupted(_) => ExitCause::Signal,
        DepotError::Http(HttpError {
            problem:
                HttpProblem::Certificates { .. }
                | HttpProblem::Proxy(_)
                | HttpProblem::Socks(_)
                | HttpProblem::SeenPassword(_),
            ..
        })
        | DepotError::NoCache
        | DepotError::Flags(FlagsFileError::Words { .. }) => ExitCause::Settings,
        DepotError::Address(_) | DepotError::FileAddress(_) => ExitCause::NotFound,
        DepotError::Http(_)
        | DepotError::Offline(_)
        | DepotError::NoIndex(_)
        | DepotError::Missing(_)
        | DepotError::MissingSignature(_)
        | DepotError::Size { .. } => ExitCause::Download,
        DepotError::Digest(_) | DepotError::IndexSignature { .. } => ExitCause::Signature,
        DepotError::NotThere(_) | DepotError::NoDepot(_) | DepotError::NoPatches { .. } => {
            ExitCause::NotFound
        }
        DepotError::Cache(CacheError::Held(_)) | DepotError::Lock(LockError::Held { .. }) => {
            ExitCause::Locked
        }
        DepotError::Cache(CacheError::Root(error))
        | DepotError::Directory(error)
        | DepotError::Lock(LockError::Root(error)) => of_root(error),
        DepotError::Cache(_) => ExitCause::NoRights,
        DepotError::Read { error, .. } | DepotError::Flags(FlagsFileError::Read { error, .. }) => {
            of_io(error)
        }
        DepotError::Index { .. } | DepotError::DirectoryElsewhere(_) => ExitCause::DamagedInput,
        _ => ExitCause::NotApplicable,
    }
}

fn of_promotion(reason: &PromotionReason) -> ExitCause {
    match reason {
        PromotionReason::Conflicts(_)
        | PromotionReason::RefreshConflicts(_)
        | PromotionReason::TooManyDeleted { .. }
        | PromotionReason::EmptyPath(_)
        | PromotionReason::MountChanged { .. } => ExitCause::Conflict,
        PromotionReason::SetId(_) => ExitCause::Restricted,
        PromotionReason::MissingPath { .. } => ExitCause::NotFound,
        PromotionReason::Brought { reason, .. } => of_brought(reason),
        PromotionReason::Packages { reasons, .. } => {
            reasons.first().map_or(ExitCause::Dependency, of_brought)
        }
        PromotionReason::OtherRoot(_) | PromotionReason::OtherPackage { .. } => ExitCause::NotApplicable,
        PromotionReason::KnownId | PromotionReason::EarlierId(_) => ExitCause::Exists,
    }
}

fn of_brought(reason: &BroughtReason) -> ExitCause {
    match reason {
        BroughtReason::NotContinued { .. }
        | BroughtReason::OtherRecord { .. }
        | BroughtReason::PackageRemoved(_)
        | BroughtReason::InstalledOnBoth { .. }
        | BroughtReason::GoneAndReplaced { .. }
        | BroughtReason::ClaimedByBoth { .. }
        | BroughtReason::BadLine { .. }
        | BroughtReason::PatchedAndReplaced { .. }
        | BroughtReason::OtherVersion { .. } => ExitCause::Dependency,
        BroughtReason::DamagedUndo(_) => ExitCause::DamagedInput,
        BroughtReason::NotAsFound { .. } | BroughtReason::NotAsMade { .. } => ExitCause::Edited,
        BroughtReason::NotOfRoot(_) => ExitCause::Restricted,
        BroughtReason::NewOutside { .. }
        | BroughtReason::NotPromoted { .. }
        | BroughtReason::NotKnown { .. }
        | BroughtReason::UndoOutside { .. }
        | BroughtReason::OtherMarker => ExitCause::NotApplicable,
    }
}

fn of_set(reason: &SetReason) -> ExitCause {
    match reason {
        SetReason::LaterInSet(_) | SetReason::ContainedInSet(_) => ExitCause::Superseded,
        SetReason::RequiredNowhere { .. }
        | SetReason::RequiredRefused { .. }
        | SetReason::ExcludeEachOther { .. }
        | SetReason::Circle(_)
        | SetReason::TooManyRequirements => ExitCause::Dependency,
        SetReason::Withdrawn
        | SetReason::ExcludedByOption
        | SetReason::RestrictedUnasked
        | SetReason::PlannedAfterwards
        | SetReason::NotTogether => ExitCause::Restricted,
        SetReason::OwnRun => ExitCause::Script,
        SetReason::TwoContents(..) => ExitCause::NotApplicable,
        SetReason::NotInDepot(_) => ExitCause::NotFound,
    }
}

fn of_refusal(refusal: &Refusal) -> ExitCause {
    match &*refusal.reason {
        Reason::BadId(_) if matches!(refusal.command, Command::Patchrm | Command::Promote) => {
            ExitCause::Usage
        }
        Reason::BadId(_)
        | Reason::BadPatch(_)
        | Reason::BadPkginfo { .. }
        | Reason::KeptPackage(_)
        | Reason::BadInformation { .. } => ExitCause::DamagedInput,
        Reason::NotInstalled(_)
        | Reason::BackoutDirectory(_)
        | Reason::KeepWithoutUndo(_)
        | Reason::Unregistered { .. }
        | Reason::OtherNative { .. }
        | Reason::Zone { .. }
        | Reason::OtherBaseDirectory { .. }
        | Reason::NothingToAsk
        | Reason::Unsupported { .. } => ExitCause::NotApplicable,
        Reason::AlreadyApplied(_) => ExitCause::AlreadyApplied,
        Reason::LaterRevision(_) => ExitCause::Superseded,
        Reason::Obsoleted { .. } if refusal.command == Command::Patchadd => ExitCause::Superseded,
        Reason::Restricted { .. }
        | Reason::Excluded
        | Reason::ScriptForbidden { .. }
        | Reason::Administration { .. }
        | Reason::PatchesApplied { .. }
        | Reason::Adopted { .. }
        | Reason::NotAdopted
        | Reason::AlreadyInstalled(_)
        | Reason::NotNative(_)
        | Reason::Interaction { .. }
        | Reason::Interactive => ExitCause::Restricted,
        Reason::NativeChanged { .. } => ExitCause::NativeChanged,
        Reason::InSet(reason) => of_set(reason),
        Reason::NotUndone(reason) => of_undo(reason),
        Reason::Promotion(reason) => of_promotion(reason),
        Reason::Incompatible { .. }
        | Reason::Required(_)
        | Reason::Obsoleted { .. }
        | Reason::Superseded(_)
        | Reason::ChangedLater { .. }
        | Reason::NotHandedOn { .. }
        | Reason::UsedLater { .. }
        | Reason::SharedLater { .. }
        | Reason::Needed { .. }
        | Reason::LibrariesLost(_)
        | Reason::InUse { .. } => ExitCause::Dependency,
        Reason::BasedirAnswered { .. } => ExitCause::Settings,
        Reason::UndoMismatch { .. }
        | Reason::NoWayBack(_)
        | Reason::StaleSave(_)
        | Reason::NoUndoData(_)
        | Reason::UndoDropped { .. }
        | Reason::BadUndoData { .. } => ExitCause::UndoData,
        Reason::Hook(_)
        | Reason::RecordsByScripts(_)
        | Reason::BeyondScripts { .. }
        | Reason::ScriptsUnsafe(_) => ExitCause::Script,
        Reason::Edited { .. } => ExitCause::Edited,
        Reason::Object { problem, .. } => of_object(problem),
        Reason::Signal(_) => ExitCause::Signal,
        Reason::NoSpace { .. } => ExitCause::Space,
        Reason::ReadOnly(_) => ExitCause::ReadOnly,
        Reason::NotApplied | Reason::NoSuchPackage => ExitCause::Unknown,
        Reason::Interrupted { .. } | Reason::OtherInterrupted { .. } => ExitCause::Unfinished,
    }
}

fn of_undo(reason: &UndoReason) -> ExitCause {
    match reason {
        UndoReason::UnknownRun { .. } => ExitCause::Unknown,
        _ => ExitCause::Restricted,
    }
}

fn of_object(problem: &ObjectProblem) -> ExitCause {
    match problem {
        ObjectProblem::UnknownUser(_) | ObjectProblem::UnknownGroup(_) => ExitCause::NotFound,
        ObjectProblem::BadPath(_)
        | ObjectProblem::SamePlace(_)
        | ObjectProblem::DeliveredTwice(_)
        | ObjectProblem::ThroughOwnLink(_)
        | ObjectProblem::LeadsElsewhere(_)
        | ObjectProblem::Unknown(_)
        | ObjectProblem::CannotHave { .. }
        | ObjectProblem::LinkSource(_) => ExitCause::DamagedInput,
        ObjectProblem::OwnerUnknown(_) => ExitCause::DamagedRecord,
        ObjectProblem::NotADirectory(_) | ObjectProblem::LeadsNowhere(_) | ObjectProblem::NotEmpty(_) => {
            ExitCause::Edited
        }
        ObjectProblem::Record | ObjectProblem::RootDirectory | ObjectProblem::Settings => {
            ExitCause::Restricted
        }
        ObjectProblem::Obstacle { .. }
        | ObjectProblem::NotPermitted(_)
        | ObjectProblem::ForeignDirectory(_) => ExitCause::NoRights,
        ObjectProblem::LinkAcross(_) => ExitCause::NotApplicable,
        ObjectProblem::OtherType(_)
        | ObjectProblem::NativeOwner { .. }
        | ObjectProblem::NativeName { .. }
        | ObjectProblem::Diverted { .. } => ExitCause::Dependency,
    }
}

pub fn of_source(error: &SourceError) -> ExitCause {
    of_problem(&error.problem)
}

pub(super) fn of_problem(problem: &SourceProblem) -> ExitCause {
    match problem {
        SourceProblem::NotFound => ExitCause::NotFound,
        SourceProblem::HoldsPatches(_) => ExitCause::NotApplicable,
        SourceProblem::Io { error, .. } => of_io(error),
        SourceProblem::NoSpool { .. } => ExitCause::Space,
        SourceProblem::Spool(error) => of_root(error),
        SourceProblem::Signature(_) | SourceProblem::Changed(_) => ExitCause::Signature,
        SourceProblem::Interrupted(_) => ExitCause::Signal,
        _ => ExitCause::DamagedInput,
    }
}

pub fn of_root(error: &RootError) -> ExitCause {
    match error {
        RootError::Untrusted(_) => ExitCause::UntrustedRoot,
        RootError::NoOpenat2(_) | RootError::NoProc { .. } => ExitCause::NotApplicable,
        RootError::TooLarge { .. }
        | RootError::SumTooLarge { .. }
        | RootError::Hollow(_)
        | RootError::Loop(_)
        | RootError::Name { .. } => ExitCause::DamagedRecord,
        RootError::Call { errno, .. } => of_errno(Some(*errno)),
        RootError::Flagged(_) | RootError::NoRoom { .. } | RootError::Exchangeable { .. } => {
            of_errno(error.errno())
        }
    }
}

pub fn of_io(error: &io::Error) -> ExitCause {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RootError>()) {
        Some(inner) => of_root(inner),
        None => match (Errno::from_io_error(error), error.kind()) {
            (None, io::ErrorKind::NotFound) => ExitCause::NotFound,
            (None, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => ExitCause::DamagedInput,
            (errno, _) => of_errno(errno),
        },
    }
}

pub fn of_datastream(error: &DatastreamError) -> ExitCause {
    match error {
        DatastreamError::Io(error) | DatastreamError::Archive { source: CpioError::Io(error), .. } => {
            of_io(error)
        }
        _ => ExitCause::DamagedInput,
    }
}

fn of_errno(errno: Option<Errno>) -> ExitCause {
    match errno {
        Some(Errno::ROFS) => ExitCause::ReadOnly,
        Some(Errno::ACCESS | Errno::PERM) => ExitCause::NoRights,
        Some(Errno::NOSPC | Errno::DQUOT) => ExitCause::Space,
        Some(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => ExitCause::NotFound,
        _ => ExitCause::Internal,
    }
}

pub fn of_database(error: &DatabaseError) -> ExitCause {
    match error {
        DatabaseError::View(error) => of_view(error),
        DatabaseError::Interrupted(_) => ExitCause::Signal,
        DatabaseError::Contents { reason: ContentsError::Io(error), .. } => of_io(error),
        DatabaseError::Damaged(_) | DatabaseError::Contents { .. } | DatabaseError::History { .. } => {
            ExitCause::DamagedRecord
        }
    }
}

/// No steady state of the records was seen.
pub fn of_view(error: &ViewError) -> ExitCause {
    match error {
        ViewError::Root(error) => of_root(error),
        ViewError::Journal { .. } | ViewError::Lost { .. } => ExitCause::InDoubt,
        ViewError::Busy(_) | ViewError::Raced => ExitCause::Locked,
    }
}

fn of_ledger(fault: &LedgerFault) -> ExitCause {
    match fault {
        LedgerFault::Damaged { .. } => ExitCause::DamagedRecord,
        LedgerFault::View(error) => of_view(error),
        LedgerFault::Database(error) => of_database(error),
    }
}

fn of_transaction(error: &TransactionError) -> ExitCause {
    match error.left {
        RootCondition::InDoubt => return ExitCause::InDoubt,
        RootCondition::Unfinished(_) => return ExitCause::Unfinished,
        RootCondition::Unchanged | RootCondition::RolledBack => {}
    }
    match &error.cause {
        Cause::Root(error) => of_root(error),
        Cause::View(error) => of_view(error),
        Cause::Source(source) => source.downcast_ref().map_or(ExitCause::DamagedInput, of_source),
        Cause::Corrupt { .. } | Cause::Missing { .. } => ExitCause::DamagedInput,
        Cause::Changed(_) | Cause::Appeared(_) | Cause::NoPlace { .. } => ExitCause::Edited,
        Cause::Unsupported { .. }
        | Cause::Apart { .. }
        | Cause::NoExchange(_)
        | Cause::LinkAcross { .. }
        | Cause::KeepingPlace { .. } => ExitCause::NotApplicable,
        Cause::Archive { .. } | Cause::StoredFile(_) => ExitCause::UndoData,
        Cause::Contents { .. } if error.cause.errno().is_some() => of_errno(error.cause.errno()),
        Cause::Record(_) | Cause::Queue { .. } | Cause::Contents { .. } | Cause::Identity(_) => {
            ExitCause::DamagedRecord
        }
        Cause::Ledger(fault) => fault.downcast_ref().map_or(ExitCause::DamagedRecord, of_ledger),
        Cause::Journal { .. } | Cause::Doubt { .. } => ExitCause::InDoubt,
        Cause::Script(_) => ExitCause::Script,
        Cause::NotBegun { .. } => of_errno(error.cause.errno()),
        Cause::Interrupted(_) => ExitCause::Signal,
        Cause::Internal(_) => ExitCause::Internal,
        Cause::Unfinished { .. }
        | Cause::DomainMissing { .. }
        | Cause::NotOurs { .. }
        | Cause::LaterStage { .. }
        | Cause::TreeLost(_) => ExitCause::Unfinished,
    }
}

//! The union of all layers' errors, which one place of the command line turns into exit codes and words.

use std::path::PathBuf;
use std::sync::Arc;

use super::depots::DepotError;
use super::patches::undo_file::UndoFileFault;
use super::plan_file::PlanFault;
use super::scripts::failure::ScriptFailure;
use super::trial::ConfirmRefusal;
use crate::script::ScriptError;
use crate::script::protocol::ResponseError;
use patchadm_changeset::transaction::{Cause, Phase, RootCondition, TransactionError};
use patchadm_inputs::database::history::TrialFault;
use patchadm_inputs::database::ledger::LedgerFault;
use patchadm_inputs::database::policy::PolicyError;
use patchadm_inputs::database::undo_data::{ArchiveError, UndoContentError};
use patchadm_inputs::database::{DatabaseError, IdentityFault, RecordDamage, RecordError, ViewError};
use patchadm_inputs::depot::{SeenDepotsError, StaleIndex};
use patchadm_inputs::native::NativeError;
use patchadm_inputs::password::without_password;
use patchadm_inputs::sign::{KeyDirectoryError, Verdict};
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{Reason, Refusal};
use patchadm_rootfs::{Interrupt, LockError, RootError, Untrusted};

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was changed.
    #[error(transparent)]
    Refused(Box<Refusal>),
    #[error(transparent)]
    Source(SourceError),
    #[error("{0} belongs to another user, and you are not root")]
    NotPrivileged(String),
    #[error("{0} is read-only")]
    ReadOnly(String),
    /// Names the other patch, which cannot be applied or backed out.
    #[error("not tried because of patch {0}")]
    NotTried(String),
    /// It could be applied, but all or nothing was requested.
    #[error("{0} cannot be applied")]
    NotWithout(String),
    #[error("{operand} is neither a patch of {depot} nor a list of patches")]
    NotInDepot {
        operand: String,
        /// As the user named it.
        depot: String,
    },
    #[error("no depot specified: {}{}", how_to_name_depot(.ignored.as_ref()), last_used(.last.as_deref()))]
    NoDepot {
        /// The depot of the root's own policy, if it is not used.
        ignored: Option<IgnoredDepot>,
        /// If the root remembers one.
        last: Option<String>,
    },
    #[error("{0} is on a network, and this root trusts no key to verify its patches")]
    Unvouched(String),
    /// Only the whole patch has a signature.
    #[error(
        "package {0} is part of a patch, and this root requires signatures, which only whole patches have"
    )]
    PatchPackage(String),
    #[error("{0} belongs to root: there is no other owner to run as")]
    OwnedByRoot(String),
    #[error("no package database below {0}; specify the right root with -R")]
    NoDatabase(String),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{}", unrecovered(.error))]
    Unrecovered { error: TransactionError },
    #[error(transparent)]
    Identity { error: TransactionError },
    /// A run is active, or dead and not recovered: nothing can be planned now.
    #[error("another run is changing {0}, or was interrupted and has not been recovered")]
    DuringRun(String),
    /// All patches of one run share it.
    #[error(transparent)]
    Transaction(Arc<TransactionError>),
    #[error(transparent)]
    Database(DatabaseError),
    #[error(transparent)]
    Archive(ArchiveError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Native(#[from] NativeError),
    #[error(transparent)]
    Keys(#[from] KeyDirectoryError),
    /// The index is not the newest, or belongs to another depot than before.
    #[error(transparent)]
    StaleIndex(#[from] StaleIndex),
    #[error("{path}: {error}")]
    DepotMemory { path: String, error: SeenDepotsError },
    #[error(transparent)]
    Depot(#[from] Box<DepotError>),
    #[error("{0}")]
    BadId(String),
    #[error(
        "<{0}> is neither an applied patch, nor a date, nor a run: write an id such as 105181-05, 2026-11-20, \
         '2026-11-20 07:00', or the number of a run"
    )]
    UnknownPoint(String),
    #[error("{path}: {reason}")]
    BackoutDirectory { path: PathBuf, reason: &'static str },
    #[error("{path}: {reason}")]
    ExchangeDirectory { path: String, reason: String },
    #[error("run {run} is on trial until {until}, and no other command can change the root until then")]
    OnTrial { run: String, until: String },
    /// Nothing can be planned before it has ended.
    #[error("the trial of run {run} is over, and the next command that changes the root reverts it")]
    TrialOver { run: String },
    #[error("the trial of run {run} is over, and it cannot be reverted: {failure}")]
    StuckTrial { run: String, failure: Box<Failure> },
    #[error(transparent)]
    NotConfirmed(ConfirmRefusal),
    #[error(transparent)]
    Trial(TrialFault),
    /// For example an admin file.
    #[error("{0}")]
    BadFile(String),
    #[error("{0}")]
    BadResponseFile(String),
    /// The file is unusable or outdated.
    #[error(transparent)]
    Plan(Box<PlanFault>),
    #[error(transparent)]
    UndoFile(Box<UndoFileFault>),
    #[error("{0}")]
    Script(ScriptFailure),
    #[error(transparent)]
    Scripts(#[from] ScriptError),
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error("not confirmed")]
    Declined,
}

impl From<DepotError> for Failure {
    fn from(error: DepotError) -> Self {
        Self::Depot(Box::new(error))
    }
}

impl From<PlanFault> for Failure {
    fn from(fault: PlanFault) -> Self {
        Self::Plan(Box::new(fault))
    }
}

impl From<UndoFileFault> for Failure {
    fn from(fault: UndoFileFault) -> Self {
        Self::UndoFile(Box::new(fault))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match *refusal.reason {
            Reason::Signal(signal) => Self::interrupted(signal),
            _ => Self::Refused(Box::new(refusal)),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Interrupted(signal) => Self::interrupted(signal),
            _ => Self::Archive(error),
        }
    }
}

impl From<IdentityFault> for Failure {
    fn from(fault: IdentityFault) -> Self {
        let error =
            TransactionError { phase: Phase::Recover, cause: fault.into(), left: RootCondition::Unchanged };
        Self::Identity { error }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        Self::Transaction(Arc::new(error))
    }
}

impl From<UndoContentError> for Failure {
    fn from(error: UndoContentError) -> Self {
        match error {
            UndoContentError::Undo(error) => error.into(),
            UndoContentError::Source(error) => Self::Source(error),
        }
    }
}

impl From<TrialFault> for Failure {
    fn from(fault: TrialFault) -> Self {
        match fault {
            TrialFault::View(error) => error.into(),
            fault => Self::Trial(fault),
        }
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::Database(error.into())
    }
}

/// A depot that the policy of a root names and that is not used, because the caller is the superuser and the root another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`depot` in {policy} is ignored: the writer of that file must not choose what root fetches; use -M DEPOT or --policy FILE, \
     or set `depot` in /etc/patchadm/policy"
)]
pub struct IgnoredDepot {
    /// The path of the policy.
    pub policy: String,
}

fn how_to_name_depot(ignored: Option<&IgnoredDepot>) -> String {
    ignored.map_or_else(|| "use -M DEPOT, or set `depot` in the policy".to_owned(), ToString::to_string)
}

fn last_used(last: Option<&str>) -> String {
    last.map(|last| format!("; the last one used was {}", without_password(last))).unwrap_or_default()
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error.problem {
            SourceProblem::Interrupted(signal) => Self::interrupted(signal),
            _ => Self::Source(error),
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Interrupted(signal) => Self::interrupted(signal),
            _ => Self::Database(error),
        }
    }
}

impl Failure {
    /// The caller may not read a record, or undo data.
    pub fn is_refused_access(&self) -> bool {
        match self {
            Self::Database(error) => error.is_refused_access(),
            Self::Archive(error) => error.is_closed(),
            Self::Root(error) => error.is_refused_access(),
            _ => false,
        }
    }

    /// Returns the verdict on the signature for which a patch was refused, if any.
    pub fn refused_signature(&self) -> Option<&Verdict> {
        match self {
            Self::Source(error) => match &error.problem {
                SourceProblem::Signature(verdict) => Some(verdict),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the evidence that another user may change the root, if that is the reason.
    pub fn untrusted(&self) -> Option<&Untrusted> {
        let error = match self {
            Self::Root(error)
            | Self::Lock(LockError::Root(error))
            | Self::Database(DatabaseError::View(ViewError::Root(error)))
            | Self::Archive(ArchiveError::Root(error))
            | Self::Policy(PolicyError::Root(error))
            | Self::Scripts(ScriptError::Root(error))
            | Self::Response(ResponseError::Root(error)) => error,
            Self::Transaction(failed) => return untrusted(failed),
            Self::Unrecovered { error } | Self::Identity { error } => return untrusted(error),
            _ => return None,
        };
        match error {
            RootError::Untrusted(told) => Some(told),
            _ => None,
        }
    }

    pub fn damage(&self) -> Option<&RecordDamage> {
        match self {
            Self::Database(error) => error.damage(),
            Self::Archive(ArchiveError::Ledger(LedgerFault::Database(error))) => error.damage(),
            Self::Transaction(failed) => match &failed.cause {
                Cause::Ledger(fault) => match fault.downcast_ref() {
                    Some(LedgerFault::Database(error)) => error.damage(),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    pub fn left(&self) -> RootCondition {
        match self {
            Self::Transaction(error) => error.left.clone(),
            Self::Unrecovered { error } | Self::Identity { error } => error.left.clone(),
            Self::Script(failure) => failure.left.clone(),
            _ => RootCondition::Unchanged,
        }
    }

    /// The root is as before, and nobody asked the operation to end.
    pub fn is_rolled_back(&self) -> bool {
        self.signal().is_none() && matches!(self.left(), RootCondition::Unchanged | RootCondition::RolledBack)
    }

    /// For a signal before any change.
    pub(super) fn interrupted(signal: i32) -> Self {
        let cause = Cause::Interrupted(signal);
        TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into()
    }

    pub(super) fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::interrupted(signal)))
    }

    /// For errors of work that fails once a signal came: the signal is the reason.
    pub(super) fn or_interrupted<E: Into<Self>>(interrupt: Interrupt<'_>) -> impl Fn(E) -> Self {
        move |error: E| interrupt().map_or_else(|| error.into(), Self::interrupted)
    }

    pub fn signal(&self) -> Option<i32> {
        match self {
            Self::Transaction(error) => match error.cause {
                Cause::Interrupted(signal) => Some(signal),
                _ => None,
            },
            Self::Depot(error) => error.signal(),
            _ => None,
        }
    }
}

/// If a journal cannot be read, it is unknown whether a run is unfinished.
fn unrecovered(error: &TransactionError) -> String {
    match error.cause {
        Cause::Journal { .. } | Cause::Doubt { .. } | Cause::KeepingPlace { .. } => error.to_string(),
        _ => {
            let cause = error.to_string();
            format!("an unfinished run could not be recovered: {}", cause.trim_end_matches('.'))
        }
    }
}

/// A root that is not as before is more than refused.
fn untrusted(error: &TransactionError) -> Option<&Untrusted> {
    match (&error.cause, &error.left) {
        (_, RootCondition::Unfinished(_)) => None,
        (Cause::Root(RootError::Untrusted(told)), _) => Some(told),
        _ => None,
    }
}

/// The source is not what it claims to be, and nothing was changed.
pub(super) fn is_of_source(error: &TransactionError) -> bool {
    error.left == RootCondition::Unchanged && is_content(error)
}

/// A run was undone because of what a source delivered.
pub(super) fn is_undone_for_source(error: &TransactionError) -> bool {
    error.left == RootCondition::RolledBack && is_content(error)
}

fn is_content(error: &TransactionError) -> bool {
    matches!(error.cause, Cause::Corrupt { .. } | Cause::Missing { .. } | Cause::Source(_))
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::Database(error.into())
    }
}

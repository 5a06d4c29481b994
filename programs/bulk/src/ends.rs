//! Exit codes and messages of failed actions.

use std::io::ErrorKind;

use patchadm_building::driver::DriverError;
use patchadm_building::name_list::NameListError;
use patchadm_building::prune::PruneError;
use patchadm_building::report_files::ReportReadError;
use patchadm_building::run::RunError;
use patchadm_building::scan::TreeScanError;
use patchadm_building::set::{SetError, SetReleaseError};
use patchadm_building::tree::{ForeignRecordsError, ResolvedTreeError};
use patchadm_building::work::WorkError;
use patchadm_bulk_values::records::ImportError;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_rootfs::RootError;

pub(crate) fn work_failed(error: &WorkError) -> Stop {
    let exit = match error {
        WorkError::Missing { .. } => Exit::of_verb(ExitCause::NotFound),
        WorkError::NotOurs(_) => Exit::of_verb(ExitCause::NoRights).as_refusal(),
        WorkError::Damaged { .. } => Exit::of_verb(ExitCause::DamagedInput),
        WorkError::Lock(_) => Exit::LOCKED,
        WorkError::NotEmpty(_) => Exit::of_verb(ExitCause::Exists),
        WorkError::Configuration { .. } => Exit::of_verb(ExitCause::Settings),
        WorkError::Nested(_) => Exit::of_verb(ExitCause::NotApplicable),
        WorkError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn run_failed(error: &RunError) -> Stop {
    let exit = match error {
        RunError::Work(error) => return work_failed(error),
        RunError::Driver(DriverError::NotOurs(_)) => Exit::of_verb(ExitCause::NoRights).as_refusal(),
        RunError::Driver(_) | RunError::Base(_) => Exit::of_verb(ExitCause::NotFound),
        RunError::Scan(TreeScanError::Interrupted(signal)) | RunError::Set(SetError::Interrupted(signal)) => {
            Exit::by_signal(*signal)
        }
        RunError::User(_) => Exit::of_verb(ExitCause::Settings),
        RunError::Scan(TreeScanError::Sandbox(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Exit::of_verb(ExitCause::NoRights)
        }
        RunError::Scan(TreeScanError::Set(_)) | RunError::Journal { .. } | RunError::Set(_) => {
            Exit::of_verb(ExitCause::DamagedInput)
        }
        RunError::Scan(_) => Exit::of_verb(ExitCause::DamagedInput),
        RunError::Unknown(_) => Exit::of_verb(ExitCause::Unknown),
        RunError::Full(_) | RunError::NoRoom(_) => Exit::of_verb(ExitCause::Space),
        RunError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
        RunError::NotAllowed(_) => Exit::of_verb(ExitCause::NoRights),
        RunError::NoSlot(_) => Exit::of_verb(ExitCause::Internal),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn set_failed(error: &SetError) -> Stop {
    let exit = match error {
        SetError::Interrupted(signal) => Exit::by_signal(*signal),
        SetError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
        _ => Exit::of_verb(ExitCause::DamagedInput),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn known_tree_failed(error: &ResolvedTreeError) -> Stop {
    let exit = match error {
        ResolvedTreeError::NotScanned => Exit::of_verb(ExitCause::NotFound),
        ResolvedTreeError::Unknown(_) => Exit::of_verb(ExitCause::Unknown),
        ResolvedTreeError::Several { .. } => Exit::of_verb(ExitCause::Usage),
        ResolvedTreeError::Damaged { .. } | ResolvedTreeError::Set(_) => {
            Exit::of_verb(ExitCause::DamagedInput)
        }
        ResolvedTreeError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn import_failed(error: &ForeignRecordsError) -> Stop {
    let exit = match error {
        ForeignRecordsError::Import { error: ImportError::Read(error), .. } => {
            Exit::of_verb(patchadm_cli::reply::cause_of::of_io(error))
        }
        ForeignRecordsError::Import { .. } | ForeignRecordsError::Set(_) => {
            Exit::of_verb(ExitCause::DamagedInput)
        }
        ForeignRecordsError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn report_failed(error: &ReportReadError) -> Stop {
    let exit = match error {
        ReportReadError::None(_) => Exit::of_verb(ExitCause::Unknown),
        ReportReadError::Damaged { .. } => Exit::of_verb(ExitCause::DamagedInput),
        ReportReadError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn root_failed(error: &RootError) -> Stop {
    Stop::Refused {
        exit: Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
        message: error.to_string(),
    }
}

pub(crate) fn list_failed(error: &NameListError) -> Stop {
    Stop::Refused { exit: Exit::of_verb(ExitCause::DamagedInput), message: error.to_string() }
}

pub(crate) fn release_failed(error: &SetReleaseError) -> Stop {
    let exit = match error {
        SetReleaseError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
        SetReleaseError::Set(error) => return set_failed(error),
        SetReleaseError::Report(error) => return report_failed(error),
        SetReleaseError::Faults { .. } => Exit::of_verb(ExitCause::DamagedInput),
        SetReleaseError::NoSet(_) | SetReleaseError::HasPatches => Exit::of_verb(ExitCause::NotApplicable),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn prune_failed(error: &PruneError) -> Stop {
    let exit = match error {
        PruneError::Lock(_) => Exit::LOCKED,
        PruneError::Root(error) => Exit::of_verb(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

//! Exit codes and messages of failed actions.

use std::io::ErrorKind;

use patchadm_building::driver::DriverError;
use patchadm_building::name_list::NameListError;
use patchadm_building::prune::PruneError;
use patchadm_building::report_files::ReportReadError;
use patchadm_building::run::RunError;
use patchadm_building::scan::ScanError;
use patchadm_building::set::{ReleaseError, SetError};
use patchadm_building::tree::{ForeignRecordsError, KnownTreeError};
use patchadm_building::work::WorkError;
use patchadm_bulk_values::records::ImportError;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_rootfs::RootError;

/// No space for results and logs.
const FULL: u8 = 18;

/// The directory, the tree, the driver or the base is missing.
const MISSING: u8 = 27;

/// A journal, a set or a result is damaged.
const DAMAGED: u8 = 33;

/// Packages failed, or the tree cannot be listed.
pub(crate) const FAILED: u8 = 10;

/// Namespaces are not allowed.
const NOT_ALLOWED: u8 = 36;

/// No slot works.
pub(crate) const NO_SLOT: u8 = 40;

pub(crate) fn work_failed(error: &WorkError) -> Stop {
    let exit = match error {
        WorkError::Missing { .. } => Exit::new(MISSING, ExitCause::NotFound),
        WorkError::NotOurs(_) => Exit::new(3, ExitCause::NoRights),
        WorkError::Damaged { .. } => Exit::new(DAMAGED, ExitCause::DamagedInput),
        WorkError::Lock(_) => Exit::LOCKED,
        WorkError::NotEmpty(_) | WorkError::Configuration { .. } | WorkError::Nested(_) => {
            Exit::failed(ExitCause::Usage)
        }
        WorkError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn run_failed(error: &RunError) -> Stop {
    let exit = match error {
        RunError::Work(error) => return work_failed(error),
        RunError::Driver(DriverError::NotOurs(_)) => Exit::new(3, ExitCause::NoRights),
        RunError::Driver(_) | RunError::Base(_) => Exit::new(MISSING, ExitCause::NotFound),
        RunError::Scan(ScanError::Interrupted(signal)) | RunError::Set(SetError::Interrupted(signal)) => {
            Exit::by_signal(*signal)
        }
        RunError::User(_) => Exit::failed(ExitCause::Usage),
        RunError::Scan(ScanError::Sandbox(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Exit::new(NOT_ALLOWED, ExitCause::NoRights)
        }
        RunError::Scan(ScanError::Set(_)) | RunError::Journal { .. } | RunError::Set(_) => {
            Exit::new(DAMAGED, ExitCause::DamagedInput)
        }
        RunError::Scan(_) => Exit::new(FAILED, ExitCause::DamagedInput),
        RunError::Unknown(_) => Exit::failed(ExitCause::NotFound),
        RunError::Full(_) => Exit::new(FULL, ExitCause::Space),
        RunError::Root(error) if error.is_no_space() => Exit::new(FULL, ExitCause::Space),
        RunError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
        RunError::NotAllowed(_) => Exit::new(NOT_ALLOWED, ExitCause::NoRights),
        RunError::NoSlot(_) => Exit::new(NO_SLOT, ExitCause::Internal),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn set_failed(error: &SetError) -> Stop {
    let exit = match error {
        SetError::Interrupted(signal) => Exit::by_signal(*signal),
        SetError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
        _ => Exit::new(DAMAGED, ExitCause::DamagedInput),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn known_tree_failed(error: &KnownTreeError) -> Stop {
    let exit = match error {
        KnownTreeError::NotScanned | KnownTreeError::Unknown(_) => Exit::failed(ExitCause::NotFound),
        KnownTreeError::Several { .. } => Exit::failed(ExitCause::Usage),
        KnownTreeError::Damaged { .. } | KnownTreeError::Set(_) => {
            Exit::new(DAMAGED, ExitCause::DamagedInput)
        }
        KnownTreeError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn import_failed(error: &ForeignRecordsError) -> Stop {
    let exit = match error {
        ForeignRecordsError::Import { error: ImportError::Read(error), .. } => {
            Exit::failed(patchadm_cli::reply::cause_of::of_io(error))
        }
        ForeignRecordsError::Import { .. } => Exit::failed(ExitCause::DamagedInput),
        ForeignRecordsError::Set(_) => Exit::new(DAMAGED, ExitCause::DamagedInput),
        ForeignRecordsError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn report_failed(error: &ReportReadError) -> Stop {
    let exit = match error {
        ReportReadError::None(_) => Exit::failed(ExitCause::NotFound),
        ReportReadError::Damaged { .. } => Exit::new(DAMAGED, ExitCause::DamagedInput),
        ReportReadError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn root_failed(error: &RootError) -> Stop {
    Stop::Refused {
        exit: Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
        message: error.to_string(),
    }
}

pub(crate) fn list_failed(error: &NameListError) -> Stop {
    Stop::Refused { exit: Exit::failed(ExitCause::Usage), message: error.to_string() }
}

pub(crate) fn release_failed(error: &ReleaseError) -> Stop {
    let exit = match error {
        ReleaseError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
        ReleaseError::Set(error) => return set_failed(error),
        ReleaseError::Report(error) => return report_failed(error),
        ReleaseError::Faults { .. } => Exit::new(FAILED, ExitCause::DamagedInput),
        ReleaseError::NoSet(_) | ReleaseError::HasPatches => Exit::failed(ExitCause::NotApplicable),
    };
    Stop::Refused { exit, message: error.to_string() }
}

pub(crate) fn prune_failed(error: &PruneError) -> Stop {
    let exit = match error {
        PruneError::Lock(_) => Exit::LOCKED,
        PruneError::Root(error) => Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
    };
    Stop::Refused { exit, message: error.to_string() }
}

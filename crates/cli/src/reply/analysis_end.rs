use std::fmt::Display;
use std::io;

use crate::reply::depot_end::{depot_advice, depot_exit};
use crate::reply::failure::hinted;
use crate::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::analysis::AnalysisError;
use patchadm_core::operation::depots::DepotError;

/// A file does not exist or has none of the expected forms: the code of patchadd(1M).
const NOT_USABLE: u8 = 33;

/// A list of packages or patches is damaged: the code of patchadd(1M) for a damaged pkginfo.
const DAMAGED_LIST: u8 = 28;

pub fn refused(error: &AnalysisError) -> anyhow::Error {
    let (code, next) = match error {
        AnalysisError::File { .. } => (NOT_USABLE, "check the spelling and the working directory"),
        AnalysisError::CrossReference { .. } => {
            (NOT_USABLE, "download the file again, unmodified, and not as a web page")
        }
        AnalysisError::Patches { .. } | AnalysisError::Packages { .. } => {
            (DAMAGED_LIST, "save the complete output of the commands again, unmodified")
        }
    };
    let cause = match error {
        AnalysisError::File { reason, .. } => match reason.kind() {
            io::ErrorKind::NotFound => ExitCause::NotFound,
            io::ErrorKind::PermissionDenied => ExitCause::NoRights,
            _ => ExitCause::Internal,
        },
        _ => ExitCause::DamagedInput,
    };
    not_analysed(Exit::new(code, cause), error, next)
}

pub fn depot_refused(error: &DepotError) -> anyhow::Error {
    not_analysed(depot_exit(error), error, &depot_advice(error))
}

fn not_analysed(exit: Exit, reason: &dyn Display, next: &str) -> anyhow::Error {
    Stop::Refused { exit, message: hinted(&format!("nothing was analyzed: {reason}"), next) }.into()
}

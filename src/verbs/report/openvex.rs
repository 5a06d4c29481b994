//! The report as a document of OpenVEX.

use super::made::MadeReport;
use crate::reply::{Exit, ExitCause, Stop};

/// Returns the document.
pub(super) fn document(_made: &MadeReport<'_>) -> anyhow::Result<String> {
    let message = "this build makes no document of OpenVEX".to_owned();
    Err(Stop::Refused { exit: Exit::failed(ExitCause::NotApplicable), message }.into())
}

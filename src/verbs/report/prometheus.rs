//! The report as a text file of Prometheus.

use super::made::MadeReport;
use crate::reply::{Exit, ExitCause, Stop};
use patchadm_rootfs::Root;

/// Returns the text.
pub(super) fn document(_root: &Root, _made: &MadeReport<'_>) -> anyhow::Result<String> {
    let message = "this build makes no text of Prometheus".to_owned();
    Err(Stop::Refused { exit: Exit::failed(ExitCause::NotApplicable), message }.into())
}

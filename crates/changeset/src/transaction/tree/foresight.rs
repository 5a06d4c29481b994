//! Predicts, before a run, how the changes of a plan would become visible. Nothing is changed.

use crate::plan::Plan;
use crate::transaction::error::Cause;
use crate::transaction::tree::request::{ExchangeReport, ExchangeRequest, ExchangeWay, must_allow_scripts};
use crate::transaction::tree::survey::survey;
use patchadm_rootfs::Root;

/// Predicts for each directory how the changes of a plan below it would become visible. Obstacles that show only when
/// new directories are made, such as a file that cannot be linked, are not foreseen. [`Cause::NoExchange`] is the
/// refusal of a directory that must be exchanged. A run with procedure scripts exchanges nothing.
pub fn foresee_exchanges(
    root: &Root,
    plan: &Plan,
    requests: &[ExchangeRequest],
    has_scripts: bool,
) -> Result<Vec<ExchangeReport>, Cause> {
    if has_scripts {
        must_allow_scripts(root, requests)?;
        return Ok(ExchangeReport::with_scripts(requests));
    }
    let resolver = root.resolver();
    let mut reports: Vec<ExchangeReport> =
        requests.iter().map(|request| ExchangeReport::nothing(&request.directory)).collect();
    if reports.is_empty() {
        return Ok(reports);
    }
    for change in &plan.changes {
        let physical = resolver.locate_object(&change.path)?;
        for (report, request) in reports.iter_mut().zip(requests) {
            let directory = &request.directory;
            let is_inside = physical == *directory || physical.is_below(directory);
            if is_inside && report.way == ExchangeWay::Nothing {
                foresee(root, request, report)?;
            }
        }
    }
    Ok(reports)
}

fn foresee(root: &Root, request: &ExchangeRequest, report: &mut ExchangeReport) -> Result<(), Cause> {
    match survey(root, &request.directory) {
        Ok(found) => {
            report.way = ExchangeWay::Exchange;
            report.holders = found.holders();
        }
        Err(Cause::NoExchange(refusal)) if !request.or_stop => {
            report.way = ExchangeWay::Renames;
            report.reason = Some(refusal.reason);
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

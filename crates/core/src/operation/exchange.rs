//! Directories whose changes become visible at once: requests and reports.

use std::cell::RefCell;

use super::failure::Failure;
use patchadm_changeset::transaction::{
    Cause, ExchangeReport, ExchangeRequest, ExchangeWay, Phase, RootCondition, TransactionError,
    foresee_exchanges,
};
use patchadm_planning::plan::Plan;
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;
use rustix::io::Errno;

pub(super) fn must_be_directories(root: &Root, requests: &[ExchangeRequest]) -> Result<(), Failure> {
    for (at, request) in requests.iter().enumerate() {
        let path = &request.directory;
        let wrong = |reason: &str| {
            Err(Failure::ExchangeDirectory { path: root.show(path), reason: reason.to_owned() })
        };
        match root.dir(path) {
            Ok(_) => {}
            Err(error) => match error.errno() {
                Some(Errno::NOENT) => return wrong("it does not exist"),
                Some(Errno::NOTDIR) if !is_link(root, path) => return wrong("it is not a directory"),
                Some(Errno::NOTDIR | Errno::LOOP) => {
                    return wrong("it is a symbolic link, or reached through one");
                }
                _ => return Err(error.into()),
            },
        }
        let mut others = requests.iter().take(at).map(|other| &other.directory);
        if let Some(other) =
            others.find(|other| path == *other || path.is_below(other) || other.is_below(path))
        {
            return wrong(&format!("it is inside {} or vice versa", root.show(other)));
        }
    }
    Ok(())
}

fn is_link(root: &Root, path: &ObjectPath) -> bool {
    let parent = path.parent().and_then(|parent| root.dir(&parent).ok());
    let seen = parent.and_then(|parent| parent.look(path.name()).ok().flatten());
    seen.is_some_and(|seen| seen.file_type == FileType::Symlink)
}

#[derive(Debug, Default)]
pub(super) struct ExchangeLog(RefCell<Vec<ExchangeReport>>);

impl ExchangeLog {
    pub(super) fn add(&self, reports: &[ExchangeReport]) {
        let mut all = self.0.borrow_mut();
        for report in reports {
            match all.iter_mut().find(|known| known.path == report.path) {
                None => all.push(report.clone()),
                // One run with renames suffices: the changes were not visible at once.
                Some(known) if weight(report.way) > weight(known.way) => *known = report.clone(),
                Some(known) => {
                    let holders = report.holders.iter().filter(|new| !known.holders.contains(new));
                    let holders: Vec<_> = holders.cloned().collect();
                    known.holders.extend(holders);
                }
            }
        }
    }

    /// One report per directory, in the order of the requests.
    pub(super) fn reports(&self, requests: &[ExchangeRequest]) -> Vec<ExchangeReport> {
        let mut reports = self.0.borrow().clone();
        let place = |path: &ObjectPath| requests.iter().position(|request| request.directory == *path);
        reports.sort_by_key(|report| place(&report.path));
        reports
    }
}

fn weight(way: ExchangeWay) -> u8 {
    match way {
        ExchangeWay::Nothing => 0,
        ExchangeWay::Exchange => 1,
        ExchangeWay::Renames => 2,
    }
}

/// Each plan comes with whether scripts run.
pub(super) fn foreseen<'p>(
    root: &Root,
    requests: &[ExchangeRequest],
    plans: impl Iterator<Item = (&'p Plan, bool)>,
) -> Result<Vec<ExchangeReport>, Failure> {
    let log = ExchangeLog::default();
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    for (plan, has_scripts) in plans {
        let reports = foresee_exchanges(root, plan, requests, has_scripts);
        log.add(&reports.map_err(refused)?);
    }
    Ok(log.reports(requests))
}

fn refused(cause: Cause) -> Failure {
    TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into()
}

//! Directories whose changes become visible at once: requests and reports.

use std::cell::RefCell;

use super::failure::Failure;
use patchadm_changeset::transaction::{
    Cause, ExchangeReport, ExchangeWay, Phase, RootCondition, TransactionError, foresee_exchanges,
};
use patchadm_planning::plan::Plan;
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;
use rustix::io::Errno;

pub(super) fn must_be_directories(root: &Root, directories: &[ObjectPath]) -> Result<(), Failure> {
    for (at, path) in directories.iter().enumerate() {
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
        let mut others = directories.iter().take(at);
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
                Some(known) if known.way == ExchangeWay::Nothing => *known = report.clone(),
                Some(known) => {
                    let holders = report.holders.iter().filter(|new| !known.holders.contains(new));
                    let holders: Vec<_> = holders.cloned().collect();
                    known.holders.extend(holders);
                }
            }
        }
    }

    /// One report per directory, in their order.
    pub(super) fn reports(&self, directories: &[ObjectPath]) -> Vec<ExchangeReport> {
        let mut reports = self.0.borrow().clone();
        let place = |path: &ObjectPath| directories.iter().position(|directory| directory == path);
        reports.sort_by_key(|report| place(&report.path));
        reports
    }
}

/// Each plan comes with whether scripts run.
pub(super) fn foreseen<'p>(
    root: &Root,
    directories: &[ObjectPath],
    plans: impl Iterator<Item = (&'p Plan, bool)>,
) -> Result<Vec<ExchangeReport>, Failure> {
    let log = ExchangeLog::default();
    if directories.is_empty() {
        return Ok(Vec::new());
    }
    for (plan, has_scripts) in plans {
        let reports = foresee_exchanges(root, plan, directories, has_scripts);
        log.add(&reports.map_err(refused)?);
    }
    Ok(log.reports(directories))
}

fn refused(cause: Cause) -> Failure {
    TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into()
}

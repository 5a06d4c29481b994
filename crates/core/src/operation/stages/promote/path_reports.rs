//! The changes of each promoted path, and of each directory inside or above one that should be exchanged.

use super::report::{PathReport, SwitchWay};
use crate::operation::stages::tree::Tree;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeWay};
use patchadm_inputs::stage::Scope;
use patchadm_planning::plan::{Action, Body, Change};
use patchadm_svr4::package::ObjectPath;

/// Reports the promoted paths, then the other directories that should be exchanged.
pub(super) fn path_reports(
    scope: &Scope,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> Vec<PathReport> {
    let others = exchanges.iter().map(|exchange| &exchange.path);
    let others = others.filter(|path| !scope.paths().contains(path));
    let paths = scope.paths().iter().chain(others);
    paths.map(|path| path_report(path, live, changes, exchanges)).collect()
}

fn path_report(
    path: &ObjectPath,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> PathReport {
    let changes = changes.iter().map(AsRef::as_ref);
    let changes: Vec<&Change> = changes.filter(|change: &&Change| is_in(&change.path, path)).collect();
    let (way, reason) = way(&changes, exchanges);
    let mut report = PathReport {
        path: path.clone(),
        way,
        reason,
        live: live.objects.iter().filter(|object| is_in(&object.path, path)).count(),
        added: 0,
        replaced: 0,
        attributes: 0,
        deleted: 0,
        directories_made: 0,
        directories_removed: 0,
    };
    for change in changes {
        *match &change.action {
            Action::Add(new) if matches!(new.body, Body::Directory) => &mut report.directories_made,
            Action::Add(_) => &mut report.added,
            Action::Replace(_) => &mut report.replaced,
            Action::Attributes(_) => &mut report.attributes,
            Action::Delete => &mut report.deleted,
            Action::RemoveDirectory => &mut report.directories_removed,
        } += 1;
    }
    report
}

fn is_in(at: &ObjectPath, path: &ObjectPath) -> bool {
    at == path || at.is_below(path)
}

/// Returns how changes become visible: at once only if every one of them is in a directory that is exchanged.
fn way(changes: &[&Change], exchanges: &[ExchangeReport]) -> (SwitchWay, Option<String>) {
    if changes.is_empty() {
        return (SwitchWay::Nothing, None);
    }
    let of = |change: &&Change| exchanges.iter().find(|exchange| is_in(&change.path, &exchange.path));
    let is_exchanged = |change| of(change).is_some_and(|exchange| exchange.way == ExchangeWay::Exchange);
    if changes.iter().all(is_exchanged) {
        return (SwitchWay::Exchange, None);
    }
    (SwitchWay::Renames, changes.iter().filter_map(of).find_map(|exchange| exchange.reason.clone()))
}

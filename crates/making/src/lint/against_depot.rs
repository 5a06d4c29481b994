//! Checks of a patch against others: paths of two patches, and the deliveries of earlier revisions.

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{DepotPatch, LintSubject};
use crate::build::looks_same;
use patchadm_svr4::package::ObjectPath;

/// Compares a patch with those of a depot; the patch itself may be among them.
pub(super) fn check(subject: &LintSubject<'_>, depot: &[DepotPatch], found: &mut LintFindings) {
    let Some(own) = subject.as_depot_patch() else { return };
    for other in depot.iter().filter(|other| other.id != own.id) {
        if own.id.is_later_than(&other.id) {
            check_cumulative(subject, other, found);
            check_times(subject, other, found);
        } else if !own.id.same_base(&other.id) && !own.is_related_to(other) {
            check_overlap(subject, other, found);
        }
    }
}

fn check_cumulative(subject: &LintSubject<'_>, earlier: &DepotPatch, found: &mut LintFindings) {
    for (name, paths) in &earlier.packages {
        let package = subject.packages.iter().find(|package| package.name() == *name);
        let Some(package) = package else {
            let text = format!("{} changes package {}", earlier.id, name.0);
            found.of_patch(LintCode::Cumulative, text);
            continue;
        };
        let has =
            |path: &ObjectPath| package.objects.contains_key(path) || package.deletes.contains_key(path);
        for path in paths.keys().filter(|path| !has(path)) {
            let text = format!("{} delivers or deletes it", earlier.id);
            found.of_path(LintCode::Cumulative, package.directory(), path, text);
        }
    }
}

fn check_times(subject: &LintSubject<'_>, earlier: &DepotPatch, found: &mut LintFindings) {
    for package in &subject.packages {
        let Some(files) = earlier.files.get(&package.name()) else { continue };
        for (path, entry) in &package.objects {
            if files.get(path).is_some_and(|before| looks_same(before, &entry.object.content)) {
                let text =
                    format!("{} has it with other bytes, and this size and modification time", earlier.id);
                found.of_path(LintCode::SameTime, package.directory(), &entry.path, text);
            }
        }
    }
}

fn check_overlap(subject: &LintSubject<'_>, other: &DepotPatch, found: &mut LintFindings) {
    for package in &subject.packages {
        let Some(paths) = other.packages.get(&package.name()) else { continue };
        for (path, entry) in &package.objects {
            if !entry.object.ftype.is_directory() && paths.get(path) == Some(&true) {
                let text = format!("{} delivers it as well", other.id);
                found.of_path(LintCode::Overlap, package.directory(), &entry.path, text);
            }
        }
    }
}

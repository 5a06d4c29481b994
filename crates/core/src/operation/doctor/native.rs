//! Packages that were adopted from dpkg or rpm, and the patches that these overtook.

use super::examination::Examination;
use super::finding::Finding;
use crate::operation::patches::overtaken::NativeOverview;

/// Registrations that no longer say what dpkg or rpm says, and fixes that were lost to an upgrade.
pub(super) fn registrations(examination: &Examination<'_>) -> Vec<Finding> {
    let overview = match NativeOverview::of(examination.root, &examination.now(), true) {
        Ok(overview) => overview,
        Err(failure) => return vec![Finding::unknown("native", failure.to_string())],
    };
    let refresh = || examination.wording().verb("adopt --refresh");
    let stale = overview.changes.iter().map(|(package, change)| {
        let finding = Finding::attention("native", format!("package {package}: {change}"));
        if change.is_settled() { finding.with_command(refresh()) } else { finding }
    });
    let lost = overview.lost().map(|one| {
        let accept = examination.wording().verb(&format!("adopt --refresh --accept {}", one.patch));
        Finding::attention("native", format!("{}: {}", one.patch, one.told())).with_command(accept)
    });
    let findings: Vec<Finding> = stale.chain(lost).collect();
    if findings.is_empty() {
        return vec![Finding::ok("native", "every registration is as its package manager has it")];
    }
    findings
}

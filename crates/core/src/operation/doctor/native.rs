//! Packages that were adopted from dpkg or rpm, the patches that these overtook, and the hooks by which they tell of changes.

use std::collections::BTreeSet;

use super::examination::Examination;
use super::finding::Finding;
use crate::operation::failure::Failure;
use crate::operation::native_hooks::{HookEntry, HookReport, HookState, survey_hooks};
use crate::operation::patches::overtaken::NativeOverview;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_rootfs::Root;

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

/// Whether the package managers of adopted packages have their hooks. Without them a command still finds what is stale; only
/// nobody is told before an upgrade.
pub(super) fn hooks(examination: &Examination<'_>) -> Vec<Finding> {
    const WHAT: &str = "hooks";
    let found = adopted_from(examination.root).and_then(|managers| {
        let report = if managers.is_empty() { None } else { Some(survey_hooks(examination.root)?) };
        Ok((managers, report))
    });
    match found {
        Err(failure) => vec![Finding::unknown(WHAT, failure.to_string())],
        Ok((_, None)) => vec![Finding::ok(WHAT, "no package was adopted from dpkg or rpm")],
        Ok((managers, Some(report))) => {
            let findings = lacking_hooks(examination, &managers, &report);
            if findings.is_empty() { vec![Finding::ok(WHAT, "they are there")] } else { findings }
        }
    }
}

/// Returns the managers of the packages that were adopted.
fn adopted_from(root: &Root) -> Result<BTreeSet<NativeManager>, Failure> {
    let packages = RootAndPolicy::of(root)?.packages()?;
    let origins = packages.values().filter_map(|installed| NativeOrigin::of(&installed.params));
    Ok(origins.map(|origin| origin.manager).collect())
}

fn lacking_hooks(
    examination: &Examination<'_>,
    managers: &BTreeSet<NativeManager>,
    report: &HookReport,
) -> Vec<Finding> {
    let concerned = || report.hooks.iter().filter(|hook| managers.contains(&hook.manager.native()));
    let in_state = |state: HookState| -> Vec<String> {
        let wanted = concerned().filter(|hook| hook.is_wanted && hook.state == state);
        wanted.map(|hook: &HookEntry| examination.root.show(&hook.path)).collect()
    };
    let install = || examination.wording().verb("hooks install");
    let mut findings = Vec::new();
    let elsewhere = "of an earlier version or for a program elsewhere";
    for (state, what) in [(HookState::Missing, "missing"), (HookState::Outdated, elsewhere)] {
        let paths = in_state(state);
        if !paths.is_empty() {
            let finding = Finding::limited("hooks", format!("{what}: {}", paths.join(", ")));
            findings.push(finding.with_command(install()));
        }
    }
    let changed = in_state(HookState::Changed);
    if !changed.is_empty() {
        let text = format!("changed by the administrator: {}", changed.join(", "));
        findings.push(Finding::limited("hooks", text));
    }
    if concerned().any(|hook| hook.state != HookState::Missing) && !report.has_program {
        let text = format!("they call {}, which is not in the root, and do nothing", report.program);
        findings.push(Finding::limited("hooks", text));
    }
    if managers.contains(&NativeManager::Rpm) && report.has_rpm_alone {
        let text = "rpm calls no file; whether the trigger of our own .rpm is there was not looked at";
        findings.push(Finding::unknown("hooks", text));
    }
    findings
}

//! Registrations that follow the package manager of the system, as answers tell of them.

use serde::Serialize;

use super::words::counted;
use patchadm_core::operation::patches::overtaken::{EndedPatch, RefreshReport, StandingPatch};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::native::NativeChange;
use patchadm_rootfs::Root;

/// A refresh: the registrations, and the patches of their packages.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RefreshedEntries {
    refreshed: Vec<RefreshedEntry>,
    left: Vec<LeftEntry>,
    ended: Vec<EndedEntry>,
    standing: Vec<StandingEntry>,
    partly_lost: Vec<EndedEntry>,
    accepted: Vec<String>,
    missing: Vec<String>,
}

/// A registration that follows its package manager.
#[derive(Debug, Serialize)]
struct RefreshedEntry {
    package: String,
    manager: &'static str,
    name: String,
    /// `upgraded`, `reinstalled`, `diverted`, `overruled` or `removed`.
    change: &'static str,
    from: String,
    to: Option<String>,
    objects: usize,
}

/// A package that stays as it is registered.
#[derive(Debug, Serialize)]
struct LeftEntry {
    package: String,
    reason: String,
}

/// A patch that ended.
#[derive(Debug, Serialize)]
struct EndedEntry {
    id: String,
    packages: Vec<String>,
    /// `contained`, `lost`, `partly-lost`, `removed` or `accepted`.
    outcome: OvertakenState,
    manager: String,
    name: String,
    version: String,
    fixed_in: Option<String>,
    required_by: Vec<String>,
    #[serde(skip)]
    told: String,
}

/// A patch that stands.
#[derive(Debug, Serialize)]
struct StandingEntry {
    id: String,
    handed_over: Vec<String>,
    lost: Vec<String>,
}

impl RefreshedEntries {
    /// Returns the entries of a report.
    pub(crate) fn of(root: &Root, report: RefreshReport) -> Self {
        Self {
            refreshed: report
                .packages
                .into_iter()
                .map(|one| RefreshedEntry::of(one.package.to_string(), &one.change, one.objects))
                .collect(),
            left: report
                .left
                .into_iter()
                .map(|(package, change)| LeftEntry {
                    package: package.to_string(),
                    reason: change.to_string(),
                })
                .collect(),
            ended: report.ended.into_iter().map(EndedEntry::of).collect(),
            partly_lost: report.partly_lost.into_iter().map(EndedEntry::of_standing).collect(),
            standing: report.standing.iter().map(StandingEntry::of).collect(),
            accepted: report.accepted.iter().map(ToString::to_string).collect(),
            missing: report.missing.iter().map(|path| root.show(path)).collect(),
        }
    }

    /// Returns what a hook prints: each lost fix first, then one line about everything else.
    pub(crate) fn hook_sentences(&self) -> Vec<String> {
        let is_lost = |one: &&EndedEntry| {
            matches!(one.outcome, OvertakenState::Lost | OvertakenState::PartlyLost)
        };
        let all = || self.ended.iter().chain(&self.partly_lost);
        let mut lines: Vec<String> = all().filter(is_lost).map(|one| format!("{}: {}", one.id, one.told)).collect();
        let others = all().count() - lines.len();
        if !self.refreshed.is_empty() || others > 0 || !lines.is_empty() {
            let packages = counted(&self.refreshed.len(), "package");
            lines.push(format!(
                "patchadm: {packages} refreshed; patches: {} lost, {others} ended otherwise",
                lines.len()
            ));
        }
        lines
    }

    /// Returns what a person is told, line by line.
    pub(crate) fn sentences(&self, is_planned: bool) -> Vec<String> {
        let is = if is_planned { "would follow" } else { "follows" };
        let mut lines: Vec<String> = self.refreshed.iter().map(|one| one.sentence(is)).collect();
        lines.extend(
            self.left.iter().map(|one| format!("Package {} stays as it is: {}.", one.package, one.reason)),
        );
        for one in &self.ended {
            lines.push(format!("{}: {}", one.id, one.told));
            if !one.required_by.is_empty() {
                lines.push(format!("  required by {}", one.required_by.join(", ")));
            }
        }
        for one in &self.partly_lost {
            lines.push(format!("{}: {}", one.id, one.told));
        }
        for one in &self.standing {
            lines.extend(one.lost.iter().map(|path| format!("  {path} is lost")));
            lines.push(match one.handed_over.as_slice() {
                [] => format!("{}: stands", one.id),
                [path] => format!("{}: stands, partly overtaken ({path} is the package manager's)", one.id),
                several => format!(
                    "{}: stands, partly overtaken ({} objects are the package manager's)",
                    one.id,
                    several.len()
                ),
            });
        }
        lines.extend(self.accepted.iter().map(|id| format!("{id}: the loss of its fix is accepted")));
        lines.extend(self.missing.iter().map(|path| format!("  {path} is not there")));
        lines
    }
}

impl RefreshedEntry {
    fn of(package: String, change: &NativeChange, objects: usize) -> Self {
        let (manager, name) = (change.origin().manager.name(), change.origin().name.clone());
        let (word, from, to) = match change {
            NativeChange::Upgraded { from, to, .. } => ("upgraded", from.clone(), Some(to.clone())),
            NativeChange::Reinstalled { version, .. } => {
                ("reinstalled", version.clone(), Some(version.clone()))
            }
            NativeChange::Diverted { version, .. } => ("diverted", version.clone(), Some(version.clone())),
            NativeChange::Overruled { version, .. } => ("overruled", version.clone(), Some(version.clone())),
            NativeChange::Removed { from, .. } => ("removed", from.clone(), None),
            NativeChange::Busy { .. } | NativeChange::Unknown { .. } => ("unknown", String::new(), None),
        };
        Self { package, manager, name, change: word, from, to, objects }
    }

    fn sentence(&self, follows: &str) -> String {
        let Self { package, manager, name, from, to, objects, .. } = self;
        let objects = counted(objects, "object");
        match (self.change, to) {
            ("upgraded", Some(to)) => {
                format!("Package {package} {follows} {manager}: {name} {from} became {to}, {objects}.")
            }
            ("reinstalled", _) => {
                format!(
                    "Package {package} {follows} {manager}: {name} {from} was installed again, {objects}."
                )
            }
            ("overruled", _) => format!("Package {package} {follows} {manager}: other packages took over paths of {name} {from}, {objects}."),
            ("diverted", _) => {
                format!("Package {package} {follows} {manager}: files of {name} {from} were diverted, {objects}.")
            }
            _ => format!("Package {package} {follows} {manager}: {name} {from} was removed."),
        }
    }
}

impl EndedEntry {
    /// Returns the entry of a patch that stands and lost its fix at some paths.
    fn of_standing(patch: OvertakenPatch) -> Self {
        Self::of(EndedPatch { patch, packages: Vec::new(), required_by: Vec::new() })
    }

    fn of(ended: EndedPatch) -> Self {
        let EndedPatch { patch, packages, required_by } = ended;
        Self {
            told: patch.told(),
            id: patch.patch,
            packages: packages.iter().map(ToString::to_string).collect(),
            outcome: patch.state,
            manager: patch.manager,
            name: patch.package,
            version: patch.version,
            fixed_in: patch.fixed_in,
            required_by: required_by.iter().map(ToString::to_string).collect(),
        }
    }
}

impl StandingEntry {
    fn of(standing: &StandingPatch) -> Self {
        let handed_over = standing.handed_over.iter().map(ToString::to_string).collect();
        let lost = standing.lost.iter().map(ToString::to_string).collect();
        Self { id: standing.id.to_string(), handed_over, lost }
    }
}

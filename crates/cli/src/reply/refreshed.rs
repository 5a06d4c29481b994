//! Registrations that follow the native package manager.

use std::fmt::Write as _;

use serde::Serialize;

use super::words::counted;
use patchadm_core::operation::patches::overtaken::{
    EndedRegistration, RegistrationRefreshReport, StandingPatch,
};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::native::NativeChange;
use patchadm_planning::plan::refusal::{Wording, of_native_change};
use patchadm_rootfs::Root;

/// A refresh: the registrations, and the patches of their packages.
#[derive(Debug, Default, Serialize)]
pub struct RefreshedEntries {
    refreshed: Vec<RefreshedEntry>,
    left: Vec<LeftRegistration>,
    ended: Vec<EndedEntry>,
    standing: Vec<StandingPatch>,
    partly_lost: Vec<EndedEntry>,
    /// Also in the notes.
    #[serde(skip)]
    lost_again: Vec<EndedEntry>,
    accepted: Vec<String>,
    /// Accepted, although nothing was lost.
    #[serde(skip)]
    unlisted: Vec<String>,
    missing: Vec<String>,
}

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

/// A package whose registration stays.
#[derive(Debug, Serialize)]
struct LeftRegistration {
    package: String,
    reason: String,
    /// Empty if nothing can be said.
    #[serde(skip)]
    advice: String,
    /// Its manager has not finished with it, and will call the hook again.
    #[serde(skip)]
    is_busy: bool,
}

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
    /// The paths of lost changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    required_by: Vec<String>,
    #[serde(skip)]
    told: String,
}

impl RefreshedEntries {
    pub fn of(root: &Root, report: RegistrationRefreshReport) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        Self {
            refreshed: report
                .packages
                .into_iter()
                .map(|one| RefreshedEntry::of(one.package.to_string(), &one.change, one.objects))
                .collect(),
            left: report
                .left
                .into_iter()
                .map(|(package, change)| LeftRegistration {
                    package: package.to_string(),
                    reason: change.to_string(),
                    advice: of_native_change(&change, &wording),
                    is_busy: matches!(change, NativeChange::Busy { .. }),
                })
                .collect(),
            ended: report.ended.into_iter().map(EndedEntry::of).collect(),
            partly_lost: report.partly_lost.into_iter().map(EndedEntry::of_standing).collect(),
            lost_again: report.lost_again.into_iter().map(EndedEntry::of).collect(),
            standing: report.standing,
            accepted: report.accepted.iter().map(ToString::to_string).collect(),
            unlisted: report.unlisted.iter().map(ToString::to_string).collect(),
            missing: report.missing.iter().map(ToString::to_string).collect(),
        }
    }

    /// For a hook: lost fixes first, then notes for the administrator, then one line about everything.
    pub fn hook_sentences(&self, notes: &[String]) -> Vec<String> {
        let all = || self.ended.iter().chain(&self.partly_lost).chain(&self.lost_again);
        let lost = all().filter(|one| one.outcome.is_lost()).map(|one| format!("{}: {}", one.id, one.told));
        let mut lines: Vec<String> = lost.collect();
        let count = |state| all().filter(|one| one.outcome == state).count();
        let counts = [
            (self.refreshed.len(), "package refreshed", "packages refreshed"),
            (lines.len(), "fix lost", "fixes lost"),
            (count(OvertakenState::Contained), "fix contained", "fixes contained"),
            (
                count(OvertakenState::Removed),
                "patch gone with its package",
                "patches gone with their packages",
            ),
            (count(OvertakenState::Accepted), "loss accepted", "losses accepted"),
        ];
        let counts = counts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several }));
        let mut summary = counts.collect::<Vec<_>>().join(", ");
        if !lines.is_empty() {
            summary.push_str("; `patchadm list --check` names the fixes that are lost");
        }
        let left = self.left.iter().filter(|one| !one.is_busy).count();
        if left > 0 {
            let blank = if summary.is_empty() { "" } else { "; " };
            let packages = counted(left, "package");
            // Writing to a string cannot fail.
            let _ = write!(summary, "{blank}{packages} not refreshed; `patchadm adopt --refresh` shows why");
        }
        lines.extend(notes.iter().cloned());
        lines.extend(Some(summary).filter(|summary| !summary.is_empty()));
        lines.iter().map(|line| format!("patchadm: {line}")).collect()
    }

    /// For people.
    pub fn sentences(&self, is_planned: bool) -> Vec<String> {
        let is = if is_planned { "would follow" } else { "follows" };
        let mut lines: Vec<String> = self.refreshed.iter().map(|one| one.sentence(is)).collect();
        lines.extend(self.left.iter().map(LeftRegistration::sentence));
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
                [path] => format!(
                    "{}: still applied, partly overwritten ({path} belongs to the package manager)",
                    one.id
                ),
                several => format!(
                    "{}: still applied, partly overwritten ({} objects belong to the package manager)",
                    one.id,
                    several.len()
                ),
            });
        }
        let accepted = |id: &String| match (self.unlisted.contains(id), is_planned) {
            (true, false) => format!("{id}: no longer listed"),
            (true, true) => format!("{id}: would no longer be listed"),
            (false, false) => format!("{id}: the loss of its fix is accepted"),
            (false, true) => format!("{id}: the loss of its fix would be accepted"),
        };
        lines.extend(self.accepted.iter().map(accepted));
        lines.extend(self.missing.iter().map(|path| format!("  {path} does not exist")));
        lines
    }
}

impl LeftRegistration {
    fn sentence(&self) -> String {
        let Self { package, reason, advice, .. } = self;
        match advice.as_str() {
            "" => format!("Package {package} is unchanged: {reason}."),
            advice => format!("Package {package} is unchanged: {reason}; {advice}."),
        }
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
            ("overruled", _) => format!(
                "Package {package} {follows} {manager}: other packages took over paths of {name} {from}, {objects}."
            ),
            ("diverted", _) => {
                format!(
                    "Package {package} {follows} {manager}: files of {name} {from} were diverted, {objects}."
                )
            }
            _ => format!("Package {package} {follows} {manager}: {name} {from} was removed."),
        }
    }
}

impl EndedEntry {
    /// Returns the entry of a patch that stands and lost its fix at some paths.
    fn of_standing(patch: OvertakenPatch) -> Self {
        Self::of(EndedRegistration { patch, packages: Vec::new(), required_by: Vec::new() })
    }

    fn of(ended: EndedRegistration) -> Self {
        let EndedRegistration { patch, packages, required_by } = ended;
        Self {
            told: patch.told(),
            paths: patch.lost_paths().map(|path| path.to_string()).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: &str, outcome: OvertakenState) -> EndedEntry {
        let patch = OvertakenPatch {
            root: String::new(),
            patch: id.to_owned(),
            state: outcome,
            manager: "dpkg".to_owned(),
            package: "web".to_owned(),
            version: "2.0-1".to_owned(),
            fixed_in: None,
            fixes: Vec::new(),
            paths: Vec::new(),
            time: String::new(),
        };
        EndedEntry::of_standing(patch)
    }

    #[test]
    fn a_hook_names_every_lost_fix_before_anything_else_and_sums_up_in_one_line() {
        let refreshed = RefreshedEntry {
            package: "DEBweb".to_owned(),
            manager: "dpkg",
            name: "web".to_owned(),
            change: "upgraded",
            from: "1.0-1".to_owned(),
            to: Some("2.0-1".to_owned()),
            objects: 3,
        };
        let entries = RefreshedEntries {
            refreshed: vec![refreshed],
            ended: vec![
                ended("100-01", OvertakenState::Contained),
                ended("101-01", OvertakenState::Lost),
                ended("102-01", OvertakenState::Removed),
                ended("103-01", OvertakenState::Lost),
                ended("104-01", OvertakenState::Lost),
            ],
            partly_lost: vec![ended("105-01", OvertakenState::PartlyLost)],
            lost_again: vec![ended("090-01", OvertakenState::Lost)],
            ..RefreshedEntries::default()
        };
        let lines = entries.hook_sentences(&["/etc/web.conf stays as patched".to_owned()]);
        let expected = [
            "patchadm: 101-01: LOST to web 2.0-1 (dpkg)",
            "patchadm: 103-01: LOST to web 2.0-1 (dpkg)",
            "patchadm: 104-01: LOST to web 2.0-1 (dpkg)",
            "patchadm: 105-01: PARTLY LOST to web 2.0-1 (dpkg)",
            "patchadm: 090-01: LOST to web 2.0-1 (dpkg)",
            "patchadm: /etc/web.conf stays as patched",
            "patchadm: 1 package refreshed, 5 fixes lost, 1 fix contained, 1 patch gone with its package; `patchadm list \
             --check` names the fixes that are lost",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_hook_that_did_nothing_says_nothing_unless_records_cannot_be_read() {
        let left = |is_busy| RefreshedEntries {
            left: vec![LeftRegistration {
                package: "DEBweb".to_owned(),
                reason: String::new(),
                advice: String::new(),
                is_busy,
            }],
            ..RefreshedEntries::default()
        };
        assert_eq!(RefreshedEntries::default().hook_sentences(&[]), Vec::<String>::new());
        assert_eq!(left(true).hook_sentences(&[]), Vec::<String>::new(), "dpkg comes again");
        let unknown = ["patchadm: 1 package not refreshed; `patchadm adopt --refresh` shows why"];
        assert_eq!(left(false).hook_sentences(&[]), unknown);
    }
}

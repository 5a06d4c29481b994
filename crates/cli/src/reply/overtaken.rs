//! Patches overtaken by dpkg or rpm, and stale registrations, in answers of queries.

use serde::Serialize;

use crate::reply::{Exit, ExitCause};
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::native::NativeChange;
use patchadm_planning::plan::refusal::{Wording, finishing_command, of_native_change};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// For `--check`: a fix is lost, or a registration is stale.
pub const NATIVE_CHANGED: Exit = Exit::finding(ExitCause::NativeChanged);

/// Open work for a refresh or the operator, as in JSON documents.
#[derive(Debug, Default, Serialize)]
pub struct NativeEntries {
    /// Fixes that are lost, or would be with the next refresh.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<OvertakenEntry>,
    /// Registrations that differ from the records of dpkg or rpm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<StalePackageEntry>,
    /// Why the effect of a refresh is unknown.
    #[serde(skip)]
    unknown: Option<String>,
}

impl NativeEntries {
    pub fn of(root: &Root, overview: &NativeOverview) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let stale =
            |(package, change): (&PkgInst, &NativeChange)| StalePackageEntry::of(package, change, &wording);
        Self {
            lost: overview.lost().map(OvertakenEntry::of).collect(),
            stale: overview.changes.iter().map(stale).collect(),
            unknown: overview.unknown.clone(),
        }
    }

    /// Returns the exit with `--check`. The command's own finding comes first. An unknown state counts as a finding.
    pub fn checked(&self, found: Exit) -> Exit {
        let is_in_order = self.lost.is_empty() && self.stale.is_empty() && self.unknown.is_none();
        if found == Exit::OK && !is_in_order { NATIVE_CHANGED } else { found }
    }

    pub fn is_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Tells whether a refresh would take up the change of some package.
    pub fn is_settled(&self) -> bool {
        self.stale.iter().any(|stale| stale.is_settled)
    }

    /// Returns the command that finishes an interrupted change of dpkg.
    pub fn finishing_command(&self) -> Option<&str> {
        self.stale.iter().find_map(|stale| stale.finish.as_deref())
    }

    pub fn lost(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lost.iter().map(|lost| (lost.id.as_str(), lost.told.as_str()))
    }

    /// Returns the first patch whose fix is lost everywhere.
    pub fn entirely_lost(&self) -> Option<&str> {
        self.lost.iter().find(|lost| lost.outcome == OvertakenState::Lost).map(|lost| lost.id.as_str())
    }

    pub fn lost_paths(&self, id: &str) -> impl Iterator<Item = &str> {
        let of = self.lost.iter().find(|lost| lost.id == id);
        of.into_iter().flat_map(|lost| &lost.paths).map(String::as_str)
    }

    pub fn lost_lines(&self) -> impl Iterator<Item = String> {
        self.lost().map(|(id, told)| format!("{id}: {told}"))
    }

    /// Returns the notes about stale registrations, each with the command that takes the change up.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().cloned().chain(self.stale.iter().map(StalePackageEntry::sentence))
    }
}

/// A patch that ended because its package was changed.
#[derive(Debug, Serialize)]
pub struct OvertakenEntry {
    pub id: String,
    pub outcome: OvertakenState,
    pub manager: String,
    pub name: String,
    pub version: String,
    pub fixed_in: Option<String>,
    pub fixes: Vec<String>,
    /// The paths of lost changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    pub time: Option<String>,
    #[serde(skip)]
    pub told: String,
}

impl OvertakenEntry {
    pub fn of(patch: &OvertakenPatch) -> Self {
        Self {
            id: patch.patch.clone(),
            outcome: patch.state,
            manager: patch.manager.clone(),
            name: patch.package.clone(),
            version: patch.version.clone(),
            fixed_in: patch.fixed_in.clone(),
            fixes: patch.fixes.clone(),
            paths: patch.lost_paths().map(|path| path.to_string()).collect(),
            time: Some(patch.time.clone()).filter(|time| !time.is_empty()),
            told: patch.told(),
        }
    }

    /// Returns `None` if nothing has to be done.
    pub fn next_step(&self, wording: &Wording) -> Option<String> {
        let Self { id, name, version, .. } = self;
        let accept = wording.verb(&format!("adopt --refresh --accept {id}"));
        let add = wording.verb("add PATCH");
        match self.outcome {
            OvertakenState::Lost => {
                Some(format!("{add} applies a patch for {name} {version}; {accept} accepts the loss"))
            }
            OvertakenState::PartlyLost => {
                Some(format!("{} removes the rest of it; {accept} accepts the loss", wording.removal(id)))
            }
            _ => None,
        }
    }

    /// Returns the paths at which the fix is lost, as the host sees them.
    pub fn shown_paths(&self, root: &Root) -> Vec<String> {
        let show = |path: &String| {
            ObjectPath::new(path.as_bytes()).map_or_else(|_| path.clone(), |path| root.show(&path))
        };
        self.paths.iter().map(show).collect()
    }

    /// Returns the lines of `show` about these paths.
    pub fn path_lines(&self, root: &Root) -> impl Iterator<Item = (&'static str, String)> {
        let names = std::iter::once("Lost at").chain(std::iter::repeat(""));
        names.zip(self.shown_paths(root))
    }

    fn sentence(&self, root: &Root) -> String {
        let at = match self.shown_paths(root).as_slice() {
            [] => String::new(),
            [path] => format!(", at {path}"),
            [path, others @ ..] => format!(", at {path} and {} more", others.len()),
        };
        format!("{}{at}", self.told)
    }
}

/// Tells how a patch ended whose package dpkg or rpm changed: a sentence, and another with the next command if needed.
/// `None` if the patch did not end.
pub fn ending_of(root: &Root, id: &str) -> Option<(String, Option<String>)> {
    let overview = NativeOverview::of_ended(root);
    let ended = overview.of_patch(id).map(OvertakenEntry::of)?;
    Some((ended.sentence(root), ended.next_step(&Wording::of_verbs(root.prefix()))))
}

/// A registration that differs from the records of its package manager.
#[derive(Debug, Default, Serialize)]
struct StalePackageEntry {
    package: String,
    reason: String,
    /// Empty if nothing can be said.
    #[serde(skip)]
    advice: String,
    #[serde(skip)]
    finish: Option<String>,
    #[serde(skip)]
    is_settled: bool,
}

impl StalePackageEntry {
    fn of(package: &PkgInst, change: &NativeChange, wording: &Wording) -> Self {
        Self {
            package: package.to_string(),
            reason: change.to_string(),
            advice: of_native_change(change, wording),
            finish: finishing_command(change, wording),
            is_settled: change.is_settled(),
        }
    }

    /// Returns the sentence with the command that takes the change up.
    fn sentence(&self) -> String {
        let Self { package, reason, advice, .. } = self;
        match advice.as_str() {
            "" => format!("package {package}: {reason}"),
            advice => format!("package {package}: {reason}; {advice}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_found_itself_comes_before_what_is_lost_stale_or_unknown() {
        let damaged = Exit::failed(ExitCause::DamagedRecord);
        let stale = StalePackageEntry { package: "DEBweb".to_owned(), ..StalePackageEntry::default() };
        let unknown = Some("the policy cannot be read".to_owned());
        for entries in [
            NativeEntries { stale: vec![stale], ..NativeEntries::default() },
            NativeEntries { unknown, ..NativeEntries::default() },
        ] {
            assert_eq!((entries.checked(Exit::OK), entries.checked(damaged)), (NATIVE_CHANGED, damaged));
        }
        assert_eq!(NativeEntries::default().checked(Exit::OK), Exit::OK);
    }
}

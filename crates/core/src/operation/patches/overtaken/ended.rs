//! How patches end, and what that changes in the list of those that did.

use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenPatches, OvertakenState};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{FixedIn, NativeChange, NativeManager, fixed_in_of};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{Mode, PkgInst};
use patchadm_svr4::patch::{FixRecord, PatchId};
use patchadm_svr4::places;
use std::collections::BTreeMap;

/// Returns the change of the list; `None` if it stays as it was before.
pub(super) fn written(before: &OvertakenPatches, list: &OvertakenPatches) -> Option<RecordChange> {
    if before.patches == list.patches {
        return None;
    }
    let (path, bytes) = (places::lost(), list.to_bytes());
    Some(if bytes.is_empty() {
        RecordChange::RemoveFile(path)
    } else {
        RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None }
    })
}

/// Makes those patches lost whose fix was contained and is not in the version that is there now, as `version` says it.
/// Returns them.
pub(super) fn lose_contained(
    list: &mut OvertakenPatches,
    version: impl Fn(NativeManager, &str) -> Option<String>,
) -> Vec<OvertakenPatch> {
    let mut lost = Vec::new();
    for one in list.patches.iter_mut().filter(|one| one.state == OvertakenState::Contained) {
        let fixed: Option<FixedIn> = one.fixed_in.as_deref().and_then(|text| text.parse().ok());
        let (Some(fixed), Some(manager)) = (fixed, NativeManager::named(&one.manager)) else { continue };
        let Some(now) = version(manager, &one.package) else { continue };
        if !fixed.has(manager, &one.package, &now) {
            (one.state, one.version) = (OvertakenState::Lost, now);
            lost.push(one.clone());
        }
    }
    lost
}

/// Returns the line of an applied patch whose loss is accepted beforehand.
pub(super) fn accepted_beforehand(id: &PatchId, marker: &str, time: &str) -> OvertakenPatch {
    OvertakenPatch {
        root: marker.to_owned(),
        patch: id.to_string(),
        state: OvertakenState::AcceptedBeforehand,
        manager: String::new(),
        package: String::new(),
        version: String::new(),
        fixed_in: None,
        fixes: Vec::new(),
        time: time.to_owned(),
    }
}

/// Returns the plan of a run that changes records alone, in the name of a package.
pub(super) fn records_alone(records: Vec<RecordChange>, package: &PkgInst, now: &Now) -> Plan {
    let empty = Plan::empty(Command::Adopt.name(), now.trailer(Command::Adopt.name(), package));
    Plan { packages: vec![package.clone()], records, ..empty }
}

/// Patches that end, and what is known of them.
pub(super) struct EndingPatches<'a> {
    pub(super) marker: &'a str,
    pub(super) time: &'a str,
    pub(super) packages: &'a BTreeMap<PkgInst, Installed>,
    pub(super) changes: &'a BTreeMap<PkgInst, NativeChange>,
    /// The list so far.
    pub(super) known: &'a OvertakenPatches,
}

impl EndingPatches<'_> {
    /// How a patch of these packages ends: by the package whose version has its fix, else by the first that lost it, else
    /// with the first that was removed.
    pub(super) fn end(&self, id: &PatchId, packages: &[PkgInst]) -> OvertakenPatch {
        let fixed_in = self.fixed_in(id, packages);
        let fixes = self.fixes(id, packages);
        let fixed: Option<FixedIn> = fixed_in.as_deref().and_then(|text| text.parse().ok());
        let mut ends: Vec<OvertakenPatch> = Vec::new();
        for change in packages.iter().filter_map(|package| self.changes.get(package)) {
            let origin = change.origin();
            let (state, version) = match change {
                NativeChange::Upgraded { to: version, .. } | NativeChange::Reinstalled { version, .. } => {
                    let has =
                        fixed.as_ref().is_some_and(|fixed| fixed.has(origin.manager, &origin.name, version));
                    (if has { OvertakenState::Contained } else { OvertakenState::Lost }, version.clone())
                }
                NativeChange::Removed { from, .. } => (OvertakenState::Removed, from.clone()),
                NativeChange::Busy { .. } | NativeChange::Unknown { .. } => continue,
            };
            ends.push(OvertakenPatch {
                root: self.marker.to_owned(),
                patch: id.to_string(),
                state,
                manager: origin.manager.name().to_owned(),
                package: origin.name.clone(),
                version,
                fixed_in: fixed_in.clone(),
                fixes: fixes.clone(),
                time: self.time.to_owned(),
            });
        }
        let of = |state: OvertakenState| ends.iter().position(|end| end.state == state);
        let at = of(OvertakenState::Contained).or(of(OvertakenState::Lost)).unwrap_or(0);
        let mut end = ends.into_iter().nth(at).unwrap_or_else(|| self.gone(id, fixed_in, fixes));
        let was_accepted =
            self.known.of(id.as_str()).is_some_and(|known| known.state == OvertakenState::AcceptedBeforehand);
        if end.state == OvertakenState::Lost && was_accepted {
            end.state = OvertakenState::Accepted;
        }
        end
    }

    fn gone(&self, id: &PatchId, fixed_in: Option<String>, fixes: Vec<String>) -> OvertakenPatch {
        OvertakenPatch {
            root: self.marker.to_owned(),
            patch: id.to_string(),
            state: OvertakenState::Lost,
            manager: String::new(),
            package: String::new(),
            version: String::new(),
            fixed_in,
            fixes,
            time: self.time.to_owned(),
        }
    }

    /// What the patch says of native versions with its fix.
    fn fixed_in(&self, id: &PatchId, packages: &[PkgInst]) -> Option<String> {
        let installed = packages.iter().filter_map(|package| self.packages.get(package));
        fixed_in_of(id.as_str(), installed.map(|installed| &installed.params))
    }

    /// What the patch fixes.
    fn fixes(&self, id: &PatchId, packages: &[PkgInst]) -> Vec<String> {
        let installed = packages.iter().filter_map(|package| self.packages.get(package));
        FixRecord::of(id, installed.map(|installed| &installed.params)).fixes.to_strings()
    }
}

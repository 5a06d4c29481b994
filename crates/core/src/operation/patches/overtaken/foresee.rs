//! What an upgrade that is about to happen would do to the patches of adopted packages.

use std::collections::BTreeMap;

use super::ended::{EndingPatches, lose_contained};
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::marker;
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{
    NativeChange, NativeManager, NativeOrigin, NativeOwner, NativeRegistration, UpcomingChange,
};
use patchadm_inputs::policy::NativeUpgrade;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// What an upgrade would do.
#[derive(Debug, Default)]
pub struct ForeseenUpgrade {
    /// The patches that would end, in the order of their ids.
    pub ending: Vec<OvertakenPatch>,
    /// The patches that have objects in other packages as well, and stand there.
    pub standing: Vec<PatchId>,
    /// What the policy says of a fix that would be lost.
    pub policy: NativeUpgrade,
}

/// Foresees an upgrade. Of the new versions nothing is known but their numbers: every object of a changed package counts as
/// overwritten.
pub fn foresee_upgrade(
    root: &Root,
    upcoming: &[UpcomingChange],
    time: &str,
) -> Result<ForeseenUpgrade, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let packages = ground.packages()?;
    let changes: BTreeMap<PkgInst, NativeChange> = packages
        .iter()
        .filter_map(|(package, installed)| Some((package.clone(), change(installed, upcoming)?)))
        .collect();
    let mut foreseen = ForeseenUpgrade { policy: ground.policy.native_upgrade, ..ForeseenUpgrade::default() };
    if changes.is_empty() {
        return Ok(foreseen);
    }
    let applied = ground.recorded(&packages)?;
    let marker = marker(root)?.unwrap_or_default();
    let known = overtaken_patches(root, &marker)?;
    let ends = EndingPatches {
        marker: &marker,
        time,
        packages: &packages,
        changes: &changes,
        known: &known,
        lost: &|_, _| None,
        successor: &|_, _, origin| successor(origin, upcoming),
    };
    let is_changed = |package: &PkgInst| changes.contains_key(package);
    for patch in applied.iter().filter(|patch| patch.packages.iter().any(is_changed)) {
        if applied.superseded(&patch.id).is_some() {
            continue;
        }
        if patch.packages.iter().all(is_changed) {
            foreseen.ending.push(ends.end(&patch.id, &patch.packages));
        } else {
            foreseen.standing.push(patch.id.clone());
            foreseen.ending.extend(ends.partly_lost(&patch.id, &patch.packages));
        }
    }
    let mut known = known;
    let version = |manager: NativeManager, name: &str| {
        let is_it = |change: &&NativeChange| {
            change.origin().manager == manager && change.origin().name == name
        };
        changes.values().find(is_it).and_then(|change| change.versions().1.map(str::to_owned))
    };
    foreseen.ending.extend(lose_contained(&mut known, version));
    Ok(foreseen)
}

/// Returns the upcoming package that says it takes the place of another one.
fn successor(origin: &NativeOrigin, upcoming: &[UpcomingChange]) -> Option<NativeOwner> {
    let one = upcoming.iter().find(|one| one.replaces.contains(&origin.name))?;
    let (name, arch) = (one.name.clone(), one.arch.clone());
    let origin = NativeOrigin { manager: origin.manager, name, arch };
    Some(NativeOwner { origin, version: one.version.clone()? })
}

/// What is about to happen to an adopted package.
fn change(installed: &Installed, upcoming: &[UpcomingChange]) -> Option<NativeChange> {
    let origin = NativeOrigin::of(&installed.params)?;
    let from = NativeRegistration::of(&installed.params).version;
    let is_it = |one: &&UpcomingChange| {
        let has_arch = one.arch.as_ref().zip(origin.arch.as_ref()).is_none_or(|(one, own)| one == own);
        one.name == origin.name && (has_arch || one.version.is_some())
    };
    let one = upcoming.iter().find(is_it)?;
    Some(match &one.version {
        None => NativeChange::Removed { origin, from },
        Some(version) if *version == from => NativeChange::Reinstalled { origin, version: from },
        Some(version) => NativeChange::Upgraded { origin, from, to: version.clone() },
    })
}

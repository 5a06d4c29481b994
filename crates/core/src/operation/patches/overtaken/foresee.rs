//! What an upgrade that is about to happen would do to the patches of adopted packages.

use std::collections::{BTreeMap, BTreeSet};

use super::ended::EndingPatches;
use crate::operation::failure::Failure;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::marker;
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{NativeChange, NativeOrigin, NativeRegistration, UpcomingChange};
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
    let origins = packages.values().filter_map(|installed| NativeOrigin::of(&installed.params)).collect();
    let changes: BTreeMap<PkgInst, NativeChange> = packages
        .iter()
        .filter_map(|(package, installed)| Some((package.clone(), change(installed, &origins, upcoming)?)))
        .collect();
    let mut foreseen = ForeseenUpgrade { policy: ground.policy.native_upgrade, ..ForeseenUpgrade::default() };
    if changes.is_empty() {
        return Ok(foreseen);
    }
    let applied = ground.recorded(&packages)?;
    let marker = marker(root)?.unwrap_or_default();
    let known = overtaken_patches(root, &marker)?;
    let ends = EndingPatches { marker: &marker, time, packages: &packages, changes: &changes, known: &known };
    let is_changed = |package: &PkgInst| changes.contains_key(package);
    for patch in applied.iter().filter(|patch| patch.packages.iter().any(is_changed)) {
        if patch.packages.iter().all(is_changed) {
            foreseen.ending.push(ends.end(&patch.id, &patch.packages));
        } else {
            foreseen.standing.push(patch.id.clone());
        }
    }
    Ok(foreseen)
}

/// What is about to happen to an adopted package. `registered` are the origins of all of them.
fn change(
    installed: &Installed,
    registered: &BTreeSet<NativeOrigin>,
    upcoming: &[UpcomingChange],
) -> Option<NativeChange> {
    let origin = NativeOrigin::of(&installed.params)?;
    let from = NativeRegistration::of(&installed.params).version;
    let of_name = || upcoming.iter().filter(|one| one.name == origin.name);
    let is_exact = |one: &&UpcomingChange| {
        one.arch.as_ref().zip(origin.arch.as_ref()).is_none_or(|(one, own)| one == own)
    };
    // With another version a package may have another architecture, unless it can be there for several at once.
    let is_for_another = |one: &&UpcomingChange| {
        let is_other = |arch: &String| {
            let other = NativeOrigin { arch: Some(arch.clone()), ..origin.clone() };
            registered.contains(&other)
        };
        one.version.is_some() && one.is_same != Some(true) && !one.arch.as_ref().is_some_and(is_other)
    };
    let new = of_name().find(|one| is_exact(one) && one.version.is_some());
    let one = new.or_else(|| of_name().find(is_for_another)).or_else(|| of_name().find(is_exact))?;
    Some(match &one.version {
        None => NativeChange::Removed { origin, from },
        Some(version) if *version == from => NativeChange::Reinstalled { origin, version: from },
        Some(version) => NativeChange::Upgraded { origin, from, to: version.clone() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_inputs::native::upcoming_changes;
    use patchadm_svr4::package::Params;

    /// What becomes of registrations of these native packages at version 1, as the new versions of them; `-` if one is
    /// removed, nothing if it stays.
    fn foreseen(registered: &[&str], upcoming: &str) -> Vec<String> {
        let upcoming = upcoming_changes(upcoming.as_bytes()).unwrap();
        let packages: Vec<Installed> = registered
            .iter()
            .map(|origin| {
                let params: Params =
                    [("PATCHADM_ADOPTED", *origin), ("NATIVE_VERSION", "1")].into_iter().collect();
                Installed { params, ..Installed::default() }
            })
            .collect();
        let origins = packages.iter().filter_map(|one| NativeOrigin::of(&one.params)).collect();
        let change = |one: &Installed| change(one, &origins, &upcoming);
        let told = |change: NativeChange| change.versions().1.unwrap_or("-").to_owned();
        packages.iter().map(|one| change(one).map(told).unwrap_or_default()).collect()
    }

    const SAME: [&str; 2] = ["dpkg lib:amd64", "dpkg lib:i386"];

    #[test]
    fn each_architecture_of_a_shared_library_has_changes_of_its_own() {
        let purge = "VERSION 3\n\nlib 1 i386 same > - - none **REMOVE**\n";
        assert_eq!(foreseen(&SAME, purge), ["", "-"]);
        let other = "VERSION 3\n\nlib - - none < 1 i386 same /lib.deb\n";
        assert_eq!(foreseen(&["dpkg lib:amd64"], other), [""], "the second one is new");
        let both =
            "VERSION 3\n\nlib 1 i386 same < 2 i386 same /a.deb\nlib 1 amd64 same < 2 amd64 same /b.deb\n";
        assert_eq!(foreseen(&SAME, both), ["2", "2"]);
        assert_eq!(foreseen(&SAME, "lib:i386 -\n"), ["", "-"]);
        assert_eq!(foreseen(&SAME, "lib:i386 2\n"), ["", "2"]);
        assert_eq!(foreseen(&SAME, "lib 2\n"), ["2", "2"], "as version 2 of the protocol says it");
    }

    #[test]
    fn a_package_that_is_there_once_is_followed_to_another_architecture() {
        let web = ["dpkg web:amd64"];
        let crossed =
            "VERSION 3\n\nweb 1 amd64 none > - - none **REMOVE**\nweb - - none < 2 i386 none /web.deb\n";
        assert_eq!(foreseen(&web, crossed), ["2"]);
        assert_eq!(foreseen(&web, "VERSION 3\n\nweb 1 amd64 none < 2 all none /web.deb\n"), ["2"]);
        assert_eq!(foreseen(&web, "VERSION 3\n\nweb 1 amd64 none > - - none **REMOVE**\n"), ["-"]);
    }
}

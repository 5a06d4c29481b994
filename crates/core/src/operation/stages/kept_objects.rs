//! Kept libraries, which promotions and refreshes ignore: neither those of the root nor those of the stage are compared.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Tree, TreeObject};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::inventory::{Installed, KeptLibraries, is_kept_package};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// The suffix of the name of every package of kept libraries.
const SUFFIX: &str = "-SO";

/// Reads what is kept in a tree that has a package database.
pub(super) fn kept_in(root: &Root) -> Result<KeptLibraries, Failure> {
    let view = RecordView::live(root);
    if !installed::has_database(&view)? {
        return Ok(KeptLibraries::default());
    }
    let mut packages = BTreeMap::new();
    for package in installed::packages(&view)? {
        if !package.abbreviation().ends_with(SUFFIX) {
            continue;
        }
        let params = installed::params(&view, &package)?.filter(is_kept_package);
        packages.extend(params.map(|params| (package, Installed { params, ..Installed::default() })));
    }
    if packages.is_empty() {
        return Ok(KeptLibraries::default());
    }
    RootAndPolicy::of(root)?.kept_libraries(&packages)
}

/// Removes the kept objects of a tree from what was read of it.
pub(super) fn hide_own(tree: &mut Tree, kept: &KeptLibraries) {
    if !kept.is_empty() {
        let paths: BTreeSet<&ObjectPath> = kept.paths().collect();
        tree.objects.retain(|object| !paths.contains(&object.path));
    }
}

/// Removes what is kept in a root from a stage of it, which has an earlier copy. An object that the stage has in its place
/// stays, unless it is the same.
pub(super) fn hide_copies(stage: &mut Tree, kept: &KeptLibraries) {
    if kept.is_empty() {
        return;
    }
    let of_root: BTreeSet<&ObjectPath> = kept.paths().collect();
    let is_copy = |object: &TreeObject| {
        let known = kept.live.get(&object.path).filter(|_| of_root.contains(&object.path));
        known.is_some_and(|known| {
            let (known, own) = (RecordedState::of(known), RecordedState::of(&object.live));
            StateDifferences::is_found(Some(&known), Some(&own))
        })
    };
    stage.objects.retain(|object| !is_copy(object));
}

/// Removes the packages of kept libraries from a line; `None` if no other package owns it.
pub(super) fn without_kept(
    mut line: ContentsLine,
    kept: &BTreeMap<PkgInst, Installed>,
) -> Option<ContentsLine> {
    line.owners.retain(|owner| !kept.contains_key(&owner.package));
    (!line.owners.is_empty()).then_some(line)
}

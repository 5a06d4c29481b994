//! What is known of the patches of a root: their state, their date, their undo data.

use std::collections::BTreeMap;

use crate::database::{DatabaseError, all, installed, policy, read_consistently};
use crate::inventory::{Installed, Inventory, Save};
use crate::operation::failure::Failure;
use crate::operation::patches::removable::removable;
use crate::operation::session::{RootAndPolicy, must_have_database};
use crate::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchRecords, Superseded};

/// An applied patch with everything that the records say of it.
#[derive(Clone, Debug)]
pub struct InspectedPatch {
    /// The patch and its relations.
    pub patch: AppliedPatch,
    /// What it is worth: `effective`, `superseded`, `obsoleted`, or `interrupted` where a tool without recovery left it
    /// half applied; `restricted` beside these.
    pub state: Vec<&'static str>,
    /// By which patch it is superseded or obsoleted.
    pub by: Option<String>,
    /// When it was applied, as recorded.
    pub date: Option<String>,
    /// On which machine.
    pub host: Option<String>,
    /// Its undo data, package by package.
    pub undo: Vec<UndoData>,
    /// Whether it could be backed out, as far as records, manifests and lists of paths say; undo archives are not
    /// verified.
    pub is_removable: bool,
}

/// The undo data of a patch in one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoData {
    /// The package.
    pub package: PkgInst,
    /// Bytes of the archive; none where it is kept elsewhere.
    pub bytes: Option<u64>,
    /// Whether there is any.
    pub is_there: bool,
}

/// All applied patches, and those that a tool without recovery left half applied, in the order of listings.
pub fn inspect(root: &Root) -> Result<Vec<InspectedPatch>, Failure> {
    must_have_database(root)?;
    let policy = policy::of_root(root)?;
    let ground = RootAndPolicy::of(root).ok();
    let (applied, packages, removable) = read_consistently(root, |view| {
        let found = all::each(view, |package| {
            let inst = package.inst();
            let Some(found) = installed::seen(package.view(), inst)? else {
                // A directory without pkginfo is damage, unless somebody is at work on it.
                return package.params().map(|_| None);
            };
            let applied = installed::patch_records(root, inst, &found.params, &policy.separator)?;
            Ok::<_, DatabaseError>(Some((applied, (inst.clone(), found))))
        })?;
        let (applied, packages): (Vec<_>, BTreeMap<_, _>) = found.into_iter().unzip();
        let applied = AppliedPatches::new(applied);
        let mut inventory = Inventory { packages, ..Inventory::default() };
        let removable = removable(view, ground.as_ref(), &policy, &applied, &mut inventory)?;
        Ok::<_, Failure>((applied, inventory.packages, removable))
    })?;
    let half: Vec<Interrupted> = packages
        .iter()
        .flat_map(|(package, installed)| interrupted(package, installed, &policy.separator))
        .collect();
    let put_aside = put_aside(root, &packages, &half, &policy.separator)?;
    let one = |all: &AppliedPatches, patch: &AppliedPatch| {
        let (mut state, by) = match all.superseded(&patch.id) {
            None if half.iter().any(|half| half.patch == patch.id) => (vec!["interrupted"], None),
            None => (vec!["effective"], None),
            Some(Superseded::Revision(later)) => (vec!["superseded"], Some(later.to_string())),
            Some(Superseded::Obsoletion(by)) => (vec!["obsoleted"], by.by.map(ToString::to_string)),
        };
        if policy.is_restricted(patch.id.base()) {
            state.push("restricted");
        }
        let info = all.packages().iter().find_map(|package| package.installed(&patch.id));
        InspectedPatch {
            state,
            by,
            date: info.map(|info| info.date.clone()),
            host: info.map(|info| info.host.clone()),
            undo: undo_data(patch, &packages),
            is_removable: removable.contains(&patch.id) && !half.iter().any(|half| half.patch == patch.id),
            patch: patch.clone(),
        }
    };
    let is_only_aside = |patch: &&AppliedPatch| {
        applied.get(&patch.id).is_none() && half.iter().any(|half| half.patch == patch.id)
    };
    let mut all: Vec<InspectedPatch> = applied.iter().map(|patch| one(&applied, patch)).collect();
    all.extend(put_aside.iter().filter(is_only_aside).map(|patch| one(&put_aside, patch)));
    all.sort_by(|one, other| one.patch.id.cmp(&other.patch.id));
    Ok(all)
}

/// The patches of the records that were put aside when a patch was left half applied.
fn put_aside(
    root: &Root,
    packages: &BTreeMap<PkgInst, Installed>,
    half: &[Interrupted],
    separator: &str,
) -> Result<AppliedPatches, Failure> {
    let of = |(package, installed): (&PkgInst, &Installed)| {
        let is_half = half.iter().any(|half| half.is_put_aside && half.package == *package);
        let params = installed.interruption.put_aside.as_ref().filter(|_| is_half)?;
        Some(installed::patch_records(root, package, params, separator))
    };
    let applied: Result<Vec<PatchRecords>, DatabaseError> = packages.iter().filter_map(of).collect();
    Ok(AppliedPatches::new(applied?))
}

fn undo_data(patch: &AppliedPatch, packages: &BTreeMap<PkgInst, Installed>) -> Vec<UndoData> {
    let of = |(package, installed): (&PkgInst, &Installed)| {
        let save = installed.saves.get(patch.id.as_str());
        UndoData {
            package: package.clone(),
            bytes: save.filter(|save| save.archive.is_some()).map(|save| save.size),
            is_there: save.is_some_and(Save::has_archive),
        }
    };
    packages.iter().filter(|(package, _)| patch.packages.contains(package)).map(of).collect()
}

//! The patched tree compared with the packages that the patches must make, as two releases are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use patchadm_making::build::{ChangeKind, CompareOptions, compare};
use patchadm_making::release::{
    LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, ReleasePackage, Upkeep, objects_at,
    open_packages,
};
use patchadm_rootfs::{Root, accounts_of};
use patchadm_svr4::package::{Accounts, ObjectPath};

use super::error::TrialServeError;
use super::order::TrialOrder;

/// The classes whose files are installed as they are; others have scripts that may change them.
const AS_THEY_ARE: [&str; 3] = ["", "none", "preserve"];

/// Returns the paths of the released and the new packages at which the tree is not as the new packages have it, with the
/// difference.
pub(super) fn compare_with_packages(
    root: &Root,
    packages: &Path,
    order: &TrialOrder,
) -> Result<Vec<String>, TrialServeError> {
    let mut expected = objects_of(packages, &order.expected)?;
    let mut paths: BTreeSet<ObjectPath> = expected.keys().cloned().collect();
    paths.extend(objects_of(packages, &order.released)?.into_keys());
    let paths: Vec<ObjectPath> = paths.into_iter().collect();
    let mut found = objects_at(root, &paths)?;
    let accounts = accounts_of(root, root)?;
    for object in &mut found {
        if let Some(expected) = expected.get_mut(&object.path) {
            align(expected, object, order.has_owners.then_some(&accounts));
        }
    }
    let expected: Vec<ReleaseObject> = expected.into_values().collect();
    let is_directory = |path: &ObjectPath| {
        found
            .iter()
            .any(|object| object.path == *path && matches!(object.kind, ReleaseObjectKind::Directory { .. }))
    };
    let changes = compare(&expected, &found, CompareOptions::default()).changes;
    let told = changes.iter().filter_map(|change| match &change.kind {
        ChangeKind::Deleted => Some(format!("{} is missing", change.path)),
        // A directory may be that of others, too.
        ChangeKind::Added if is_directory(&change.path) => None,
        ChangeKind::Added => Some(format!("{} is still there", change.path)),
        ChangeKind::Replaced(differences) => Some(format!("{}: {differences}", change.path)),
    });
    Ok(told.collect())
}

/// Returns the objects of packages where they are installed. Of a directory of several packages only that it is one counts.
fn objects_of(
    packages: &Path,
    files: &[String],
) -> Result<BTreeMap<ObjectPath, ReleaseObject>, TrialServeError> {
    let entries: Vec<PathBuf> = files.iter().map(|file| packages.join(file)).collect();
    let release = open_packages("the packages", &entries, 1, &|_| true)?;
    let mut objects: BTreeMap<ObjectPath, ReleaseObject> = BTreeMap::new();
    let mut groups = 0;
    for package in &release.packages {
        let base = base_of(package)?;
        let mut highest = groups;
        for object in &package.objects {
            let mut object = object.clone();
            object.path = base.join(object.path.relative())?;
            if let ReleaseObjectKind::File { links: Some(LinkGroup(group)), .. } = &mut object.kind {
                *group += groups;
                highest = highest.max(*group + 1);
            }
            objects.insert(object.path.clone(), object);
        }
        groups = highest;
    }
    Ok(objects)
}

/// Returns the directory below which a package is installed.
fn base_of(package: &ReleasePackage) -> Result<ObjectPath, TrialServeError> {
    let base = package.svr4.as_ref().and_then(|svr4| svr4.params.get("BASEDIR")).map(<[u8]>::trim_ascii);
    match base {
        None | Some(b"") => Ok(ObjectPath::root()),
        Some(base) => Ok(ObjectPath::new(base)?),
    }
}

/// Makes two objects alike in what a tree cannot say, or an installation may change.
fn align(expected: &mut ReleaseObject, found: &mut ReleaseObject, accounts: Option<&Accounts>) {
    let as_is = AS_THEY_ARE.contains(&&*expected.class);
    match (&mut expected.kind, &found.kind) {
        (
            ReleaseObjectKind::File { content, upkeep, .. },
            ReleaseObjectKind::File { content: of_tree, .. },
        ) => {
            *upkeep = Upkeep::default();
            if !as_is {
                content.clone_from(of_tree);
            }
        }
        (ReleaseObjectKind::Directory { exclusive }, _) => *exclusive = false,
        _ => {}
    }
    let is_user = |owner: &ObjectOwner| {
        owner.name.as_ref().is_some_and(|name| accounts.is_some_and(|all| all.uid(name).is_some()))
    };
    let is_group = |owner: &ObjectOwner| {
        owner.name.as_ref().is_some_and(|name| accounts.is_some_and(|all| all.gid(name).is_some()))
    };
    if !is_user(&expected.owner) {
        expected.owner = found.owner.clone();
    }
    if !is_group(&expected.group) {
        expected.group = found.group.clone();
    }
    // Extended attributes of packages are only those of other formats.
    expected.xattrs.clone_from(&found.xattrs);
}

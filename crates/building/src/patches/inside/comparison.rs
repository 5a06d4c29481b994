//! The patched tree compared with the packages that the patches must make, as two releases are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::slice;

use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::{DatabaseError, RecordView};
use patchadm_making::release::{ReleasePackage, objects_at, open_packages};
use patchadm_releases::{ChangeKind, CompareOptions, compare};
use patchadm_releases::{LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Root, accounts_of};
use patchadm_svr4::package::{Accounts, ObjectPath};

use super::error::TrialServeError;
use super::order::{ChangedObject, TrialOrder};

/// The classes whose files are installed as they are; others have scripts that may change them.
const AS_THEY_ARE: [&str; 3] = ["", "none", "preserve"];

/// Returns the paths of the released and the new packages at which the tree is not as the new packages have it, with the
/// difference.
pub(super) fn compare_with_packages(
    root: &Root,
    packages: &Path,
    order: &TrialOrder,
) -> Result<Vec<String>, TrialServeError> {
    let mut paths: BTreeSet<ObjectPath> = BTreeSet::new();
    paths.extend(objects_of(packages, &order.released)?.into_keys());
    let expected = objects_of(packages, &order.expected)?;
    let differences = differences(root, expected, paths, order.has_owners)?;
    Ok(differences.into_iter().map(|(_, difference)| difference).collect())
}

/// Returns the first object of the new packages that is not installed as they deliver it, or not recorded. What keeps the tree
/// from being looked at is such a change, too: packages alone have written there.
pub(super) fn first_change(
    root: &Root,
    packages: &Path,
    order: &TrialOrder,
) -> Result<Option<ChangedObject>, TrialServeError> {
    let expected = objects_of(packages, &order.expected)?;
    let paths: Vec<ObjectPath> = expected.keys().cloned().collect();
    let of_tree = |error: &dyn std::fmt::Display| ChangedObject { package: None, how: error.to_string() };
    let changed = match differences(root, expected, BTreeSet::new(), order.has_owners) {
        Ok(differences) => differences.into_iter().next(),
        Err(TrialServeError::Tree(error)) => return Ok(Some(of_tree(&error))),
        Err(error) => return Err(error),
    };
    let changed = match changed {
        None => match unrecorded(root, &paths) {
            Ok(path) => path.map(|path| (path.clone(), format!("{path} is recorded no more"))),
            Err(error) => return Ok(Some(of_tree(&error))),
        },
        changed => changed,
    };
    let Some((path, how)) = changed else { return Ok(None) };
    for (number, file) in order.expected.iter().enumerate() {
        if objects_of(packages, slice::from_ref(file))?.contains_key(&path) {
            return Ok(Some(ChangedObject { package: Some(number), how }));
        }
    }
    Ok(Some(ChangedObject { package: None, how }))
}

/// Returns the first of these paths that has no line in the records.
fn unrecorded<'p>(root: &Root, paths: &'p [ObjectPath]) -> Result<Option<&'p ObjectPath>, DatabaseError> {
    let resolver = root.resolver();
    let mut places = BTreeSet::new();
    for path in paths {
        places.extend([path.clone(), resolver.locate_object(path)?]);
    }
    let lines = lines_of_paths(&RecordView::live(root), &places)?;
    for path in paths {
        if !lines.contains_key(path) && !lines.contains_key(&resolver.locate_object(path)?) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Returns the paths of expected objects, and of these paths, at which the tree differs, with the difference.
fn differences(
    root: &Root,
    mut expected: BTreeMap<ObjectPath, ReleaseObject>,
    mut paths: BTreeSet<ObjectPath>,
    has_owners: bool,
) -> Result<Vec<(ObjectPath, String)>, TrialServeError> {
    paths.extend(expected.keys().cloned());
    let paths: Vec<ObjectPath> = paths.into_iter().collect();
    let mut found = objects_at(root, &paths).map_err(TrialServeError::Tree)?;
    let accounts = accounts_of(root, root)?;
    for object in &mut found {
        if let Some(expected) = expected.get_mut(&object.path) {
            align(expected, object, has_owners.then_some(&accounts));
        }
    }
    let expected: Vec<ReleaseObject> = expected.into_values().collect();
    let is_directory = |path: &ObjectPath| {
        found
            .iter()
            .any(|object| object.path == *path && matches!(object.kind, ReleaseObjectKind::Directory { .. }))
    };
    let changes = compare(&expected, &found, CompareOptions::default()).changes;
    let told = changes.iter().filter_map(|change| {
        let told = match &change.kind {
            ChangeKind::Deleted => format!("{} is missing", change.path),
            // A directory may be that of others, too.
            ChangeKind::Added if is_directory(&change.path) => return None,
            ChangeKind::Added => format!("{} is still there", change.path),
            ChangeKind::Replaced(differences) => format!("{}: {differences}", change.path),
        };
        Some((change.path.clone(), told))
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

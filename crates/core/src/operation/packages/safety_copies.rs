//! The safety copies that are made before scripts run, so that everything that they may touch can be put back.

use std::collections::BTreeSet;

use patchadm_changeset::transaction::{ProtectedObject, ProtectedPaths};
use patchadm_planning::plan::script_schedule::steps::Concerned;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// Collects everything that scripts of some packages may touch.
pub(crate) fn safety_copies<'c>(concerned: impl IntoIterator<Item = &'c Concerned>) -> ProtectedPaths {
    let mut all = Concerned::default();
    for one in concerned {
        for (path, editable) in &one.objects {
            *all.objects.entry(path.clone()).or_default() |= editable;
        }
        all.trees.extend(one.trees.iter().cloned());
        for file in &one.files {
            if !all.files.contains(file) {
                all.files.push(file.clone());
            }
        }
    }
    let objects = all.objects.into_iter().map(|(path, editable)| ProtectedObject { path, editable });
    all.files.push(places::unprivileged());
    ProtectedPaths { objects: objects.collect(), trees: all.trees, files: all.files }
}

/// Adds objects that are not copied already.
pub(crate) fn add_objects<'p>(copies: &mut ProtectedPaths, paths: impl IntoIterator<Item = &'p ObjectPath>) {
    let mut known: BTreeSet<ObjectPath> = copies.objects.iter().map(|object| object.path.clone()).collect();
    for path in paths {
        if known.insert(path.clone()) {
            copies.objects.push(ProtectedObject { path: path.clone(), editable: false });
        }
    }
}

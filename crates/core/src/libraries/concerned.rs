//! The programs that a change can concern, and the libraries that no program loads: the others load the same before the
//! change, after it, and with any of the candidates.
//!
//! Every program is loaded once, in the tree after the change. Who comes to no path and to no name at which one of the
//! trees differs from another is done with.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashSet;

use super::change::{CandidateNode, LibraryChange};
use super::differences::Differences;
use super::loading::{Loader, Loading};
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree};
use patchadm_svr4::package::ObjectPath;

/// Files, by identity.
type Files = HashSet<*const LibraryFile>;

/// Returns whom a change concerns: programs of the tree after it, and libraries that no program loads there. The loader is
/// that of the tree after the change, and notices its [`differences`].
pub(super) fn concerned(change: &LibraryChange<'_>, loader: &mut Loader<'_>) -> BTreeSet<ObjectPath> {
    let mut found = BTreeSet::new();
    let mut loaded = Files::default();
    for path in programs(change.after) {
        let Some(loading) = loader.load(path) else { continue };
        if loader.take_met() {
            found.insert(path.clone());
        }
        loaded.extend(files(&loading));
    }
    for path in not_among(change.after, &loaded) {
        if loader.load(path).is_some() && loader.take_met() {
            found.insert(path.clone());
        }
    }
    found
}

/// Returns everybody, whether a change concerns him or not.
#[cfg(test)]
pub(super) fn everybody(change: &LibraryChange<'_>, _: &mut Loader<'_>) -> BTreeSet<ObjectPath> {
    starting_points(change.after, change.settings)
}

/// Returns all programs of a tree, and the libraries that no program loads.
pub(super) fn starting_points(tree: &LibraryTree, settings: &LoaderSettings) -> BTreeSet<ObjectPath> {
    let mut loader = Loader::new(tree, settings);
    let mut loaded = Files::default();
    for loading in programs(tree).filter_map(|path| loader.load(path)) {
        loaded.extend(files(&loading));
    }
    programs(tree).chain(not_among(tree, &loaded)).cloned().collect()
}

/// The paths at which the trees of a change differ, with and without candidates.
pub(super) fn differences(change: &LibraryChange<'_>) -> Differences {
    let paths =
        change.before.unlike(change.after).into_iter().chain(change.candidates.keys()).chain(change.brought);
    let mut differences = Differences::default();
    for path in paths {
        let candidate = match change.candidates.get(path).map(|candidate| &candidate.node) {
            Some(CandidateNode::File(file)) => Some(file),
            _ => None,
        };
        let files = [change.before.file_at(path), change.after.file_at(path), candidate];
        differences.add(path, files.into_iter().flatten().map(Arc::as_ref));
    }
    differences
}

fn programs(tree: &LibraryTree) -> impl Iterator<Item = &ObjectPath> {
    tree.files().filter(|(_, file)| file.facts.is_program()).map(|(path, _)| path)
}

/// The libraries and programs that are not among some files.
fn not_among<'t>(tree: &'t LibraryTree, files: &Files) -> impl Iterator<Item = &'t ObjectPath> {
    let rest =
        tree.files().filter(|(_, file)| !file.facts.is_program() && !files.contains(&Arc::as_ptr(file)));
    rest.map(|(path, _)| path)
}

/// The files of a loading.
fn files(loading: &Loading) -> impl Iterator<Item = *const LibraryFile> + use<'_> {
    loading.objects.iter().map(|object| Arc::as_ptr(&object.way.file))
}

//! Programs, and the libraries that no program loads: every other library is loaded by one of these. Those that reach
//! no path and no name at which some trees differ load the same in all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::{CandidateNode, LibraryChange};
use super::differences::Differences;
use super::loading::{Loader, Loading};
use super::settings::LoaderSettings;
use super::tree::LibraryTree;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

/// Loads every program of the loader's tree, and every library that none of them loads, each once. `visit` is told whether
/// it came to one of the loader's differences.
pub(super) fn load_all(
    loader: &mut Loader<'_>,
    tree: &LibraryTree,
    visit: &mut dyn FnMut(&ObjectPath, &Loading, bool),
) {
    let mut is_loaded: Vec<bool> = Vec::new();
    let mut loading = loader.nothing();
    loader.take_met();
    for (path, _) in tree.files().filter(|(_, file)| file.facts.is_program()) {
        if !loader.load_over(&mut loading, path) {
            continue;
        }
        for object in &loading.objects {
            if is_loaded.len() <= object.file {
                is_loaded.resize(object.file + 1, false);
            }
            is_loaded[object.file] = true;
        }
        visit(path, &loading, loader.take_met());
    }
    for (path, file) in tree.files().filter(|(_, file)| !file.facts.is_program()) {
        let number = loader.file_number(file);
        if number.is_some_and(|number| is_loaded.get(number) == Some(&true)) {
            continue;
        }
        if loader.load_over(&mut loading, path) {
            visit(path, &loading, loader.take_met());
        }
    }
}

/// Returns all programs of a tree, and the libraries that no program loads.
pub(super) fn starting_points(
    tree: &LibraryTree,
    settings: &LoaderSettings,
    interrupt: Interrupt<'_>,
) -> BTreeSet<ObjectPath> {
    let mut found = BTreeSet::new();
    load_all(&mut Loader::new(tree, settings).ended_by(interrupt), tree, &mut |path, _, _| {
        found.insert(path.clone());
    });
    found
}

/// Returns the paths at which the trees of a change differ, with and without candidates.
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

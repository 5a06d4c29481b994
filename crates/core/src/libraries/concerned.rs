//! The programs that a change can concern, and the libraries that no program loads: the others load the same before the
//! change, after it, and with any of the candidates.
//!
//! Every program is loaded once, in the tree after the change. Who comes to no path and to no name at which one of the
//! trees differs from another is done with.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::change::{CandidateNode, LibraryChange};
use super::differences::Differences;
use super::loading::{Loader, Loading};
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree};
use patchadm_svr4::package::ObjectPath;

/// Who is looked at, sorted.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Programs of the tree after the change, and libraries that no program loads there.
    pub(super) after: BTreeSet<ObjectPath>,
    /// The same of the tree before; none where nothing is kept already, because then nobody asks.
    pub(super) before: BTreeSet<ObjectPath>,
}

/// Files, by identity.
type Files = HashSet<*const LibraryFile>;

impl Concerned {
    /// Finds out whom a change concerns.
    pub(super) fn of(change: &LibraryChange<'_>) -> Self {
        let differences = differences(change);
        let mut found = Self::default();
        let mut same = SameAsBefore::default();
        let mut loaded = Files::new();
        let mut loader = Loader::noticing(change.after, change.settings, &differences);
        for path in programs(change.after) {
            let Some(loading) = loader.load(path) else { continue };
            if loader.take_met() {
                found.after.insert(path.clone());
            } else {
                same.starts.insert(path);
                same.loaded.extend(files(&loading));
            }
            loaded.extend(files(&loading));
        }
        for path in not_among(change.after, &loaded) {
            if loader.load(path).is_some() && loader.take_met() {
                found.after.insert(path.clone());
            } else {
                same.starts.insert(path);
            }
        }
        if change.candidates.keys().any(|path| change.is_kept_already(path)) {
            found.before = same.concerned_before(change, &differences);
        }
        found
    }

    /// Takes all programs, and all libraries that no program loads.
    #[cfg(test)]
    pub(super) fn everybody(change: &LibraryChange<'_>) -> Self {
        let all = |tree| starting_points(tree, change.settings);
        Self { after: all(change.after), before: all(change.before) }
    }
}

/// Returns all programs of a tree, and the libraries that no program loads.
pub(super) fn starting_points(tree: &LibraryTree, settings: &LoaderSettings) -> BTreeSet<ObjectPath> {
    let mut loader = Loader::new(tree, settings);
    let mut loaded = Files::new();
    for loading in programs(tree).filter_map(|path| loader.load(path)) {
        loaded.extend(files(&loading));
    }
    programs(tree).chain(not_among(tree, &loaded)).cloned().collect()
}

/// What is the same before a change and after it.
#[derive(Default)]
struct SameAsBefore<'t> {
    starts: HashSet<&'t ObjectPath>,
    /// What the programs among them load.
    loaded: Files,
}

impl SameAsBefore<'_> {
    fn concerned_before(
        mut self,
        change: &LibraryChange<'_>,
        differences: &Differences,
    ) -> BTreeSet<ObjectPath> {
        let mut concerned = BTreeSet::new();
        let mut loader = Loader::noticing(change.before, change.settings, differences);
        for path in programs(change.before).filter(|path| !self.starts.contains(*path)) {
            self.loaded.extend(loader.load(path).iter().flat_map(files));
            concerned.insert(path.clone());
        }
        loader.take_met();
        for path in not_among(change.before, &self.loaded).filter(|path| !self.starts.contains(*path)) {
            if loader.load(path).is_some() && loader.take_met() {
                concerned.insert(path.clone());
            }
        }
        concerned
    }
}

/// The paths at which the trees of a change differ, with and without candidates.
fn differences(change: &LibraryChange<'_>) -> Differences {
    let paths = change.before.unlike(change.after).chain(change.candidates.keys()).chain(change.brought);
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

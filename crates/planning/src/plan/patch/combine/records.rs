//! The records of several patches as one run leaves them: the last word on each file counts, and what happens to a file
//! in a directory that the same run makes happens in that directory before it is there.

use std::collections::HashMap;

use crate::plan::{Plan, RecordChange, TreeContent, TreeFile};
use patchadm_svr4::package::ObjectPath;

/// The records of `plans`, with undo archives numbered over all of them.
pub(super) fn folded<'p>(plans: impl Iterator<Item = &'p Plan>) -> Vec<RecordChange> {
    let mut records = CombinedRecords::default();
    let mut archives = 0;
    for plan in plans {
        for record in &plan.records {
            records.add(record, archives);
        }
        archives += plan.undo.len();
    }
    records.list
}

/// The changes so far, in the order in which their records came up first.
#[derive(Default)]
struct CombinedRecords {
    list: Vec<RecordChange>,
    /// The place of each record that is written or removed, and of each directory that is added.
    places: HashMap<ObjectPath, usize>,
}

impl CombinedRecords {
    fn add(&mut self, record: &RecordChange, archives: usize) {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let content = TreeContent::Bytes(bytes.clone());
                let file = |name| TreeFile { name, content, mode: *mode, mtime: *mtime };
                match self.tree_of(path) {
                    Some((files, name)) => put(files, file(name)),
                    None => self.set(path, record.clone()),
                }
            }
            RecordChange::AddTree { path, files } => {
                self.spread_tree_above(path);
                let files = files.iter().cloned().map(|file| renumbered(file, archives)).collect();
                self.add_tree(path, RecordChange::AddTree { path: path.clone(), files });
            }
            RecordChange::RemoveFile(path) => match self.tree_of(path) {
                Some((files, name)) => files.retain(|file| file.name != name),
                None => self.set(path, record.clone()),
            },
            RecordChange::Move { from, to } => match (self.tree_of(from).map(|(_, name)| name), to) {
                (Some(old), to) => {
                    if let Some((files, new)) = self.tree_of(to)
                        && let Some(file) = files.iter_mut().find(|file| file.name == old)
                    {
                        file.name = new;
                    }
                }
                (None, _) => self.list.push(record.clone()),
            },
            RecordChange::RemoveTree(path) => self.remove_tree(path),
            RecordChange::Copy { path, .. } => self.set(path, record.clone()),
            RecordChange::Undo { path, archive, part } => {
                let (archive, part) = (archive + archives, part.clone());
                self.set(path, RecordChange::Undo { path: path.clone(), archive, part });
            }
            RecordChange::Ledger(change) => {
                let known = self.places.get(&change.path).and_then(|place| self.list.get_mut(*place));
                match known {
                    Some(RecordChange::Ledger(known)) => known.add(change),
                    _ => self.set(&change.path, record.clone()),
                }
            }
        }
    }

    /// A directory that goes. One that the run itself would have made never comes.
    fn remove_tree(&mut self, path: &ObjectPath) {
        let is_in = |record: &RecordChange| record.path() == path || record.path().is_below(path);
        let is_made = |record: &RecordChange| matches!(record, RecordChange::AddTree { path: made, .. } if made == path);
        let came = self.list.iter().any(is_made);
        let was_there = !came
            || self
                .list
                .iter()
                .any(|record| matches!(record, RecordChange::RemoveTree(gone) if gone == path));
        self.keep(|record| !is_in(record));
        if was_there {
            self.set(path, RecordChange::RemoveTree(path.clone()));
        }
    }

    /// A directory that comes: in the place of one that goes, it comes after that.
    fn add_tree(&mut self, path: &ObjectPath, record: RecordChange) {
        let known = self.places.get(path).and_then(|place| self.list.get(*place));
        if matches!(known, Some(RecordChange::RemoveTree(_))) {
            self.places.insert(path.clone(), self.list.len());
            self.list.push(record);
        } else {
            self.set(path, record);
        }
    }

    /// Spreads the new directory that a directory comes into: each of its files is a record of its own then, and the other
    /// directory comes beside them.
    fn spread_tree_above(&mut self, path: &ObjectPath) {
        let Some((tree, place)) = self.tree_above(path) else { return };
        let Some(RecordChange::AddTree { files, .. }) = self.list.get(place) else { return };
        let Some(files) = spread(&tree, files) else { return };
        self.keep(|record| !matches!(record, RecordChange::AddTree { path, .. } if *path == tree));
        for record in files {
            self.set(&record.path().clone(), record);
        }
    }

    /// Drops all other changes.
    fn keep(&mut self, is_kept: impl Fn(&RecordChange) -> bool) {
        self.list.retain(is_kept);
        self.places = self.list.iter().enumerate().map(|(at, record)| (record.path().clone(), at)).collect();
    }

    /// The last word on a record.
    fn set(&mut self, path: &ObjectPath, record: RecordChange) {
        if let Some(known) = self.places.get(path).and_then(|place| self.list.get_mut(*place)) {
            *known = record;
        } else {
            self.places.insert(path.clone(), self.list.len());
            self.list.push(record);
        }
    }

    /// The directory, added by the run, that a path is in, and the place of its change.
    fn tree_above(&self, path: &ObjectPath) -> Option<(ObjectPath, usize)> {
        path.ancestors().find_map(|above| {
            let place = *self.places.get(&above)?;
            matches!(self.list.get(place), Some(RecordChange::AddTree { .. })).then_some((above, place))
        })
    }

    /// The files of the directory, added by the run, that a file is in, and the name of the file there.
    fn tree_of(&mut self, path: &ObjectPath) -> Option<(&mut Vec<TreeFile>, Vec<u8>)> {
        let (above, place) = self.tree_above(path)?;
        let name = path.as_bytes().get(above.as_bytes().len() + 1..)?.to_vec();
        match self.list.get_mut(place) {
            Some(RecordChange::AddTree { files, .. }) => Some((files, name)),
            _ => None,
        }
    }
}

fn put(files: &mut Vec<TreeFile>, file: TreeFile) {
    match files.iter_mut().find(|known| known.name == file.name) {
        Some(known) => *known = file,
        None => files.push(file),
    }
}

/// The files and directories of a new directory, each as a record of its own; none where one of them is undo data.
fn spread(path: &ObjectPath, files: &[TreeFile]) -> Option<Vec<RecordChange>> {
    let one = |file: &TreeFile| {
        let path = path.join(&file.name).ok()?;
        match &file.content {
            TreeContent::Bytes(bytes) => {
                Some(RecordChange::Write { path, bytes: bytes.clone(), mode: file.mode, mtime: file.mtime })
            }
            TreeContent::Directory => Some(RecordChange::AddTree { path, files: Vec::new() }),
            _ => None,
        }
    };
    files.iter().map(one).collect()
}

fn renumbered(mut file: TreeFile, archives: usize) -> TreeFile {
    if let TreeContent::Undo(place) | TreeContent::UndoDigest(place) | TreeContent::Manifest(place) =
        &mut file.content
    {
        *place += archives;
    }
    file
}

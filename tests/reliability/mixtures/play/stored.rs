//! The forms of undo data in a story: undo data is rewritten in another form, and a file that undo data kept as it was
//! comes back itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::Play;
use crate::reliability::mixtures::story::{BASEDIR, PACKAGE};
use crate::scenario::Scenario;
use crate::undo_forms::{form_in, with_undo};

impl Play<'_> {
    /// The form that the undo data of a patch has.
    pub(super) fn form(&self, number: usize) -> Option<&'static str> {
        let id = self.patches[number].id();
        form_in(&self.scenario.at(&format!("/var/sadm/pkg/{PACKAGE}/save/{id}")))
    }

    /// Rewrites undo data in another form now and then; nothing else changes.
    pub(super) fn repack(&mut self) {
        let ids: Vec<String> = self.applied.iter().map(|number| self.patches[*number].id()).collect();
        if let Some(line) = self.forms.repack(&with_undo(&self.scenario, PACKAGE, &ids)) {
            self.repack_by(&line);
            self.count("repacked");
        }
    }

    pub(super) fn repack_by(&mut self, line: &str) {
        let run = self.run(line);
        if self.succeeds(&run, "repack") {
            self.is_unchanged(&run, "repack");
        }
        self.forget_repacked();
    }

    /// Forgets the inodes of files in archives, which come back as other files.
    pub(super) fn forget_repacked(&mut self) {
        for number in self.applied.clone() {
            if self.form(number) != Some("files") {
                let stored = self.stored.get_mut(&number).into_iter().flat_map(BTreeMap::values_mut);
                stored.for_each(|inode| *inode = None);
            }
        }
    }

    /// Records the files that a patch, which was just applied, has replaced or deleted.
    pub(super) fn store(&mut self, number: usize, before: &BTreeMap<String, u64>) {
        let now = inodes(&self.scenario);
        let is_gone = |(path, inode): &(&String, &u64)| now.get(*path) != Some(*inode);
        let gone = before.iter().filter(is_gone).map(|(path, inode)| (path.clone(), Some(*inode)));
        self.stored.insert(number, gone.collect());
        self.forget_repacked();
        if self.form(number) == Some("files") {
            self.count("applied with old files kept");
        }
    }

    /// The bytes of undo data as files, by patch.
    pub(super) fn undo_files(&self) -> BTreeMap<usize, Vec<u8>> {
        let save = |number: usize| {
            let id = self.patches[number].id();
            self.scenario.at(&format!("/var/sadm/pkg/{PACKAGE}/save/{id}"))
        };
        let read = |number: usize| {
            let names = ["undo.files", "obsolete.files"];
            names.iter().find_map(|name| fs::read(save(number).join(name)).ok())
        };
        self.applied.iter().filter_map(|number| Some((*number, read(*number)?))).collect()
    }

    /// Forgets inodes if a backout has rewritten the undo data of a later patch: the files in it are copies.
    pub(super) fn forget_rewritten(&mut self, before: &BTreeMap<usize, Vec<u8>>) {
        let now = self.undo_files();
        for (number, stored) in &mut self.stored {
            if before.get(number) != now.get(number) {
                stored.values_mut().for_each(|inode| *inode = None);
            }
        }
    }

    /// Accounts for the files that the undo data of a removed patch kept: a later patch with the same file has it now,
    /// or the file itself is back.
    pub(super) fn bring_back(&mut self, number: usize, way: &str) {
        let at = self.applied.iter().position(|other| *other == number).unwrap();
        let stored = self.stored.remove(&number).unwrap_or_default();
        let now = inodes(&self.scenario);
        for (path, inode) in stored {
            let has = |later: &&usize| {
                self.patches[**later].objects.contains_key(&path)
                    || self.stored.get(*later).is_some_and(|stored| stored.contains_key(&path))
            };
            if let Some(heir) = self.applied[at + 1..].iter().find(has).copied() {
                self.stored.entry(heir).or_default().insert(path, inode);
                continue;
            }
            let Some(inode) = inode.filter(|_| way == "native") else { continue };
            if now.get(&path) == Some(&inode) {
                self.count("files that came back themselves");
            } else {
                let found = format!("inode {inode} instead of {:?}", now.get(&path));
                self.differs("remove native", &format!("inode of {path}"), &found);
            }
        }
        self.forget_repacked();
    }
}

/// The inodes of the files of the package, by their paths in its directory.
pub(super) fn inodes(scenario: &Scenario) -> BTreeMap<String, u64> {
    let (top, mut found) = (scenario.at(BASEDIR), BTreeMap::new());
    let mut open = vec![top.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(&top).unwrap().display().to_string();
                found.insert(name, entry.metadata().unwrap().ino());
            }
        }
    }
    found
}

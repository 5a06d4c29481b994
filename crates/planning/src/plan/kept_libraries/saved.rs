//! The kept libraries in an undo archive (patchadm-undo(5)): those that the objects replaced by its patch need, so that
//! a backout needs nothing else, regardless of later pruning.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, SHLIBS, encode};
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PackagePath, PkgInst};

use super::settlement::KeptSettlement;
use crate::plan::{Plan, UndoPlace};
use patchadm_inputs::inventory::KeptLibraries;

/// The libraries for the last undo archive of a plan.
#[derive(Clone, Debug, Default)]
pub struct SavedLibraries {
    records: Vec<ObjectRecord>,
    entries: Vec<(PkgmapEntry, ObjectPath)>,
    files: BTreeMap<Vec<u8>, RecordFile>,
    packages: BTreeSet<String>,
    unserved: Vec<(String, String, String)>,
}

impl SavedLibraries {
    /// Takes the kept objects that do not stay, the directories that were theirs alone, and those of `needed`: what objects need that are replaced. `unserved` are
    /// the needs that were not met before the plan and are after it: object, name and digest of the object.
    pub fn of(
        before: &KeptLibraries,
        after: &KeptSettlement,
        needed: &BTreeSet<ObjectPath>,
        unserved: &BTreeSet<(ObjectPath, String, String)>,
    ) -> Self {
        let mut saved = Self::default();
        for path in before.paths() {
            let stays = after.kept.keeper(path).is_some();
            if stays && !needed.contains(path) {
                continue;
            }
            let (Some(keeper), Some(line), Some(live)) =
                (before.keeper(path), before.lines.get(path), before.live.get(path))
            else {
                continue;
            };
            saved.add(keeper, line, live, stays.then(|| after.kept.lines.get(path)).flatten());
            saved.add_files(before, keeper);
        }
        saved.add_directories(before, after);
        let escaped = |(path, name, digest): &(ObjectPath, String, String)| {
            (encode(path.as_bytes()), name.clone(), digest.clone())
        };
        saved.unserved = unserved.iter().map(escaped).collect();
        saved
    }

    fn add(&mut self, keeper: &PkgInst, line: &ContentsLine, live: &Live, after: Option<&ContentsLine>) {
        let path = &line.path;
        let Ok(written) = PackagePath::new(path.as_bytes()) else { return };
        let was = RecordedState::of(live);
        let mut object = line.object.clone();
        let member = match &live.kind {
            LiveKind::Regular { size, cksum, .. } => {
                object.content.size = Some(*size);
                object.content.cksum = Some(*cksum);
                object.content.mtime = Some(live.mtime.seconds);
                Some(encode(path.as_bytes()).into())
            }
            LiveKind::Symlink(target) => {
                object.target = Some(target.clone());
                None
            }
            LiveKind::Directory => None,
            _ => return,
        };
        if object.ftype.is_regular() == member.is_none() {
            return;
        }
        self.records.push(ObjectRecord {
            path: encode(path.as_bytes()),
            became: after.map(|_| was.clone()),
            was: Some(was),
            line: Some(encode(&line.write()).into()),
            new_line: after.map(|line| encode(&line.write()).into()),
            kept: false,
            delivered: false,
            member,
            shlib: Some(keeper.as_str().into()),
            file: None,
        });
        self.entries.push((PkgmapEntry { part: 1, path: written, object }, path.clone()));
    }

    /// Takes the directories that only kept libraries had.
    fn add_directories(&mut self, before: &KeptLibraries, after: &KeptSettlement) {
        let is_gone = |path: &ObjectPath| after.contents.get(path).is_some_and(Option::is_none);
        let directories = before.lines.iter().filter(|(_, line)| line.object.ftype.is_directory());
        for (path, line) in directories.filter(|(path, _)| is_gone(path)) {
            if let (Some(owner), Some(live)) = (line.owners.first(), before.live.get(path)) {
                self.add(&owner.package, line, live, None);
                self.add_files(before, &owner.package);
            }
        }
    }

    fn add_files(&mut self, before: &KeptLibraries, keeper: &PkgInst) {
        if !self.packages.insert(keeper.to_string()) {
            return;
        }
        let records = before.packages.get(keeper).map(|installed| &installed.records);
        for (name, file) in records.into_iter().flatten() {
            let name = [keeper.as_str().as_bytes(), b"/", name].concat();
            self.files.insert(name, file.clone());
        }
    }

    /// Tells whether there is nothing to be saved.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.unserved.is_empty()
    }

    /// Returns the bytes of the objects.
    pub fn size(&self) -> u64 {
        self.entries.iter().filter_map(|(entry, _)| entry.object.content.size).sum()
    }

    /// Gives it to the last undo archive of a plan.
    pub fn put_into(self, plan: &mut Plan) {
        let Some(archive) = plan.undo.last_mut().filter(|_| !self.is_empty()) else { return };
        let header = &mut archive.manifest.header;
        header.features.push(SHLIBS.to_owned());
        header.kept = self.packages.into_iter().collect();
        header.unserved = self.unserved;
        let saves_nothing = archive.place == UndoPlace::ManifestOnly;
        let records = self.records.into_iter().map(|record| {
            let member = record.member.clone().filter(|_| !saves_nothing);
            ObjectRecord { member, ..record }
        });
        archive.manifest.shlibs = records.collect();
        if !saves_nothing {
            archive.saved.extend(self.entries);
            archive.kept_records = self.files;
        }
    }
}

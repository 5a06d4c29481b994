//! Stages one record directory with the undo archives in it. Several are staged side by side: an archive of a few objects is
//! compressed by one thread, so a run of many patches would use one core only.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use crate::format::journal::{Identity, JournalArchive};
use crate::format::manifest::ObjectRecord;
use crate::format::run::Run;
use crate::format::undo_paths::UndoPaths;
use crate::plan::{Plan, TreeContent, TreeFile, UndoArchive, UndoPlace};
use crate::transaction::archive::kept_manifest;
use crate::transaction::archive::stored_names::StoredObjects;
use crate::transaction::archive::undo_archive::{self, ArchiveInput};
use crate::transaction::archive::verified::WrittenArchive;
use crate::transaction::error::Cause;
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::layout_items::{LayoutItem, ToStage};
use crate::transaction::stage::staged_files::{identity_of, record_file, record_tree};
use patchadm_rootfs::Dir;
use patchadm_svr4::package::{Mode, ObjectPath};

/// The input for staging each record directory of a run.
#[derive(Clone, Copy)]
pub(crate) struct TreeStager<'a> {
    pub(crate) run: &'a Run,
    pub(crate) plan: &'a Plan,
    pub(crate) material: ArchiveInput<'a>,
    pub(crate) watch: RunWatch<'a>,
    /// The archives already written, by their index in the plan: those outside the root.
    pub(crate) before: &'a BTreeMap<usize, WrittenArchive>,
}

/// A record directory that was staged.
pub(crate) struct StagedTree {
    pub(crate) identity: Box<Identity>,
    /// The archives in it, by their index in the plan.
    pub(crate) written: BTreeMap<usize, WrittenArchive>,
    /// The same archives as the journal lists them; a manifest alone is not among them.
    pub(crate) archives: Vec<(usize, JournalArchive)>,
}

impl TreeStager<'_> {
    /// Stages the record directory of an item as `name` in `within`; `None` for any other item.
    pub(crate) fn tree(
        &self,
        item: &LayoutItem<'_>,
        within: &Dir,
        name: &[u8],
    ) -> Result<Option<StagedTree>, Cause> {
        let Some(ToStage::Tree(files)) = item.new else { return Ok(None) };
        let (mut written, mut archives) = (BTreeMap::new(), Vec::new());
        let staged = within.at(name);
        record_tree(within, name, (files, self.run), &mut |index, dir, file| {
            let relative = dir.path().as_bytes().get(staged.as_bytes().len()..).unwrap_or_default();
            let published = item.op.path.join(relative).and_then(|at| at.join(file)).ok();
            let (archive, listed) = self.undo(index, dir, file, published)?;
            written.insert(index, archive);
            archives.extend(listed.map(|listed| (index, listed)));
            Ok(())
        })?;
        self.digests_of_others(files, &within.dir(name)?)?;
        Ok(Some(StagedTree { identity: Box::new(identity_of(within, name, None)?), written, archives }))
    }

    /// Writes the digests that stand for archives kept outside the root.
    fn digests_of_others(&self, files: &[TreeFile], dir: &Dir) -> Result<(), Cause> {
        for file in files {
            let TreeContent::UndoDigest(index) = file.content else { continue };
            let Some(written) = self.before.get(&index) else {
                return Err(Cause::Internal(format!("undo archive {index} is not written yet")));
            };
            let name = match self.plan.undo.get(index).map(|undo| &undo.place) {
                Some(UndoPlace::Remote(path)) => path.file_name().map(|name| name.as_bytes().to_vec()),
                _ => None,
            };
            self.digest(written, dir, &name.unwrap_or_else(|| b"undo".to_vec()))?;
            self.paths(index, dir)?;
        }
        Ok(())
    }

    /// Writes an undo archive into a staged save directory, with its digest beside it; or only the manifest, if the
    /// archive is not kept.
    fn undo(
        &self,
        index: usize,
        dir: &Dir,
        name: &[u8],
        published: Option<ObjectPath>,
    ) -> Result<(WrittenArchive, Option<JournalArchive>), Cause> {
        let written = self.archive(index, dir, name, published.as_ref())?;
        self.paths(index, dir)?;
        if self.plan.undo.get(index).is_some_and(|undo| undo.place == UndoPlace::ManifestOnly) {
            return Ok((written, None));
        }
        // A later patch of the run may have made the patch obsolete by now; the name is the original one.
        let first = name.strip_prefix(b"obsolete").map(|suffix| [b"undo", suffix].concat());
        self.digest(&written, dir, first.as_deref().unwrap_or(name))?;
        let staged = Some(dir.at(name));
        let files = self.material.stored.get(&index).map(StoredObjects::journal_names);
        Ok((written, Some(JournalArchive { path: published, staged, files, ..JournalArchive::default() })))
    }

    /// Writes an undo archive, or the manifest of a patch that keeps none.
    pub(crate) fn archive(
        &self,
        index: usize,
        dir: &Dir,
        name: &[u8],
        published: Option<&ObjectPath>,
    ) -> Result<WrittenArchive, Cause> {
        let undo = self.plan.undo.get(index);
        let undo = undo.ok_or_else(|| Cause::Internal(format!("there is no undo archive {index}")))?;
        if undo.place == UndoPlace::ManifestOnly {
            return kept_manifest::write(undo, self.material.digests, dir, name);
        }
        let mut file = dir.create(name)?;
        file.set_mode(Mode::of(0o600))?;
        let place = published.map(|path| dir.root().show(path)).unwrap_or_default();
        undo_archive::write(self.material, (index, undo), &mut file, &place, self.watch)
    }

    /// Writes the list of paths that a patch changed or delivers, beside its archive.
    fn paths(&self, index: usize, dir: &Dir) -> Result<(), Cause> {
        let Some(undo) = self.plan.undo.get(index) else { return Ok(()) };
        record_file(dir, b"undo.paths", &paths_text(undo), Mode::of(0o600), None).map(drop)
    }

    /// Writes the digest of the archive `name` beside it.
    fn digest(&self, written: &WrittenArchive, dir: &Dir, name: &[u8]) -> Result<(), Cause> {
        let text = undo_archive::digest_text(written, name, &self.run.to_string());
        record_file(dir, b"undo.b3", &text, Mode::of(0o600), None).map(drop)
    }
}

/// Returns the text of the list of paths that a patch changed or delivers.
pub(crate) fn paths_text(undo: &UndoArchive) -> Vec<u8> {
    let listed = undo.manifest.objects.iter().filter(|record| record.is_listed());
    let paths: Vec<ObjectPath> = listed.filter_map(ObjectRecord::object_path).collect();
    UndoPaths::write(&undo.manifest.header.root, paths.iter())
}

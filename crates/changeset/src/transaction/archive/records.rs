//! Stages the records: the merged `contents`, every `pkginfo`, and the save directories with their undo archives.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::format::journal::JournalArchive;
use crate::format::manifest::encode;
use crate::format::outside_path::OutsidePath;
use crate::format::run::Run;
use crate::ledgers::{LedgerInput, SavedArchives};
use crate::plan::{Plan, TreeContent, TreeFile, UndoPart};
use crate::records::RecordView;
use crate::transaction::archive::merged_contents::{self, StagedContents};
use crate::transaction::archive::outside::{HostDirectories, host_digest, host_path, unpublished_name};
use crate::transaction::archive::stamp::{ContentsFacts, taken_over};
use crate::transaction::archive::stored_names::StoredObjects;
use crate::transaction::archive::stored_objects::store_objects;
use crate::transaction::archive::tree_stager::{TreeStager, paths_text};
use crate::transaction::archive::undo_archive::{self, ArchiveInput};
use crate::transaction::archive::verified::WrittenArchive;
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::with_attributes;
use crate::transaction::objects::rename_support::{RenameSupport, is_not_there};
use crate::transaction::settings::RunSettings;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{Layout, LayoutItem, ToStage};
use crate::transaction::stage::safety_copies::SafetyCopies;
use crate::transaction::stage::staged_files::{copied_file, note_identity, record_file};
use crate::transaction::stage::staged_versions::StagedVersions;
use patchadm_rootfs::{Digest, Inode};
use patchadm_rootfs::{Dir, Root, side_by_side};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

pub(crate) struct RecordStager<'a, 'p> {
    pub(crate) root: &'a Root,
    pub(crate) run: &'a Run,
    pub(crate) domains: &'a OpenDomains,
    pub(crate) plan: &'p Plan,
    /// The digests of everything staged by the run so far.
    pub(crate) digests: &'a BTreeMap<ObjectPath, Digest>,
    /// The safety copies of a run with scripts.
    pub(crate) held: Option<&'a SafetyCopies<'a>>,
    /// The versions, in a run of several patches, that one patch delivers and a later one replaces.
    pub(crate) versions: &'a StagedVersions,
    pub(crate) settings: RunSettings<'a>,
    /// The archives written so far, by their index in the plan.
    pub(crate) written: BTreeMap<usize, WrittenArchive>,
    /// The undo archives as the journal lists them.
    pub(crate) archives: Vec<JournalArchive>,
    /// The archives written by earlier batches of the run.
    pub(crate) saved: SavedArchives,
    /// Where the objects lie that stay as undo data, by the index of their archive.
    pub(crate) stored: BTreeMap<usize, StoredObjects>,
    /// Notes for the operator.
    pub(crate) notes: Vec<String>,
}

impl<'p> RecordStager<'_, 'p> {
    /// Writes the archives outside the root (`-B`), before the records that name them.
    pub(crate) fn remote_archives(&mut self) -> Result<(), Cause> {
        self.archives = vec![JournalArchive::default(); self.plan.undo.len()];
        for (index, undo) in self.plan.undo.iter().enumerate() {
            let Some(path) = undo.outside(&self.run.to_string()) else { continue };
            let dir = HostDirectories::make(self.root, &path)?.package;
            let name = unpublished_name(&self.run.to_string());
            let mut file = dir.create(&name)?;
            file.set_mode(Mode::of(0o600))?;
            let place = path.display().to_string();
            let written =
                undo_archive::write(self.material(), (index, undo), &mut file, &place, self.settings.watch)?;
            file.sync()?;
            self.written.insert(index, written);
            let inode: Option<Inode> = dir.look(&name)?.map(|seen| seen.inode);
            let archive = kept_outside(&path, Some(written.b3))?;
            let outside = Some(encode(path.as_os_str().as_bytes()));
            self.archives[index] = JournalArchive { outside, inode, ..archive };
        }
        for path in &self.plan.discard {
            let discard = Some(encode(path.as_os_str().as_bytes()));
            let archive = kept_outside(path, host_digest(self.root, path)?)?;
            self.archives.push(JournalArchive { discard, ..archive });
        }
        Ok(())
    }

    fn material(&self) -> ArchiveInput<'_> {
        let Self { root, digests, held, versions, ref stored, .. } = *self;
        ArchiveInput { root, digests, held, versions, stored }
    }

    /// Finds the names of the objects that stay as undo data.
    pub(crate) fn stored_objects(&mut self, layout: &Layout<'_>) -> Result<(), Cause> {
        let run = self.run.to_string();
        self.stored =
            store_objects(self.plan, (&run, self.domains, layout), self.material(), self.settings.watch)?;
        Ok(())
    }

    /// Stages every record directory that holds an undo archive, and the undo archives of patches that stay.
    pub(crate) fn archives(&mut self, layout: &mut Layout<'p>) -> Result<(), Cause> {
        self.trees(layout, true)?;
        for item in &mut layout.items {
            let Some(ToStage::Undo(index, UndoPart::Archive | UndoPart::Manifest)) = item.new else {
                continue;
            };
            let (within, name) = place_of(self.domains, item)?;
            let written = self.tree_stager().archive(index, &within, &name, Some(&item.op.path))?;
            self.written.insert(index, written);
            let files = self.stored.get(&index).map(StoredObjects::journal_names);
            if let Some(archive) = self.archives.get_mut(index) {
                archive.files = files;
            }
            note_identity(item, &within, &name, Some(written.b3))?;
        }
        Ok(())
    }

    /// Stages all other record directories.
    pub(crate) fn directories(&mut self, layout: &mut Layout<'p>) -> Result<(), Cause> {
        self.trees(layout, false)
    }

    /// Stages record directories side by side.
    fn trees(&mut self, layout: &mut Layout<'p>, with_archive: bool) -> Result<(), Cause> {
        let is_wanted = |item: &LayoutItem<'_>| match item.new {
            Some(ToStage::Tree(files)) => files.iter().any(has_undo_data) == with_archive,
            _ => false,
        };
        let wanted: Vec<usize> =
            (0..layout.items.len()).filter(|place| layout.items.get(*place).is_some_and(is_wanted)).collect();
        let stager = self.tree_stager();
        let staged = side_by_side(self.root.workers(), wanted.len(), || {
            |at: usize| {
                let Some(item) = wanted.get(at).and_then(|place| layout.items.get(*place)) else {
                    return Ok(None);
                };
                let (within, name) = place_of(self.domains, item)?;
                stager.tree(item, &within, &name)
            }
        });
        for (place, staged) in wanted.into_iter().zip(staged) {
            let (Some(staged), Some(item)) = (staged?, layout.items.get_mut(place)) else { continue };
            item.op.new = Some(staged.identity);
            self.written.extend(staged.written);
            for (index, archive) in staged.archives {
                if let Some(known) = self.archives.get_mut(index) {
                    *known = archive;
                }
            }
        }
        Ok(())
    }

    fn tree_stager(&self) -> TreeStager<'_> {
        let (material, watch) = (self.material(), self.settings.watch);
        TreeStager { run: self.run, plan: self.plan, material, watch, before: &self.written }
    }

    /// Returns the text of a file beside an undo archive that the run writes anew, and its permission bits.
    fn beside(&self, index: usize, part: &UndoPart) -> Result<(Vec<u8>, Mode), Cause> {
        let missing = || Cause::Internal(format!("undo archive {index} is not written yet"));
        let undo = self.plan.undo.get(index).ok_or_else(missing)?;
        let run = self.run.to_string();
        Ok(match part {
            UndoPart::Paths => (paths_text(undo), Mode::of(0o600)),
            UndoPart::Pointer(before) => {
                let path = undo.outside(&run).ok_or_else(missing)?;
                let at = path.as_os_str().as_bytes();
                let pointer = RemoteArchive::new(before.medium, at, before.state)
                    .map_err(|error| Cause::Internal(error.to_string()))?;
                (pointer.write(), Mode::of(0o644))
            }
            UndoPart::Digest | UndoPart::Archive | UndoPart::Manifest => {
                let written = self.written.get(&index).ok_or_else(missing)?;
                let outside = undo.outside(&run).and_then(|path| Some(path.file_name()?.as_bytes().to_vec()));
                let name = outside.unwrap_or_else(|| format!("undo{}", undo.format.suffix()).into_bytes());
                (undo_archive::digest_text(written, &name, &run), Mode::of(0o600))
            }
        })
    }

    /// Stages all other records.
    pub(crate) fn files(&mut self, layout: &mut Layout<'p>) -> Result<(), Cause> {
        // The facts about the staged `contents`, which comes before its stamp, and the digest of the previous file.
        let mut contents = None;
        let mut facts = None;
        for item in &mut layout.items {
            self.settings.watch.check()?;
            match item.new {
                Some(ToStage::Contents) => {
                    let (within, name) = place_of(self.domains, item)?;
                    let number = self.run.number;
                    let StagedContents { facts: staged, old_b3, logged } =
                        merged_contents::stage(self.root, self.plan, item, &within, &name, number)?;
                    (facts, contents) = (staged, old_b3);
                    if logged > 0 {
                        let log = self.root.show(&places::pkglog());
                        self.notes.push(format!("{log}: {logged} changes of another tool are taken over"));
                    }
                }
                Some(ToStage::ContentsStamp) => {
                    let stamp = self.stamp(facts.take())?;
                    self.file(item, &stamp)?;
                }
                Some(ToStage::Bytes(bytes, ..)) => {
                    self.file(item, &[])?;
                    if item.client == places::contents() {
                        let new = item.op.new.as_deref();
                        facts = new
                            .and_then(|new| ContentsFacts::of_bytes(bytes, new, self.plan, self.run.number));
                    }
                }
                Some(ToStage::Copied(copied, mode)) => {
                    let (within, name) = place_of(self.domains, item)?;
                    copied_file(&within, &name, copied, (mode, None))?;
                    note_identity(item, &within, &name, Some(copied.b3))?;
                }
                Some(ToStage::Directory) => self.file(item, &[])?,
                // `archives` has already written the undo data.
                Some(
                    ToStage::Undo(_, UndoPart::Archive | UndoPart::Manifest)
                    | ToStage::Object(_)
                    | ToStage::Tree(_),
                )
                | None => {}
                Some(ToStage::Undo(index, part)) => {
                    let (text, mode) = self.beside(index, part)?;
                    let (within, name) = place_of(self.domains, item)?;
                    let digest = record_file(&within, &name, &text, mode, None)?;
                    note_identity(item, &within, &name, Some(digest))?;
                }
                Some(ToStage::Ledger(ref draft)) => {
                    let bytes = draft.bytes(&self.run.to_string(), &self.sources())?;
                    self.file(item, &bytes)?;
                }
                Some(ToStage::Attributes(_)) => attributes(item),
            }
        }
        self.notes.append(&mut taken_over(self.root, self.plan, contents)?);
        Ok(())
    }

    /// Returns the bytes of the stamp: for the `contents` that the run has staged, or else for the file of the last
    /// stamp.
    fn stamp(&self, staged: Option<ContentsFacts>) -> Result<Vec<u8>, Cause> {
        let facts = staged.or_else(|| ContentsFacts::of_last(&RecordView::live(self.root)));
        facts.map_or(Ok(Vec::new()), |facts| facts.stamp(self.root, self.plan, self.run.number))
    }

    /// Collects the input of the ledgers.
    fn sources(&self) -> LedgerInput<'_> {
        LedgerInput { root: self.root, plan: self.plan, written: &self.written, saved: &self.saved }
    }

    /// Stages a record file or directory. `made` is content known only to this run.
    fn file(&self, item: &mut LayoutItem<'p>, made: &[u8]) -> Result<(), Cause> {
        let (within, name) = place_of(self.domains, item)?;
        let digest = match item.new {
            Some(ToStage::Bytes(bytes, mode, mtime)) => {
                Some(record_file(&within, &name, bytes, mode, *mtime)?)
            }
            Some(ToStage::ContentsStamp) => Some(record_file(&within, &name, made, Mode::of(0o644), None)?),
            Some(ToStage::Ledger(_)) => Some(record_file(&within, &name, made, Mode::of(0o600), None)?),
            _ => {
                within.make_dir(&name, Mode::of(0o755))?;
                None
            }
        };
        note_identity(item, &within, &name, digest)
    }
}

/// Tells whether a file of a record directory is undo data, or the digest of undo data kept elsewhere.
fn has_undo_data(file: &TreeFile) -> bool {
    matches!(file.content, TreeContent::Undo(_) | TreeContent::UndoDigest(_) | TreeContent::Manifest(_))
}

/// Returns the directory that an item is staged in, and its name there.
fn place_of(domains: &OpenDomains, item: &LayoutItem<'_>) -> Result<(Dir, Vec<u8>), Cause> {
    let name = item.op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
    Ok((domains.get(item.op.domain)?.records.again()?, name))
}

/// Computes the identity of an object with its new attributes.
fn attributes(item: &mut LayoutItem<'_>) {
    let Some(ToStage::Attributes(new)) = item.new else { return };
    item.op.new = item.op.old.as_deref().map(|old| Box::new(with_attributes(old, new)));
}

/// Describes an archive outside the root for the journal, so that nothing else is removed: its digest, patch and
/// package.
fn kept_outside(path: &Path, b3: Option<Digest>) -> Result<JournalArchive, Cause> {
    let path = host_path(path)?;
    let at = OutsidePath::parse(path.as_bytes());
    Ok(JournalArchive {
        b3: b3.map(|digest| digest.to_string()),
        patch: at.map(|at| at.patch.to_owned()),
        package: at.map(|at| at.package.to_owned()),
        ..JournalArchive::default()
    })
}

/// Returns the paths of the undo archives that a run writes outside the root.
pub(crate) fn remote_places(plan: &Plan, run: &Run) -> Vec<PathBuf> {
    let run = run.to_string();
    plan.undo.iter().filter_map(|undo| undo.outside(&run)).collect()
}

/// Publishes the archives outside the root before the outcome is written, because the root may need them from then
/// on.
pub(crate) fn publish_remote<'p>(
    root: &Root,
    run: &Run,
    places: impl IntoIterator<Item = &'p PathBuf>,
) -> Result<(), Cause> {
    for path in places {
        let dir = HostDirectories::make(root, path)?.package;
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        match publish_name(&dir, &unpublished_name(&run.to_string()), &name) {
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => {
                return Err(Cause::Appeared(path.display().to_string()));
            }
            other => other?,
        }
        dir.sync()?;
    }
    Ok(())
}

/// Gives an archive its name if that is free. The archive may be on any file system.
fn publish_name(dir: &Dir, from: &[u8], name: &[u8]) -> patchadm_rootfs::Result<()> {
    match dir.move_to(from, dir, name) {
        Err(error) if is_not_there(&error) => {
            RenameSupport { exchange: false, no_replace: false }.place(dir, from, dir, name)
        }
        other => other,
    }
}

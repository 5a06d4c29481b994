//! Stages records, ledgers and save directories with undo archives. Directories are staged in parallel: one thread
//! compresses an archive of a few objects, and a run of many patches should use all cores.

use std::collections::BTreeMap;
use std::io;
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt;

use crate::format::journal::{Identity, JournalArchive};
use crate::format::manifest::{ObjectRecord, encode};
use crate::format::run::Run;
use crate::format::undo_sidecars::UndoPaths;
use crate::plan::{CopiedRecord, Plan, TreeContent, TreeFile, UndoArchive, UndoPart, UndoPlace};
use crate::records::RecordView;
use crate::transaction::archive::merged_contents::{ContentsFacts, StagedContents, taken_over};
use crate::transaction::archive::stored_files::store_objects;
use crate::transaction::archive::undo_archive::{ArchiveInput, ArchiveManifest, StoredObjects, header_of};
use crate::transaction::archive::verified::VerifiedArchive;
use crate::transaction::archive::{merged_contents, undo_archive};
use crate::transaction::error::{Cause, Phase};
use crate::transaction::objects::attributes::with_attributes;
use crate::transaction::objects::identity::identity_of;
use crate::transaction::outside::{HostDirectories, host_digest, kept_outside, unpublished_name};
use crate::transaction::safety_copies::SafetyCopies;
use crate::transaction::settings::{LedgerInput, RunSettings, RunWatch, SavedArchives};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::{LayoutItem, StageLayout, ToStage};
use crate::transaction::stage::staged_versions::StagedVersions;
use patchadm_container::gzip;
use patchadm_rootfs::{Digest, Dir, Hashing, Inode, Root, Timestamp, cores, side_by_side};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

pub(crate) struct RecordStager<'a, 'p> {
    pub(crate) root: &'a Root,
    pub(crate) run: &'a Run,
    pub(crate) domains: &'a OpenDomains,
    pub(crate) plan: &'p Plan,
    pub(crate) digests: &'a BTreeMap<ObjectPath, Digest>,
    pub(crate) held: Option<&'a SafetyCopies<'a>>,
    pub(crate) versions: &'a StagedVersions,
    pub(crate) settings: RunSettings<'a>,
    pub(crate) written: BTreeMap<usize, VerifiedArchive>,
    pub(crate) archives: Vec<JournalArchive>,
    pub(crate) saved: SavedArchives,
    pub(crate) stored: BTreeMap<usize, StoredObjects>,
    pub(crate) notes: Vec<String>,
}

impl<'p> RecordStager<'_, 'p> {
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

    pub(crate) fn stored_objects(&mut self, layout: &StageLayout<'_>) -> Result<(), Cause> {
        let run = self.run.to_string();
        self.stored =
            store_objects(self.plan, (&run, self.domains, layout), self.material(), self.settings.watch)?;
        Ok(())
    }

    fn archives(&mut self, layout: &mut StageLayout<'p>) -> Result<(), Cause> {
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
            item.op.new = Some(Box::new(identity_of(&within, &name, Some(written.b3))?));
        }
        Ok(())
    }

    /// Undo archives come first: records name them. An error carries its phase.
    pub(crate) fn archives_and_records(
        &mut self,
        layout: &mut StageLayout<'p>,
    ) -> Result<(), (Phase, Cause)> {
        self.archives(layout).map_err(|cause| (Phase::Snapshot, cause))?;
        let stay = self.stored.values().flat_map(|stored| stored.names.values()).collect();
        self.versions.remove_except(&stay).map_err(|cause| (Phase::Stage, cause))?;
        let records = self.trees(layout, false).and_then(|()| self.files(layout));
        records.map_err(|cause| (Phase::Records, cause))
    }

    fn trees(&mut self, layout: &mut StageLayout<'p>, with_archive: bool) -> Result<(), Cause> {
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

    fn files(&mut self, layout: &mut StageLayout<'p>) -> Result<(), Cause> {
        // `contents` precedes its stamp, which needs these facts.
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
                        let kept = if logged == 1 {
                            "change of another tool is"
                        } else {
                            "changes of another tool are"
                        };
                        self.notes.push(format!("{log}: {logged} {kept} kept"));
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
                    item.op.new = Some(Box::new(identity_of(&within, &name, Some(copied.b3))?));
                }
                Some(ToStage::Directory) => self.file(item, &[])?,
                // `archives` has written the undo data.
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
                    item.op.new = Some(Box::new(identity_of(&within, &name, Some(digest))?));
                }
                Some(ToStage::Ledger(ref draft)) => {
                    let input = LedgerInput {
                        root: self.root,
                        plan: self.plan,
                        written: &self.written,
                        saved: &self.saved,
                    };
                    let bytes = draft.bytes(&self.run.to_string(), &input)?;
                    self.file(item, &bytes)?;
                }
                Some(ToStage::Attributes(_)) => attributes(item),
            }
        }
        self.notes.append(&mut taken_over(self.root, self.plan, contents)?);
        Ok(())
    }

    fn stamp(&self, staged: Option<ContentsFacts>) -> Result<Vec<u8>, Cause> {
        let facts = staged.or_else(|| ContentsFacts::of_last(&RecordView::live(self.root)));
        facts.map_or(Ok(Vec::new()), |facts| facts.stamp(self.root, self.plan, self.run.number))
    }

    /// `made` is content that only this run knows.
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
        item.op.new = Some(Box::new(identity_of(&within, &name, digest)?));
        Ok(())
    }
}

fn has_undo_data(file: &TreeFile) -> bool {
    matches!(file.content, TreeContent::Undo(_) | TreeContent::UndoDigest(_) | TreeContent::Manifest(_))
}

fn place_of(domains: &OpenDomains, item: &LayoutItem<'_>) -> Result<(Dir, Vec<u8>), Cause> {
    let name = item.op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
    Ok((domains.get(item.op.domain)?.records.again()?, name))
}

fn attributes(item: &mut LayoutItem<'_>) {
    let Some(ToStage::Attributes(new)) = item.new else { return };
    item.op.new = item.op.old.as_deref().map(|old| Box::new(with_attributes(old, new)));
}

#[derive(Clone, Copy)]
pub(crate) struct TreeStager<'a> {
    pub(crate) run: &'a Run,
    pub(crate) plan: &'a Plan,
    pub(crate) material: ArchiveInput<'a>,
    pub(crate) watch: RunWatch<'a>,
    pub(crate) before: &'a BTreeMap<usize, VerifiedArchive>,
}

pub(crate) struct StagedTree {
    pub(crate) identity: Box<Identity>,
    pub(crate) written: BTreeMap<usize, VerifiedArchive>,
    pub(crate) archives: Vec<(usize, JournalArchive)>,
}

impl TreeStager<'_> {
    /// `None` if the item is no directory.
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

    fn undo(
        &self,
        index: usize,
        dir: &Dir,
        name: &[u8],
        published: Option<ObjectPath>,
    ) -> Result<(VerifiedArchive, Option<JournalArchive>), Cause> {
        let written = self.archive(index, dir, name, published.as_ref())?;
        self.paths(index, dir)?;
        if self.plan.undo.get(index).is_some_and(|undo| undo.place == UndoPlace::ManifestOnly) {
            return Ok((written, None));
        }
        // A later patch of the run may have made it obsolete; the name is the original one.
        let first = name.strip_prefix(b"obsolete").map(|suffix| [b"undo", suffix].concat());
        self.digest(&written, dir, first.as_deref().unwrap_or(name))?;
        let staged = Some(dir.at(name));
        let files = self.material.stored.get(&index).map(StoredObjects::journal_names);
        Ok((written, Some(JournalArchive { path: published, staged, files, ..JournalArchive::default() })))
    }

    pub(crate) fn archive(
        &self,
        index: usize,
        dir: &Dir,
        name: &[u8],
        published: Option<&ObjectPath>,
    ) -> Result<VerifiedArchive, Cause> {
        let undo = self.plan.undo.get(index);
        let undo = undo.ok_or_else(|| Cause::Internal(format!("there is no undo archive {index}")))?;
        if undo.place == UndoPlace::ManifestOnly {
            return write_kept_manifest(undo, self.material.digests, dir, name);
        }
        let mut file = dir.create(name)?;
        file.set_mode(Mode::of(0o600))?;
        let place = published.map(|path| dir.root().show(path)).unwrap_or_default();
        undo_archive::write(self.material, (index, undo), &mut file, &place, self.watch)
    }

    fn paths(&self, index: usize, dir: &Dir) -> Result<(), Cause> {
        let Some(undo) = self.plan.undo.get(index) else { return Ok(()) };
        record_file(dir, b"undo.paths", &paths_text(undo), Mode::of(0o600), None).map(drop)
    }

    fn digest(&self, written: &VerifiedArchive, dir: &Dir, name: &[u8]) -> Result<(), Cause> {
        let text = undo_archive::digest_text(written, name, &self.run.to_string());
        record_file(dir, b"undo.b3", &text, Mode::of(0o600), None).map(drop)
    }
}

fn paths_text(undo: &UndoArchive) -> Vec<u8> {
    let listed = undo.manifest.objects.iter().filter(|record| record.is_listed());
    let paths: Vec<ObjectPath> = listed.filter_map(ObjectRecord::object_path).collect();
    UndoPaths::write(&undo.manifest.header.root, paths.iter())
}

fn write_kept_manifest(
    undo: &UndoArchive,
    digests: &BTreeMap<ObjectPath, Digest>,
    dir: &Dir,
    name: &[u8],
) -> Result<VerifiedArchive, Cause> {
    let manifest = ArchiveManifest { manifest: &undo.manifest, digests, stored: None };
    let bytes = compressed(manifest.text(&header_of(&undo.manifest, None)))
        .map_err(|error| Cause::Archive { package: undo.package.to_string(), reason: error.to_string() })?;
    let b3 = record_file(dir, name, &bytes, Mode::of(0o600), None)?;
    Ok(VerifiedArchive { size: bytes.len() as u64, b3, files: None })
}

fn compressed(mut text: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let take = |verified: gzip::VerifiedMember| {
        out.extend_from_slice(&verified.member);
        Ok(())
    };
    let mut encoder = gzip::GzipEncoder::new(take, cores());
    io::copy(&mut text, &mut encoder)?;
    let _ = encoder.finish()?;
    Ok(out)
}

/// Copies attributes of the replaced file; otherwise root's.
fn record_file(
    dir: &Dir,
    name: &[u8],
    bytes: &[u8],
    mode: Mode,
    mtime: Option<Timestamp>,
) -> Result<Digest, Cause> {
    let mut file = dir.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    if dir.root().is_privileged() {
        file.set_owner(0, 0)?;
    }
    file.set_mode(mode)?;
    if let Some(mtime) = mtime {
        file.set_mtime(mtime)?;
    }
    Ok(Digest::of(bytes))
}

/// The bytes must be the planned ones.
fn copied_file(
    dir: &Dir,
    name: &[u8],
    copied: &CopiedRecord,
    (mode, mtime): (Mode, Option<Timestamp>),
) -> Result<(), Cause> {
    let CopiedRecord { tree, path, from: start, size, b3 } = copied;
    let changed = || Cause::Changed(tree.show(path));
    let physical = tree.resolver().locate(path)?;
    let from = tree.dir(&physical.parent().ok_or_else(changed)?)?;
    let mut file = from.open_regular(physical.name())?;
    file.seek(SeekFrom::Start(*start)).map_err(|_| changed())?;
    // A file that is copied as a whole must not be longer.
    let longest = if *start == 0 { size.saturating_add(1) } else { *size };
    let mut source = Hashing::new(file.take(longest));
    let mut to = dir.create(name)?;
    to.reserve(*size)?;
    io::copy(&mut source, &mut to).map_err(|error| to.write_error(&error))?;
    if source.finish().1 != *b3 {
        return Err(changed());
    }
    if dir.root().is_privileged() {
        to.set_owner(0, 0)?;
    }
    to.set_mode(mode)?;
    Ok(mtime.map_or(Ok(()), |mtime| to.set_mtime(mtime))?)
}

/// Writes an archive, or the manifest of one that is not kept.
pub(crate) type UndoWriter<'u> = dyn FnMut(usize, &Dir, &[u8]) -> Result<(), Cause> + 'u;

/// `undo` writes the archives.
fn record_tree(
    within: &Dir,
    name: &[u8],
    (files, run): (&[TreeFile], &Run),
    undo: &mut UndoWriter<'_>,
) -> Result<(), Cause> {
    let top = within.make_dir(name, Mode::of(0o755))?;
    for file in files {
        let mut parts: Vec<&[u8]> = file.name.split(|&b| b == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut dir = top.again()?;
        for part in parts {
            dir = match dir.look(part)? {
                Some(_) => dir.dir(part)?,
                None => dir.make_dir(part, Mode::of(0o755))?,
            };
        }
        match &file.content {
            TreeContent::Bytes(bytes) => drop(record_file(&dir, last, bytes, file.mode, file.mtime)?),
            TreeContent::AroundRun(before, after) => {
                let bytes = [before.as_slice(), run.to_string().as_bytes(), after].concat();
                record_file(&dir, last, &bytes, file.mode, file.mtime)?;
            }
            TreeContent::Copied(copied) => copied_file(&dir, last, copied, (file.mode, file.mtime))?,
            TreeContent::Undo(index) | TreeContent::Manifest(index) => undo(*index, &dir, last)?,
            // Written after all archives.
            TreeContent::UndoDigest(_) => {}
            // An earlier file may have needed it.
            TreeContent::Directory if dir.look(last)?.is_some() => {}
            TreeContent::Directory => drop(dir.make_dir(last, file.mode)?),
        }
    }
    Ok(())
}

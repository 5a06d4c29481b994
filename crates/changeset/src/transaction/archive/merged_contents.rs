//! Stages the merged `contents` with its stamp. If the last stamp fits, unchanged parts are copied and the old digest
//! is reused. A thread computes the new digest meanwhile, and write-back of large files starts early, so that the final
//! sync is short.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{Sender, channel};
use std::{io, thread};

use crate::format::contents_merge;
use crate::format::contents_merge::{ContentsEdits, ContentsTrailer, MergeResult, splice};
use crate::format::contents_stamp::{BoundPackage, BoundPackages, ContentsStamp, MOST_LINK_BYTES};
use crate::format::journal::Identity;
use crate::plan::{Action, Plan, RecordChange, TreeContent};
use crate::records::{RecordView, ViewError, contents, stamped};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::identity_of;
use crate::transaction::stage::layout::LayoutItem;
use patchadm_rootfs::{Digest, Dir, FileType, Hashing, Root, WritableFile};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

const PORTION: usize = 256 << 10;
const SEARCH: u64 = 8 << 10;
const SMALL: u64 = 1 << 20;

struct Passed {
    size: u64,
    b3: Digest,
}

type MergeFunction = fn(
    &mut dyn BufRead,
    &mut dyn Write,
    &ContentsEdits,
    &ContentsTrailer,
) -> Result<MergeResult, ContentsError>;

struct MergedContents {
    file: WritableFile,
    passed: Passed,
    old_b3: Option<Digest>,
    lists: ContentsLists,
}

pub(crate) struct StagedContents {
    pub(crate) facts: Option<ContentsFacts>,
    pub(crate) old_b3: Option<Digest>,
    pub(crate) logged: usize,
}

/// Also completes the item: digest of the old file, identity of the new one. `run` is the stamp's run number.
pub(crate) fn stage(
    root: &Root,
    plan: &Plan,
    item: &mut LayoutItem<'_>,
    within: &Dir,
    name: &[u8],
    run: u64,
) -> Result<StagedContents, Cause> {
    // The plan was made with the logged changes, so they come first.
    let logged = contents::read_log(&RecordView::live(root)).map_err(Cause::from)?;
    let logged_changes = logged.as_ref().map_or(0, |log| log.edits.len());
    let edits = match logged.map(|log| log.edits).filter(|edits| !edits.is_empty()) {
        Some(mut edits) => {
            edits.extend(plan.contents.iter().map(|(path, line)| (path.clone(), line.clone())));
            Cow::Owned(edits)
        }
        None => Cow::Borrowed(&plan.contents),
    };
    let merging = Merging { root, plan, path: &item.op.path, edits };
    let old = item.op.old.as_ref().map(|old| Ok::<_, Cause>((merging.open(old)?, old))).transpose()?;
    let file = within.create(name)?;
    let reserved = old.as_ref().map(|(_, identity)| identity.size).filter(|size| *size >= SMALL);
    if let Some(size) = reserved {
        // Writing is faster in one piece, and a full disk shows now.
        file.reserve(size)?;
    }
    let mut written = if let Some((old, identity)) = &old {
        let written = merging.write(old, file)?;
        // The copied bytes must be those that the journal calls old.
        merging.must_be(old, identity)?;
        written
    } else {
        let merge: MergeFunction = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        merging.merge(io::empty(), file, merge).map_err(|failed| merging.wrong(failed.1))?
    };
    if reserved.is_some_and(|reserved| reserved > written.passed.size) {
        written.file.set_size(written.passed.size)?;
    }
    if root.is_privileged() {
        written.file.set_owner(0, 0)?;
    }
    written.file.set_mode(Mode::of(0o644))?;
    if let Some(old) = &mut item.op.old {
        old.b3 = written.old_b3.map(Into::into);
    }
    item.op.new = Some(Box::new(identity_of(within, name, Some(written.passed.b3))?));
    let MergedContents { passed, lists, old_b3, .. } = written;
    let new = item.op.new.as_deref();
    let facts = new.map(|new| ContentsFacts::of_staged(new, passed.b3, lists, run));
    Ok(StagedContents { facts, old_b3, logged: logged_changes })
}

struct Merging<'a> {
    root: &'a Root,
    plan: &'a Plan,
    path: &'a ObjectPath,
    edits: Cow<'a, ContentsEdits>,
}

impl Merging<'_> {
    fn wrong(&self, reason: ContentsError) -> Cause {
        Cause::Contents { path: self.root.show(self.path), reason }
    }

    fn failed(&self, error: io::Error) -> Cause {
        self.wrong(ContentsError::Io(error))
    }

    fn open(&self, identity: &Identity) -> Result<File, Cause> {
        let parent = self.path.parent().unwrap_or_else(ObjectPath::root);
        let file = self.root.dir(&parent)?.open_regular(self.path.name())?;
        self.must_be(&file, identity)?;
        Ok(file)
    }

    fn must_be(&self, file: &File, identity: &Identity) -> Result<(), Cause> {
        let found = file.metadata().map_err(|error| self.failed(error))?;
        let mtime = (found.mtime(), found.mtime_nsec());
        let is_same = found.ino() == identity.inode.number
            && found.len() == identity.size
            && mtime == (identity.mtime.seconds, i64::from(identity.mtime.nanoseconds));
        if is_same { Ok(()) } else { Err(Cause::Changed(self.root.show(self.path))) }
    }

    fn write(&self, old: &File, file: WritableFile) -> Result<MergedContents, Cause> {
        let file = match self.splice(old, file)? {
            Ok(written) => return Ok(written),
            Err(file) => file,
        };
        let merge: MergeFunction = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        let unsorted = match self.merge(self.again(old)?, file, merge) {
            Ok(merged) => return Ok(merged),
            Err(failed) => *failed,
        };
        let (mut file, ContentsError::Unsorted { .. }) = unsorted else { return Err(self.wrong(unsorted.1)) };
        file.set_size(0)?;
        let sort: MergeFunction = |old, out, edits, by| contents_merge::merge_unsorted(old, out, edits, by);
        self.merge(self.again(old)?, file, sort).map_err(|failed| self.wrong(failed.1))
    }

    fn again<'f>(&self, mut old: &'f File) -> Result<&'f File, Cause> {
        old.rewind().map_err(|error| self.failed(error))?;
        Ok(old)
    }

    /// Returns the empty file if the order is unknown.
    fn splice(&self, old: &File, file: WritableFile) -> Result<Result<MergedContents, WritableFile>, Cause> {
        let size = old.metadata().map_err(|error| self.failed(error))?.len();
        let searches = SEARCH.saturating_mul(self.edits.len() as u64);
        let view = RecordView::live(self.root);
        let Some(last) = stamped::fitting_lines(&view, old) else { return Ok(Err(file)) };
        let (stamp, lists) = (&last.stamp, (last.links(), last.owner_lines()));
        if searches > size.max(SMALL) || stamp.links.max(stamp.owners) > MOST_LINK_BYTES as u64 {
            return Ok(Err(file));
        }
        let (edits, trailer) = (&*self.edits, &self.plan.trailer);
        let (made, file) = digested(file, |out| splice(old, stamp, lists, out, edits, trailer));
        Ok(match made.map_err(|reason| self.wrong(reason))? {
            (Some(made), passed) => Ok(MergedContents {
                file,
                passed,
                old_b3: Some(stamp.b3),
                lists: ContentsLists {
                    body: made.body,
                    links: Some(made.links).filter(|links| links.len() <= MOST_LINK_BYTES),
                    owners: made.owners,
                },
            }),
            (None, _) => Err(file),
        })
    }

    /// An error returns the file for another try.
    fn merge(
        &self,
        old: impl Read,
        file: WritableFile,
        merge: MergeFunction,
    ) -> Result<MergedContents, Box<(WritableFile, ContentsError)>> {
        let mut old = BufReader::with_capacity(PORTION, Hashing::new(old));
        let (edits, trailer) = (&*self.edits, &self.plan.trailer);
        let (made, file) = digested(file, |out| merge(&mut old, out, edits, trailer));
        match made {
            Ok((MergeResult { body, links, owners, .. }, passed)) => {
                let (_, old_b3) = old.into_inner().finish();
                let lists = ContentsLists { body, links: links.into_bytes(), owners: owners.into_bytes() };
                Ok(MergedContents { file, passed, old_b3: Some(old_b3), lists })
            }
            Err(reason) => Err(Box::new((file, reason))),
        }
    }
}

/// Write-back starts meanwhile, so that digest and disk overlap.
fn digested<T>(
    file: WritableFile,
    work: impl FnOnce(&mut dyn Write) -> Result<T, ContentsError>,
) -> (Result<(T, Passed), ContentsError>, WritableFile) {
    let (made, size, digest) = thread::scope(|scope| {
        let (progress, written) = channel();
        let digest = scope.spawn(|| digest(&file, written));
        let mut out =
            BufWriter::with_capacity(PORTION, WatchedWriter { file: &file, size: 0, begun: 0, progress });
        let mut made = work(&mut out);
        if let Err(error) = out.flush() {
            made = made.and(Err(error.into()));
        }
        let WatchedWriter { size, progress, .. } = out.into_parts().0;
        drop(progress);
        (made, size, digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let made = made.and_then(|made| Ok((made, Passed { size, b3: digest? })));
    (made, file)
}

/// `written` yields the size so far.
fn digest(file: &WritableFile, written: impl IntoIterator<Item = u64>) -> io::Result<Digest> {
    let mut buffer = vec![0; PORTION];
    let (mut hashing, mut at) = (Hashing::new(io::sink()), 0);
    for written in written {
        while at < written {
            let most = usize::try_from(written - at).unwrap_or(PORTION).min(PORTION);
            let portion = buffer.get_mut(..most).unwrap_or_default();
            let count = file.get_into(portion, at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hashing.write_all(portion.get(..count).unwrap_or_default())?;
            at += count as u64;
        }
    }
    Ok(hashing.finish().1)
}

struct WatchedWriter<'f> {
    file: &'f WritableFile,
    size: u64,
    begun: u64,
    progress: Sender<u64>,
}

impl Write for WatchedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.put_some(bytes, self.size)?;
        self.size += count as u64;
        // A failed receiver reports its own error.
        let _ = self.progress.send(self.size);
        let whole = self.size - self.size % SMALL;
        if whole > self.begun {
            self.file.begin_write_back(self.begun, whole - self.begun);
            self.begun = whole;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct ContentsFacts {
    stamp: ContentsStamp,
    links: Vec<u8>,
    owners: Vec<u8>,
}

pub(crate) struct ContentsLists {
    pub(crate) body: u64,
    pub(crate) links: Option<Vec<u8>>,
    pub(crate) owners: Option<Vec<u8>>,
}

impl ContentsFacts {
    fn of_staged(new: &Identity, b3: Digest, lists: ContentsLists, run: u64) -> Self {
        let ContentsLists { body, links, owners } = lists;
        let lists = links.zip(owners);
        let is_listed = lists.is_some();
        let (links, owners) = lists.unwrap_or_default();
        let (inode, size, mtime) = (new.inode, new.size, new.mtime);
        let stamp = ContentsStamp {
            inode,
            size,
            mtime,
            body,
            b3,
            links: 0,
            owners: 0,
            packages: 0,
            run,
            by: run,
            is_listed,
            lines: Digest([0; 32]),
        };
        Self { stamp, links, owners }
    }

    pub(crate) fn of_bytes(bytes: &[u8], new: &Identity, plan: &Plan, run: u64) -> Option<Self> {
        let (none, by) = (ContentsEdits::new(), &plan.trailer);
        let merged = contents_merge::merge(bytes, io::sink(), &none, by).ok()?;
        let (links, owners) = (merged.links.into_bytes(), merged.owners.into_bytes());
        let lists = ContentsLists { body: merged.body, links, owners };
        Some(Self::of_staged(new, Digest::of(bytes), lists, run))
    }

    pub(crate) fn of_last(view: &RecordView<'_>) -> Option<Self> {
        let last = view.last_records()?;
        let (links, owners) = (last.links().to_vec(), last.owner_lines().to_vec());
        Some(Self { stamp: last.stamp.clone(), links, owners })
    }

    pub(crate) fn stamp(self, root: &Root, plan: &Plan, run: u64) -> Result<Vec<u8>, Cause> {
        let packages = packages_after(&RecordView::live(root), plan, run)?.write();
        Ok(ContentsStamp { by: run, ..self.stamp }.write(&self.links, &self.owners, &packages))
    }
}

/// Notes for each old record that someone else has changed since a run. `contents` is the old digest if the plan writes
/// that file.
pub(crate) fn taken_over(root: &Root, plan: &Plan, contents: Option<Digest>) -> Result<Vec<String>, Cause> {
    let view = RecordView::live(root);
    let Some(last) = view.last_records() else { return Ok(Vec::new()) };
    let said = |path: &ObjectPath, run: u64| {
        format!("{}: changed since run {run}, not by this program; the change is kept", root.show(path))
    };
    let mut notes = Vec::new();
    if contents.is_some_and(|contents| contents != last.stamp.b3) {
        notes.push(said(&places::contents(), last.stamp.run));
    }
    for record in &plan.records {
        let RecordChange::Write { path, .. } = record else { continue };
        let package = package_of(path).filter(|package| *path == places::pkginfo(package));
        let Some(bound) = package.and_then(|package| last.packages().get(&package)) else { continue };
        let now = view.read(path, LARGEST_PKGINFO)?;
        if now.is_some_and(|now| Digest::of(&now) != bound.pkginfo) {
            notes.push(said(path, bound.run));
        }
    }
    Ok(notes)
}

const LARGEST_PKGINFO: u64 = patchadm_svr4::format::params::LARGEST_FILE as u64;

fn packages_after(view: &RecordView<'_>, plan: &Plan, run: u64) -> Result<BoundPackages, ViewError> {
    let mut bound = view.last_records().map(|last| last.packages().clone()).unwrap_or_default();
    for (package, change) in package_changes(plan) {
        if change.is_gone {
            bound.remove(&package);
        }
        let known = bound.get_mut(&package);
        match (change.pkginfo, known) {
            (Some(pkginfo), known) => {
                let given_up = known.as_ref().map(|known| known.given_up.clone()).unwrap_or_default();
                let was_spooled = known.map(|known| known.is_spooled);
                let is_spooled = match change.is_spooled {
                    Some(is_spooled) => is_spooled,
                    // A copy that has gone since stays missed.
                    None => was_spooled == Some(true) || is_spooled(view, &package)?,
                };
                bound.set(package, BoundPackage { run, pkginfo, is_spooled, given_up });
            }
            (None, Some(known)) => known.is_spooled = change.is_spooled.unwrap_or(known.is_spooled),
            (None, None) => {}
        }
    }
    give_up(&mut bound, view, plan, run)?;
    Ok(bound)
}

#[derive(Default)]
struct PackageChange {
    pkginfo: Option<Digest>,
    /// There is a spooled copy afterwards; `None` if the plan does not touch it.
    is_spooled: Option<bool>,
    is_gone: bool,
}

fn package_changes(plan: &Plan) -> BTreeMap<PkgInst, PackageChange> {
    let mut changes: BTreeMap<PkgInst, PackageChange> = BTreeMap::new();
    let mut note = |path: &ObjectPath, bytes: Option<&[u8]>| {
        let Some(package) = package_of(path) else { return };
        let (pkginfo, map) = (places::pkginfo(&package), places::delivered_pkgmap(&package));
        let change = changes.entry(package).or_default();
        match bytes {
            Some(bytes) if *path == pkginfo => change.pkginfo = Some(Digest::of(bytes)),
            _ if *path == map => change.is_spooled = Some(bytes.is_some()),
            None if pkginfo.is_below(path) => {
                *change = PackageChange { is_gone: true, ..PackageChange::default() }
            }
            None if map.is_below(path) => change.is_spooled = Some(false),
            _ => {}
        }
    };
    for record in &plan.records {
        match record {
            RecordChange::Write { path, bytes, .. } => note(path, Some(bytes)),
            RecordChange::RemoveFile(path) | RecordChange::RemoveTree(path) => note(path, None),
            RecordChange::AddTree { path, files } => {
                for file in files.iter().filter(|file| is_bound(path, &file.name)) {
                    if let (TreeContent::Bytes(bytes), Ok(path)) = (&file.content, path.join(&file.name)) {
                        note(&path, Some(bytes));
                    }
                }
            }
            _ => {}
        }
    }
    changes
}

fn is_bound(directory: &ObjectPath, name: &[u8]) -> bool {
    let is_of_packages = directory.is_below(&places::packages());
    is_of_packages && (name == b"pkginfo" || name.ends_with(b"pkgmap"))
}

pub(crate) fn package_of(path: &ObjectPath) -> Option<PkgInst> {
    let packages = places::packages();
    let below = path.is_below(&packages).then(|| path.as_bytes().get(packages.as_bytes().len() + 1..))??;
    let name = below.split(|byte| *byte == b'/').next()?;
    PkgInst::new(std::str::from_utf8(name).ok()?).ok()
}

fn give_up(bound: &mut BoundPackages, view: &RecordView<'_>, plan: &Plan, run: u64) -> Result<(), ViewError> {
    if plan.contents.is_empty() {
        return Ok(());
    }
    let deletes = plan.changes.iter().filter(|change| matches!(change.action, Action::Delete));
    let deleted: BTreeSet<&ObjectPath> = deletes.map(|change| &change.path).collect();
    let new = new_packages(plan);
    for package in plan.packages.iter().filter(|package| !new.contains(package)) {
        let taken: Vec<&ObjectPath> = plan
            .contents
            .iter()
            .filter(|(path, line)| {
                line.as_ref().is_none_or(|line| !line.is_owned_by(package)) && !deleted.contains(path)
            })
            .map(|(path, _)| path)
            .collect();
        if !taken.is_empty() && bound.get(package).is_none() {
            // An unknown package is bound as it is.
            let Some(now) = view.read(&places::pkginfo(package), LARGEST_PKGINFO)? else { continue };
            let is_spooled = is_spooled(view, package)?;
            let (pkginfo, given_up) = (Digest::of(&now), BTreeSet::new());
            bound.set(package.clone(), BoundPackage { run, pkginfo, is_spooled, given_up });
        }
        let Some(known) = bound.get_mut(package) else { continue };
        known.given_up.extend(taken.into_iter().cloned());
        for (path, line) in &plan.contents {
            if line.as_ref().is_some_and(|line| line.is_owned_by(package)) {
                known.given_up.remove(path);
            }
        }
    }
    Ok(())
}

fn new_packages(plan: &Plan) -> BTreeSet<PkgInst> {
    let made = plan.records.iter().filter_map(|record| match record {
        RecordChange::AddTree { path, .. } => {
            package_of(path).filter(|package| places::package(package) == *path)
        }
        _ => None,
    });
    made.collect()
}

fn is_spooled(view: &RecordView<'_>, package: &PkgInst) -> Result<bool, ViewError> {
    let seen = view.look(&places::delivered_pkgmap(package))?;
    Ok(seen.is_some_and(|seen| seen.file_type == FileType::Regular))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_was_written() {
        for size in [0, 1000, (2 << 20) + 5] {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            let file = root.dir(&ObjectPath::root()).unwrap().create(b"contents").unwrap();
            let bytes: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[at % 3]).collect();
            let (made, _) = digested(file, |out| {
                for piece in bytes.chunks(100_003) {
                    out.write_all(piece)?;
                }
                Ok(())
            });
            let ((), passed) = made.unwrap();
            assert!(std::fs::read(dir.path().join("contents")).unwrap() == bytes, "{size} bytes");
            assert_eq!((passed.size, passed.b3), (size as u64, Digest::of(&bytes)));
        }
    }
}

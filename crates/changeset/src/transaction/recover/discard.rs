//! Gives up a lost or damaged journal, or moves its remains away ([`keep_stage`]). The records' stage exists from
//! before publication until after the outcome: without it, no run is unfinished. Otherwise a copy of the journal
//! decides, or the staged objects prove the state ([`prove`]); in doubt, nothing is done.

use std::collections::{BTreeMap, HashMap};

use rustix::io::Errno;

use crate::archive_file::{UnboundArchive, UnreadContent, read_manifest};
use crate::format::history::HistoryEntry;
use crate::format::journal::{
    Journal, JournalError, JournalFiles, Op, OpKind, RunOutcome, mended, outcome_sector, parse_head,
};
use crate::format::manifest::{KEPT_MANIFEST, RecordedState, StateDifferences, UndoManifest};
use crate::records::identity::RootId;
use crate::records::journal_head::{STAGES, UNPUBLISHED};
use crate::stored_file::StoredFile;
use crate::transaction::archive::stored_files::{has_kept_files, keep_proven_files};
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes::merge_run_notes;
use crate::transaction::objects::attributes::has_attributes;
use crate::transaction::objects::identity::ObjectState;
use crate::transaction::objects::names::Dirs;
use crate::transaction::recover::recovery::read_believed;
use crate::transaction::safety_copies::is_held;
use crate::transaction::stage::domains;
use crate::transaction::stage::domains::{FoundStage, HOLDER, MARKER, OwnStage, open_own};
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Digest, Dir, FileType, Lock, Root, RootError, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;
use patchadm_svr4::places::own_directory;

const LARGEST_HISTORY: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalFate {
    /// Nothing was done.
    Whole,
    /// A damaged journal is kept elsewhere.
    Discarded { kept: Option<String> },
}

/// Gives up a lost or damaged journal if no run can be unfinished, or puts a copy in its place; recovery must follow.
/// [`Cause::Doubt`] names the paths that rule out both; then nothing is changed.
pub fn discard_journal(root: &Root, _lock: &Lock) -> Result<JournalFate, TransactionError> {
    discarded(root).during(Phase::Recover)
}

fn discarded(root: &Root) -> Result<JournalFate, Cause> {
    let Some(own) = own_dir(root)? else { return Ok(JournalFate::Whole) };
    match damage(root)? {
        None => return Ok(JournalFate::Whole),
        // No damage: the version that wrote the journal can recover the run.
        Some(reason @ JournalError::Earlier(_)) => {
            return Err(Cause::Journal { path: root.show(&own.at(journal_file::NAME)), reason });
        }
        Some(_) => {}
    }
    let kept = match DiscardVerdict::of(root, &own)? {
        DiscardVerdict::Finished => end_finished(&own)?,
        DiscardVerdict::Committed(run, stored) => {
            keep_proven_files(root, &run, &stored)?;
            end_finished(&own)?
        }
        DiscardVerdict::Known(files, run) => {
            let kept = journal_file::set_aside(&own)?;
            journal_file::restore(&own, &files, &run)?;
            kept
        }
    };
    Ok(JournalFate::Discarded { kept: kept.map(|name| root.show(&own.at(&name))) })
}

fn end_finished(own: &Dir) -> Result<Option<Vec<u8>>, Cause> {
    if !directories(own)?.is_empty() && !journal_file::is_unpublished(own)? {
        // Lets recovery remove the staged objects.
        journal_file::begin(own)?;
        own.sync()?;
    }
    journal_file::set_aside(own)
}

fn own_dir(root: &Root) -> Result<Option<Dir>, Cause> {
    Ok(root.dir_if_there(&root.resolver().locate_dir(&own_directory())?)?)
}

/// `None` for a whole journal. A later version is an error.
pub(crate) fn damage(root: &Root) -> Result<Option<JournalError>, Cause> {
    let path = root.show(&own_directory().join(journal_file::NAME).unwrap_or_else(|_| own_directory()));
    let read = match journal_file::head(root) {
        Ok(Some(head)) if !head.done => read_believed(root).map(drop),
        other => other.map(drop),
    };
    match read {
        Ok(()) => Ok(None),
        Err(Cause::Journal { reason: reason @ JournalError::Version(_), path }) => {
            Err(Cause::Journal { path, reason })
        }
        Err(Cause::Journal { reason, path: at }) if at == path => Ok(Some(reason)),
        Err(other) => Err(other),
    }
}

pub(crate) fn directories(own: &Dir) -> Result<Vec<Vec<u8>>, Cause> {
    if own.look(STAGES)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(Vec::new());
    }
    let stages = own.dir(STAGES)?;
    let mut found = Vec::new();
    for name in stages.names()? {
        if stages.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            found.push(name);
        }
    }
    Ok(found)
}

enum DiscardVerdict {
    Finished,
    /// The files, perhaps still in stages, are undo data.
    Committed(String, Vec<StoredFile>),
    /// Journal files for recovery, and the run's name.
    Known(Box<JournalFiles>, String),
}

impl DiscardVerdict {
    fn of(root: &Root, own: &Dir) -> Result<Self, Cause> {
        let stages = directories(own)?;
        if stages.is_empty() || journal_file::is_unpublished(own)? {
            return Ok(Self::Finished);
        }
        let within = own.dir(STAGES)?;
        let doubt =
            || Cause::Doubt { paths: stages.iter().map(|name| root.show(&within.at(name))).collect() };
        let [name] = stages.as_slice() else { return Err(doubt()) };
        let FoundStage::Ours(stage) = open_own(&within, name, name)? else { return Err(doubt()) };
        let run = stage.run.to_string();
        let recorded = outcome_in_history(own, &run);
        for files in journals_of(root, own, &stage.dir, &run)? {
            let Some(bytes) = mended(&files.journal) else { continue };
            let Ok(journal) = Journal::parse(&bytes, Some(&files.ops)) else { continue };
            let outcome = match journal.head.outcome.or(recorded) {
                Some(outcome) => Some(outcome),
                None => found_outcome(root, &journal)?,
            };
            let files = JournalFiles { journal: with_outcome(bytes, outcome), ops: files.ops };
            return Ok(Self::Known(Box::new(files), run));
        }
        if recorded.is_some() {
            return Ok(Self::Finished);
        }
        // Nothing tells what the run changes.
        match prove(root, own, &stage)? {
            Proved::Before => Ok(Self::Finished),
            Proved::After(manifests) => {
                let stored = manifests.iter().flat_map(StoredFile::all_of).collect();
                Ok(Self::Committed(run, stored))
            }
            Proved::Nothing(paths) => Err(Cause::Doubt { paths }),
        }
    }
}

/// History is written between outcome and removal of the stage. Unreadable history tells nothing.
fn outcome_in_history(own: &Dir, run: &str) -> Option<RunOutcome> {
    let history = own.read_regular(b"history", LARGEST_HISTORY).ok().flatten().unwrap_or_default();
    let entries = history.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok());
    let results: Vec<String> = entries.filter(|entry| entry.run == run).map(|entry| entry.result).collect();
    match results.first().map(String::as_str) {
        Some("done") => Some(RunOutcome::Commit),
        Some("rolled-back") => Some(RunOutcome::RolledBack),
        _ => None,
    }
}

/// `Commit` if everything is durably as after the run; otherwise it is rolled back.
fn found_outcome(root: &Root, journal: &Journal) -> Result<Option<RunOutcome>, Cause> {
    let journal = merge_run_notes(root, journal)?;
    if has_kept_files(root, &journal)? {
        return Ok(Some(RunOutcome::Commit));
    }
    let mut runner = OpRunner::open(root, &journal)?;
    let protected: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Protect).collect();
    let is_after = if protected.is_empty() {
        let mut all = true;
        for op in journal.ops.iter().filter(|op| op.kind != OpKind::Rmdir) {
            all = all && runner.is_as_after(op)?;
        }
        all && !journal.ops.is_empty()
    } else {
        // Safety copies are removed after the outcome; a rollback puts them in place.
        let mut any_lost = false;
        for op in protected {
            any_lost = any_lost || runner.is_copy_lost(op)?;
        }
        any_lost
    };
    if !is_after {
        return Ok(None);
    }
    runner.sync()?;
    Ok(Some(RunOutcome::Commit))
}

fn with_outcome(mut bytes: Vec<u8>, outcome: Option<RunOutcome>) -> Vec<u8> {
    if let Some((sector, offset)) = outcome.map(outcome_sector)
        && let Ok(at) = usize::try_from(offset)
        && let Some(place) = bytes.get_mut(at..at + sector.len())
    {
        place.copy_from_slice(&sector);
    }
    bytes
}

impl OpRunner<'_> {
    /// A new object may have been written to since.
    fn is_as_after(&mut self, op: &Op) -> Result<bool, Cause> {
        use ObjectState::{New, NewTouched, None, Old};
        match op.kind {
            OpKind::Add | OpKind::Replace | OpKind::Tree => {
                Ok(matches!(self.target_state(op)?, New | NewTouched))
            }
            OpKind::Delete => Ok(self.target_state(op)? == None),
            OpKind::Move => {
                let Some(to) = &op.to else { return Ok(false) };
                let Some(parent) = self.parent_of(to)? else { return Ok(false) };
                let state = crate::transaction::objects::identity::state(
                    &parent,
                    to.name(),
                    op.old.as_deref(),
                    Option::None,
                )?;
                Ok(self.target_state(op)? == None && state == Old)
            }
            OpKind::Attr => {
                let (Some(parent), Some(new)) = (self.parent_of(&op.path)?, &op.new) else {
                    return Ok(false);
                };
                has_attributes(&parent, op.path.name(), new)
            }
            OpKind::Rmdir | OpKind::Protect => Ok(true),
        }
    }

    fn is_copy_lost(&mut self, op: &Op) -> Result<bool, Cause> {
        let Some(copy) = &op.new else { return Ok(false) };
        let (stage, staged) = self.staged(op)?;
        if stage.look(&staged)?.is_some() {
            return Ok(false);
        }
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(true) };
        Ok(!is_held(&parent, op.path.name(), copy)?)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptStage {
    /// In the keeping directory.
    pub names: Vec<String>,
    /// On other file systems, under new names.
    pub elsewhere: Vec<String>,
}

/// Moves stages and journal to an empty host directory on the same file system. `None`, without changes, for a whole
/// journal.
pub fn keep_stage(root: &Root, _lock: &Lock, to: &Dir) -> Result<Option<KeptStage>, TransactionError> {
    moved_away(root, to).during(Phase::Recover)
}

fn moved_away(root: &Root, to: &Dir) -> Result<Option<KeptStage>, Cause> {
    let Some(own) = own_dir(root)? else { return Ok(None) };
    match damage(root)? {
        None if !is_stage_lost(root)? => return Ok(None),
        _ => {}
    }
    must_take(&own, to)?;
    let mut kept = KeptStage::default();
    for name in directories(&own)? {
        let stages = own.dir(STAGES)?;
        kept.elsewhere.extend(keep_others(root, &stages.dir(&name)?, &name)?);
        stages.move_to(&name, to, &name).map_err(|error| unreachable_from(error, to))?;
        kept.names.push(name.escape_ascii().to_string());
        stages.sync()?;
    }
    // The journal moves last: until then it shows that work remains.
    let is_part =
        |name: &Vec<u8>| name.starts_with(b"ops-") || name == UNPUBLISHED || name == journal_file::NAME;
    let mut names: Vec<Vec<u8>> = own.names()?.into_iter().filter(is_part).collect();
    names.sort_by_key(|name| name == journal_file::NAME);
    for name in names {
        own.move_to(&name, to, &name).map_err(|error| unreachable_from(error, to))?;
        kept.names.push(name.escape_ascii().to_string());
    }
    to.sync()?;
    own.sync()?;
    Ok(Some(kept))
}

/// Without parts of its stage, a run cannot be recovered.
fn is_stage_lost(root: &Root) -> Result<bool, Cause> {
    let Some(head) = journal_file::head(root)? else { return Ok(false) };
    if head.done {
        return Ok(false);
    }
    let Some(journal) = read_believed(root)? else { return Ok(false) };
    Ok(matches!(OpRunner::open(root, &journal), Err(Cause::DomainMissing { .. })))
}

fn must_take(own: &Dir, to: &Dir) -> Result<(), Cause> {
    let wrong = |reason| Cause::KeepingPlace { path: to.root().show(to.path()), reason };
    if !to.names()?.is_empty() {
        return Err(wrong("is not empty"));
    }
    let (here, there) = (own.itself()?, to.itself()?);
    if (here.mount, here.file_system) != (there.mount, there.file_system) {
        return Err(wrong("is on a different file system from the stage, which can only be renamed"));
    }
    Ok(())
}

fn unreachable_from(error: RootError, to: &Dir) -> Cause {
    match error.errno() {
        Some(Errno::XDEV) => Cause::KeepingPlace {
            path: to.root().show(to.path()),
            reason: "cannot be reached from the stage by a rename",
        },
        _ => error.into(),
    }
}

/// Nothing removes the new names. Returns the paths.
fn keep_others(root: &Root, first: &Dir, run: &[u8]) -> Result<Vec<String>, Cause> {
    let run = String::from_utf8_lossy(run).into_owned();
    let mut paths = Vec::new();
    for stage in other_stages(root, first, &run)? {
        let path = stage.path().clone();
        let Some(holder) = root.dir_if_there(&path.parent().unwrap_or_else(ObjectPath::root))? else {
            continue;
        };
        let mut name = b"kept-".to_vec();
        name.extend_from_slice(path.name());
        let is_local = path.name().starts_with(b".");
        if !is_local && holder.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            holder.move_to(path.name(), &holder, &name)?;
            holder.sync()?;
            paths.push(root.show(&holder.at(&name)));
        } else {
            paths.push(root.show(&path));
        }
    }
    Ok(paths)
}

/// Returns possible journals of `run`, the likeliest first, by run and root in the header. `stage` is the records'
/// stage, `own` the journal's directory. Parsing shows which parts fit.
fn journals_of(root: &Root, own: &Dir, stage: &Dir, run: &str) -> Result<Vec<JournalFiles>, Cause> {
    let mut found = journal_file::found_in(own, run)?;
    found.extend(journal_file::found_in(stage, run)?);
    for other in other_stages(root, stage, run)? {
        found.extend(journal_file::found_in(&other, run)?);
    }
    let root_id = RootId::of(root)?.marker();
    let digests: Vec<String> = found.iter().map(|files| Digest::of(&files.ops).to_string()).collect();
    let mut by_digest: HashMap<&str, usize> = HashMap::new();
    for (at, digest) in digests.iter().enumerate() {
        by_digest.entry(digest).or_insert(at);
    }
    let (mut pairs, mut crossed) = (Vec::new(), Vec::new());
    for (files, own_digest) in found.iter().zip(&digests) {
        let head = mended(&files.journal).and_then(|bytes| parse_head(&bytes).ok());
        let Some(header) = head.map(|head| head.header) else { continue };
        let is_this_root = root_id.as_ref().is_none_or(|root_id| *root_id == header.root);
        // Ops of one pair and the journal of another may be whole.
        let ops = by_digest.get(header.ops_b3.as_str()).and_then(|at| found.get(*at));
        let Some(ops) = ops.filter(|_| header.run == run && is_this_root) else { continue };
        let whole = JournalFiles { journal: files.journal.clone(), ops: ops.ops.clone() };
        if is_of(&whole, own.path()) {
            let likely = if *own_digest == header.ops_b3 { &mut pairs } else { &mut crossed };
            likely.push(whole);
        }
    }
    pairs.append(&mut crossed);
    Ok(pairs)
}

fn is_of(files: &JournalFiles, own: &ObjectPath) -> bool {
    let journal = mended(&files.journal).and_then(|bytes| Journal::parse(&bytes, Some(&files.ops)).ok());
    journal.is_some_and(|journal| journal.must_be_of(own).is_ok())
}

fn other_stages(root: &Root, first: &Dir, run: &str) -> Result<Vec<Dir>, Cause> {
    let mut found = Vec::new();
    for path in domains::noted_stages(first)? {
        let Some(parent) = path.parent() else { continue };
        if let Some(dir) = root.dir_if_there(&parent)?
            && let FoundStage::Ours(stage) = open_own(&dir, path.name(), run.as_bytes())?
        {
            found.push(stage.dir);
        }
    }
    for mount in root.mount_points()? {
        let Ok(Some(top)) = root.dir_if_there(&mount) else { continue };
        let Ok(holder) = top.dir(HOLDER) else { continue };
        if let FoundStage::Ours(stage) = open_own(&holder, run.as_bytes(), run.as_bytes())? {
            found.push(stage.dir);
        }
    }
    Ok(found)
}

const MOST_NAMED: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proved {
    Before,
    After(Vec<UndoManifest>),
    /// Neither; these paths are in doubt.
    Nothing(Vec<String>),
}

struct Evidence<'a> {
    root: &'a Root,
    since: Timestamp,
    young: usize,
    old: usize,
    published: Vec<ObjectPath>,
    manifests: Vec<UndoManifest>,
    doubtful: Vec<String>,
}

pub(crate) fn prove(root: &Root, own: &Dir, stage: &OwnStage) -> Result<Proved, Cause> {
    let unproved = || Ok(Proved::Nothing(vec![root.show(stage.dir.path())]));
    let Some(since) = stage.dir.look(MARKER)?.and_then(|marker| marker.inode.born) else { return unproved() };
    let mut found = Evidence {
        root,
        since,
        young: 0,
        old: 0,
        published: Vec::new(),
        manifests: Vec::new(),
        doubtful: Vec::new(),
    };
    for within in [&b"o"[..], b"db"] {
        if stage.dir.look(within)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            return unproved();
        }
        found.staged(&stage.dir.dir(within)?)?;
    }
    found.live_records(own)?;
    if found.manifests.is_empty() {
        return unproved();
    }
    let (not_before, mut not_after) = found.compared()?;
    not_after.extend(found.kept_packages()?);
    let is_certain = found.doubtful.is_empty();
    if is_certain && found.old == 0 && found.published.is_empty() && not_before.is_empty() {
        return Ok(Proved::Before);
    }
    if is_certain && found.young == 0 && !found.published.is_empty() && not_after.is_empty() {
        return Ok(Proved::After(found.manifests));
    }
    Ok(Proved::Nothing(found.in_doubt(&stage.dir, not_before)))
}

impl Evidence<'_> {
    fn staged(&mut self, dir: &Dir) -> Result<(), Cause> {
        for name in dir.names()? {
            let Some(seen) = dir.look(&name)? else { continue };
            // Taken out of an outgoing directory, after the outcome.
            if name.starts_with(b"taken.") {
                continue;
            }
            // A safety copy is younger than its stage, but represents the old object.
            let is_held = name.starts_with(b"held.") || name.starts_with(b"again.");
            match seen.inode.born {
                Some(born) if !is_held && born >= self.since => self.young += 1,
                Some(_) if !is_held => self.old += 1,
                _ => self.doubtful.push(self.root.show(&dir.at(&name))),
            }
            if seen.file_type == FileType::Directory && !name.starts_with(b"tree.") {
                self.manifest_in(&dir.dir(&name)?)?;
            }
        }
        Ok(())
    }

    fn manifest_in(&mut self, save: &Dir) -> Result<(), Cause> {
        for name in save.names()? {
            let is_archive =
                name.starts_with(b"undo") && !name.starts_with(b"undo.b3") && name != b"undo.paths";
            let is_kept = name == KEPT_MANIFEST.as_bytes();
            if !is_archive && !is_kept {
                continue;
            }
            let Ok(file) = save.open_regular(&name) else { continue };
            let shown = self.root.show(&save.at(&name));
            let read = if is_kept {
                kept_manifest(file).map(Some).map_err(drop)
            } else {
                UnboundArchive::new(file, shown.clone()).manifest().map_err(drop)
            };
            match read {
                Ok(Some(manifest)) => self.manifests.push(manifest),
                Ok(None) | Err(()) => self.doubtful.push(shown),
            }
        }
        Ok(())
    }

    fn live_records(&mut self, own: &Dir) -> Result<(), Cause> {
        let mut directories = vec![own.path().join(b"ledger").ok(), Some(places::patches())];
        for package in self.names(&places::packages())? {
            let save = places::packages().join(&package).and_then(|package| package.join(b"save"));
            directories.push(save.ok());
        }
        for directory in directories.into_iter().flatten() {
            let physical = self.root.resolver().locate_dir(&directory)?;
            let Some(dir) = self.root.dir_if_there(&physical)? else { continue };
            for name in dir.names()? {
                let Some(seen) = dir.look(&name)? else { continue };
                if seen.inode.born.is_some_and(|born| born >= self.since) {
                    self.published.push(dir.at(&name));
                    if seen.file_type == FileType::Directory {
                        self.manifest_in(&dir.dir(&name)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn names(&self, directory: &ObjectPath) -> Result<Vec<Vec<u8>>, Cause> {
        let physical = self.root.resolver().locate_dir(directory)?;
        Ok(self.root.dir_if_there(&physical)?.map(|dir| dir.names()).transpose()?.unwrap_or_default())
    }

    fn compared(&self) -> Result<(Vec<String>, Vec<String>), Cause> {
        let mut paths: BTreeMap<ObjectPath, (bool, bool)> = BTreeMap::new();
        let mut dirs = Dirs::new(self.root);
        let objects = self.manifests.iter().flat_map(|manifest| &manifest.objects);
        for record in objects.filter(|record| record.is_changed() && !record.kept) {
            let Some(path) = record.object_path() else { continue };
            let physical = self.root.resolver().locate_to_compare(&path)?;
            let found = match dirs.parent(&physical)? {
                Some(dir) => dir.live(physical.name())?.as_ref().map(RecordedState::of),
                None => None,
            };
            let is = |state: Option<&RecordedState>| StateDifferences::is_found(state, found.as_ref());
            let known = paths.entry(path).or_default();
            known.0 |= is(record.was.as_ref());
            known.1 |= is(record.became.as_ref());
        }
        let not = |is: fn(&(bool, bool)) -> bool| {
            paths.iter().filter(|(_, found)| !is(found)).map(|(path, _)| self.root.show(path)).collect()
        };
        Ok((not(|found| found.0), not(|found| found.1)))
    }

    fn kept_packages(&self) -> Result<Vec<String>, Cause> {
        let mut left = Vec::new();
        let names = self.manifests.iter().flat_map(|manifest| &manifest.header.kept);
        for package in names.filter_map(|name| PkgInst::new(name).ok()) {
            let physical = self.root.resolver().locate_dir(&places::package(&package))?;
            let Some(dir) = self.root.dir_if_there(&physical)? else { continue };
            if dir.itself()?.inode.born.is_none_or(|born| born < self.since) {
                left.push(self.root.show(dir.path()));
            }
        }
        Ok(left)
    }

    fn in_doubt(&self, stage: &Dir, not_before: Vec<String>) -> Vec<String> {
        let mut paths = not_before;
        paths.extend(self.published.iter().map(|path| self.root.show(path)));
        paths.extend(self.doubtful.iter().cloned());
        if paths.is_empty() {
            paths.push(self.root.show(stage.path()));
        }
        let more = paths.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            paths.truncate(MOST_NAMED);
            paths.push(format!("{more} more"));
        }
        paths
    }
}

fn kept_manifest(file: std::fs::File) -> Result<UndoManifest, UnreadContent> {
    let mut opened = patchadm_container::open_container(file)
        .map_err(|error| UnreadContent::Damaged(error.to_string()))?;
    read_manifest(&mut opened.reader)
}

//! A run with procedure scripts between batches of changes.
//!
//! ```text
//!  begin ──► switch ──► script ──► switch ──► script ──► … ──► commit
//!   │ safety copies of │ a batch: staged,     │ progress sector:   │ one sector, as in any other run
//!   │ all that scripts │ synced, renamed into │ which script runs, │
//!   │ may touch;       │ place; made from what│ so that recovery   │
//!   │ journal durable  │ the script left      │ can end it         │
//!   └──────────────── a failure, or a death, restores every safety copy ┘
//! ```
//! A rollback restores all safety copies ([`safety_copies`](super::safety_copies)), so batches need no undo of their
//! own. Changes of scripts to other objects stay.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use crate::format::journal::{Identity, Journal, JournalArchive, Op, OpKind, RunRecord, ScriptProcess};
use crate::format::run::Run;
use crate::plan::{AttributeChange, Plan};
use crate::transaction::archive::records::RecordStager;
use crate::transaction::archive::stored_files::{dropped_files, records_that_go};
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::finish::{SwitchFindings, finish_committed, remove_directories};
use crate::transaction::journal::run_notes::{
    RunNote, ScriptRecorder, escaped, merge_run_notes, note_script,
};
use crate::transaction::journal::{installf_queue, journal_file, run_notes};
use crate::transaction::objects::copies::{copy_object, copy_tree, set_xattrs};
use crate::transaction::objects::identity::{identity, is_made_since};
use crate::transaction::objects::names::Dirs;
use crate::transaction::outside::{publish_remote, remote_places};
use crate::transaction::safety_copies::{ProtectedPaths, SafetyCopies, make_safety_copies};
use crate::transaction::settings::{ContentSource, RunSettings, SavedArchives};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::lay_out;
use crate::transaction::stage::layout_stager::LayoutStager;
use crate::transaction::stage::staged_versions::StagedVersions;
use crate::transaction::steps::{OpenedRun, Receipt, commit, undo_published};
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::tree::survey::must_allow_scripts;
use patchadm_rootfs::{
    Digest, Dir, FileType, Inode, Lock, ObjectRights, ObjectStatus, Root, Timestamp, Xattrs,
};
use patchadm_svr4::package::ObjectPath;

/// Between its batches.
#[derive(Debug)]
pub struct ScriptedRun<'s> {
    root: Root,
    settings: RunSettings<'s>,
    run: Run,
    domains: OpenDomains,
    journal: Journal,
    protected: HashSet<ObjectPath>,
    batches: usize,
    bytes: u64,
    digests: BTreeMap<ObjectPath, Digest>,
    undo: BTreeMap<usize, u64>,
    saved: SavedArchives,
    remote: Vec<PathBuf>,
    notes: Vec<String>,
}

impl<'s> ScriptedRun<'s> {
    /// Makes safety copies durable and publishes the journal; later failures are rolled back. The root must be
    /// recovered, and `lock` held since before the survey.
    pub fn begin(
        root: &Root,
        _lock: &'s Lock,
        command: &str,
        held: &ProtectedPaths,
        settings: RunSettings<'s>,
    ) -> Result<Self, TransactionError> {
        must_allow_scripts(root, settings.exchanges).during(Phase::Prepare)?;
        let mut opening = OpenedRun::begin(root, settings, &[])?;
        let ready = opening.domains.get(0).and_then(|first| installf_queue::prepare_notes(&first.dir));
        let ops =
            match ready.and_then(|()| make_safety_copies(root, &mut opening.domains, held, settings.watch)) {
                Ok(ops) => ops,
                Err(cause) => return Err(opening.abandon(root, Phase::Stage, cause, &[])),
            };
        let journal = opening.publish(root, command, settings, (&[], &[]), ops.into_iter())?;
        Ok(Self {
            root: root.clone(),
            settings,
            run: opening.run,
            domains: opening.domains,
            protected: journal.ops.iter().map(|op| op.path.clone()).collect(),
            journal,
            batches: 0,
            bytes: 0,
            digests: BTreeMap::new(),
            undo: BTreeMap::new(),
            saved: SavedArchives::new(),
            remote: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Scripts pass it on as `PATCHADM_RUN`.
    pub fn name(&self) -> String {
        self.run.to_string()
    }

    /// Returns failed installf(1M) and removef(1M) calls since the last query.
    pub fn take_failed_requests(&self) -> Result<Vec<String>, Cause> {
        installf_queue::take_failed_requests(&self.domains.get(0)?.dir)
    }

    /// `batch` was made from the current root and touches only protected paths. After an error, call
    /// [`ScriptedRun::roll_back`].
    pub fn switch(&mut self, batch: &Plan, content: &mut dyn ContentSource) -> Result<(), Cause> {
        let domains = self.domains.iter().count();
        self.batches += 1;
        let prefix = format!("{}.", self.batches);
        let mut layout =
            lay_out(&self.root, &mut self.domains, batch, &prefix, self.settings.ledgers, Vec::new())?;
        if self.domains.iter().count() != domains {
            return Err(Cause::Internal(
                "a batch reaches a file system that the run does not hold".to_owned(),
            ));
        }
        // Other changes could not be undone.
        let is_protected = |path: &ObjectPath| self.protected.contains(path);
        let may_change = |op: &Op| {
            is_protected(&op.path) || (op.db && op.path.ancestors().any(|above| is_protected(&above)))
        };
        if let Some(item) = layout.items.iter().find(|item| !may_change(&item.op)) {
            let shown = self.root.show(&item.op.path);
            return Err(Cause::Internal(format!("{shown} is not held, so a batch may not change it")));
        }
        let (root, domains, watch) = (&self.root, &self.domains, self.settings.watch);
        let versions = StagedVersions::stage(root, domains, batch, content, watch)?;
        let stager = LayoutStager { root, domains, layout: &mut layout, watch, syncs: false, saves: true };
        let staged = stager.objects(content)?;
        self.digests.extend(staged.digests);
        let held = SafetyCopies::of(&self.domains, &self.journal.ops);
        let mut recorder = RecordStager {
            stored: BTreeMap::new(),
            root: &self.root,
            run: &self.run,
            domains: &self.domains,
            plan: batch,
            digests: &self.digests,
            held: Some(&held),
            versions: &versions,
            settings: self.settings,
            written: BTreeMap::new(),
            archives: Vec::new(),
            saved: self.saved.clone(),
            notes: Vec::new(),
        };
        self.remote.extend(remote_places(batch, &self.run));
        recorder.remote_archives()?;
        recorder.archives.extend(dropped_files(&self.root, &records_that_go(&layout))?);
        recorder.archives_and_records(&mut layout).map_err(|(_, cause)| cause)?;
        self.notes.append(&mut recorder.notes);
        let sizes = recorder.written.values().map(|written| written.size);
        for (at, written) in &recorder.written {
            if let Some(undo) = batch.undo.get(*at) {
                let key = (undo.package.clone(), undo.patch.clone());
                self.saved.insert(key, (*written, undo.place.clone()));
            }
        }
        let next = self.undo.len();
        let numbered: Vec<(usize, u64)> = sizes.enumerate().map(|(at, size)| (next + at, size)).collect();
        self.bytes += staged.bytes;
        let archives =
            recorder.archives.into_iter().filter(JournalArchive::is_of_others).map(RunNote::Archive);
        let archives: Vec<RunNote> = archives.collect();
        self.undo.extend(numbered);
        run_notes::add(&self.domains.get(0)?.dir, &archives, true)?;
        let ops: Vec<Op> =
            layout.items.iter().filter(|item| item.inside.is_none()).map(|item| item.op.clone()).collect();
        let made = ops.iter().filter_map(|op| {
            Some(RunNote::Made { path: escaped(&op.path), identity: op.new.as_deref().cloned()? })
        });
        run_notes::add(&self.domains.get(0)?.dir, &made.collect::<Vec<_>>(), false)?;
        self.domains.sync()?;
        self.run_ops(ops)
    }

    fn run_ops(&mut self, ops: Vec<Op>) -> Result<(), Cause> {
        let batch = Journal {
            head: self.journal.head.clone(),
            domains: self.journal.domains.clone(),
            archives: Vec::new(),
            run_record: RunRecord::default(),
            ops,
            is_whole: true,
        };
        let mut runner = OpRunner::open(&self.root, &batch)?;
        let (records, objects): (Vec<_>, Vec<_>) = batch.ops.iter().partition(|op| op.db);
        for op in objects.iter().chain(&records) {
            self.settings.watch.check()?;
            runner.run_op(op)?;
        }
        self.notes.append(&mut runner.notes);
        self.notes.extend(remove_directories(&self.root, &batch)?);
        Ok(())
    }

    /// Notes the current object at every protected path: none of these is foreign.
    pub fn script_ended(&mut self) -> Result<(), Cause> {
        let runner = &mut OpRunner::open(&self.root, &self.journal)?;
        let mut made = Vec::new();
        for op in self.journal.ops.iter().filter(|op| op.kind == OpKind::Protect && !op.db) {
            let Some(parent) = runner.dirs.parent(&op.path)? else { continue };
            let Some(seen) = parent.look(op.path.name())? else { continue };
            if op.touched.as_deref() != Some(&seen.ctime) {
                made.push(RunNote::Made { path: escaped(&op.path), identity: identity(&seen, None, None) });
            }
        }
        made.push(RunNote::ScriptRuns(false));
        run_notes::add(&self.domains.get(0)?.dir, &made, false)?;
        note_script(&self.root, &mut self.journal.head.progress, None)
    }

    /// For objects that a script has put in place; skips missing ones. Refuses those that somebody else could have put
    /// there, unless they were made during the run.
    pub fn set_attributes_after_script(
        &mut self,
        objects: &[(ObjectPath, AttributeChange)],
    ) -> Result<(), Cause> {
        let resolver = self.root.resolver();
        let mut dirs = Dirs::new(&self.root);
        let (mut made, mut found) = (Vec::new(), Vec::new());
        for (path, to) in objects {
            let physical = resolver.locate_object(path)?;
            let Some(dir) = dirs.parent(&physical)? else { continue };
            let Some(seen) = dir.look(physical.name())? else { continue };
            let mut after = identity(&seen, None, None);
            after.mtime = to.mtime.unwrap_or(after.mtime);
            made.push(RunNote::Made { path: escaped(&physical), identity: after });
            found.push((physical, seen, to));
        }
        run_notes::add(&self.domains.get(0)?.dir, &made, false)?;
        let begun = self.domains.get(0)?.dir.itself()?.inode.born;
        for (physical, seen, to) in found {
            if let Some(dir) = dirs.parent(&physical)? {
                set_attributes(&dir, physical.name(), (&seen, begun), to)?;
            }
        }
        Ok(())
    }

    /// A failure before the commit is rolled back.
    pub fn commit(mut self) -> Result<Receipt, TransactionError> {
        let places = self.remote.clone();
        let ready = self.settings.watch.check().and_then(|()| self.domains.sync()).and_then(|()| {
            publish_remote(&self.root, &self.run, &places)?;
            self.settings.watch.commits()?;
            journal_file::open(&self.root)
        });
        let mark = match ready {
            Ok(mark) => mark,
            Err(cause) => {
                self.settings.watch.ends();
                return Err(self.roll_back(Phase::Switch, cause));
            }
        };
        let elapsed = commit(self.settings, &mark)?;
        let journal = match merge_run_notes(&self.root, &self.journal) {
            Ok(journal) => journal,
            Err(cause) => {
                self.notes.push(cause.to_string());
                self.journal.clone()
            }
        };
        let mut notes = self.notes;
        let findings = SwitchFindings::of_commit(None);
        notes.extend(finish_committed(&self.root, &journal, findings, elapsed));
        self.settings.watch.ends();
        let (run, exchanges) = (self.run.to_string(), Vec::new());
        Ok(Receipt { run, bytes: self.bytes, undo: self.undo, exchanges, notes })
    }

    pub fn roll_back(self, phase: Phase, cause: Cause) -> TransactionError {
        undo_published(&self.root, &self.journal, phase, cause)
    }
}

impl ScriptRecorder for ScriptedRun<'_> {
    fn log(&mut self, text: &[u8]) -> Result<(), Cause> {
        run_notes::add_to_log(&self.domains.get(0)?.dir, text)
    }

    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause> {
        note_script(&self.root, &mut self.journal.head.progress, Some(process))?;
        run_notes::add(&self.domains.get(0)?.dir, &[RunNote::ScriptRuns(true)], false)
    }
}

fn set_attributes(
    dir: &Dir,
    name: &[u8],
    (seen, begun): (&ObjectStatus, Option<Timestamp>),
    to: &AttributeChange,
) -> Result<(), Cause> {
    if let Some(object) = dir.hold(name)? {
        let is_owner_set = dir.root().is_privileged();
        let (uid, gid) = (to.uid.filter(|_| is_owner_set), to.gid.filter(|_| is_owner_set));
        let rights = ObjectRights { uid, gid, mode: to.mode };
        dir.must_be_own(&object, rights, |seen| Ok(is_made_since(begun, seen)))?;
        object.set_rights(rights)?;
    }
    if let Some(xattrs) = &to.xattrs {
        set_exact_xattrs(dir, name, xattrs)?;
        // An access control list has bits of the mode.
        if let (Some(mode), Some(object)) = (to.mode, dir.hold(name)?) {
            object.set_rights(ObjectRights { mode: Some(mode), ..ObjectRights::default() })?;
        }
    }
    if let Some(mtime) = to.mtime.filter(|mtime| *mtime != seen.mtime) {
        dir.set_mtime(name, mtime)?;
    }
    Ok(())
}

fn set_exact_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    let mut missing = xattrs.clone();
    for (key, value) in dir.xattrs(name)? {
        match missing.get(&key) {
            Some(wanted) if *wanted == value => drop(missing.remove(&key)),
            Some(_) => {}
            None => dir.remove_xattr(name, &key)?,
        }
    }
    set_xattrs(dir, name, &missing)
}

impl ScriptedRun<'_> {
    /// Restores protected objects and record directories to their state before the run. No script may be running. After
    /// an error, call [`ScriptedRun::roll_back`].
    pub fn rewind(&mut self, objects: &BTreeSet<ObjectPath>, trees: &[ObjectPath]) -> Result<(), Cause> {
        self.batches += 1;
        let (root, domains, held) = (&self.root, &self.domains, &self.journal);
        let wanted = located(root, objects)?;
        let records = located(root, trees)?;
        let is_above = |path: &ObjectPath| {
            let lowest = path.lowest_below();
            wanted.range(lowest..).next().is_some_and(|wanted| wanted.is_below(path))
        };
        let is_object = |op: &Op| wanted.contains(&op.path) || op.old.is_none() && is_above(&op.path);
        let is_meant = |op: &Op| if op.db { records.contains(&op.path) } else { is_object(op) };
        let mut dirs = Dirs::new(root);
        let mut ops = Vec::new();
        for op in held.ops.iter().filter(|op| is_meant(op)) {
            if !is_untouched(&mut dirs, op)? {
                ops.push(op);
            }
        }
        let mut copies =
            CopyMaker { domains, prefix: format!("again.{}", self.batches), first: HashMap::new() };
        let ops: Vec<Op> =
            ops.into_iter().enumerate().map(|(at, op)| copies.of(op, at)).collect::<Result<_, Cause>>()?;
        let again = Journal { ops, ..held.clone() };
        let mut runner = OpRunner::open(root, &again)?;
        runner.put_back().into_iter().next().map_or(Ok(()), Err)
    }
}

fn is_untouched(dirs: &mut Dirs, op: &Op) -> Result<bool, Cause> {
    let Some(parent) = dirs.parent(&op.path)? else { return Ok(op.old.is_none()) };
    Ok(match (parent.look(op.path.name())?, &op.old) {
        (None, None) => true,
        (Some(seen), Some(old)) => {
            !op.db && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime)
        }
        _ => false,
    })
}

fn located<'p>(
    root: &Root,
    paths: impl IntoIterator<Item = &'p ObjectPath>,
) -> Result<BTreeSet<ObjectPath>, Cause> {
    let resolver = root.resolver();
    paths.into_iter().map(|path| resolver.locate_object(path).map_err(Cause::from)).collect()
}

struct CopyMaker<'a> {
    domains: &'a OpenDomains,
    prefix: String,
    first: HashMap<Inode, (usize, Vec<u8>)>,
}

impl CopyMaker<'_> {
    fn of(&mut self, op: &Op, at: usize) -> Result<Op, Cause> {
        let domain = self.domains.get(op.domain)?;
        let stage = if op.db { domain.records.again()? } else { domain.objects.again()? };
        let (within, held) = op.stage.split_once('/').unwrap_or(("o", &op.stage));
        let name = format!("{}.{at}", self.prefix);
        let mut again = op.clone();
        again.stage = format!("{within}/{name}");
        let Some(copy) = &op.new else { return Ok(again) };
        let (held, name) = (held.as_bytes(), name.as_bytes());
        let Some(seen) = stage.look(held)? else {
            return Err(Cause::Internal(format!("the held copy of {} is missing", op.path)));
        };
        if seen.file_type == FileType::Directory {
            copy_tree(&stage, held, &stage, name)?;
        } else {
            match self.first.get(&seen.inode).filter(|(domain, _)| *domain == op.domain) {
                Some((_, first)) => stage.make_link(name, &stage, first)?,
                None => drop(copy_object(&stage, held, &stage, name)?),
            }
            self.first.entry(seen.inode).or_insert_with(|| (op.domain, name.to_vec()));
        }
        let made = stage.look(name)?.map(|seen| identity(&seen, None, None));
        again.new = made.map(|made| {
            let (b3, target) = (copy.b3.clone(), copy.target.clone());
            Box::new(Identity { b3, target, ..made })
        });
        Ok(again)
    }
}

//! A run in which procedure scripts take part: batches of changes, and scripts between them.
//!
//! ```text
//!  begin ──► switch ──► script ──► switch ──► script ──► … ──► commit
//!   │ safety copies of │ a batch: staged,     │ progress sector:   │ one sector, as in any other run
//!   │ all that scripts │ synced, renamed into │ which script runs, │
//!   │ may touch;       │ place; made from what│ so that recovery   │
//!   │ journal durable  │ the script left      │ can end it         │
//!   └──────────────── a failure, or a death, restores every safety copy ┘
//! ```
//! Batches need no undo of their own: regardless of what they and the scripts did, a rollback restores the safety
//! copies (`recover/put_back.rs`). Changes of scripts to other objects are not undone.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::content_source::ContentSource;
use super::error::{Cause, DuringPhase as _, Phase, RootCondition, TransactionError};
use super::opening::{RunOpening, Unpublished, undo_published};
use super::settings::RunSettings;
use super::steps::Receipt;
use super::switched_run::ScriptRecorder;
use crate::format::journal::{
    Journal, JournalArchive, LONGEST_SCRIPT_NAME, Op, OpKind, RunOutcome, RunRecord, ScriptProcess,
    ScriptProgress,
};
use crate::format::run::Run;
use crate::ledgers::SavedArchives;
use crate::plan::Plan;
use crate::transaction::archive::dropped_files::{dropped_files, records_that_go};
use crate::transaction::archive::records::{RecordStager, publish_remote, remote_places};
use crate::transaction::journal::failed_requests;
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes::{self, RunNote, escaped, with_notes};
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::objects::identity::identity;
use crate::transaction::recover::finish::{finish_committed, remove_directories};
use crate::transaction::recover::switch_findings::SwitchFindings;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::lay_out;
use crate::transaction::stage::layout_stager::LayoutStager;
use crate::transaction::stage::safety_copies::{ProtectedPaths, SafetyCopies, make_safety_copies};
use crate::transaction::stage::staged_files::set_xattrs;
use crate::transaction::stage::staged_versions::StagedVersions;
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::tree::request::{ExchangeReport, must_allow_scripts};
use patchadm_rootfs::{Digest, Live, Timestamp, Xattrs};
use patchadm_rootfs::{Dir, Lock, ObjectRights, ObjectStatus, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// A published run between its batches.
#[derive(Debug)]
pub struct ScriptedRun<'s> {
    root: Root,
    settings: RunSettings<'s>,
    run: Run,
    domains: OpenDomains,
    journal: Journal,
    /// The protected physical paths.
    held: HashSet<ObjectPath>,
    batches: usize,
    bytes: u64,
    digests: BTreeMap<ObjectPath, Digest>,
    undo: BTreeMap<usize, u64>,
    /// The archives written by the batches.
    saved: SavedArchives,
    remote: Vec<PathBuf>,
    notes: Vec<String>,
}

/// The attributes to set on an object that a script has put in place; `None` keeps the current value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledAttributes {
    /// The permission bits.
    pub mode: Option<Mode>,
    /// The numeric owner; not set without privileges.
    pub uid: Option<u32>,
    /// The numeric group; not set without privileges.
    pub gid: Option<u32>,
    /// The modification time.
    pub mtime: Option<Timestamp>,
    /// All extended attributes.
    pub xattrs: Option<Xattrs>,
}

impl SettledAttributes {
    /// Returns the status of a file once it has these attributes.
    pub fn given_to(&self, live: &Live) -> Live {
        Live {
            mode: self.mode.unwrap_or(live.mode),
            uid: self.uid.unwrap_or(live.uid),
            gid: self.gid.unwrap_or(live.gid),
            mtime: self.mtime.unwrap_or(live.mtime),
            xattrs: self.xattrs.clone().unwrap_or_else(|| live.xattrs.clone()),
            ..live.clone()
        }
    }
}

impl<'s> ScriptedRun<'s> {
    /// Copies everything that scripts may touch into the stage, makes that durable, and publishes the journal; from
    /// here a failure is rolled back. The root must be recovered, and `lock` must have been held since before the
    /// survey.
    pub fn begin(
        root: &Root,
        _lock: &'s Lock,
        command: &str,
        held: &ProtectedPaths,
        settings: RunSettings<'s>,
    ) -> Result<Self, TransactionError> {
        must_allow_scripts(root, settings.exchanges).during(Phase::Prepare)?;
        let mut opening = RunOpening::begin(root, settings, &[])?;
        let ready = opening.domains.get(0).and_then(|first| failed_requests::prepare(&first.dir));
        let ops =
            match ready.and_then(|()| make_safety_copies(root, &mut opening.domains, held, settings.watch)) {
                Ok(ops) => ops,
                Err(cause) => return Err(opening.abandon(root, Phase::Stage, cause)),
            };
        match opening.publish(root, command, settings, &[], ops.into_iter()) {
            Ok(journal) => Ok(Self {
                root: root.clone(),
                settings,
                run: opening.run,
                domains: opening.domains,
                held: journal.ops.iter().map(|op| op.path.clone()).collect(),
                journal,
                batches: 0,
                bytes: 0,
                digests: BTreeMap::new(),
                undo: BTreeMap::new(),
                saved: SavedArchives::new(),
                remote: Vec::new(),
                notes: Vec::new(),
            }),
            Err(unpublished) => Err(match *unpublished {
                Unpublished { journal: Some(journal), cause } => {
                    undo_published(root, &journal, Phase::Publish, cause)
                }
                Unpublished { journal: None, cause } => opening.abandon(root, Phase::Publish, cause),
            }),
        }
    }

    /// Returns the name of the run, as `PATCHADM_RUN` passes it to commands started by scripts.
    pub fn name(&self) -> String {
        self.run.to_string()
    }

    /// Returns the installf(1M) and removef(1M) calls that failed since the last query, each in words with its
    /// reason.
    pub fn take_failed_requests(&self) -> Result<Vec<String>, Cause> {
        failed_requests::take(&self.domains.get(0)?.dir)
    }

    /// Adds text to the log, which is written when the run ends, whatever its outcome.
    pub fn log(&mut self, text: &[u8]) -> Result<(), Cause> {
        run_notes::add_to_log(&self.domains.get(0)?.dir, text)
    }

    /// Stages a batch, makes it durable, and puts it in place. `batch` was made from the current root and touches
    /// only protected paths. After an error, call [`ScriptedRun::roll_back`].
    pub fn switch(&mut self, batch: &Plan, content: &mut dyn ContentSource) -> Result<(), Cause> {
        let domains = self.domains.iter().count();
        let prefix = format!("{}.", self.next_batch());
        let mut layout =
            lay_out(&self.root, &mut self.domains, batch, &prefix, self.settings.ledgers, Vec::new())?;
        if self.domains.iter().count() != domains {
            return Err(Cause::Internal("a batch reaches a file system of which nothing is held".to_owned()));
        }
        for item in &layout.items {
            self.must_be_protected(&item.op)?;
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
        recorder.archives(&mut layout)?;
        versions.remove_except(&recorder.stored)?;
        recorder.directories(&mut layout)?;
        recorder.files(&mut layout)?;
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
        self.note(ops.iter())?;
        self.domains.sync()?;
        self.run_ops(ops)
    }

    /// Numbers another batch.
    pub(crate) fn next_batch(&mut self) -> usize {
        self.batches += 1;
        self.batches
    }

    /// Returns the root, the stages, and the journal with the protected paths.
    pub(crate) fn root_domains_and_journal(&self) -> (&Root, &OpenDomains, &Journal) {
        (&self.root, &self.domains, &self.journal)
    }

    /// Refuses an op on an unprotected path, because its change could not be undone.
    fn must_be_protected(&self, op: &Op) -> Result<(), Cause> {
        let is_held = |path: &ObjectPath| self.held.contains(path);
        if is_held(&op.path) || (op.db && op.path.ancestors().any(|above| is_held(&above))) {
            return Ok(());
        }
        Err(Cause::Internal(format!(
            "{} is not held, so a batch may not change it",
            self.root.show(&op.path)
        )))
    }

    /// Notes the objects that the batch puts in place.
    fn note<'o>(&self, ops: impl Iterator<Item = &'o Op>) -> Result<(), Cause> {
        let made = |op: &Op| {
            let identity = op.new.as_deref().cloned()?;
            Some(RunNote::Made { path: escaped(&op.path), identity })
        };
        run_notes::add(&self.domains.get(0)?.dir, &ops.filter_map(made).collect::<Vec<_>>(), false)
    }

    /// Carries out the ops: objects first, then records; emptied directories last.
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

    /// Records durably that a script runs. Call it when its process exists and the script itself has not started.
    pub fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause> {
        let name = process.name.chars().take(LONGEST_SCRIPT_NAME).collect();
        self.progress(Some(ScriptProcess { name, ..process.clone() }))?;
        run_notes::add(&self.domains.get(0)?.dir, &[RunNote::ScriptRuns(true)], false)
    }

    /// Records that no script runs any more, and the current object at every protected path: none of these is foreign.
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
        self.progress(None)
    }

    fn progress(&mut self, script: Option<ScriptProcess>) -> Result<(), Cause> {
        let number = self.journal.head.progress.as_ref().map_or(0, |progress| progress.number) + 1;
        let progress = ScriptProgress { number, script };
        journal_file::note_progress(&self.root, &progress)?;
        self.journal.head.progress = Some(progress);
        Ok(())
    }

    /// Sets the attributes of live objects that a script has put in place. Missing objects are skipped.
    pub fn settle_attributes(&mut self, objects: &[(ObjectPath, SettledAttributes)]) -> Result<(), Cause> {
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
        for (physical, seen, to) in found {
            if let Some(dir) = dirs.parent(&physical)? {
                set_attributes(&dir, physical.name(), &seen, to)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable and commits. A failure before the commit is rolled back.
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
        if let Err(cause) = journal_file::close(&mark, RunOutcome::Commit) {
            self.settings.watch.ends();
            return Err(TransactionError { phase: Phase::Commit, cause, left: RootCondition::InDoubt });
        }
        let elapsed = (self.settings.elapsed)();
        let journal = match with_notes(&self.root, &self.journal) {
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
        let exchanges = ExchangeReport::with_scripts(self.settings.exchanges);
        Ok(Receipt { run: self.run.to_string(), bytes: self.bytes, undo: self.undo, exchanges, notes })
    }

    /// Restores everything as it was before the run.
    pub fn roll_back(self, phase: Phase, cause: Cause) -> TransactionError {
        undo_published(&self.root, &self.journal, phase, cause)
    }
}

impl ScriptRecorder for ScriptedRun<'_> {
    fn log(&mut self, text: &[u8]) -> Result<(), Cause> {
        self.log(text)
    }

    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause> {
        self.script_begins(process)
    }
}

fn set_attributes(dir: &Dir, name: &[u8], seen: &ObjectStatus, to: &SettledAttributes) -> Result<(), Cause> {
    if let Some(object) = dir.hold(name)? {
        let is_owner_set = dir.root().is_privileged();
        let (uid, gid) = (to.uid.filter(|_| is_owner_set), to.gid.filter(|_| is_owner_set));
        object.set_rights(ObjectRights { uid, gid, mode: to.mode })?;
    }
    if let Some(xattrs) = &to.xattrs {
        settle_xattrs(dir, name, xattrs)?;
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

/// Lets an object have exactly these extended attributes.
fn settle_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
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

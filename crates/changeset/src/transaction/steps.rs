//! The steps of a run, types that consume one another; shared with runs with scripts ([`scripted`](super::scripted)).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::thread::ScopedJoinHandle;

use crate::format::journal::{
    Identity, Journal, JournalArchive, JournalEntry, JournalHeader, Op, OpKind, RunOutcome, VERSION,
};
use crate::format::manifest::encode;
use crate::format::run::Run;
use crate::plan::{Plan, UndoArchive, UndoFormat};
use crate::transaction::archive::records::RecordStager;
use crate::transaction::archive::stored_files::{dropped_files, records_that_go, sync_with_copies};
use crate::transaction::error::{Cause, DuringPhase, Phase, RootCondition, TransactionError};
use crate::transaction::finish::{SwitchFindings, finish_committed};
use crate::transaction::journal::run_notes::SwitchedRun;
use crate::transaction::journal::{history_file, journal_file, root_id_file};
use crate::transaction::outside::{OutsideAccess, publish_remote, remote_places, remove_unpublished};
use crate::transaction::recover::recovery::{next_run, roll_back};
use crate::transaction::recover::set_id::plain_objects;
use crate::transaction::recover::strays::remove_strays;
use crate::transaction::settings::{ContentSource, RunActivity, RunSettings, SavedArchives};
use crate::transaction::stage::domains::{OpenDomains, make_own_directory};
use crate::transaction::stage::layout::{LaidTree, StageLayout, lay_out};
use crate::transaction::stage::layout_stager::{EarlySync, LayoutStager};
use crate::transaction::stage::object_stager::StagedContent;
use crate::transaction::stage::staged_versions::StagedVersions;
use crate::transaction::switch::delivered;
use crate::transaction::switch::delivered::SwitchedObject;
use crate::transaction::switch::fallback::link_old_objects;
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::tree::staging::{StagedExchange, prepare_trees, reports, settle_trees};
use crate::transaction::tree::survey::ExchangeReport;
use patchadm_rootfs::{Dir, Inode, Lock, Root, WritableFile};
use patchadm_svr4::format::pkgmap::member_name;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub run: String,
    /// Of new objects.
    pub bytes: u64,
    /// Bytes by plan index.
    pub undo: BTreeMap<usize, u64>,
    pub exchanges: Vec<ExchangeReport>,
    /// Directories that stay, unfinished work.
    pub notes: Vec<String>,
}

/// If renames into a directory fail, everything is undone and a second run, with its own history entry, makes it a
/// domain.
pub fn run_plan<'p>(
    root: &Root,
    lock: &'p Lock,
    plan: &'p Plan,
    settings: RunSettings<'p>,
    content: &mut dyn ContentSource,
) -> Result<Receipt, TransactionError> {
    let mut attempt = |apart: &[ObjectPath]| {
        let planned = Planned::begin(root, lock, plan, settings, apart)?;
        planned.stage(content)?.snapshot()?.publish()?.switch()
    };
    match attempt(&[]) {
        Err(TransactionError {
            cause: Cause::Apart { directory, .. },
            left: RootCondition::Unchanged | RootCondition::RolledBack,
            ..
        }) => attempt(&[directory]),
        other => other,
    }
}

#[derive(Debug)]
pub struct Planned<'p> {
    root: Root,
    plan: &'p Plan,
    settings: RunSettings<'p>,
    opening: OpenedRun,
    layout: StageLayout<'p>,
    trees: Vec<LaidTree>,
    exchanges: Vec<ExchangeReport>,
    staged: Vec<StagedExchange>,
}

#[derive(Debug)]
pub struct Staged<'p> {
    on: Planned<'p>,
    content: StagedContent,
    versions: StagedVersions,
}

#[derive(Debug)]
pub struct Snapshotted<'p> {
    on: Planned<'p>,
    archives: Vec<JournalArchive>,
    notes: Vec<String>,
    bytes: u64,
    undo: BTreeMap<usize, u64>,
}

/// A durable journal exists: failures are rolled back.
#[derive(Debug)]
pub struct Published<'p> {
    on: Planned<'p>,
    journal: Journal,
    plain: HashSet<String>,
    notes: Vec<String>,
    bytes: u64,
    undo: BTreeMap<usize, u64>,
}

impl<'p> Planned<'p> {
    /// The root must be recovered, and `lock` held since before the inventory. An earlier attempt found that nothing can
    /// be renamed into the directories `apart`.
    pub(crate) fn begin(
        root: &Root,
        _lock: &'p Lock,
        plan: &'p Plan,
        settings: RunSettings<'p>,
        apart: &[ObjectPath],
    ) -> Result<Self, TransactionError> {
        let mut opening = OpenedRun::begin(root, settings, apart)?;
        let trees = settings.exchanges.iter().cloned();
        let trees = trees.map(|directory| LaidTree { directory, exchanged: None }).collect();
        match lay_out(root, &mut opening.domains, plan, "", settings.ledgers, trees) {
            Ok(mut layout) => {
                let trees = std::mem::take(&mut layout.trees);
                let (root, exchanges) = (root.clone(), reports(&trees));
                Ok(Self { root, plan, settings, opening, layout, trees, exchanges, staged: Vec::new() })
            }
            Err(cause) => Err(opening.abandon(root, Phase::Prepare, cause, &[])),
        }
    }

    /// `content` supplies the files.
    pub fn stage(mut self, content: &mut dyn ContentSource) -> Result<Staged<'p>, TransactionError> {
        let (root, domains, watch) = (&self.root, &self.opening.domains, self.settings.watch);
        let (syncs, saves) = (self.plan.archives().next().is_none(), !self.plan.undo.is_empty());
        let trees = std::mem::take(&mut self.trees);
        let staged = StagedVersions::stage(root, domains, self.plan, content, watch).and_then(|versions| {
            let prepared = prepare_trees(root, domains, &self.layout, &trees)?;
            let stager = LayoutStager { root, domains, layout: &mut self.layout, watch, syncs, saves };
            let content = stager.objects(content)?;
            Ok((content, versions, settle_trees(prepared, domains, &mut self.layout)?))
        });
        match staged {
            Ok((content, versions, staged)) => {
                self.staged = staged;
                Ok(Staged { on: self, content, versions })
            }
            Err(cause) => Err(self.opening.abandon(&self.root, Phase::Stage, cause, &[])),
        }
    }
}

impl<'p> Staged<'p> {
    pub fn snapshot(mut self) -> Result<Snapshotted<'p>, TransactionError> {
        let mut recorder = RecordStager {
            root: &self.on.root,
            run: &self.on.opening.run,
            domains: &self.on.opening.domains,
            plan: self.on.plan,
            digests: &self.content.digests,
            held: None,
            versions: &self.versions,
            settings: self.on.settings,
            written: BTreeMap::new(),
            archives: Vec::new(),
            saved: SavedArchives::new(),
            stored: BTreeMap::new(),
            notes: Vec::new(),
        };
        let saved = recorder.plan.undo.iter().flat_map(|undo| &undo.saved);
        let size = saved.filter_map(|(entry, _)| entry.object.content.size).sum();
        recorder.settings.watch.begins(RunActivity::Saving, size);
        // Syncs new objects while old ones are saved, if any.
        let bytes = if self.on.plan.archives().next().is_none() { 0 } else { self.content.bytes };
        let going = records_that_go(&self.on.layout);
        let all = std::thread::scope(|scope| {
            let root = &self.on.root;
            let early = EarlySync::begin(scope, root, &self.on.opening.domains, bytes);
            // Outgoing archives are read meanwhile.
            let is_aside = root.workers() > 1 && !going.is_empty();
            let dropped = is_aside.then(|| scope.spawn(|| dropped_files(root, &going)));
            let saved = save_and_record(&mut recorder, &mut self.on.layout);
            let dropped = match dropped.map(ScopedJoinHandle::join) {
                Some(read) => read.unwrap_or_else(|_| Err(Cause::Internal("a thread failed".to_owned()))),
                None => dropped_files(root, &going),
            };
            let synced = early.end().map_err(|cause| (Phase::Publish, cause));
            saved.and(dropped.map_err(|cause| (Phase::Snapshot, cause))).and_then(|dropped| {
                recorder.archives.extend(dropped);
                synced
            })
        });
        let undo = recorder
            .written
            .iter()
            .map(|(index, written)| (*index, written.size + written.files.unwrap_or(0)))
            .collect();
        let (archives, notes) = (recorder.archives, recorder.notes);
        match all {
            Ok(()) => Ok(Snapshotted { on: self.on, archives, notes, bytes: self.content.bytes, undo }),
            Err((phase, cause)) => {
                let outside = remote_places(self.on.plan, &self.on.opening.run);
                Err(self.on.opening.abandon(&self.on.root, phase, cause, &outside))
            }
        }
    }
}

/// Includes second names of old objects. An error carries its phase.
fn save_and_record<'p>(
    recorder: &mut RecordStager<'_, 'p>,
    layout: &mut StageLayout<'p>,
) -> Result<(), (Phase, Cause)> {
    let outside = recorder.remote_archives().and_then(|()| recorder.stored_objects(layout));
    outside.map_err(|cause| (Phase::Snapshot, cause))?;
    recorder.archives_and_records(layout)?;
    link_old_objects(recorder.root, recorder.domains, layout).map_err(|cause| (Phase::Stage, cause))
}

impl<'p> Snapshotted<'p> {
    pub fn publish(mut self) -> Result<Published<'p>, TransactionError> {
        self.name_saved_objects();
        let plain = plain_objects(&self.on.layout);
        // From here the run follows its journal, so items can go.
        let items = std::mem::take(&mut self.on.layout.items).into_iter();
        let ops = items.filter(|item| item.inside.is_none()).map(|item| item.op);
        let Planned { root, plan, settings, opening, .. } = &self.on;
        let outside = remote_places(plan, &opening.run);
        let journal = opening.publish(root, plan.command, *settings, (&self.archives, &outside), ops)?;
        let Self { on, notes, bytes, undo, .. } = self;
        Ok(Published { on, journal, plain, notes, bytes, undo })
    }

    fn name_saved_objects(&mut self) {
        // An archive without objects rebuilds none.
        let holds_objects = |undo: &&UndoArchive| undo.format != UndoFormat::Files;
        let archives = self.on.plan.undo.iter().enumerate();
        for (index, undo) in archives.filter(|(_, undo)| holds_objects(undo)) {
            for (entry, path) in undo.saved.iter().filter(|(_, path)| !undo.passing.contains_key(path)) {
                if let Some(item) = self.on.layout.place_of(path)
                    && let Some(item) = self.on.layout.items.get_mut(item)
                    && item.op.kind != OpKind::Tree
                {
                    item.op.undo = Some(Box::new((index, encode(&member_name(&entry.path)))));
                }
            }
        }
    }
}

impl Published<'_> {
    /// A failure or signal before the commit is rolled back.
    pub fn switch(mut self) -> Result<Receipt, TransactionError> {
        let plain = std::mem::take(&mut self.plain);
        let root = &self.on.root;
        let mut runner = match OpRunner::open(root, &self.journal) {
            Ok(runner) => runner,
            Err(cause) => return Err(undo_published(root, &self.journal, Phase::Switch, cause)),
        };
        runner.plain = plain;
        runner.notes.append(&mut self.notes.clone());
        runner.notes.extend(self.on.staged.iter().flat_map(|tree| tree.notes.iter().cloned()));
        let switched = self.switch_names(&mut runner);
        let (mark, delivered) = match switched.and_then(|seen| Ok((journal_file::open(root)?, seen))) {
            Ok(switched) => switched,
            Err(cause) => {
                drop(runner);
                self.on.settings.watch.ends();
                return Err(undo_published(root, &self.journal, Phase::Switch, cause));
            }
        };
        let elapsed = commit(self.on.settings, &mark)?;
        delivered::write(root, &self.journal, self.on.plan, &delivered);
        let findings = SwitchFindings::of_commit(Some(runner));
        let notes = finish_committed(root, &self.journal, findings, elapsed);
        self.on.settings.watch.ends();
        let (run, exchanges) = (self.on.opening.run.to_string(), self.on.exchanges);
        Ok(Receipt { run, bytes: self.bytes, undo: self.undo, exchanges, notes })
    }

    /// Durable. Returns objects in place that need not be read again.
    fn switch_names(&self, runner: &mut OpRunner<'_>) -> Result<Vec<SwitchedObject<'_>>, Cause> {
        // The journal lists records first, for readers; the switch has them last.
        let (records, objects): (Vec<_>, Vec<_>) = self.journal.ops.iter().partition(|op| op.db);
        let watch = self.on.settings.watch;
        watch.begins(RunActivity::Switching, self.journal.ops.len() as u64);
        for op in objects.iter().chain(&records) {
            watch.check()?;
            runner.run_op(op)?;
            watch.advances(1);
        }
        let stage = &self.on.opening.domains.get(0)?.dir;
        let mut switched = SwitchedRun::new(&self.on.root, &self.on.opening.run, stage);
        (self.on.settings.when_switched)(&mut switched)?;
        let given = given_identities(&objects);
        for op in objects.iter().filter(|op| op.kind != OpKind::Add) {
            if !runner.is_still_as_saved(&with_given_time(op, &given))? {
                return Err(Cause::Changed(self.on.root.show(&op.path)));
            }
        }
        for tree in &self.on.staged {
            tree.must_be_as_known(&self.on.root)?;
        }
        // After a script, the order of times proves nothing.
        let delivered = if switched.had_scripts() {
            Vec::new()
        } else {
            delivered::look(runner, &objects, records.first().copied())
        };
        sync_with_copies(&self.journal, runner)?;
        let places = remote_places(self.on.plan, &self.on.opening.run);
        publish_remote(&self.on.root, &self.on.opening.run, &places)?;
        watch.commits().map(|()| delivered)
    }
}

fn given_identities<'j>(objects: &[&'j Op]) -> HashMap<Inode, &'j Identity> {
    let attributes = objects.iter().filter(|op| op.kind == OpKind::Attr);
    attributes.filter_map(|op| Some((op.old.as_ref()?.inode, op.new.as_deref()?))).collect()
}

/// The old file may have another name that stays and got another time.
fn with_given_time<'j>(op: &'j Op, given: &HashMap<Inode, &Identity>) -> Cow<'j, Op> {
    let Some(old) = &op.old else { return Cow::Borrowed(op) };
    let Some(new) = given.get(&old.inode) else { return Cow::Borrowed(op) };
    let old = Box::new(Identity { mtime: new.mtime, ..Identity::clone(old) });
    Cow::Owned(Op { old: Some(old), ..op.clone() })
}

#[derive(Debug)]
pub(crate) struct OpenedRun {
    pub(crate) run: Run,
    marker: String,
    pub(crate) domains: OpenDomains,
}

impl OpenedRun {
    /// Each directory in `apart` becomes a domain.
    pub(crate) fn begin(
        root: &Root,
        settings: RunSettings<'_>,
        apart: &[ObjectPath],
    ) -> Result<Self, TransactionError> {
        let (run, marker) = next_run(root, settings.nonce).during(Phase::Prepare)?;
        let marker = marker.unwrap_or_else(|| settings.marker.to_owned());
        let ready = make_own_directory(root).and_then(|own| {
            root_id_file::make_sure(&own, &marker)?;
            journal_file::begin(&own)
        });
        match ready.and_then(|()| OpenDomains::begin(root, &run, apart)) {
            Ok(domains) => {
                if let Ok(first) = domains.get(0) {
                    history_file::note_attempt(root, &first.dir, &run, settings.run_record);
                }
                Ok(Self { run, marker, domains })
            }
            Err(cause) => {
                // A part that cannot be removed belongs to no journal, and goes next time.
                let _ = remove_strays(root, None);
                Err(TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged })
            }
        }
    }

    /// Syncs, then publishes a journal of these archives and ops. A failed run is abandoned, with archives that it
    /// wrote `outside`, or rolled back if the journal may have reached the disk.
    pub(crate) fn publish(
        &self,
        root: &Root,
        command: &str,
        settings: RunSettings<'_>,
        (archives, outside): (&[JournalArchive], &[PathBuf]),
        ops: impl Iterator<Item = Op>,
    ) -> Result<Journal, TransactionError> {
        let abandon = |cause: Cause| self.abandon(root, Phase::Publish, cause, outside);
        (settings.before_publishing)(&self.run.to_string()).map_err(abandon)?;
        let journal = self.write(root, command, settings, archives, ops).map_err(abandon)?;
        let journal = self.read_back(root, &journal, settings).map_err(abandon)?;
        match journal_file::publish(root) {
            Ok(()) => Ok(journal),
            // The rename may have reached the disk.
            Err(cause) => match journal_file::head(root) {
                Ok(found) if found.as_ref().is_none_or(|found| *found != journal.head) => Err(abandon(cause)),
                _ => Err(undo_published(root, &journal, Phase::Publish, cause)),
            },
        }
    }

    /// Returns bytes of the public part. Drops each op once written.
    fn write(
        &self,
        root: &Root,
        command: &str,
        settings: RunSettings<'_>,
        archives: &[JournalArchive],
        ops: impl Iterator<Item = Op>,
    ) -> Result<Vec<u8>, Cause> {
        let header = JournalHeader {
            version: VERSION,
            run: self.run.to_string(),
            command: command.to_owned(),
            root: self.marker.clone(),
            ..JournalHeader::default()
        };
        let domains = self.domains.iter().map(|domain| JournalEntry::Domain(domain.entry.clone()));
        let archives = archives.iter().cloned().map(|archive| JournalEntry::Archive(Box::new(archive)));
        let run_record = JournalEntry::RunRecord(Box::new(settings.run_record.clone()));
        let ops = ops.map(|op| JournalEntry::Op(Box::new(op)));
        let entries = domains.chain(archives).chain([run_record]).chain(ops);
        let stages: Vec<&Dir> = self.domains.iter().map(|domain| &domain.dir).collect();
        journal_file::write_new(root, &stages, &header.run.clone(), |ops| {
            Journal::write_beside(header, entries, ops)
        })
    }

    /// Meanwhile parses the journal as recovery would; from here, the run follows it.
    fn read_back(&self, root: &Root, journal: &[u8], settings: RunSettings<'_>) -> Result<Journal, Cause> {
        let run = self.run.to_string();
        settings.watch.check()?;
        std::thread::scope(|scope| {
            let syncing = scope.spawn(|| {
                self.domains.sync()?;
                self.domains.iter().try_for_each(|domain| journal_file::name_copy(&domain.dir, &run))
            });
            // In this thread, to reuse the memory that the layout has freed.
            let read = journal_file::read_back(root, journal, &run);
            syncing.join().map_err(|_| Cause::Internal("a thread failed".to_owned()))??;
            read
        })
    }

    pub(crate) fn abandon(
        &self,
        root: &Root,
        phase: Phase,
        cause: Cause,
        outside: &[PathBuf],
    ) -> TransactionError {
        for path in outside {
            // A leftover `.tmp` is named after its run and blocks nothing.
            let _ = remove_unpublished(root, path, &self.run.to_string());
        }
        if let Ok(first) = self.domains.get(0) {
            history_file::keep_failed_attempt(root, &first.dir, &self.run, &cause);
        }
        // The next command removes it: it belongs to no published journal.
        if self.domains.discard().is_ok() {
            let _ = journal_file::remove_new(root);
        }
        TransactionError { phase, cause, left: RootCondition::Unchanged }
    }
}

/// Changes must be durable. Returns the milliseconds since the command began. A failure leaves the outcome in doubt,
/// for the next command to decide.
pub(crate) fn commit(settings: RunSettings<'_>, journal: &WritableFile) -> Result<u64, TransactionError> {
    if let Err(cause) = journal_file::close(journal, RunOutcome::Commit) {
        settings.watch.ends();
        return Err(TransactionError { phase: Phase::Commit, cause, left: RootCondition::InDoubt });
    }
    Ok((settings.elapsed)())
}

pub(crate) fn undo_published(root: &Root, journal: &Journal, phase: Phase, cause: Cause) -> TransactionError {
    let left = match roll_back(root, journal, &OutsideAccess::planned(), None) {
        Ok(_) => RootCondition::RolledBack,
        Err(TransactionError { cause, left: RootCondition::Unfinished(mut what), .. }) => {
            what.insert(0, cause.to_string());
            RootCondition::Unfinished(what)
        }
        Err(error) => RootCondition::Unfinished(vec![error.to_string()]),
    };
    TransactionError { phase, cause, left }
}

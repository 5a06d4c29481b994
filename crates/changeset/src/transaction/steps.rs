//! The steps of a run, each a type that the next one consumes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread::ScopedJoinHandle;

use super::attempts::EarlierAttempts;
use super::content_source::ContentSource;
use super::error::{Cause, Phase, RootCondition, TransactionError};
use super::opening::{RunOpening, Unpublished, undo_published};
use super::settings::{RunActivity, RunSettings};
use super::switched_run::SwitchedRun;
use crate::format::journal::{Identity, Journal, JournalArchive, Op, OpKind, RunOutcome};
use crate::format::manifest::encode;
use crate::ledgers::SavedArchives;
use crate::plan::{Plan, UndoArchive, UndoFormat};
use crate::transaction::archive::dropped_files::{dropped_files, records_that_go};
use crate::transaction::archive::records::{RecordStager, publish_remote, remote_places};
use crate::transaction::journal::journal_file;
use crate::transaction::recover::finish::finish_committed;
use crate::transaction::recover::set_id::plain_objects;
use crate::transaction::recover::switch_findings::SwitchFindings;
use crate::transaction::stage::early_sync::EarlySync;
use crate::transaction::stage::layout::lay_out;
use crate::transaction::stage::layout_items::{LaidTree, Layout};
use crate::transaction::stage::layout_stager::LayoutStager;
use crate::transaction::stage::object_stager::StagedContent;
use crate::transaction::stage::old_link::link_old_objects;
use crate::transaction::stage::staged_versions::StagedVersions;
use crate::transaction::switch::delivered::{self, SwitchedObject};
use crate::transaction::switch::late_copies::sync_with_copies;
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::tree::request::ExchangeReport;
use crate::transaction::tree::staging::{StagedExchange, prepare_trees, reports, settle_trees};
use patchadm_rootfs::{Inode, Lock, Root};
use patchadm_svr4::format::pkgmap::member_name;

/// The results of a finished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The name of the run.
    pub run: String,
    /// The bytes of new objects.
    pub bytes: u64,
    /// The bytes of each undo archive, by its index in the plan.
    pub undo: BTreeMap<usize, u64>,
    /// How the changes below each directory to be exchanged became visible.
    pub exchanges: Vec<ExchangeReport>,
    /// Notes for the operator: directories that stay, work that could not be finished.
    pub notes: Vec<String>,
}

/// Carries out `plan` from the first step to the last. If nothing can be renamed into a directory from the stage of its
/// domain, everything is undone, and a second run with a history entry of its own treats that directory as a domain of
/// its own. A directory that turns out not to be exchangeable is given up in the same way, unless its exchange is
/// mandatory.
pub fn carry_out<'p>(
    root: &Root,
    lock: &'p Lock,
    plan: &'p Plan,
    settings: RunSettings<'p>,
    content: &mut dyn ContentSource,
) -> Result<Receipt, TransactionError> {
    let mut attempt = |earlier: &EarlierAttempts| {
        let planned = Planned::begin(root, lock, plan, settings, earlier)?;
        planned.stage(content)?.snapshot()?.publish()?.switch()
    };
    let mut earlier = EarlierAttempts::default();
    loop {
        match attempt(&earlier) {
            Err(error) if earlier.learn(&error, settings) => {}
            other => return other,
        }
    }
}

/// A plan laid out over the disk.
#[derive(Debug)]
pub struct Planned<'p> {
    root: Root,
    plan: &'p Plan,
    settings: RunSettings<'p>,
    opening: RunOpening,
    layout: Layout<'p>,
    /// The directories whose changes should become visible at once.
    trees: Vec<LaidTree>,
    exchanges: Vec<ExchangeReport>,
    staged: Vec<StagedExchange>,
}

/// A run whose new objects are staged beside their targets.
#[derive(Debug)]
pub struct Staged<'p> {
    on: Planned<'p>,
    content: StagedContent,
    versions: StagedVersions,
}

/// A run whose old objects are saved and whose records are staged beside their places.
#[derive(Debug)]
pub struct Snapshotted<'p> {
    on: Planned<'p>,
    archives: Vec<JournalArchive>,
    /// Notes for the operator.
    notes: Vec<String>,
    bytes: u64,
    undo: BTreeMap<usize, u64>,
}

/// A run with a durable journal: from here a failure is rolled back.
#[derive(Debug)]
pub struct Published<'p> {
    on: Planned<'p>,
    journal: Journal,
    /// The staged names of old files without set-id bits.
    plain: HashSet<String>,
    /// Notes for the operator.
    notes: Vec<String>,
    bytes: u64,
    undo: BTreeMap<usize, u64>,
}

impl<'p> Planned<'p> {
    /// Lays out `plan`: domains, stages, obstacles. The root must be recovered, and `lock` must have been held since
    /// before the inventory was read. The findings of `earlier` attempts are taken into account.
    pub(crate) fn begin(
        root: &Root,
        _lock: &'p Lock,
        plan: &'p Plan,
        settings: RunSettings<'p>,
        earlier: &EarlierAttempts,
    ) -> Result<Self, TransactionError> {
        let mut opening = RunOpening::begin(root, settings, &earlier.apart)?;
        if earlier.is_any() {
            opening.domains.note_again();
        }
        match lay_out(root, &mut opening.domains, plan, "", settings.ledgers, earlier.trees(settings)) {
            Ok(mut layout) => {
                let trees = std::mem::take(&mut layout.trees);
                let (root, exchanges) = (root.clone(), reports(&trees));
                Ok(Self { root, plan, settings, opening, layout, trees, exchanges, staged: Vec::new() })
            }
            Err(cause) => Err(opening.abandon(root, Phase::Prepare, cause)),
        }
    }

    /// Writes every new object beside its target; `content` supplies the files.
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
            Err(cause) => Err(self.opening.abandon(&self.root, Phase::Stage, cause)),
        }
    }
}

impl<'p> Staged<'p> {
    /// Saves every old object in the undo archives, and writes the records beside their places.
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
        recorder.settings.watch.begins(RunActivity::Saving, saved_bytes(recorder.plan));
        // New objects go to the disk while old ones are saved; if nothing is saved, there is no time for it.
        let bytes = if self.on.plan.archives().next().is_none() { 0 } else { self.content.bytes };
        let going = records_that_go(&self.on.layout);
        let all = std::thread::scope(|scope| {
            let root = &self.on.root;
            let early = EarlySync::begin(scope, root, &self.on.opening.domains, bytes);
            // What they name is read meanwhile.
            let is_aside = root.workers() > 1 && !going.is_empty();
            let dropped = is_aside.then(|| scope.spawn(|| dropped_files(root, &going)));
            let saved = save_and_record(&mut recorder, &mut self.on.layout, &self.versions);
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
                remove_unpublished(&self.on);
                Err(self.on.opening.abandon(&self.on.root, phase, cause))
            }
        }
    }
}

/// Writes the undo archives, the records that name them, and the second names of old objects. An error carries its
/// phase.
fn save_and_record<'p>(
    recorder: &mut RecordStager<'_, 'p>,
    layout: &mut Layout<'p>,
    versions: &StagedVersions,
) -> Result<(), (Phase, Cause)> {
    let saved = recorder.remote_archives().and_then(|()| recorder.stored_objects(layout));
    let saved = saved.and_then(|()| recorder.archives(layout));
    saved.map_err(|cause| (Phase::Snapshot, cause))?;
    versions.remove_except(&recorder.stored).map_err(|cause| (Phase::Stage, cause))?;
    let records = recorder.directories(layout).and_then(|()| recorder.files(layout));
    records.map_err(|cause| (Phase::Records, cause))?;
    link_old_objects(recorder.root, recorder.domains, layout).map_err(|cause| (Phase::Stage, cause))
}

/// Returns the bytes of all saved objects.
fn saved_bytes(plan: &Plan) -> u64 {
    let saved = plan.undo.iter().flat_map(|undo| &undo.saved);
    saved.filter_map(|(entry, _)| entry.object.content.size).sum()
}

/// Removes the archives outside the root of a run that is given up.
fn remove_unpublished(on: &Planned<'_>) {
    for path in &remote_places(on.plan, &on.opening.run) {
        // A leftover `.tmp` outside the root is named after its run and blocks nothing.
        let _ = crate::transaction::recover::finish::remove_unpublished(
            &on.root,
            path,
            &on.opening.run.to_string(),
        );
    }
}

impl<'p> Snapshotted<'p> {
    /// Makes everything durable, then gives the journal its name.
    pub fn publish(mut self) -> Result<Published<'p>, TransactionError> {
        self.name_saved_objects();
        let plain = plain_objects(&self.on.layout);
        // From here the run follows its journal: only the op remains of each item, and only until it is written.
        let items = std::mem::take(&mut self.on.layout.items).into_iter();
        let ops = items.filter(|item| item.inside.is_none()).map(|item| item.op);
        let Planned { root, plan, settings, opening, .. } = &self.on;
        match opening.publish(root, plan.command, *settings, &self.archives, ops) {
            Ok(journal) => {
                let Self { on, notes, bytes, undo, .. } = self;
                Ok(Published { on, journal, plain, notes, bytes, undo })
            }
            Err(unpublished) => Err(match *unpublished {
                Unpublished { journal: Some(journal), cause } => {
                    undo_published(root, &journal, Phase::Publish, cause)
                }
                Unpublished { journal: None, cause } => self.give_up(cause),
            }),
        }
    }

    fn give_up(&self, cause: Cause) -> TransactionError {
        remove_unpublished(&self.on);
        self.on.opening.abandon(&self.on.root, Phase::Publish, cause)
    }

    /// Notes for each op the place of its old object in an undo archive.
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
    /// Switches all names, makes that durable, and commits. A failure or signal before the commit is rolled back.
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
        if let Err(cause) = journal_file::close(&mark, RunOutcome::Commit) {
            self.on.settings.watch.ends();
            return Err(TransactionError { phase: Phase::Commit, cause, left: RootCondition::InDoubt });
        }
        let elapsed = (self.on.settings.elapsed)();
        delivered::write(root, &self.journal, self.on.plan, &delivered);
        let findings = SwitchFindings::of_commit(Some(runner));
        let notes = finish_committed(root, &self.journal, findings, elapsed);
        self.on.settings.watch.ends();
        let (run, exchanges) = (self.on.opening.run.to_string(), self.on.exchanges);
        Ok(Receipt { run, bytes: self.bytes, undo: self.undo, exchanges, notes })
    }

    fn switched_run(&self) -> Result<SwitchedRun<'_>, Cause> {
        let Planned { root, opening, .. } = &self.on;
        Ok(SwitchedRun::new(root, &opening.run, &opening.domains.get(0)?.dir))
    }

    /// Switches all names and makes that durable. Returns the objects that are in place and need not be read again.
    fn switch_names(&self, runner: &mut OpRunner<'_>) -> Result<Vec<SwitchedObject<'_>>, Cause> {
        // The journal has the records first, for its readers; the switch has them last.
        let (records, objects): (Vec<_>, Vec<_>) = self.journal.ops.iter().partition(|op| op.db);
        let watch = self.on.settings.watch;
        watch.begins(RunActivity::Switching, self.journal.ops.len() as u64);
        for op in objects.iter().chain(&records) {
            watch.check()?;
            runner.run_op(op)?;
            watch.advances(1);
        }
        let mut switched = self.switched_run()?;
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
        // After a script has run, the order of times proves nothing.
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

/// Collects, by inode, the attributes that this run itself gave to objects that stay in place.
fn given_identities<'j>(objects: &[&'j Op]) -> HashMap<Inode, &'j Identity> {
    let attributes = objects.iter().filter(|op| op.kind == OpKind::Attr);
    attributes.filter_map(|op| Some((op.old.as_ref()?.inode, op.new.as_deref()?))).collect()
}

/// Returns the op with its old object as it must look now: its file may have another name that stays and got another
/// time.
fn with_given_time<'j>(op: &'j Op, given: &HashMap<Inode, &Identity>) -> Cow<'j, Op> {
    let Some(old) = &op.old else { return Cow::Borrowed(op) };
    let Some(new) = given.get(&old.inode) else { return Cow::Borrowed(op) };
    let old = Box::new(Identity { mtime: new.mtime, ..Identity::clone(old) });
    Cow::Owned(Op { old: Some(old), ..op.clone() })
}

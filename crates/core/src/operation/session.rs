//! Begin and end of all changing commands: permissions, lock, recovery, and performing a plan.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::FileExt as _;

use chrono::{DateTime, Utc};
use rustix::io::Errno;

use super::exchange::{ExchangeLog, must_be_directories};
use super::failure::Failure;
use super::record_damage;
use super::running::ReplacedFiles;
use super::system_managers::SystemManagers;
use crate::operation::scripts::runner::ScriptSettings;
use crate::operation::trial::request::TrialChange;
use crate::script::{ProcessIdentity, ScriptError, end_leftovers};
use patchadm_changeset::format::journal::{PatchRecord, RunRecord, ScriptProcess};
use patchadm_changeset::transaction::{
    Cause, ContentSource, ExchangeReport, Phase, ProgressEvent, ProtectedPaths, Receipt, Recovered,
    RootCondition, RunSettings, RunWatch, ScriptedRun, SwitchedRun, TransactionError,
    keep_attempt_without_run, log_without_run, recover_with, run_plan, settle_identity, unfinished_script,
};
use patchadm_inputs::database::history::HistoryEntry;
use patchadm_inputs::database::{
    DatabaseError, RecordView, RootLedgers, all, has_journal, identity_fault, installed, read_consistently,
};
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_inputs::trial::Moment;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::{Action, Body, Merge, NewObject, Plan, RecordChange};
use patchadm_rootfs::{Dir, ForeignLock, Interrupt, Lock, LockError, LockHolder, Root, never, random};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

pub use super::root_and_policy::RootAndPolicy;

#[derive(Clone)]
pub struct Caller<'a> {
    /// As lock, journal and history name it.
    pub program: &'static str,
    pub now: Now,
    /// Start of the command, RFC 3339.
    pub time: String,
    pub user: String,
    /// Decides whether to wait once more for the holder of the lock, and does the waiting.
    pub wait: &'a dyn Fn(&LockHolder) -> bool,
    /// Returns the signal that asks the run to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub progress: &'a (dyn Fn(ProgressEvent) + Sync),
    /// Receives new history entries each time that a root is unlocked.
    pub told: HistoryListener<'a>,
    /// Hears of each recovery, and each end of a trial, that a command begins with, also if it then fails.
    pub did_first: &'a (dyn Fn(FirstWork<'_>) + Sync),
    /// The present moment, by which a trial is judged.
    pub moment: &'a dyn Fn() -> Moment,
    /// Returns a moment as messages show it, with its seconds if true.
    pub shown_time: &'a dyn Fn(DateTime<Utc>, bool) -> String,
    /// Scripts that run unasked, at the end of a trial.
    pub scripts: ScriptSettings,
    /// Milliseconds since the command began.
    pub elapsed: &'a dyn Fn() -> u64,
    /// The undone run, for the history.
    pub undoes: Option<String>,
    /// A hook of a package manager calls, not a person; for the history.
    pub is_hook: bool,
    /// The command line as it was typed, without secrets; for the history.
    pub typed: Option<String>,
    /// A remark for the history that is reported later.
    pub note: Option<String>,
    /// Directories whose changes become visible at once, in the order of their switch.
    pub exchanges: Vec<ObjectPath>,
}

/// Changes of a root before a command's own work.
#[derive(Clone, Copy, Debug)]
pub enum FirstWork<'n> {
    Recovery(&'n Recovered),
    /// In sentences.
    TrialEnd(&'n [String]),
}

impl Caller<'_> {
    /// Returns the command as the lock names it: a verb as it was typed, or the classic command.
    pub fn name_for_lock(&self) -> Cow<'static, str> {
        command_as_typed(self.typed.as_deref()).map_or_else(|| self.program.into(), Cow::from)
    }

    pub(super) fn undoing(&self, run: &str) -> Self {
        Self { undoes: Some(run.to_owned()), ..self.clone() }
    }

    /// Names a further command that the user did not request: it has no note and no exchanges.
    pub(super) fn doing(&self, program: &'static str) -> Self {
        Self { program, undoes: None, typed: None, note: None, exchanges: Vec::new(), ..self.clone() }
    }

    /// Ignores signals: one that came has been obeyed.
    pub(super) fn doing_to_its_end(&self) -> Self {
        Self { interrupt: &never, ..self.doing(self.program) }
    }

    #[must_use]
    pub fn noting(&self, note: Option<&str>) -> Self {
        Self { note: note.map(str::to_owned), ..self.clone() }
    }

    #[must_use]
    pub fn as_hook(&self) -> Self {
        Self { is_hook: true, ..self.clone() }
    }

    #[must_use]
    pub fn exchanging(&self, exchanges: &[ObjectPath]) -> Self {
        Self { exchanges: exchanges.to_vec(), ..self.clone() }
    }
}

/// Bytes of new history that are read.
const MOST_NEW: u64 = 16 << 20;

/// Bytes searched for the last newline; a longer last line is skipped.
const LAST_LINE: u64 = 64 << 10;

/// Receives a root and its new history entries, oldest first.
pub type HistoryListener<'a> = &'a (dyn Fn(&Root, &[HistoryEntry]) + Sync);

/// The end of a history at one moment. On drop, its listener receives newer entries.
pub(super) struct HistoryWatch<'a> {
    root: Root,
    end: u64,
    listener: HistoryListener<'a>,
}

impl<'a> HistoryWatch<'a> {
    /// A history that cannot be read is reported by the run that writes it.
    pub(super) fn begin(root: &Root, listener: HistoryListener<'a>) -> Self {
        let end = end_of_lines(root).unwrap_or_default();
        Self { root: root.clone(), end, listener }
    }

    /// A line that was cut off and written again counts once.
    fn new_entries(&self) -> io::Result<Vec<HistoryEntry>> {
        let Ok(Some(file)) = RecordView::live(&self.root).open(&places::history()) else {
            return Ok(Vec::new());
        };
        let size = file.metadata()?.len().saturating_sub(self.end).min(MOST_NEW);
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        file.read_exact_at(&mut text, self.end)?;
        Ok(text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()).collect())
    }
}

impl Drop for HistoryWatch<'_> {
    fn drop(&mut self) {
        let entries = self.new_entries().unwrap_or_default();
        if !entries.is_empty() {
            (self.listener)(&self.root, &entries);
        }
    }
}

/// Returns the offset behind the last whole line.
fn end_of_lines(root: &Root) -> io::Result<u64> {
    let Ok(Some(file)) = RecordView::live(root).open(&places::history()) else { return Ok(0) };
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LAST_LINE);
    let mut text = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut text, from)?;
    let behind = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline as u64 + 1);
    Ok(from + behind)
}

/// A run that deletes undo data because the policy limits it.
pub(super) const UNDO_LIMIT: &str = "undo-limit";

/// A run that records changes by a refresh in the bases of a stage.
pub(super) const STAGE_REFRESH: &str = "stage refresh";

pub(super) struct RunOptions<'a> {
    /// For journal, history and logs.
    pub(super) records: Vec<PatchRecord>,
    /// Called with the run's name after staging, before the journal is published.
    pub(super) before_publishing: &'a dyn Fn(&str) -> Result<(), Cause>,
    /// Called after the switch, before the commit.
    pub(super) when_switched: &'a dyn Fn(&mut SwitchedRun<'_>) -> Result<(), Cause>,
}

impl RunOptions<'_> {
    pub(super) fn of(records: Vec<PatchRecord>) -> Self {
        Self { records, before_publishing: &|_| Ok(()), when_switched: &|_| Ok(()) }
    }
}

/// A locked and recovered root.
pub struct Session<'a> {
    pub ground: RootAndPolicy,
    pub caller: &'a Caller<'a>,
    pub recovered: Recovered,
    /// For each patch that the caller did not name: the patch that requires it.
    because: BTreeMap<String, String>,
    exchanges: Vec<ObjectPath>,
    exchanged: ExchangeLog,
    trial: TrialChange,
    /// Reports new history before the lock is released. A nested session has none.
    #[expect(dead_code, reason = "it is told when it is dropped")]
    history: Option<HistoryWatch<'a>>,
    lock: Lock,
    native: NativeLocks,
}

/// Plans are only projected, or performed in a session.
#[derive(Clone, Copy)]
pub(super) enum Execution<'s> {
    Foresee,
    Perform(&'s Session<'s>),
}

/// Returns the command for people if a verb was typed: `patchadm add`.
pub(super) fn command_as_typed(typed: Option<&str>) -> Option<String> {
    let verb = typed.and_then(|typed| typed.split(' ').next())?;
    let is_classic = ["pkg", "patch"].iter().any(|begin| verb.starts_with(begin))
        || ["installf", "removef"].contains(&verb);
    (!is_classic).then(|| format!("patchadm {verb}"))
}

/// The caller must be the owner of the root or the superuser; the superuser only if no other user can write the
/// records.
pub fn may_change(root: &Root) -> Result<(), Failure> {
    root.must_have_proc()?;
    root.look_at_records()?;
    let theirs = |path: String| Err(Failure::NotPrivileged(path));
    if !root.is_privileged() && !root.is_own()? {
        return theirs(root.prefix().display().to_string());
    }
    // Later steps report unreadable places.
    let Ok(Some(records)) = place_of_records(root) else { return Ok(()) };
    if records.is_read_only()? {
        return Err(Failure::ReadOnly(root.prefix().display().to_string()));
    }
    if !root.is_privileged() && !records.is_writable() && !records.is_own()? {
        return theirs(root.show(&records.at(b"")));
    }
    Ok(())
}

/// Returns the directory of `contents`, or its nearest existing ancestor.
fn place_of_records(root: &Root) -> Result<Option<Dir>, Failure> {
    let records = root.resolver().locate_dir(&places::install())?;
    for directory in std::iter::once(records.clone()).chain(records.ancestors()) {
        if let Some(found) = root.dir_if_there(&directory)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// True if the root has no `var/sadm`.
pub fn is_new(root: &Root) -> Result<bool, Failure> {
    Ok(RecordView::live(root).look(&places::records())?.is_none())
}

/// Ignores packages for which `is_passed_over` holds. Defects in pkginfo files are found when packages are read. A
/// signal ends it.
pub fn must_agree(
    root: &Root,
    interrupt: Interrupt<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool,
) -> Result<(), Failure> {
    record_damage::must_agree(&RecordView::live(root), root.workers(), interrupt, is_passed_over)
}

pub fn must_have_database(root: &Root) -> Result<(), Failure> {
    if installed::has_database(&RecordView::live(root))? {
        return Ok(());
    }
    Err(Failure::NoDatabase(root.prefix().display().to_string()))
}

impl<'a> Session<'a> {
    /// Takes the locks of the managers of adopted packages, then the root's, and recovers.
    pub fn begin(ground: RootAndPolicy, caller: &'a Caller<'a>) -> Result<Self, Failure> {
        Self::begin_beside(ground, caller, &[])
    }

    /// Always locks these package managers, too.
    pub(super) fn begin_beside(
        ground: RootAndPolicy,
        caller: &'a Caller<'a>,
        managers: &[NativeManager],
    ) -> Result<Self, Failure> {
        let root = &ground.root;
        may_begin(root, caller)?;
        let locks = lock_root(root, &caller.name_for_lock(), managers, caller.wait);
        let locks = locks.map_err(|held| not_taken(held, (caller.interrupt)()))?;
        // Their managers may have changed packages before.
        ground.forget_native_changes();
        let history = HistoryWatch::begin(root, caller.told);
        Self::recover_and_open(ground, caller, locks, history)
    }

    /// Takes the root's lock alone: the work that recovery undoes began under the other locks.
    pub(super) fn begin_recovery(
        ground: RootAndPolicy,
        caller: &'a Caller<'a>,
        first: impl FnOnce(&Root, &Lock) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let root = &ground.root;
        may_begin(root, caller)?;
        let lock = Lock::take(root, &caller.name_for_lock(), |holder| (caller.wait)(holder));
        let lock = lock.map_err(|held| not_taken(held, (caller.interrupt)()))?;
        let history = HistoryWatch::begin(root, caller.told);
        first(root, &lock)?;
        Self::recover_and_open(ground, caller, (lock, NativeLocks::default()), history)
    }

    /// Without a session, reports the history before it releases the locks.
    fn recover_and_open(
        ground: RootAndPolicy,
        caller: &'a Caller<'a>,
        (lock, native): (Lock, NativeLocks),
        history: HistoryWatch<'a>,
    ) -> Result<Self, Failure> {
        let root = &ground.root;
        let unrecovered = |error| Failure::Unrecovered { error };
        let (outside, managers) = (ground.outside.of_recovery(), SystemManagers::of(root));
        let recovered = match unfinished_script(root).map_err(unrecovered)? {
            None => recover_with(root, &lock, &outside, Some(&managers)),
            Some((run, ScriptProcess { group, boot_id, start_time, .. })) => {
                // No script may continue while its work is undone.
                let process = ProcessIdentity { group, boot_id, start_time };
                let interrupted = |error: ScriptError| match (caller.interrupt)() {
                    Some(signal) => Failure::interrupted(signal),
                    None => error.into(),
                };
                let ended = end_leftovers(root, Some((&run, &process)), caller.interrupt);
                let _quiet = ended.map_err(interrupted)?;
                recover_with(root, &lock, &outside, Some(&managers))
            }
        };
        let notes = settle_identity(root, &lock).map_err(unidentified);
        let mut recovered = recovered.map_err(unrecovered)?;
        if let Ok(notes) = &notes {
            recovered = recovered.with_notes(notes.clone());
        }
        (caller.did_first)(FirstWork::Recovery(&recovered));
        notes?;
        let (because, exchanges, exchanged) =
            (BTreeMap::new(), caller.exchanges.clone(), ExchangeLog::default());
        let (trial, history) = (TrialChange::None, Some(history));
        Ok(Self { ground, caller, recovered, because, exchanges, exchanged, trial, history, lock, native })
    }

    /// Sets the reason, for the history, of each patch that the caller did not name.
    pub(super) fn because_of(self, because: BTreeMap<String, String>) -> Self {
        Self { because, ..self }
    }

    /// For commands that undo changes: directories that were switched last are switched back first.
    pub(super) fn reversing_exchanges(mut self) -> Self {
        self.exchanges.reverse();
        self
    }

    pub(super) fn changing_trial(self, trial: TrialChange) -> Self {
        Self { trial, ..self }
    }

    pub(super) fn is_beginning_trial(&self) -> bool {
        matches!(self.trial, TrialChange::Begin(..))
    }

    /// Works as another caller under the same locks, without exchanges and with this change of the trial.
    pub(super) fn acting_as<T>(
        self,
        other: &Caller<'_>,
        trial: TrialChange,
        work: impl FnOnce(&Session<'_>) -> T,
    ) -> (Self, T) {
        let acting = Session {
            caller: other,
            because: BTreeMap::new(),
            exchanges: Vec::new(),
            trial,
            history: None,
            ..self
        };
        let done = work(&acting);
        let Session { ground, recovered, exchanged, lock, native, .. } = acting;
        (Self { ground, recovered, exchanged, lock, native, ..self }, done)
    }

    /// Adds notes about the end of a trial to the recovery report.
    pub(super) fn noticing(self, notes: Vec<String>) -> Self {
        (self.caller.did_first)(FirstWork::TrialEnd(&notes));
        Self { recovered: self.recovered.with_notes(notes), ..self }
    }

    pub(super) fn with_trial<'p>(&self, plan: &'p PatchPlan) -> Cow<'p, PatchPlan> {
        if !self.trial.concerns(&plan.plan) {
            return Cow::Borrowed(plan);
        }
        let mut changed = plan.clone();
        self.trial.add_to(&mut changed.plan, &(self.caller.moment)());
        Cow::Owned(changed)
    }

    pub(super) fn exchanged(&self) -> Vec<ExchangeReport> {
        self.exchanged.reports(&self.caller.exchanges)
    }

    /// One record; its `text` goes to the file `log`.
    pub fn perform(
        &self,
        plan: &Plan,
        content: &mut dyn ContentSource,
        log: Option<ObjectPath>,
        text: String,
    ) -> Result<Receipt, Failure> {
        self.perform_run(plan, content, RunOptions::of(vec![patch_record(plan, log, text)]))
    }

    pub(super) fn perform_run(
        &self,
        plan: &Plan,
        content: &mut dyn ContentSource,
        options: RunOptions<'_>,
    ) -> Result<Receipt, Failure> {
        // Plans are large, and only one in the life of a root is marked.
        let mut plan = Cow::Borrowed(plan);
        if self.is_to_be_marked()? {
            self.mark_unprivileged(plan.to_mut())?;
        }
        if self.trial.concerns(&plan) {
            self.trial.add_to(plan.to_mut(), &(self.caller.moment)());
        }
        let plan = plan.as_ref();
        self.with_settings(plan, options, |settings| {
            let receipt = run_plan(&self.ground.root, &self.lock, plan, settings, content)?;
            self.exchanged.add(&receipt.exchanges);
            Ok(receipt)
        })
    }

    /// Begins a run with scripts and passes it to `work`, which always ends it. `held` keeps everything; `log` gets
    /// `text` and the run's additions.
    pub fn perform_scripted(
        &self,
        plan: &Plan,
        held: &ProtectedPaths,
        log: Option<ObjectPath>,
        text: String,
        work: impl FnOnce(ScriptedRun<'_>) -> Result<Receipt, Failure>,
    ) -> Result<Receipt, Failure> {
        self.with_settings(plan, RunOptions::of(vec![patch_record(plan, log, text)]), |settings| {
            work(ScriptedRun::begin(&self.ground.root, &self.lock, plan.command, held, settings)?)
        })
    }

    /// Neither a package nor a run was ever recorded.
    pub(super) fn is_first(&self) -> Result<bool, Failure> {
        let view = RecordView::live(&self.ground.root);
        let is_new = self.recovered.is_nothing() && !has_journal(&self.ground.root)?;
        Ok(is_new && view.look(&places::contents())?.is_none() && installed::packages(&view)?.is_empty())
    }

    pub(super) fn log(&self, text: &[u8]) -> Result<(), Failure> {
        let failed =
            |cause| TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged };
        Ok(log_without_run(&self.ground.root, &self.lock, text).map_err(failed)?)
    }

    /// For a patch whose script failed before its run began: keeps the log, and lists the attempt unless it was refused.
    pub(super) fn log_attempt(&self, text: &[u8], failure: &Failure, (patch, packages): (&str, &[String])) {
        // The user sees the failure anyway.
        let _ = self.log(text);
        if matches!(failure, Failure::Refused(_)) {
            return;
        }
        let record = RunRecord {
            time: self.caller.time.clone(),
            user: self.caller.user.clone(),
            command: self.caller.program.to_owned(),
            patches: vec![patch.to_owned()],
            packages: packages.to_vec(),
            hook: self.caller.is_hook,
            undoes: self.caller.undoes.clone(),
            typed: self.caller.typed.clone(),
            note: self.caller.note.clone(),
            ..RunRecord::default()
        };
        let Ok(nonce) = random() else { return };
        let end = (&record, failure.signal().is_some());
        let _ = keep_attempt_without_run(&self.ground.root, &self.lock, nonce, end);
    }

    fn with_settings<T>(
        &self,
        plan: &Plan,
        RunOptions { records, before_publishing, when_switched }: RunOptions<'_>,
        work: impl FnOnce(RunSettings<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut records = records.into_iter();
        let PatchRecord { patches, packages, log, text, signature, refreshed, merges } =
            records.next().unwrap_or_default();
        let others: Vec<PatchRecord> = records.collect();
        let all = patches.iter().chain(others.iter().flat_map(|other| &other.patches));
        let because = all.filter_map(|id| Some((id.clone(), self.because.get(id)?.clone()))).collect();
        let (trial, trial_end) = self.trial.told(plan);
        let run_record = RunRecord {
            time: self.caller.time.clone(),
            user: self.caller.user.clone(),
            command: name_of_run(plan, self.caller).to_owned(),
            patches,
            packages,
            log,
            text,
            hook: self.caller.is_hook,
            signature,
            undoes: self.caller.undoes.clone(),
            refreshed,
            typed: self.caller.typed.clone(),
            note: self.caller.note.clone(),
            trial,
            trial_end,
            because,
            merges,
            others,
        };
        let going = ReplacedFiles::remember(&self.ground.root, plan);
        // Without a journal, the root has no marker. Its first archives name one, and the journal must use it.
        let marker = match plan.undo.first() {
            Some(undo) => undo.manifest.header.root.clone(),
            None => format!("{:016x}", random()?),
        };
        let done = work(RunSettings {
            run_record: &run_record,
            marker: &marker,
            nonce: random()?,
            exchanges: &self.exchanges,
            watch: RunWatch { interrupt: self.caller.interrupt, progress: self.caller.progress },
            elapsed: &self.caller.elapsed,
            ledgers: &RootLedgers,
            before_publishing,
            when_switched,
        });
        ReplacedFiles::remember_files(&self.ground.root, going);
        done
    }

    /// Marks the root at its first unprivileged change, so that owners that were only recorded are not checked.
    pub(super) fn mark_unprivileged(&self, plan: &mut Plan) -> Result<(), Failure> {
        if self.is_to_be_marked()? {
            plan.records.push(RecordChange::Write {
                path: places::unprivileged(),
                bytes: Vec::new(),
                mode: Mode::of(0o644),
                mtime: None,
            });
        }
        Ok(())
    }

    fn is_to_be_marked(&self) -> Result<bool, Failure> {
        let root = &self.ground.root;
        Ok(!root.is_privileged() && root.read(&places::unprivileged(), 1)?.is_none())
    }
}

/// The command's name, unless the run is about something else.
fn name_of_run(plan: &Plan, caller: &Caller<'_>) -> &'static str {
    let is_beside = [UNDO_LIMIT, STAGE_REFRESH].contains(&plan.command);
    if is_beside { plan.command } else { caller.program }
}

pub(super) fn patch_record(plan: &Plan, log: Option<ObjectPath>, text: String) -> PatchRecord {
    let packages = plan.packages.iter().map(ToString::to_string).collect();
    let signature = plan.signature.clone();
    PatchRecord {
        patches: plan.patches.clone(),
        packages,
        log,
        text,
        signature,
        refreshed: Vec::new(),
        merges: merges_of(plan),
    }
}

/// Returns the edited files with another version beside them: that of the patch, or a copy of the edited one, which
/// may be all that is left of it.
fn merges_of(plan: &Plan) -> Vec<Merge> {
    let copies = plan.changes.iter().filter_map(|change| match &change.action {
        Action::Add(NewObject { body: Body::CopyOf(path), .. }) => {
            Some(Merge { path: path.clone(), beside: change.path.clone() })
        }
        _ => None,
    });
    let copies = copies.filter(|merge| !plan.patches.is_empty() && merge.is_of_edited());
    plan.merges.iter().cloned().chain(copies).collect()
}

fn may_begin(root: &Root, caller: &Caller<'_>) -> Result<(), Failure> {
    may_change(root)?;
    must_be_directories(root, &caller.exchanges)
}

/// A command that was told to end while it waited ends as usual.
fn not_taken(error: LockError, signal: Option<i32>) -> Failure {
    match (error, signal) {
        (LockError::Held { .. }, Some(signal)) => Failure::interrupted(signal),
        (error, _) => error.into(),
    }
}

/// For plans that are only shown, also to callers who could not perform them; `but` then reports why, after the plan.
pub(super) fn shown_to_anybody<R>(
    root: &Root,
    plan: impl FnOnce() -> Result<R, Failure>,
    but: impl FnOnce(R, Failure) -> R,
) -> Result<R, Failure> {
    match may_change(root) {
        Ok(()) => plan(),
        Err(refused @ (Failure::NotPrivileged(_) | Failure::ReadOnly(_))) => match plan() {
            Ok(report) => Ok(but(report, refused)),
            // An unreadable file is a better reason than the owner of the root.
            Err(closed) if closed.is_refused_access() => Err(closed),
            Err(_) => Err(refused),
        },
        Err(other) => Err(other),
    }
}

/// Plans from a single stable state of the root.
pub fn without_lock<T>(root: &Root, mut plan: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    read_consistently(root, |view| {
        if view.is_during_run() {
            return Err(Failure::DuringRun(root.prefix().display().to_string()));
        }
        if let Some(fault) = identity_fault(root)? {
            return Err(fault.into());
        }
        plan()
    })
}

/// An unreadable disk says nothing about the identity.
fn unidentified(error: TransactionError) -> Failure {
    match error.cause {
        Cause::Root(error) if error.errno() == Some(Errno::IO) => Failure::Root(error),
        _ => Failure::Identity { error },
    }
}

#[derive(Debug, Default)]
pub(super) struct NativeLocks {
    _held: Vec<ForeignLock>,
}

/// Locks a root, and excludes the managers of adopted packages and `also`. `wait` gets the holder of a busy lock; it
/// waits and decides whether to try again. Waiting starts over without any lock, so that programs with another order
/// cannot deadlock.
pub(super) fn lock_root(
    root: &Root,
    program: &str,
    also: &[NativeManager],
    wait: &dyn Fn(&LockHolder) -> bool,
) -> Result<(Lock, NativeLocks), LockError> {
    let managers = managers_with_lock(root, also);
    loop {
        match lock_at_once(root, program, &managers) {
            Err(LockError::Held { holder, .. }) if wait(&holder) => {}
            done => return done,
        }
    }
}

fn lock_at_once(
    root: &Root,
    program: &str,
    managers: &BTreeSet<NativeManager>,
) -> Result<(Lock, NativeLocks), LockError> {
    let mut held = Vec::new();
    for manager in managers {
        let Some(file) = manager.lock_file(root)? else { continue };
        held.extend(ForeignLock::take(root, &file)?);
    }
    let lock = Lock::take(root, program, |_| false)?;
    Ok((lock, NativeLocks { _held: held }))
}

/// Returns the managers with a lock file that are in `also` or whose packages are adopted. Without a lock file, reads
/// no package.
fn managers_with_lock(root: &Root, also: &[NativeManager]) -> BTreeSet<NativeManager> {
    // An unreadable place counts: locking reports the defect.
    let has_lock = |manager: &NativeManager| {
        manager
            .lock_file(root)
            .and_then(|file| file.map_or(Ok(false), |file| ForeignLock::is_there(root, &file)))
            .unwrap_or(true)
    };
    let mut managers: BTreeSet<NativeManager> = NativeManager::ALL.into_iter().filter(has_lock).collect();
    if managers.iter().any(|manager| !also.contains(manager)) {
        let adopted = adopted_managers(root);
        managers.retain(|manager| also.contains(manager) || adopted.contains(manager));
    }
    managers
}

/// Skips unreadable packages: the command that needs them reports the defect.
fn adopted_managers(root: &Root) -> BTreeSet<NativeManager> {
    let origins = all::each(&RecordView::live(root), |package| {
        let params = package.params().ok().flatten();
        Ok::<_, DatabaseError>(params.and_then(|params| NativeOrigin::of(&params)))
    });
    origins.unwrap_or_default().into_iter().map(|origin| origin.manager).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    fn line(run: &str) -> String {
        format!(
            r#"{{"run":"{run}","time":"2026-11-20T07:00:00Z","user":"root","command":"patchadd","result":"done","duration":7}}"#
        ) + "\n"
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let history = place.path().join("var/sadm/patchadm/history");
        fs::create_dir_all(history.parent().unwrap()).unwrap();
        if !before.is_empty() {
            fs::write(&history, before).unwrap();
        }
        let root = Root::open(place.path()).unwrap();
        let told = Mutex::new(Vec::new());
        let listener = |_: &Root, entries: &[HistoryEntry]| {
            told.lock().unwrap().extend(entries.iter().map(|entry| entry.run.clone()));
        };
        let watch = HistoryWatch::begin(&root, &listener);
        fs::write(&history, after).unwrap();
        drop(watch);
        told.into_inner().unwrap()
    }

    #[test]
    fn what_a_history_gets_is_told_once() {
        let (one, two, three) = (line("1-a"), line("2-b"), line("3-c"));
        assert_eq!(told("", &one), ["1-a"]);
        assert_eq!(told(&one, &format!("{one}{two}{three}")), ["2-b", "3-c"]);
        assert!(told(&one, &one).is_empty());
    }

    #[test]
    fn a_torn_line_that_is_written_again_is_new() {
        let (one, two) = (line("1-a"), line("2-b"));
        assert_eq!(told(&format!("{one}{}", &two[..20]), &format!("{one}{two}")), ["2-b"]);
    }

    #[test]
    fn a_history_that_shrank_or_holds_other_words_tells_nothing() {
        assert!(told(&line("1-a").repeat(3), "").is_empty());
        assert!(told(&line("1-a"), &format!("{}no entry\n", line("1-a"))).is_empty());
    }
}

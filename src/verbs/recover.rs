//! `patchadm recover`: finishes or rolls back an interrupted run, of one root or of many.

use std::path::PathBuf;

use serde::Serialize;

use super::options::{BriefVerbOptions, UndoDirOption, WaitOption};
use crate::as_owner::options::OwnerOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::root_report::{
    RootBody, RootClass, RootReport, failure_class, failure_line, locked_reason,
};
use crate::many_roots::{RootsTask, on_many};
use crate::trial_waiter::wait_for_end;
use patchadm_changeset::transaction::{Recovered, RootCondition};
use patchadm_cli::arguments::options::ROOT_LISTS;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::words::recovery_sentence;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, failure};
use patchadm_cli::surroundings::caller::HOOK_WAIT;
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::adopt_undo::{
    AdoptedUndo, AdoptionReport, AdoptionRequest, UnreadableUndo, adopt_undo,
};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::recover::{Recovery, RecoveryAid, recover_before_native, recover_with_aid};
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::trial::trial_status;
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{LockError, Root};

const USAGE: &str = "patchadm [-R root] recover [option...]\npatchadm recover [option...] --roots file";

/// Finish or roll back an interrupted run
#[derive(clap::Parser)]
struct RecoverArgs {
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    /// Discard a damaged journal, or accept a missing one, after verifying that no run is unfinished
    #[arg(long, conflicts_with_all = ["keep_stage", "new_identity", "adopt_undo"])]
    discard_journal: bool,
    /// Move a damaged journal and all staged files to DIR, even if a run may be unfinished
    #[arg(long, value_name = "DIR", conflicts_with_all = [ROOT_LISTS, "new_identity", "adopt_undo"])]
    keep_stage: Option<PathBuf>,
    /// Give the root a new identity
    #[arg(long, conflicts_with = "adopt_undo")]
    new_identity: bool,
    /// Called by the package manager before it begins: wait at most five seconds, and print nothing unless a run was unfinished
    #[arg(long, hide = true, conflicts_with_all = [ROOT_LISTS, "undo_dir", "discard_journal", "keep_stage", "new_identity", "adopt_undo"])]
    from_hook: bool,
    /// List undo archives missing from the ledger, and register those of the named patches
    #[arg(long)]
    adopt_undo: bool,
    /// Also register archives that belong to another root
    #[arg(long, requires = "adopt_undo")]
    foreign: bool,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Register the undo archives of these patches, even if the archives differ from the records
    #[arg(value_name = "ID", requires = "adopt_undo")]
    ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RecoverReport {
    result: ResultWord,
    changed: bool,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit: Exit,
    /// A sentence, or the lines of a failure.
    #[serde(skip)]
    text: String,
    /// Notes that the sentence already has.
    #[serde(skip)]
    told: usize,
}

impl RecoverReport {
    fn of(root: &Root, result: &Result<Recovery, Failure>) -> Self {
        let wording = Wording::of_verbs(root.prefix());
        let Recovery { done, run, trial, interrupted } = match result {
            Ok(found) => found,
            Err(failed) => return Self::of_failure(&wording, failed),
        };
        let is_done = !done.is_empty() || trial.is_some();
        let result = match run {
            Recovered::Nothing | Recovered::PassedOver { .. } if is_done => ResultWord::Done,
            Recovered::Nothing | Recovered::PassedOver { .. } | Recovered::Foreseen { .. } => {
                ResultWord::NothingToDo
            }
            Recovered::Cleared { .. } => ResultWord::Done,
            Recovered::RolledBack { .. } => ResultWord::RolledBack,
            Recovered::Finished { .. } => ResultWord::Finished,
        };
        Self {
            result,
            changed: !run.is_nothing() || is_done,
            notes: [
                done.clone(),
                trial.iter().cloned().collect(),
                run.notes().to_vec(),
                interrupted.iter().map(|half| half.told(&wording)).collect(),
            ]
            .concat(),
            error: None,
            exit: Exit::OK,
            text: sentences(done, run, trial.as_ref()),
            told: done.len() + usize::from(trial.is_some()),
        }
    }

    fn of_failure(wording: &Wording, failed: &Failure) -> Self {
        Self {
            result: ResultWord::of_failure(failed),
            changed: !matches!(failed.left(), RootCondition::Unchanged | RootCondition::RolledBack),
            notes: Vec::new(),
            error: Some(failed.to_string()),
            exit: failure::verb_code(Command::Patchadd, failed),
            text: failure::described(wording, Command::Patchadd, failed),
            told: 0,
        }
    }

    fn of_root(self, root: &Root) -> RootReport<Self> {
        let (class, line) = match &self.error {
            Some(error) => (failure_class(self.exit), failure_line(self.exit, error)),
            None if self.changed => (RootClass::Done, self.text.clone()),
            None => (RootClass::Idle, self.text.clone()),
        };
        let notes = self.notes.iter().skip(self.told).map(|note| format!("note: {note}")).collect();
        let (exit, changed, result) = (self.exit, self.changed, self.result);
        let report = RootReport::of_line(class, exit, line, root.prefix(), RootBody::Worked(self));
        RootReport { notes, changed, result, reason: locked_reason(exit).or(report.reason), ..report }
    }
}

impl CommandReport for RecoverReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.error.is_some() {
            return Ok(output.error(&self.text)?);
        }
        output.line(&self.text)?;
        for note in self.notes.iter().skip(self.told) {
            output.line(format!("  note: {note}"))?;
        }
        Ok(())
    }
}

fn sentences(done: &[String], run: &Recovered, trial: Option<&String>) -> String {
    let told: Vec<String> =
        done.iter().cloned().chain(recovery_sentence(run)).chain(trial.cloned()).collect();
    if told.is_empty() { "No run was interrupted.".to_owned() } else { told.join(" ") }
}

impl RecoverArgs {
    fn aid(&self) -> RecoveryAid {
        match &self.keep_stage {
            Some(to) => RecoveryAid::KeepStage(std::path::absolute(to).unwrap_or_else(|_| to.clone())),
            None if self.discard_journal => RecoveryAid::DiscardJournal,
            None if self.new_identity => RecoveryAid::NewIdentity,
            None => RecoveryAid::None,
        }
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let mut args: RecoverArgs = parse(call, USAGE)?;
    args.many.also(&args.common.root);
    if args.from_hook {
        return before_native(call, &args);
    }
    let undo_dir = args.undo_dir.undo_dir.as_deref();
    let aid = args.aid();
    let recover = |root: &Root, caller: &Caller<'_>| {
        RecoverReport::of(root, &recover_with_aid(root, undo_dir, &aid, caller))
    };
    let zone = call.surroundings.zone;
    let adopt = |root: &Root, caller: &Caller<'_>| {
        let request = AdoptionRequest { ids: &args.ids, takes_foreign: args.foreign, undo_dir };
        AdoptReport::of(root, &adopt_undo(root, request, caller), zone)
    };
    if args.many.are_named() {
        let done = if args.adopt_undo { "bound" } else { "recovered" };
        let idle = "with nothing to do";
        let task = RootsTask {
            program: "recover",
            usage: USAGE,
            wait: args.wait.seconds,
            is_plan: false,
            done,
            idle,
        };
        let which = (&args.many, args.owner);
        call.output.heedless();
        return if args.adopt_undo {
            on_many::<RecoverArgs, _>(call, which, task, &|root, caller| adopt(root, caller).of_root(root))
        } else {
            on_many::<RecoverArgs, _>(call, which, task, &|root, caller| recover(root, caller).of_root(root))
        };
    }
    let root = args.owner.open::<RecoverArgs>(call, &args.common.root, Command::Patchadd)?;
    call.output.heedless();
    Ok(if args.adopt_undo {
        let report = call.change(&root, "recover", args.wait.seconds, |caller| adopt(&root, caller))?;
        Reply::about(&root, report.exit, report)
    } else {
        let busy = call.busy("recovering");
        let trial_before = trial_status(&root, &call.surroundings.moment()).ok().flatten();
        let report = call.change(&root, "recover", args.wait.seconds, |caller| recover(&root, caller))?;
        drop(busy);
        wait_again(&root, call, trial_before.map(|status| status.record));
        Reply::about(&root, report.exit, report)
    })
}

/// Recovers for a hook of a starting package manager.
fn before_native(call: &mut Invocation, args: &RecoverArgs) -> anyhow::Result<Reply> {
    let place = args.common.root.of_package_manager(&call.surroundings);
    let root = args.owner.open::<RecoverArgs>(call, &place, Command::Patchadd)?;
    call.output.heedless();
    let recovered = call.change(&root, "recover", Some(HOOK_WAIT), |caller| {
        recover_before_native(&root, &caller.as_hook())
    })?;
    let result = match recovered {
        Ok(run) if run.is_nothing() => {
            call.output.recovery().take_untold();
            return Ok(Reply::about(&root, Exit::OK, Quiet {}));
        }
        // A run in progress is not dead, and its process keeps the package manager out.
        Err(Failure::Lock(LockError::Held { .. })) => return Ok(Reply::about(&root, Exit::OK, Quiet {})),
        result => result.map(|run| Recovery { done: Vec::new(), run, trial: None, interrupted: Vec::new() }),
    };
    let report = RecoverReport::of(&root, &result);
    Ok(Reply::about(&root, report.exit, report))
}

#[derive(Debug, Serialize)]
struct Quiet {}

impl CommandReport for Quiet {}

/// Starts a waiter again for a trial that continues after a boot.
fn wait_again(root: &Root, call: &Invocation, before: Option<TrialRecord>) {
    let now = trial_status(root, &call.surroundings.moment()).ok().flatten();
    let counted = now.zip(before).filter(|(now, before)| !now.is_over && now.record.boots > before.boots);
    if let Some((status, _)) = counted {
        wait_for_end(&call.surroundings, root, &status.record);
    }
}

/// Undo data that does not fit: the code of patchrm(1M).
const UNFIT: Exit = Exit::new(4, ExitCause::UndoData).as_refusal();

const NOTHING: &str = "There are no undo archives to register.";

#[derive(Debug, Serialize)]
struct AdoptReport {
    result: ResultWord,
    changed: bool,
    adopted: Vec<AdoptedArchiveEntry>,
    unreadable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    exit: Exit,
    /// One for each archive, or the lines of a failure.
    #[serde(skip)]
    sentences: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AdoptedArchiveEntry {
    id: String,
    package: String,
    run: Option<String>,
    recorded: String,
    adopted: bool,
    differs: Option<String>,
}

impl AdoptedArchiveEntry {
    fn of(one: &AdoptedUndo) -> Self {
        Self {
            id: one.patch.clone(),
            package: one.package.to_string(),
            run: one.run.clone(),
            recorded: one.recorded.clone(),
            adopted: one.is_adopted,
            differs: one.differs.clone(),
        }
    }
}

impl AdoptReport {
    fn of(root: &Root, result: &Result<AdoptionReport, Failure>, zone: Zone) -> Self {
        let adopted = match result {
            Ok(adopted) => adopted,
            Err(failed) => return Self::of_failure(root, failed),
        };
        let (result, exit) = match adopted {
            AdoptionReport { archives, unreadable, .. }
                if !unreadable.is_empty() || archives.iter().any(|one| !one.is_adopted) =>
            {
                (ResultWord::Refused, if adopted.is_changed { Exit::PARTLY } else { UNFIT })
            }
            AdoptionReport { is_changed: true, .. } => (ResultWord::Done, Exit::OK),
            AdoptionReport { .. } => (ResultWord::NothingToDo, Exit::OK),
        };
        Self {
            result,
            changed: adopted.is_changed,
            adopted: adopted.archives.iter().map(AdoptedArchiveEntry::of).collect(),
            unreadable: adopted.unreadable.iter().map(|one| one.reason.clone()).collect(),
            error: None,
            exit,
            sentences: adopted
                .archives
                .iter()
                .map(|one| sentence(one, zone))
                .chain(adopted.unreadable.iter().map(lost))
                .collect(),
        }
    }

    fn of_failure(root: &Root, failed: &Failure) -> Self {
        Self {
            result: ResultWord::of_failure(failed),
            changed: false,
            adopted: Vec::new(),
            unreadable: Vec::new(),
            error: Some(failed.to_string()),
            exit: failure::verb_code(Command::Patchrm, failed),
            sentences: vec![failure::described(&Wording::of_verbs(root.prefix()), Command::Patchrm, failed)],
        }
    }

    fn of_root(self, root: &Root) -> RootReport<Self> {
        let bound = self.adopted.iter().filter(|one| one.adopted).count();
        let told = format!("{bound} of {} undo archives registered", self.adopted.len());
        let (class, line, notes) = match &self.error {
            Some(error) => (failure_class(self.exit), failure_line(self.exit, error), Vec::new()),
            None if self.sentences.is_empty() => (RootClass::Idle, NOTHING.to_owned(), Vec::new()),
            None if self.exit == Exit::OK => (RootClass::Done, told, self.sentences.clone()),
            None => (RootClass::Refused, told, self.sentences.clone()),
        };
        let (exit, changed, result) = (self.exit, self.changed, self.result);
        RootReport {
            result,
            notes,
            changed,
            ..RootReport::of_line(class, exit, line, root.prefix(), RootBody::Worked(self))
        }
    }
}

impl CommandReport for AdoptReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.error.is_some() {
            return Ok(output.error(&self.sentences.concat())?);
        }
        if self.sentences.is_empty() {
            output.line(NOTHING)?;
        }
        Ok(self.sentences.iter().try_for_each(|sentence| output.line(sentence))?)
    }
}

fn lost(one: &UnreadableUndo) -> String {
    let meaning = if one.is_earlier {
        "that version can remove the patch, and this one cannot"
    } else {
        "it cannot be registered, and is lost unless it is restored from a backup"
    };
    format!("{}; {meaning}", one.reason)
}

/// Names the run, which tells archives of one patch apart.
fn sentence(one: &AdoptedUndo, zone: Zone) -> String {
    let AdoptedUndo { patch, package, run, made, recorded, differs, is_foreign, is_adopted } = one;
    let made = made.as_ref().map(|made| format!(" of {}", zone.minute_of(made))).unwrap_or_default();
    let run = run.as_ref().map_or("an unknown run".to_owned(), |run| format!("run {run}{made}"));
    let from = format!("{patch}, package {package}: an undo archive of {run}, for `{}`", recorded.trim());
    match (is_adopted, differs) {
        (true, None) => format!("{from}, is bound"),
        (true, Some(differs)) => format!("{from}, is registered although it differs: {differs}"),
        (false, None) => format!("{from}, matches; specify {patch} to register it"),
        (false, Some(differs)) if *is_foreign => {
            format!("{from}, differs: {differs}; specify {patch} and --foreign to register it")
        }
        (false, Some(differs)) => {
            format!("{from}, differs: {differs}; specify {patch} to register it anyway")
        }
    }
}

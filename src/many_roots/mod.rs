//! Verbs on many roots: a line for each as it ends, one summary, one exit code.
//!
//! A root that waits for its lock must not hide the others. Successes and summary go to standard output, failures to
//! standard error; `--json` gives one document. A signal ends runs in progress, and no other begins.

mod by_owner;
pub(crate) mod list;
pub(crate) mod queries;
pub(crate) mod root_report;
mod summary;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::as_owner;
use crate::as_owner::CallerSignals;
use crate::as_owner::options::OwnerOptions;
use list::ManyRoots;
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::advice::hint;
use patchadm_cli::reply::cause_of::of_root;
use patchadm_cli::reply::json::{DocumentHead, JsonDocument, milliseconds_since};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, failure};
use patchadm_cli::surroundings::bar::RootsBar;
use patchadm_cli::surroundings::caller::{RootTurn, lock_wait_seconds};
use patchadm_cli::surroundings::ending::{EndingRun, OF_MANY, acknowledge, with_acknowledged_signals};
use patchadm_cli::surroundings::recovery::RecoveryNews;
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::operation::many::{RootList, UnansweredRoot};
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::whose_root::RootStanding;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use root_report::{RootBody, RootClass, RootReport, failure_class};
use summary::{ResultCounts, RootsSummary};

#[derive(Clone, Copy, Debug)]
pub(crate) struct RootsTask {
    /// The command, as in lock, journal and history.
    pub(crate) program: &'static str,
    pub(crate) usage: &'static str,
    /// Seconds to wait for a root's lock; `None`: as its policy says.
    pub(crate) wait: Option<u64>,
    pub(crate) is_plan: bool,
    pub(crate) done: &'static str,
    pub(crate) idle: &'static str,
}

#[derive(Serialize)]
struct RootsReport<B> {
    result: ResultWord,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_change: Option<bool>,
    duration_ms: u64,
    summary: ResultCounts,
    roots: Vec<JsonDocument<RootBody<B>>>,
    #[serde(skip)]
    text: String,
}

impl<B: Serialize> CommandReport for RootsReport<B> {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.print(&self.text)?)
    }
}

/// Does `work` on every root. Processes of owners get the arguments `A`.
pub(crate) fn on_many<A: clap::CommandFactory, B: Serialize + Send + 'static>(
    call: &mut Invocation,
    (many, owner): (&ManyRoots, OwnerOptions),
    task: RootsTask,
    work: &(dyn Fn(&Root, &Caller<'_>) -> RootReport<B> + Sync),
) -> anyhow::Result<Reply> {
    let roots = many.open(call, task.usage)?;
    let names: Vec<&Path> = roots.paths().collect();
    let for_owners = as_owner::CallWords::of::<A>(call)?;
    let (mut progress, surroundings) = RootsProgress::begin(call, &names);
    let is_quiet = surroundings.is_quiet;
    let tell = |_: &EndingRun<'_>| {
        if !is_quiet {
            acknowledge(PROGRAM, OF_MANY);
        }
    };
    let signal = with_acknowledged_signals(tell, |run| {
        let interrupt: &(dyn Fn() -> Option<i32> + Sync) = &|| run.interrupt();
        let signals = CallerSignals { first: interrupt, count: &|| run.signal_count() };
        let turns = RootTurns { surroundings, owner, for_owners: &for_owners, task, signals, work };
        let jobs = if task.is_plan { many.jobs() } else { many.changing_jobs() };
        let mut locked = Vec::new();
        turns.take_each(&roots, jobs, None, |place, answer| match answer {
            Ok(TurnEnd { report: RootReport { exit: Exit::LOCKED, .. }, waits: true }) => locked.push(place),
            answer => progress.count_end(place, answer.map(|turn| turn.report), interrupt()),
        });
        locked.sort_unstable();
        turns.take_each(&roots.at(&locked), jobs, Some(Instant::now()), |number, answer| {
            let place = locked.get(number).copied().unwrap_or(number);
            progress.count_end(place, answer.map(|turn| turn.report), interrupt());
        });
        interrupt()
    })?;
    progress.finish(signal, surroundings.began, task)
}

/// A locked root has a second turn after all others, so that no root waits for the waiting ones.
struct RootTurns<'a, B> {
    surroundings: &'a Surroundings,
    owner: OwnerOptions,
    for_owners: &'a as_owner::CallWords,
    task: RootsTask,
    signals: CallerSignals<'a>,
    work: &'a (dyn Fn(&Root, &Caller<'_>) -> RootReport<B> + Sync),
}

struct TurnEnd<B> {
    report: RootReport<B>,
    /// Should wait for its lock, and has not yet.
    waits: bool,
}

impl<B: Send> RootTurns<'_, B> {
    /// Gives each root its turn. With a starting time, all held locks are waited for at once.
    fn take_each(
        &self,
        roots: &RootList,
        jobs: NonZeroUsize,
        waiting_since: Option<Instant>,
        ended: impl FnMut(usize, Result<TurnEnd<B>, UnansweredRoot>),
    ) {
        let stops = || (self.signals.first)().is_some();
        let turn = |root: &Root| {
            let decided = self.surroundings.under_policy(self.surroundings.under_locks(root.clone()));
            let root = match self.owner.standing(self.surroundings, decided) {
                Ok(RootStanding::Caller(root)) => root,
                Ok(RootStanding::Owner(root)) => {
                    return TurnEnd { report: self.by_owner(&root), waits: false };
                }
                Err(error) => {
                    let exit = failure::code(Command::Patchadd, &error);
                    let advice = hint(&Wording::of_verbs(root.prefix()), Command::Patchadd, &error);
                    let report = unworked(exit, error.to_string(), root);
                    let advice = Some(advice).filter(|advice| !advice.is_empty());
                    let report = RootReport { advice: advice.into_iter().collect(), ..report };
                    return TurnEnd { report, waits: false };
                }
            };
            let lock_wait_seconds = lock_wait_seconds(&root, self.task.wait);
            let wait =
                waiting_since.map_or(0, |since| lock_wait_seconds.saturating_sub(since.elapsed().as_secs()));
            let turn = RootTurn {
                surroundings: self.surroundings,
                program: self.task.program,
                speaks_as: format!("{PROGRAM}: {}", root.prefix().display()),
                wait,
                interrupt: self.signals.first,
                recovery: &RecoveryNews::default(),
            };
            let report = turn.with_caller(&|_| (), |caller| (self.work)(&root, caller)).told(turn.recovery);
            TurnEnd { report, waits: waiting_since.is_none() && lock_wait_seconds > 0 }
        };
        roots.each(jobs, &stops, &turn, ended);
    }

    fn by_owner(&self, root: &Root) -> RootReport<B> {
        match as_owner::answer(self.surroundings, self.for_owners, root, self.signals) {
            Ok(answer) => by_owner::report_of(root, &answer),
            Err(error) => unworked(Exit::of(&error), error.to_string(), root),
        }
    }
}

struct RootsProgress<'a, B> {
    output: &'a mut Output,
    command: &'static str,
    in_json: bool,
    names: &'a [&'a Path],
    summary: RootsSummary,
    documents: Vec<(usize, JsonDocument<RootBody<B>>)>,
    bar: RootsBar,
    /// The output is no longer read: the work goes on, and the end reports it.
    unwritten: std::io::Result<()>,
}

impl<'a, B: Serialize + 'static> RootsProgress<'a, B> {
    fn begin(call: &'a mut Invocation, names: &'a [&'a Path]) -> (Self, &'a mut Surroundings) {
        let Invocation { surroundings, output, in_json, name, .. } = call;
        let shows_bar = !*in_json && surroundings.stderr_is_terminal && !surroundings.is_quiet;
        let progress = Self {
            output,
            command: name,
            in_json: *in_json,
            names,
            summary: RootsSummary::of(names.len()),
            documents: Vec::new(),
            bar: RootsBar::new(names.len(), shows_bar),
            unwritten: Ok(()),
        };
        (progress, surroundings)
    }

    fn count_end(
        &mut self,
        place: usize,
        answer: Result<RootReport<B>, UnansweredRoot>,
        signal: Option<i32>,
    ) {
        let name = self.names.get(place).copied().unwrap_or(Path::new(""));
        let report = answer.unwrap_or_else(|unanswered| without_answer(name, &unanswered, signal));
        self.summary.count(place, &report);
        if self.in_json {
            let head = DocumentHead::of_verb(self.command, Some(name), report.exit);
            self.documents.push((place, head.document(report.body)));
            return;
        }
        let (output, unwritten) = (&mut *self.output, &mut self.unwritten);
        self.bar.beside(self.summary.bad(), || {
            let written = print_root(output, name, &report);
            if unwritten.is_ok() {
                *unwritten = written;
            }
        });
    }

    fn finish(mut self, signal: Option<i32>, began: Instant, task: RootsTask) -> anyhow::Result<Reply> {
        self.bar.finish();
        self.unwritten?;
        self.documents.sort_by_key(|(place, _)| *place);
        let report = RootsReport {
            result: self.summary.result(signal),
            changed: self.summary.is_changed(),
            would_change: task.is_plan.then(|| self.summary.would_change()),
            duration_ms: milliseconds_since(began),
            summary: self.summary.counts(),
            roots: self.documents.into_iter().map(|(_, document)| document).collect(),
            text: self.summary.text(self.names, task.done, task.idle),
        };
        Ok(Reply::new(self.summary.exit(signal), report))
    }
}

/// Prints a root's line and notes, flushed at once.
fn print_root<B>(output: &mut Output, name: &Path, report: &RootReport<B>) -> std::io::Result<()> {
    let line = format!("{}: {}", name.display(), report.line);
    match report.class {
        RootClass::NotBegun => return Ok(()),
        RootClass::Refused | RootClass::Failed => {
            let message =
                report.advice.iter().fold(line, |message, advice| failure::hinted(&message, advice));
            output.error(&message)?;
        }
        RootClass::Done | RootClass::Idle | RootClass::NotApplicable => output.line(line)?,
    }
    for note in &report.notes {
        output.line(format!("  {note}"))?;
    }
    output.flush()
}

fn unworked<B>(exit: Exit, error: String, root: &Root) -> RootReport<B> {
    RootReport::unworked(failure_class(exit), exit, error, root.prefix())
}

fn without_answer<B>(name: &Path, unanswered: &UnansweredRoot, signal: Option<i32>) -> RootReport<B> {
    let error = unanswered.to_string();
    let (class, exit) = match unanswered {
        UnansweredRoot::NotBegun => {
            (RootClass::NotBegun, signal.map_or(Exit::failed(ExitCause::Signal), Exit::by_signal))
        }
        UnansweredRoot::Defect => (RootClass::Failed, Exit::INTERNAL),
        UnansweredRoot::Root(error) => {
            let exit = Exit::failed(of_root(error));
            (failure_class(exit), exit)
        }
        UnansweredRoot::Replaced(_) => (RootClass::Failed, Exit::failed(ExitCause::Edited)),
    };
    RootReport::unworked(class, exit, error, name)
}

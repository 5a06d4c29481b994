//! Verbs on many roots at once: one line for each as it ends, one summary, one exit code.
//!
//! Lines come as the roots end, because a root that waits for its lock must not hide what happens to the others; they
//! begin with the root's name. What went well goes to standard output, with the summary; what did not to standard
//! error. With `--json` there is one document, with the document of every root in their order.
//!
//! A signal ends the runs that are under way as it would end them alone, and no other is begun.

mod by_owner;
mod list;
mod summary;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::applets::Invocation;
use crate::as_owner;
use crate::as_owner::options::OwnerOptions;
use crate::operation::failure::Failure;
use crate::operation::many::{Roots, Unanswered};
use crate::operation::session::Caller;
use crate::operation::whose_root::Standing;
use crate::plan::refusal::Command;
use crate::reply::exit::Exit;
use crate::reply::json::{Document, milliseconds_since};
use crate::reply::report::{Outcome, PatchEntry};
use crate::reply::{failure, report, words};
use crate::root::Root;
use crate::surroundings::Surroundings;
use crate::surroundings::bar::RootsBar;
use crate::surroundings::caller::{Turn, patience, with_signals};
use crate::surroundings::output::Output;
pub(crate) use list::{ManyRoots, must_be_read_often};
use summary::{Counts, Summary};

/// What is done to every root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verb {
    /// The verb, as documents name it.
    pub(crate) name: &'static str,
    /// The command, as lock, journal and history name it.
    pub(crate) program: &'static str,
    /// How it is called.
    pub(crate) usage: &'static str,
    /// Whether one document is printed instead of text.
    pub(crate) json: bool,
    /// Seconds to wait for the lock of a root; none is as its policy says.
    pub(crate) wait: Option<u64>,
    /// The word for roots where something was done.
    pub(crate) done: &'static str,
    /// The word for roots where nothing had to be done.
    pub(crate) idle: &'static str,
}

/// How a root ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Something was done, or planned.
    Done,
    /// Everything is in force already.
    Idle,
    /// No package is there that it is about.
    NotApplicable,
    /// The rules say no.
    Refused,
    /// It went wrong.
    Failed,
    /// A signal came before its turn.
    NotBegun,
}

/// What is told of a root.
#[derive(Clone, Debug)]
pub(crate) struct OfRoot<B> {
    pub(crate) class: Class,
    pub(crate) exit: Exit,
    /// One line, without the name of the root.
    pub(crate) line: String,
    /// What a person should know, line by line.
    pub(crate) notes: Vec<String>,
    /// Why not, in words that are the same for every root.
    pub(crate) reason: Option<String>,
    /// What patches ask for after installation.
    pub(crate) reboots: Vec<&'static str>,
    pub(crate) changed: bool,
    /// The fields of its document.
    pub(crate) body: B,
}

/// The fields of a document of a root that has none of its own.
#[derive(Clone, Debug, Serialize)]
struct Unworked {
    result: &'static str,
    changed: bool,
    error: String,
}

/// The document of a root among others.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<B> {
    Worked(B),
    /// What a process of the owner of the root said.
    OfOwner(serde_json::Map<String, serde_json::Value>),
    Unworked(Unworked),
}

/// The document of all roots.
#[derive(Serialize)]
struct All<B> {
    result: &'static str,
    changed: bool,
    duration_ms: u64,
    summary: Counts,
    roots: Vec<Document<Body<B>>>,
}

/// Does `work` on every root and reports. `A` are the arguments of the command, for processes of the owners of roots.
pub(crate) fn on_many<A: clap::CommandFactory, B: Serialize + Send>(
    call: &mut Invocation,
    (many, owner): (&ManyRoots, OwnerOptions),
    verb: Verb,
    work: &(dyn Fn(&Root, &Caller<'_>) -> OfRoot<B> + Sync),
) -> anyhow::Result<Exit> {
    let roots = many.open(call, verb.usage)?;
    let names: Vec<&Path> = roots.paths().collect();
    let for_owners = as_owner::Words::of::<A>(call)?;
    let Invocation { surroundings, output, .. } = call;
    let mut report = Report {
        output,
        verb,
        names: &names,
        summary: Summary::of(roots.len()),
        documents: Vec::new(),
        bar: RootsBar::new(roots.len(), !verb.json && surroundings.stderr_is_terminal),
        unwritten: Ok(()),
    };
    let signal = with_signals(|interrupt| {
        let turns = Turns { surroundings, owner, for_owners: &for_owners, verb, interrupt, work };
        let mut locked = Vec::new();
        turns.each(&roots, many.jobs(), None, |place, answer| match answer {
            Ok(Told { told: OfRoot { exit: Exit::LOCKED, .. }, waits: true }) => locked.push(place),
            answer => report.ended(place, answer.map(|turn| turn.told), interrupt()),
        });
        locked.sort_unstable();
        turns.each(&roots.at(&locked), many.jobs(), Some(Instant::now()), |number, answer| {
            let place = locked.get(number).copied().unwrap_or(number);
            report.ended(place, answer.map(|turn| turn.told), interrupt());
        });
        interrupt()
    })?;
    report.finish(signal, surroundings.began, &roots)
}

/// The turns of all roots. One that is locked has a second, when all others are done: nobody has to wait for those who
/// wait.
struct Turns<'a, B> {
    surroundings: &'a Surroundings,
    owner: OwnerOptions,
    for_owners: &'a as_owner::Words,
    verb: Verb,
    interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    work: &'a (dyn Fn(&Root, &Caller<'_>) -> OfRoot<B> + Sync),
}

/// How the turn of a root ended.
struct Told<B> {
    told: OfRoot<Body<B>>,
    /// Whether it should wait for its lock, and has not.
    waits: bool,
}

impl<B: Send> Turns<'_, B> {
    /// Gives each root its turn. Held locks are waited for only where it is said since when: all wait at once.
    fn each(
        &self,
        roots: &Roots,
        jobs: NonZeroUsize,
        waiting_since: Option<Instant>,
        ended: impl FnMut(usize, Result<Told<B>, Unanswered>),
    ) {
        let stops = || (self.interrupt)().is_some();
        let turn = |root: &Root| {
            let root = match self.owner.standing(self.surroundings, root.clone()) {
                Ok(Standing::Caller(root)) => root,
                Ok(Standing::Owner(root)) => return Told { told: self.by_owner(&root), waits: false },
                Err(error) => {
                    let exit = failure::code(Command::Patchadd, &error);
                    return Told { told: failed(exit, error.to_string(), root.prefix()), waits: false };
                }
            };
            let patience = patience(&root, self.verb.wait);
            let wait = waiting_since.map_or(0, |since| patience.saturating_sub(since.elapsed().as_secs()));
            let turn = Turn {
                surroundings: self.surroundings,
                program: self.verb.program,
                speaks_as: format!("{}: {}", crate::applets::PROGRAM, root.prefix().display()),
                wait,
                interrupt: self.interrupt,
            };
            let told = turn.with_caller(&|_| (), |caller| (self.work)(&root, caller));
            let told = told.worked();
            Told { told, waits: waiting_since.is_none() && patience > 0 }
        };
        roots.each(jobs, &stops, &turn, ended);
    }

    /// What a process of the owner of a root says of its work.
    fn by_owner(&self, root: &Root) -> OfRoot<Body<B>> {
        match as_owner::answer(self.surroundings, self.for_owners, root, self.interrupt) {
            Ok(answer) => by_owner::told(root, &answer),
            Err(error) => failed(Exit::FAILED, error.to_string(), root.prefix()),
        }
    }
}

impl<B> OfRoot<B> {
    /// The same as one of the ways in which a root can have ended.
    fn worked(self) -> OfRoot<Body<B>> {
        let Self { class, exit, line, notes, reason, reboots, changed, body } = self;
        OfRoot { class, exit, line, notes, reason, reboots, changed, body: Body::Worked(body) }
    }
}

/// What has been reported so far.
struct Report<'a, B> {
    output: &'a mut Output,
    verb: Verb,
    names: &'a [&'a Path],
    summary: Summary,
    documents: Vec<(usize, Document<Body<B>>)>,
    bar: RootsBar,
    /// Nobody reads any more: the work goes on, and that is told at the end.
    unwritten: std::io::Result<()>,
}

impl<B: Serialize> Report<'_, B> {
    fn ended(&mut self, place: usize, answer: Result<OfRoot<Body<B>>, Unanswered>, signal: Option<i32>) {
        let name = self.names.get(place).copied().unwrap_or(Path::new(""));
        let told = match answer {
            Ok(told) => told,
            Err(unanswered) => without_work(name, &unanswered, signal),
        };
        self.summary.count(place, &told);
        if self.verb.json {
            let document = Document::new(self.verb.name, Some(name), told.exit, told.body);
            self.documents.push((place, document));
            return;
        }
        let (output, unwritten) = (&mut *self.output, &mut self.unwritten);
        self.bar.beside(self.summary.bad(), || {
            let written = say(output, name, &told);
            if unwritten.is_ok() {
                *unwritten = written;
            }
        });
    }

    fn finish(mut self, signal: Option<i32>, began: Instant, roots: &Roots) -> anyhow::Result<Exit> {
        self.bar.finish();
        let exit = self.summary.exit(signal);
        if self.verb.json {
            self.documents.sort_by_key(|(place, _)| *place);
            let body = All {
                result: self.summary.result(),
                changed: self.summary.is_changed(),
                duration_ms: milliseconds_since(began),
                summary: self.summary.counts(),
                roots: self.documents.into_iter().map(|(_, document)| document).collect(),
            };
            self.output.print(Document::new(self.verb.name, None, exit, body).text()?)?;
            return Ok(exit);
        }
        self.unwritten?;
        let names: Vec<&Path> = roots.paths().collect();
        self.output.print(self.summary.text(&names, self.verb.done, self.verb.idle))?;
        Ok(exit)
    }
}

/// The line of a root and its notes, at once on their way.
fn say<B>(output: &mut Output, name: &Path, told: &OfRoot<B>) -> std::io::Result<()> {
    let line = format!("{}: {}", name.display(), told.line);
    match told.class {
        Class::NotBegun => return Ok(()),
        Class::Refused | Class::Failed => output.error(&line)?,
        Class::Done | Class::Idle | Class::NotApplicable => output.line(line)?,
    }
    for note in &told.notes {
        output.line(format!("  {note}"))?;
    }
    output.flush()
}

/// A root on which nothing could be tried.
fn failed<B>(exit: Exit, error: String, name: &Path) -> OfRoot<Body<B>> {
    let line = format!("failed ({}): {}", exit.code(), in_one_line(&error));
    let reason = Some(alike(&line, name));
    let body = Body::Unworked(Unworked { result: "failed", changed: false, error });
    OfRoot {
        class: Class::Failed,
        exit,
        line,
        notes: Vec::new(),
        reason,
        reboots: Vec::new(),
        changed: false,
        body,
    }
}

fn without_work<B>(name: &Path, unanswered: &Unanswered, signal: Option<i32>) -> OfRoot<Body<B>> {
    let error = unanswered.to_string();
    let (class, exit, result) = match unanswered {
        Unanswered::NotBegun => (Class::NotBegun, signal.map_or(Exit::FAILED, Exit::by_signal), "not-begun"),
        Unanswered::Defect => (Class::Failed, Exit::INTERNAL, "failed"),
        Unanswered::Root(_) | Unanswered::Replaced(_) => (Class::Failed, Exit::FAILED, "failed"),
    };
    let line = format!("failed ({}): {error}", exit.code());
    let reason = (class == Class::Failed).then(|| alike(&line, name));
    let body = Body::Unworked(Unworked { result, changed: false, error });
    OfRoot { class, exit, line, notes: Vec::new(), reason, reboots: Vec::new(), changed: false, body }
}

/// What is told of a root where patches were applied or backed out, or nothing could be tried.
pub(crate) fn of_patches(
    command: Command,
    root: &Root,
    began: Instant,
    result: Result<Outcome, &Failure>,
) -> OfRoot<Outcome> {
    let outcome =
        result.unwrap_or_else(|failure| report::failed(failure, failure::verb_code(command, failure)));
    let outcome = outcome.among_others(began);
    let exit = outcome.exit();
    let line = match outcome.error() {
        Some(error) => format!("failed ({}): {}", exit.code(), in_one_line(error)),
        None => outcome.patches.iter().map(of_patch).collect::<Vec<_>>().join("; "),
    };
    let reason = (exit != Exit::OK).then(|| reason(&outcome, &line, root.prefix()));
    let well = || outcome.patches.iter().filter(|patch| patch.code == 0);
    let recovered = outcome.recovered.iter().cloned();
    let notes = recovered.chain(well().flat_map(|patch| patch.notes.iter().cloned()));
    let in_use: String = well().map(|patch| words::in_use_lines(&patch.in_use)).collect();
    OfRoot {
        class: class(&outcome),
        exit,
        line,
        notes: notes.map(|note| format!("note: {note}")).chain(in_use.lines().map(str::to_owned)).collect(),
        reason,
        reboots: well().filter_map(|patch| patch.reboot).collect(),
        changed: outcome.changed,
        body: outcome,
    }
}

fn class(outcome: &Outcome) -> Class {
    let failed = outcome.patches.iter().filter(|patch| patch.has_failed());
    if outcome.error().is_some() || failed.clone().any(|patch| patch.verdict != "refused") {
        Class::Failed
    } else if failed.count() > 0 {
        Class::Refused
    } else if outcome.patches.iter().any(|patch| patch.code == 0) {
        Class::Done
    } else if outcome.patches.iter().all(|patch| patch.verdict == "not-applicable") {
        Class::NotApplicable
    } else {
        Class::Idle
    }
}

fn of_patch(patch: &PatchEntry) -> String {
    let PatchEntry { id, verdict, code, reason, files, .. } = patch;
    if patch.has_failed() {
        format!("{id} {verdict} ({code}): {}", in_one_line(reason))
    } else if patch.is_idle() {
        format!("{id} {verdict}")
    } else {
        format!("{id} {verdict} ({files})")
    }
}

/// Why a root has failed, as other roots would say it: the first failure, without the path of this one.
fn reason(outcome: &Outcome, line: &str, prefix: &Path) -> String {
    if outcome.exit() == Exit::LOCKED {
        return format!("failed ({}): locked by another command", Exit::LOCKED.code());
    }
    match outcome.patches.iter().find(|patch| patch.has_failed()) {
        Some(patch) => alike(&of_patch(patch), prefix),
        None => alike(line, prefix),
    }
}

/// A text with `ROOT` for the path of a root.
pub(crate) fn alike(text: &str, prefix: &Path) -> String {
    match prefix.display().to_string().trim_end_matches('/') {
        "" => text.to_owned(),
        prefix => text.replace(prefix, "ROOT"),
    }
}

pub(crate) fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

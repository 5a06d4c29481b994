//! A query about many roots: answers in the order of the roots, and one summary.
//!
//! Nothing is locked or changed, so no root waits for another, and a signal may end the command at any moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::list::ManyRoots;
use super::root_report::{RootBody, RootClass, RootReport, failure_class};
use super::summary::ResultCounts;
use super::{RootsProgress, without_answer};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::json::{JsonDocument, milliseconds_since};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_rootfs::Root;

#[derive(Clone, Copy, Debug)]
pub(crate) struct RootsQuery<'a> {
    pub(crate) usage: &'static str,
    pub(crate) answered: &'static str,
    /// The patch that roots may lack, if requested.
    pub(crate) lacking: Option<&'a str>,
}

pub(crate) struct RootAnswer<B> {
    pub(crate) report: RootReport<B>,
    pub(crate) is_lacking: bool,
    /// Patches that cannot be backed out there.
    pub(crate) stuck: Vec<String>,
}

impl<B> From<RootReport<B>> for RootAnswer<B> {
    fn from(report: RootReport<B>) -> Self {
        Self { report, is_lacking: false, stuck: Vec::new() }
    }
}

impl<B> RootAnswer<B> {
    pub(crate) fn failed(root: &Root, error: &anyhow::Error) -> Self {
        let (exit, error) = (Exit::of(error), format!("{error:#}"));
        RootReport::unworked(failure_class(exit), exit, error, root.prefix()).into()
    }
}

#[derive(Serialize)]
struct RootsAnswer<B> {
    result: ResultWord,
    changed: bool,
    duration_ms: u64,
    summary: AnswersSummary,
    roots: Vec<JsonDocument<RootBody<B>>>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct AnswersSummary {
    #[serde(flatten)]
    counts: ResultCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacking: Option<Vec<String>>,
    /// Patches that cannot be backed out of some roots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_removable: Vec<StuckPatch>,
}

#[derive(Serialize)]
struct StuckPatch {
    id: String,
    roots: Vec<String>,
}

impl<B: Serialize> CommandReport for RootsAnswer<B> {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.print(&self.text)?)
    }
}

#[derive(Default)]
struct PatchFacts {
    lacking: Vec<String>,
    stuck: BTreeMap<String, Vec<String>>,
}

pub(crate) fn ask_many<B: Serialize + Send + 'static>(
    call: &mut Invocation,
    many: &ManyRoots,
    query: RootsQuery<'_>,
    ask: &(dyn Fn(&Root) -> RootAnswer<B> + Sync),
) -> anyhow::Result<Reply> {
    let roots = many.open(call, query.usage)?;
    let names: Vec<&Path> = roots.paths().collect();
    let (mut progress, surroundings) = RootsProgress::begin(call, &names);
    let (mut facts, mut early, mut next) = (PatchFacts::default(), BTreeMap::new(), 0);
    let decided = &*surroundings;
    let ask = |root: &Root| ask(&decided.under_policy(root.clone()));
    roots.each(many.jobs(), &|| false, &ask, |place, answer| {
        early.insert(place, answer);
        while let Some(answer) = early.remove(&next) {
            let name = names.get(next).copied().unwrap_or(Path::new(""));
            let answer = answer.unwrap_or_else(|unanswered| without_answer(name, &unanswered, None).into());
            facts.note(name, &answer);
            progress.take_answer(next, answer.report);
            next += 1;
        }
    });
    progress.bar.finish();
    progress.unwritten?;
    progress.documents.sort_by_key(|(place, _)| *place);
    let mut text = progress.summary.text(&names, query.answered, "with nothing to report");
    facts.print(&mut text, query.lacking);
    let exit = match progress.summary.exit(None) {
        Exit::OK if !facts.lacking.is_empty() => Exit::MISSING,
        exit => exit,
    };
    let report = RootsAnswer {
        result: progress.summary.result(None),
        changed: false,
        duration_ms: milliseconds_since(surroundings.began),
        summary: AnswersSummary {
            counts: progress.summary.counts(),
            lacking: query.lacking.map(|_| facts.lacking),
            not_removable: facts.stuck.into_iter().map(|(id, roots)| StuckPatch { id, roots }).collect(),
        },
        roots: progress.documents.into_iter().map(|(_, document)| document).collect(),
        text,
    };
    Ok(Reply::new(exit, report))
}

impl<B: Serialize + 'static> RootsProgress<'_, B> {
    /// Counts and prints an answer on standard output, as for one root alone. A failed query is an error; so is a
    /// finding if only errors are wanted.
    fn take_answer(&mut self, place: usize, report: RootReport<B>) {
        let is_answer = matches!(report.body, RootBody::Worked(_));
        if self.in_json || !is_answer {
            return self.count_end(place, Ok(report), None);
        }
        self.summary.count(place, &report);
        let name = self.names.get(place).copied().unwrap_or(Path::new(""));
        let (output, unwritten) = (&mut *self.output, &mut self.unwritten);
        self.bar.beside(self.summary.bad(), || {
            if unwritten.is_ok() {
                *unwritten = print_answer(output, name, &report);
            }
        });
    }
}

fn print_answer<B>(output: &mut Output, name: &Path, report: &RootReport<B>) -> io::Result<()> {
    let line = format!("{}: {}", name.display(), report.line);
    if output.is_quiet() && matches!(report.class, RootClass::Refused | RootClass::Failed) {
        let notes = report.notes.iter().map(|note| format!("\n{note}"));
        return output.error(&format!("{line}{}", notes.collect::<String>()));
    }
    output.line(line)?;
    report.notes.iter().try_for_each(|note| output.line(format!("  {note}")))?;
    output.flush()
}

impl PatchFacts {
    fn note<B>(&mut self, root: &Path, answer: &RootAnswer<B>) {
        let root = root.display().to_string();
        for id in &answer.stuck {
            self.stuck.entry(id.clone()).or_default().push(root.clone());
        }
        if answer.is_lacking {
            self.lacking.push(root);
        }
    }

    fn print(&self, text: &mut String, lacking: Option<&str>) {
        let _ = match (lacking, self.lacking.as_slice()) {
            (None, _) => Ok(()),
            (Some(id), []) => writeln!(text, "  no root is missing {id}"),
            (Some(id), roots) => writeln!(text, "  {id} is missing: {}", roots.join(", ")),
        };
        for (id, roots) in &self.stuck {
            let _ = writeln!(text, "  {id} cannot be removed: {}", roots.join(", "));
        }
    }
}

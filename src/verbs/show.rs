//! `patchadm show`: patches, applied or delivered, paths of the root, and fixes.
//!
//! ```text
//!   word ─► id of an applied patch ─► file or directory that is a patch ─► id in the depot of -M
//!        ─► path of the root ─► fix ─► unknown
//! ```
//! A word that could be two things is the applied patch, and the output says so. A word with a slash is never an id.

mod applied;
mod delivered;
mod fix;
mod objects;
mod path;
mod query;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::meant::applied_like;
use super::options::VerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use applied::{AppliedPatch, EndedPatch};
use delivered::{DeliveredPatch, patch_of_depot};
use fix::FixAnswer;
use patchadm_cli::arguments::comparison::unverified;
use patchadm_cli::arguments::fetching::{DepotOption, FetchOptions};
use patchadm_cli::arguments::options::ROOT_LISTS;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::suggest::did_you_mean;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::overtaken::ending_of;
use patchadm_cli::reply::words::{print_notes, unfinished_sentence};
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::apply::SignatureRequest;
use patchadm_core::operation::queries::applied_patches::{applied_patches, applied_revisions};
use patchadm_core::operation::queries::inspect::interrupted_run;
use patchadm_core::operation::queries::reasons::{PatchAtHand, fix_reasons, patch_reasons};
use patchadm_core::operation::queries::runs::{PastRun, past_runs};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::source::{self, Extent, Image, Origin, SourceError};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{FixId, PatchId, PatchMacros};
use path::PathAnswer;
use query::{NOT_FOUND, ShowQuery, USAGE};

/// Show a patch, a path, or a fix such as CVE-2026-1234
#[derive(clap::Parser)]
struct ShowArgs {
    /// List every object in the patch and how it changes
    #[arg(long)]
    files: bool,
    /// Show what the patch changes in each file, or what the last patch changed in the named file
    #[arg(long, conflicts_with_all = [ROOT_LISTS, "jobs"])]
    diff: bool,
    #[command(flatten)]
    depot: DepotOption,
    #[command(flatten)]
    fetching: FetchOptions,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: VerbOptions,
    /// The id of an applied patch or, with -M, of one in the depot; the path of a patch file or directory; a path
    /// in the root (./WORD forces a path); or a fix
    #[arg(value_name = "WHAT")]
    words: Vec<PathBuf>,
    /// With --files or --diff, show only these paths and everything below them
    #[arg(value_name = "PATH", last = true)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct ShowReport {
    answers: Vec<ShownWord>,
    /// The interrupted run. Records are shown as before it.
    unfinished: Option<String>,
    #[serde(skip)]
    remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownWord {
    word: String,
    #[serde(flatten)]
    answer: Answer,
    /// How to name the second meaning of the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    ambiguous: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Answer {
    Applied(Box<AppliedPatch>),
    Delivered(Box<DeliveredPatch>),
    Ended(EndedPatch),
    Path(Box<PathAnswer>),
    Fix(FixAnswer),
    Unknown { reason: String },
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let ShowArgs { files, diff, depot, fetching, mut many, common, words, paths } = parse(call, USAGE)?;
    many.also(&common.root);
    let wrong = |message: String| Stop::Usage { message, usage: USAGE };
    if words.is_empty() {
        return Err(wrong("specify a patch, a path, or a fix".to_owned()).into());
    }
    if !paths.is_empty() && !files && !diff {
        return Err(wrong("paths after -- are for --files and --diff".to_owned()).into());
    }
    let query = ShowQuery {
        has_files: files,
        has_diff: diff,
        paths,
        depot: depot.depot,
        fetching,
        is_verbose: call.output.is_verbose(),
        surroundings: call.surroundings.clone(),
    };
    if many.are_named() {
        let is_delivered = |word: &&PathBuf| word.exists() && PatchId::new(&word.to_string_lossy()).is_err();
        if let Some(word) = words.iter().find(is_delivered).filter(|word| is_patch(word)) {
            let word = word.display();
            return Err(wrong(format!(
                "{word} is a delivered patch, which is the same for every root: do not name roots"
            ))
            .into());
        }
        let of_roots = RootsQuery { usage: USAGE, answered: "answered", lacking: None };
        return ask_many(call, &many, of_roots, &|root| match shown(root, &words, &query, None) {
            Ok((_, report)) => report.answer_of_root(root),
            Err(error) => RootAnswer::failed(root, &error),
        });
    }
    let root = common.root.open(call)?;
    let (exit, report) = shown(&root, &words, &query, Some(call))?;
    Ok(Reply::about(&root, exit, report))
}

/// A single word that names nothing is an error.
fn shown(
    root: &Root,
    words: &[PathBuf],
    query: &ShowQuery,
    call: Option<&Invocation>,
) -> anyhow::Result<(Exit, ShowReport)> {
    let mut report = ShowReport { answers: Vec::new(), unfinished: None, remarks: Vec::new() };
    for word in words {
        let (answer, ambiguous) = answer(root, word, query, call)?;
        if let Answer::Applied(patch) = &answer {
            report.unfinished = report.unfinished.or_else(|| patch.unfinished.clone());
            let remarks = patch.remarks.iter().filter(|one| !report.remarks.contains(one)).cloned();
            let remarks: Vec<String> = remarks.collect();
            report.remarks.extend(remarks);
        }
        if let Answer::Path(path) = &answer {
            report.remarks.extend(path.remark().filter(|one| !report.remarks.contains(one)));
        }
        if let Answer::Delivered(patch) = &answer {
            report.remarks.extend(patch.remark.clone());
        }
        if let Answer::Fix(fix) = &answer {
            let remarks = fix.remarks.iter().filter(|one| !report.remarks.contains(one)).cloned();
            let remarks: Vec<String> = remarks.collect();
            report.remarks.extend(remarks);
        }
        report.answers.push(ShownWord { word: word.display().to_string(), answer, ambiguous });
    }
    report.remarks.extend(path_beside_patch(root, &report.answers, query));
    if let [ShownWord { answer: Answer::Unknown { reason }, .. }] = report.answers.as_slice() {
        return Err(Stop::Refused { exit: NOT_FOUND, message: reason.clone() }.into());
    }
    let is_about_state =
        |one: &ShownWord| matches!(one.answer, Answer::Path(_) | Answer::Fix(_) | Answer::Ended(_));
    if report.unfinished.is_none() && report.answers.iter().any(is_about_state) {
        report.unfinished = interrupted_run(root).map_err(|failed| query_refused(root, &failed))?;
    }
    let is_of_depot = |one: &ShownWord| {
        matches!(one.answer, Answer::Delivered(_) | Answer::Fix(_) | Answer::Unknown { .. })
    };
    if let Some(depot) = query.depot.as_ref().filter(|_| report.answers.iter().any(is_of_depot)) {
        let known = RootAndPolicy::of(root)
            .and_then(|ground| unverified(&ground, &SignatureRequest::default(), &depot.to_string_lossy()));
        report.remarks.extend(known.map_err(|failed| query_refused(root, &failed))?);
    }
    let unfinished = report.unfinished.iter().map(|run| unfinished_sentence(run, root.prefix()));
    let unfinished: Vec<String> = unfinished.collect();
    report.remarks.splice(0..0, unfinished);
    let is_unknown = report.answers.iter().any(|one| matches!(one.answer, Answer::Unknown { .. }));
    Ok((if is_unknown { NOT_FOUND } else { Exit::OK }, report))
}

/// How to limit the differences of a patch to a path that was named like a patch.
fn path_beside_patch(root: &Root, answers: &[ShownWord], query: &ShowQuery) -> Option<String> {
    let is_patch = |one: &&ShownWord| matches!(one.answer, Answer::Applied(_) | Answer::Delivered(_));
    let patch = &answers.iter().find(is_patch).filter(|_| query.has_diff)?.word;
    let path = &answers.iter().find(|one| matches!(one.answer, Answer::Path(_)))?.word;
    let typed = format!("show --diff {} -- {}", Wording::quoted(patch), Wording::quoted(path));
    let command = Wording::of_verbs(root.prefix()).verb(&typed);
    Some(format!("to see only what {patch} changed in {path}, run {command}"))
}

/// Returns a word's meaning, and how to name a second one. Only `call` allows the path of a delivered patch.
fn answer(
    root: &Root,
    word: &Path,
    query: &ShowQuery,
    call: Option<&Invocation>,
) -> anyhow::Result<(Answer, Option<String>)> {
    let text = word.to_string_lossy();
    let is_path = text.contains('/');
    if !is_path && let Some(patch) = AppliedPatch::of(root, &text, query)? {
        let ambiguous = other_meaning(root, word, &text);
        return Ok((Answer::Applied(Box::new(patch)), ambiguous));
    }
    let mut unreadable = None;
    if let Some(call) = call.filter(|_| word.exists()) {
        // Only the file has objects to show.
        let is_plain = !is_path && !query.has_files && !query.has_diff;
        let ended = is_plain.then(|| EndedPatch::of(root, &text, query.surroundings.zone)).flatten();
        if let Some(ended) = ended {
            let note = format!(
                "{text} is a patch that is no longer applied here; ./{text} names the file or directory"
            );
            return Ok((Answer::Ended(ended), Some(note)));
        }
        match source::open(Origin::Path(word), Extent::Everything) {
            Ok((_, image)) if id_of(&image).is_some() => {
                let patch = DeliveredPatch::of(Some(call), root, (word, &image), query)?;
                let past = PastPatch::of(root, &text).filter(|_| !is_path);
                let ambiguous = past.map(|PastPatch { history, .. }| {
                    format!(
                        "{text} is a delivered patch; {history} lists the runs of patch {text} in the root"
                    )
                });
                return Ok((Answer::Delivered(Box::new(patch)), ambiguous));
            }
            // A package is no patch, and may be an object of the root.
            Ok(_) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    let is_id = !is_path && PatchId::new(&text).is_ok();
    let fix = FixId::new(&text).ok().filter(|_| !is_path);
    let is_like_fix = fix.as_ref().is_some_and(|fix| fix.is_cve() || fix.cve_fault().is_some());
    if is_id
        && !is_like_fix
        && let Some(patch) = patch_of_depot(call, root, &text, query)?
    {
        return Ok((Answer::Delivered(Box::new(patch)), None));
    }
    if !is_id && !is_like_fix {
        let answer = PathAnswer::of(root, word, query)?;
        let is_compared = query.has_diff && query.paths.is_empty();
        if !is_compared {
            let newest = answer.as_ref().and_then(PathAnswer::newest_patch);
            must_be_of_patch(root, (&text, "a path"), newest, query)?;
        }
        if let Some(mut answer) = answer {
            if is_compared {
                answer.compare(root)?;
            }
            return Ok((Answer::Path(Box::new(answer)), None));
        }
    }
    let is_of_history = || is_id && PastPatch::of(root, &text).is_some();
    let is_object = |error: &SourceError| word.is_absolute() && error.problem.is_no_source();
    if let Some(error) = unreadable.filter(|error| !is_of_history() && !is_object(error)) {
        return Err(error.into());
    }
    if let Some(fix) = &fix
        && let Some(answer) = FixAnswer::known(root, fix, query)?
    {
        must_be_of_patch(root, (&text, "a fix"), None, query)?;
        return Ok((Answer::Fix(answer), None));
    }
    if let Some(ended) = EndedPatch::of(root, &text, query.surroundings.zone).filter(|_| !is_path) {
        return Ok((Answer::Ended(ended), None));
    }
    if let Some(fix) = &fix
        && let Ok(Some(answer)) = FixAnswer::offered(root, fix, query)
    {
        return Ok((Answer::Fix(answer), None));
    }
    let reason =
        if is_like_fix { no_fix(&text, query) } else { unknown(root, &text, (is_id, call.is_some()), query) };
    Ok((Answer::Unknown { reason }, None))
}

/// Refuses options about the objects of a patch for a word that is something else. `patch` is the one that changed it last.
fn must_be_of_patch(
    root: &Root,
    (word, what): (&str, &str),
    patch: Option<&str>,
    query: &ShowQuery,
) -> Result<(), Stop> {
    if !query.has_files && !query.has_diff {
        return Ok(());
    }
    let option = if query.has_diff { "--diff" } else { "--files" };
    let typed = |patch: &str| format!("show {option} {patch} -- {}", Wording::quoted(word));
    let hint = patch.map(|patch| Wording::of_verbs(root.prefix()).verb(&typed(patch))).unwrap_or_default();
    let message = hinted(&format!("{option} is for patches, and {word} is {what}"), &hint);
    Err(Stop::Usage { message, usage: USAGE })
}

/// How to name a file or fix with the name of an applied patch.
fn other_meaning(root: &Root, word: &Path, text: &str) -> Option<String> {
    if word.exists() {
        return Some(format!("{text} is an applied patch; ./{text} names the file or directory"));
    }
    let fix = FixId::new(text).ok()?;
    let is_fix = fix_reasons(root, &fix).is_ok_and(|reasons| !reasons.brought.is_empty());
    is_fix.then(|| format!("{text} is an applied patch; it is also the id of a fix"))
}

fn no_fix(word: &str, query: &ShowQuery) -> String {
    let of_depot = match &query.depot {
        Some(depot) => format!(", and none in {}", depot.display()),
        None => String::new(),
    };
    format!("no patch of this root fixes {}{of_depot}", word.escape_debug())
}

/// Returns why nothing is shown about a word. `has_files` is true if files were looked for, too.
fn unknown(root: &Root, word: &str, (is_id, has_files): (bool, bool), query: &ShowQuery) -> String {
    let is_there = has_files && Path::new(word).exists();
    let is_object = is_there && Path::new(word).is_absolute();
    let word = word.escape_debug();
    if is_object {
        let root = root.prefix().display();
        return format!(
            "`{word}` is not a patch; no package owns that path in the root {root}, and no patch changed it"
        );
    }
    if !is_id {
        if let Some(named) = applied_revisions(&word.to_string(), &applied_patches(root).unwrap_or_default())
        {
            return format!("`{word}` is not a patch id; {named}");
        }
        return format!("`{word}` is not an applied patch, a delivered patch, a path in the root, or a fix");
    }
    let word = word.to_string();
    let reasons = patch_reasons(root, &word, PatchAtHand::Nothing).ok().flatten();
    let reasons = reasons.map(|reasons| (reasons.superseded_by, reasons.obsoleted_by));
    let past = PastPatch::of(root, &word).and_then(|past| Some((past.removed_by?, past.history)));
    let mut hint = String::new();
    let why = match (reasons, ending_of(root, &word), past) {
        (Some((Some(later), _)), ..) => format!(": its later revision {later} is applied"),
        (Some((None, Some(by))), ..) => format!(": {by}, which is applied, contains it"),
        (_, Some((ended, _)), _) => format!(": {ended}"),
        (_, None, Some((run, history))) => {
            hint = history;
            format!(": run {run} removed it")
        }
        (_, None, None) => String::new(),
    };
    let meant = applied_like(root, &word).filter(|_| why.is_empty());
    let meant = meant.map(|meant| format!("\n{}", did_you_mean(&meant))).unwrap_or_default();
    let file = if is_there {
        format!("; ./{word} names the file or directory")
    } else if why.is_empty() && has_files {
        ", and there is no file or directory with that name".to_owned()
    } else {
        String::new()
    };
    let depot = query.depot.as_ref().filter(|_| why.is_empty());
    let depot = depot.map(|depot| format!(", and {} does not have it", depot.display())).unwrap_or_default();
    hinted(&format!("patch {word} is not applied{why}{file}{depot}{meant}"), &hint)
}

/// A patch of the history.
struct PastPatch {
    /// The last run of the patch, if it removed it.
    removed_by: Option<String>,
    /// The command that lists its runs.
    history: String,
}

impl PastPatch {
    fn of(root: &Root, id: &str) -> Option<Self> {
        let past = past_runs(root).ok()?;
        let is_its = |run: &&PastRun| run.line.patches.iter().any(|patch| patch == id);
        let last = past.runs.iter().rev().filter(|run| run.line.result == "done").find(is_its)?;
        let history = Wording::of_verbs(root.prefix()).verb(&format!("history {id}"));
        Some(Self { removed_by: last.is_removal().then(|| last.line.run.clone()), history })
    }
}

fn id_of(image: &Image) -> Option<String> {
    let macros = |params| PatchMacros::from_params(params, PatchId::SEPARATOR).ok().flatten();
    image.packages.iter().find_map(|package| Some(macros(&package.params)?.id.to_string()))
}

fn is_patch(word: &Path) -> bool {
    source::open(Origin::Path(word), Extent::Everything).is_ok_and(|(_, image)| id_of(&image).is_some())
}

impl Answer {
    fn print(&self, output: &mut Output, query_is_verbose: bool) -> anyhow::Result<()> {
        match self {
            Self::Applied(patch) => patch.print(output),
            Self::Delivered(patch) => patch.print(output),
            Self::Ended(patch) => patch.print(output),
            Self::Path(path) => path.print(output, query_is_verbose),
            Self::Fix(fix) => fix.print(output),
            Self::Unknown { reason } => Ok(output.error(reason)?),
        }
    }
}

impl CommandReport for ShowReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let is_verbose = output.is_verbose();
        for (place, one) in self.answers.iter().enumerate() {
            if place > 0 {
                output.line("")?;
            }
            one.answer.print(output, is_verbose)?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let ambiguous = self.answers.iter().filter_map(|one| one.ambiguous.clone());
        let notes: Vec<String> = ambiguous.chain(self.remarks.iter().cloned()).collect();
        Ok(print_notes(output, &notes)?)
    }
}

impl ShowReport {
    fn answer_of_root(self, root: &Root) -> RootAnswer<Self> {
        let lines: Vec<String> = self.answers.iter().map(|one| one.answer.line()).collect();
        let unknown = self.answers.iter().find_map(|one| match &one.answer {
            Answer::Unknown { reason } => Some(reason.clone()),
            _ => None,
        });
        if let Some(message) = unknown {
            return RootAnswer::failed(root, &Stop::Refused { exit: NOT_FOUND, message }.into());
        }
        let stuck = self.answers.iter().filter_map(|one| match &one.answer {
            Answer::Applied(patch) => patch.stuck(),
            _ => None,
        });
        let stuck = stuck.collect();
        let remarks = self.remarks.iter().map(|remark| format!("note: {remark}"));
        let texts = self.answers.iter().flat_map(|one| one.answer.texts());
        let notes = texts.chain(remarks).collect();
        RootAnswer { stuck, ..RootReport::of_answer(lines.join("; "), notes, self).into() }
    }
}

impl Answer {
    fn line(&self) -> String {
        match self {
            Self::Applied(patch) => patch.line(),
            Self::Delivered(patch) => patch.line(),
            Self::Ended(patch) => patch.line(),
            Self::Path(path) => path.line(),
            Self::Fix(fix) => fix.line(),
            Self::Unknown { reason } => reason.clone(),
        }
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Self::Applied(patch) => patch.text().collect(),
            Self::Ended(patch) => patch.text(),
            Self::Path(path) => path.text(),
            Self::Fix(fix) => fix.text(),
            Self::Delivered(patch) => patch.text(),
            Self::Unknown { .. } => Vec::new(),
        }
    }
}

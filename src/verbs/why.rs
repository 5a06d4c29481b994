//! `patchadm why`: why a patch is on a root, or is not, and which patch brought a fix.

mod fix;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::options::BriefVerbOptions;
use crate::patch_command::{PatchRequest, SetOptions};
use patchadm_cli::arguments::fetching::FetchOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{query_refused, reason, verb_code};
use patchadm_cli::reply::overtaken::OvertakenEntry;
use patchadm_cli::reply::patch_entry::{PatchEntry, verdict_of};
use patchadm_cli::reply::patches::{PatchFace, PatchesReport};
use patchadm_cli::reply::words::named_value;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::now;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::reasons::{
    PackageFit, PatchAtHand, PatchNeed, PatchReasons, patch_reasons,
};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::source::{self, Extent, Image, Origin};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{PatchId, PatchMacros, Requirement};

const USAGE: &str =
    "patchadm [-R root] why [option...] id|patch|fix\npatchadm [-R root] why [option...] -M depot id|fix";

/// The depot has no patch of that id: the code of patchadd(1M) for it.
const UNKNOWN: u8 = 33;

/// Show why a patch is applied, or would or would not be; or which patch brought a fix, such as CVE-2026-1234
#[derive(clap::Parser)]
struct WhyArgs {
    /// Say what would become of the patch of this depot
    #[arg(short = 'M', value_name = "DEPOT")]
    depot: Option<OsString>,
    #[command(flatten)]
    fetching: FetchOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The id of a patch, the path of a delivered one, or the id of a fix
    #[arg(value_name = "ID|PATCH|FIX")]
    subject: Option<PathBuf>,
}

/// Why a patch is on a root, or is not.
#[derive(Debug, Serialize)]
struct WhyReport {
    id: String,
    applied: bool,
    /// Whether it was named when it was applied; null where the history does not tell.
    named: Option<bool>,
    because: Vec<String>,
    run: Option<String>,
    /// The note that was given for the run that applied it.
    note: Option<String>,
    needs: Vec<NeedEntry>,
    needed_by: Vec<String>,
    superseded_by: Option<String>,
    obsoleted_by: Option<String>,
    packages: Vec<FitEntry>,
    /// What became of it because dpkg or rpm changed its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    overtaken: Option<OvertakenEntry>,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip)]
    applied_to: Vec<String>,
    /// Where it is lost, and what to type next.
    #[serde(skip)]
    lost: Vec<(&'static str, String)>,
}

/// A requirement.
#[derive(Debug, Serialize)]
struct NeedEntry {
    requirement: String,
    met_by: Option<String>,
    /// The native package that has the fix of `met_by`, if that is not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    contained_in: Option<String>,
}

/// A package that a delivered patch is for.
#[derive(Debug, Serialize)]
struct FitEntry {
    wanted: String,
    instance: Option<String>,
    installed: Vec<String>,
}

/// The outcome for the patch if someone applied it now; nulls where that is not known.
#[derive(Clone, Debug, Default, Serialize)]
struct Verdict {
    #[serde(rename = "verdict")]
    word: Option<&'static str>,
    code: Option<u8>,
    reason: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let WhyArgs { depot, fetching, common, subject } = parse(call, USAGE)?;
    let Some(subject) = subject else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    };
    let root = common.root.open(call)?;
    let source = PatchSource { subject, depot, fetching };
    if source.depot.is_none() && source.subject.exists() {
        let report = of_delivered(call, &root, source)?;
        return Ok(Reply::about(&root, Exit::OK, report.beside(call, &root)));
    }
    if let Some(report) = fix::known(call, &root, &source)? {
        return Ok(Reply::about(&root, Exit::OK, report));
    }
    let answer = of_id(call, &root, source.clone());
    let is_unknown = answer.as_ref().map_or(true, |report| report.verdict.code == Some(UNKNOWN));
    // Where the depot cannot be asked, the answer above says why.
    if is_unknown && let Ok(Some(report)) = fix::offered(call, &root, &source) {
        return Ok(Reply::about(&root, Exit::OK, report));
    }
    Ok(Reply::about(&root, Exit::OK, answer?.beside(call, &root)))
}

/// Where a patch is that is asked about.
#[derive(Clone, Debug)]
struct PatchSource {
    subject: PathBuf,
    depot: Option<OsString>,
    fetching: FetchOptions,
}

/// Returns the report about a patch that is named by its path.
fn of_delivered(call: &Invocation, root: &Root, source: PatchSource) -> anyhow::Result<WhyReport> {
    let image = delivered(&source.subject)?;
    let word = id_of(&image).unwrap_or_default();
    let found = reasons(root, &word, PatchAtHand::Delivered(&image))?.ok_or_else(|| no_id(&word))?;
    let verdict = match &found.standing {
        Some(standing) => Verdict::of(standing),
        None => rehearsed(call, root, source, Some(&found.id))?.verdict,
    };
    Ok(WhyReport::of(found, verdict))
}

/// Returns the report about a patch that is named by its id: by the records, and where these do not settle it by the
/// depot that is named, else by that of the policy. Without a revision the current one of the depot is meant.
fn of_id(call: &Invocation, root: &Root, mut source: PatchSource) -> anyhow::Result<WhyReport> {
    let word = source.subject.to_string_lossy().into_owned();
    let found = reasons(root, &word, PatchAtHand::Nothing)?;
    if let Some(standing) = found.as_ref().and_then(|found| found.standing.as_ref()) {
        let verdict = Verdict::of(standing);
        return found.map(|found| WhyReport::of(found, verdict)).ok_or_else(|| no_id(&word).into());
    }
    if source.depot.is_none() {
        let ground = RootAndPolicy::of(root).map_err(|failed| query_refused(root, &failed))?;
        source.depot = ground.policy.depot.map(OsString::from);
    }
    if source.depot.is_none() {
        return found
            .map(|found| WhyReport::of(found, Verdict::default()))
            .ok_or_else(|| no_id(&word).into());
    }
    let id = found.map(|found| found.id);
    let Rehearsal { id: offered, needs, verdict } = rehearsed(call, root, source, id.as_ref())?;
    let found = reasons(root, &offered, PatchAtHand::Offered(&needs))?;
    let found = found.ok_or_else(|| match &verdict.reason {
        Some(reason) => Stop::Refused {
            exit: Exit::passed_on(verdict.code.unwrap_or(1), ExitCause::NotFound),
            message: format!("{offered}: {reason}"),
        },
        None => no_id(&word),
    })?;
    Ok(WhyReport::of(found, verdict))
}

fn reasons(root: &Root, word: &str, at_hand: PatchAtHand<'_>) -> Result<Option<PatchReasons>, Stop> {
    patch_reasons(root, word, at_hand).map_err(|failed| query_refused(root, &failed))
}

fn no_id(word: &str) -> Stop {
    let shown = word.escape_debug();
    let message = format!("<{shown}> is no patch id, and there is no file or directory of that name");
    Stop::Usage { message, usage: USAGE }
}

fn delivered(path: &Path) -> anyhow::Result<Image> {
    Ok(source::open(Origin::Path(path), Extent::Everything)?.1)
}

/// Returns the id that a delivered patch names.
fn id_of(image: &Image) -> Option<String> {
    let macros = |params| PatchMacros::from_params(params, PatchId::SEPARATOR).ok().flatten();
    image.packages.iter().find_map(|package| Some(macros(&package.params)?.id.to_string()))
}

/// The result of applying a patch.
#[derive(Debug, Default)]
struct Rehearsal {
    /// The id, as it was named if no one has the patch.
    id: String,
    /// Its requirements according to the index of the depot.
    needs: Vec<Requirement>,
    verdict: Verdict,
}

/// Plans the application of a patch, and does not carry it out. `id` is not known where a revision is not named.
fn rehearsed(
    call: &Invocation,
    root: &Root,
    PatchSource { subject, depot, fetching }: PatchSource,
    id: Option<&PatchId>,
) -> anyhow::Result<Rehearsal> {
    let word = id.map_or_else(|| subject.to_string_lossy().into_owned(), ToString::to_string);
    let apply = ApplyRequest { patches: vec![subject], dry_run: true, ..ApplyRequest::default() };
    let command = SetOptions::naming(depot, fetching).command(call, apply, None);
    let request = PatchRequest::Apply(Box::new(command));
    let result = call.change(root, Command::Patchadd.name(), None, |caller| request.perform(root, caller))?;
    let result = match result {
        Err(failed) if id.is_none() => return Err(query_refused(root, &failed).into()),
        Err(failed) => {
            return Ok(Rehearsal { id: word, verdict: Verdict::of(&failed), ..Rehearsal::default() });
        }
        result => result,
    };
    let began = call.surroundings.began;
    let report = PatchesReport::of(root, Command::Patchadd, result, PatchFace::Verb, began);
    let is_meant = |entry: &&PatchEntry| match id {
        Some(id) => entry.id == id.as_str(),
        None => entry.named == Some(true),
    };
    let entry = report.patches.iter().find(is_meant).or(report.patches.last());
    let of_entry = entry.map(|entry| Rehearsal {
        id: entry.id.clone(),
        needs: entry.requires.clone(),
        verdict: Verdict {
            word: Some(entry.verdict),
            code: Some(entry.code),
            reason: Some(entry.reason.clone()),
        },
    });
    Ok(of_entry.unwrap_or_else(|| Rehearsal { id: word, ..Rehearsal::default() }))
}

impl Verdict {
    fn of(failed: &Failure) -> Self {
        Self {
            word: Some(verdict_of(failed)),
            code: Some(verb_code(Command::Patchadd, failed).verb_code()),
            reason: Some(reason(failed)),
        }
    }

    fn words(&self) -> String {
        match (self.word, &self.reason) {
            (Some("planned"), _) => "would be applied".to_owned(),
            (Some(verdict), Some(reason)) if !reason.is_empty() => {
                format!("{verdict} ({}): {reason}", self.code.unwrap_or_default())
            }
            (Some(verdict), _) => verdict.to_owned(),
            (None, _) => "not known: name its file, or a depot with -M".to_owned(),
        }
    }
}

impl WhyReport {
    fn of(found: PatchReasons, verdict: Verdict) -> Self {
        let text = |id: PatchId| id.to_string();
        Self {
            id: found.id.to_string(),
            applied: !found.applied_to.is_empty(),
            named: found.run.is_some().then_some(found.because.is_empty()),
            because: found.because,
            run: found.run,
            note: found.note,
            needs: found.needs.into_iter().map(NeedEntry::from).collect(),
            needed_by: found.needed_by.into_iter().map(text).collect(),
            superseded_by: found.superseded_by.map(text),
            obsoleted_by: found.obsoleted_by.map(text),
            packages: found.packages.into_iter().map(FitEntry::from).collect(),
            overtaken: None,
            verdict,
            applied_to: found.applied_to.iter().map(ToString::to_string).collect(),
            lost: Vec::new(),
        }
    }

    /// Returns the same with what dpkg or rpm did to the packages of the patch.
    fn beside(mut self, call: &Invocation, root: &Root) -> Self {
        let overview = NativeOverview::as_far_as_known(root, &now(&call.surroundings), true);
        self.overtaken = overview.of_patch(&self.id).map(OvertakenEntry::of);
        if let Some(overtaken) = &self.overtaken {
            let next = overtaken.next_step(&Wording::of_verbs(root.prefix()));
            self.lost = overtaken.path_lines(root).chain(next.map(|next| ("Next", next))).collect();
        }
        self
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let applied = if self.applied { self.applied_to.join(", ") } else { "no".to_owned() };
        let mut lines = vec![("Patch", self.id.clone()), ("Applied to", applied)];
        if let Some(overtaken) = &self.overtaken {
            lines.push(("State", overtaken.told.clone()));
            lines.extend(self.lost.iter().cloned());
        }
        lines.extend([
            ("By run", self.run.clone().unwrap_or_default()),
            ("Taken for", self.because.join(", ")),
            ("Note", self.note.clone().unwrap_or_default()),
        ]);
        lines.extend(self.needs.iter().map(|need| ("Needs", need.words())));
        lines.push(("Needed by", self.needed_by.join(", ")));
        lines.push(("Replaced by", self.superseded_by.clone().unwrap_or_default()));
        lines.push(("Contained in", self.obsoleted_by.clone().unwrap_or_default()));
        lines.extend(self.packages.iter().map(|fit| ("Is for", fit.words())));
        lines.push(("Add", self.verdict.words()));
        lines
    }
}

impl From<PatchNeed> for NeedEntry {
    fn from(need: PatchNeed) -> Self {
        Self {
            requirement: need.requirement.to_string(),
            met_by: need.met_by.map(|id| id.to_string()),
            contained_in: need.contained_in,
        }
    }
}

impl NeedEntry {
    fn words(&self) -> String {
        let met = match &self.met_by {
            Some(by) if *by == self.requirement => by.clone(),
            Some(by) => format!("{}, met by {by}", self.requirement),
            None => return format!("{}, which is not met", self.requirement),
        };
        match &self.contained_in {
            Some(package) => format!("{met}, which is contained in {package}"),
            None if self.met_by.as_ref() == Some(&self.requirement) => format!("{met}, which is applied"),
            None => met,
        }
    }
}

impl From<PackageFit> for FitEntry {
    fn from(fit: PackageFit) -> Self {
        let instance = fit.instance.map(|package| package.to_string());
        Self { wanted: fit.wanted, instance, installed: fit.others }
    }
}

impl FitEntry {
    fn words(&self) -> String {
        match (&self.instance, self.installed.as_slice()) {
            (Some(instance), _) => format!("{}, installed as {instance}", self.wanted),
            (None, []) => format!("{}, not installed", self.wanted),
            (None, others) => format!("{}, not installed (installed: {})", self.wanted, others.join(", ")),
        }
    }
}

impl CommandReport for WhyReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let lines = self.lines().into_iter().filter(|(_, value)| !value.is_empty());
        Ok(lines.map(|(name, value)| named_value(name, &value)).try_for_each(|line| output.line(line))?)
    }
}

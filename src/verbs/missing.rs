//! `patchadm missing`: lists the patches that the root is missing.

pub(super) mod choice;
mod report;

use std::path::PathBuf;

use super::options::BriefVerbOptions;
use crate::many_roots::list::ManyRoots;
use crate::many_roots::queries::{RootAnswer, RootsQuery, ask_many};
use crate::many_roots::root_report::RootReport;
use choice::{AnalysisChoice, AnalysisOptions};
use patchadm_cli::arguments::comparison::{ComparisonOptions, ReferenceComparison, analysis_refused};
use patchadm_cli::arguments::fetching::{FetchOptions, OfflineOption};
use patchadm_cli::arguments::options::ROOT_LISTS;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{must_have_records, query_refused};
use patchadm_cli::reply::overtaken::NativeEntries;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::words::unfinished_sentence;
use patchadm_cli::reply::{Reply, Stop};
use patchadm_cli::surroundings::Surroundings;
use patchadm_cli::surroundings::caller::now;
use patchadm_core::operation::analysis::{facts_of, read_listings, still_loaded_in};
use patchadm_core::operation::libraries::LibrariesBeforePatches;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::applied_patches::{PatchesError, installed_software};
use patchadm_core::operation::queries::inspect::interrupted_run;
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::native::NativeOrigin;
use patchadm_planning::analyze::{AnalysisRequest, MachineFacts, analyse};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use report::{AnalysedMachine, AnalysisReport};

const USAGE: &str = "patchadm [-R root] missing --xref file|-M depot [option...] [group|id]...\n\
    patchadm missing --xref file|-M depot --from dir [option...] [group|id]...\n\
    patchadm missing --xref file|-M depot [option...] --roots file|dir [group|id]...";

const COLUMNS: &str = "\
Columns:
  Patch  The id of the patch without its revision
  Old    The applied revision, or -- if none; then <, = or >, compared with New
  New    The current revision, or -- if none
  RSB    R: recommended; S: security patch; B: withdrawn
  Age    The age of the patch in days";

/// List the patches that the root is missing
#[derive(clap::Parser)]
#[command(after_help = COLUMNS)]
struct AnalyzeArgs {
    #[command(flatten)]
    compared: ComparisonOptions,
    #[command(flatten)]
    fetching: FetchOptions,
    /// Examine the machine described by uname.out, pkginfo.out and showrev.out in DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = [ROOT_LISTS, "root"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    options: AnalysisOptions,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Patch ids, or groups: missing, installed, all, total, unbundled, bad or obsolete; append r, s or rs to
    /// select only recommended or security patches [default: missing]
    #[arg(value_name = "GROUP|ID")]
    words: Vec<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let mut args: AnalyzeArgs = parse(call, USAGE)?;
    args.many.also(&args.common.root);
    let choice = AnalysisChoice::of(&args.options, &args.words, call.surroundings.now.date_naive())
        .map_err(|message| Stop::Usage { message, usage: USAGE })?;
    let root = args.common.root.open(call)?;
    let comparison = ReferenceComparison::open(call, (&args.compared, &args.fetching), &root, USAGE)?;
    let surroundings = call.surroundings.clone();
    let analysed = Analysed { comparison, choice, now: now(&surroundings), surroundings };
    if args.many.are_named() {
        return of_many(call, &args.many, &analysed);
    }
    if let Some(directory) = &args.from {
        let listings = read_listings(directory).map_err(|error| analysis_refused(&error))?;
        let (machine, kept) = (AnalysedMachine::Host(listings.host), LibrariesBeforePatches::new());
        let report = analysed.report(machine, (&listings.facts, &kept), &root)?;
        return Ok(Reply::new(report.exit(), report));
    }
    let report = analysed.of_root(&root)?;
    Ok(Reply::about(&root, report.exit(), report))
}

pub(super) struct MissingPatches {
    pub(super) depot: String,
    pub(super) missing: usize,
}

/// Compares a root with its policy's depot, which must answer soon.
pub(super) fn missing_patches(
    call: &mut Invocation,
    root: &Root,
    is_offline: bool,
) -> anyhow::Result<MissingPatches> {
    // The answer can do without a slow depot.
    let fetching = FetchOptions { is_impatient: true, ..OfflineOption { offline: is_offline }.into() };
    let comparison =
        ReferenceComparison::open(call, (&ComparisonOptions::default(), &fetching), root, USAGE)?;
    comparison.must_have_patches()?;
    let today = call.surroundings.now.date_naive();
    let choice = AnalysisChoice::of(&AnalysisOptions::default(), &[], today)
        .map_err(|message| Stop::Usage { message, usage: USAGE })?;
    let surroundings = call.surroundings.clone();
    let analysed = Analysed { comparison, choice, now: now(&surroundings), surroundings };
    let missing = analysed.of_root(root)?.missing();
    Ok(MissingPatches { depot: analysed.comparison.name, missing })
}

fn of_many(call: &mut Invocation, many: &ManyRoots, analysed: &Analysed) -> anyhow::Result<Reply> {
    let query = RootsQuery { usage: USAGE, answered: "answered", lacking: None };
    ask_many(call, many, query, &|root| match analysed.of_root(root) {
        Err(error) => RootAnswer::failed(root, &error),
        Ok(report) => answer_of(report),
    })
}

struct Analysed {
    comparison: ReferenceComparison,
    choice: AnalysisChoice,
    now: Now,
    surroundings: Surroundings,
}

impl Analysed {
    fn of_root(&self, root: &Root) -> anyhow::Result<AnalysisReport> {
        must_have_records(root, 7)?;
        let stale = self.comparison.must_be_current(root)?;
        let software = installed_software(root).map_err(|error| match error {
            PatchesError::Database(error) => query_refused(root, &error.into()),
            PatchesError::Policy(error) => query_refused(root, &error.into()),
        })?;
        let machine = AnalysedMachine::Root(root.prefix().to_owned());
        let kept =
            still_loaded_in(root, &software, &self.now).map_err(|error| query_refused(root, &error))?;
        let trial =
            TrialStanding::of(root, &self.surroundings).map_err(|error| query_refused(root, &error))?;
        let mut params = software.packages.iter().map(|(_, params)| params);
        let has_native = params.any(|params| NativeOrigin::of(params).is_some());
        let native = NativeEntries::of(root, &NativeOverview::as_far_as_known(root, &self.now, has_native));
        let report = self.report(machine, (&facts_of(root, &software), &kept), root)?;
        let unfinished = interrupted_run(root).map_err(|failed| query_refused(root, &failed))?;
        let unfinished = unfinished.map(|run| unfinished_sentence(&run, root.prefix()));
        let report = report.with_remarks(unfinished);
        Ok(report.with_native(native).with_remarks(stale).on_trial(root, trial))
    }

    /// The root's policy says which patches come first.
    fn report(
        &self,
        machine: AnalysedMachine,
        (facts, kept): (&MachineFacts, &LibrariesBeforePatches),
        root: &Root,
    ) -> anyhow::Result<AnalysisReport> {
        let ReferenceComparison { reference, name, .. } = &self.comparison;
        let ground = RootAndPolicy::of(root).map_err(|failure| query_refused(root, &failure))?;
        let unverified = self.comparison.unverified(&ground);
        let unverified = unverified.map_err(|failure| query_refused(root, &failure))?;
        let first = ground.policy.first;
        let analysis = analyse(reference, facts, &AnalysisRequest { first, ..self.choice.request.clone() });
        let report = AnalysisReport::of(reference, name, machine, &self.choice, analysis, kept);
        let report = report.with_remarks(self.comparison.ignored_depot()).with_remarks(unverified);
        Ok(report.with_remarks(self.comparison.passed_over()))
    }
}

fn answer_of(report: AnalysisReport) -> RootAnswer<AnalysisReport> {
    let (exit, line, notes) = (report.exit(), report.line(), report.lines());
    RootReport { exit, ..RootReport::of_answer(line, notes, report) }.into()
}

//! `patchadm-bulk run`: scans, resolves, builds, and reports.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;

use chrono::{SecondsFormat, Utc};
use patchadm_building::driver::Driver;
use patchadm_building::name_list::read_names;
use patchadm_building::patches::MadePatches;
use patchadm_building::report_files::base_of;
use patchadm_building::run::{
    BulkRunEvent, BulkRunOutcome, LONGEST_OVERTIME, RunBase, RunError, RunPatches, RunRequest, has_changed,
    plan_run, run as perform,
};
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::journal::{BuildState, PackageOutcome};
use patchadm_bulk_values::report::{ReportTextInput, RunReport, report_text};
use patchadm_bulk_values::schedule::{PlannedAction, RunPlan};
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::DryRunOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_counted_signals;
use patchadm_cli::surroundings::slots_bar::SlotsBar;
use patchadm_inputs::http::HttpSettings;
use patchadm_making::build::BuildRequest;
use patchadm_producing::patch_options::read_by_shell;
use patchadm_svr4::patch::PatchId;
use serde::Serialize;
use serde_json::Value;

use crate::ends::{list_failed, run_failed};
use crate::page::page_of;
use crate::patches::template;
use crate::preparation::{LockOption, WorkOperand, must_have_installer};
use crate::publishing::{Publisher, made_patch};

const USAGE: &str = "patchadm-bulk run WORK [NAME...] [option...]";

/// Build the packages in a tree, and report failures, their causes, and the packages that wait for them
#[derive(clap::Parser)]
struct RunArgs {
    /// Build the packages listed in FILE, one per line, with their requirements
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    list: Option<PathBuf>,
    /// Retry failed packages even if nothing has changed
    #[arg(long)]
    retry: bool,
    /// Rebuild this package even if its result exists; repeatable
    #[arg(long, value_name = "NAME")]
    rebuild: Vec<String>,
    /// Begin a new run even if the last one was interrupted
    #[arg(long)]
    new: bool,
    /// Do not start further builds after a failure
    #[arg(long)]
    stop_on_failure: bool,
    #[command(flatten)]
    dry_run: DryRunOption,
    /// Do nothing if nothing has changed since the last completed run
    #[arg(long, conflicts_with = "dry_run")]
    if_changed: bool,
    /// Do not make a set
    #[arg(long)]
    no_set: bool,
    /// Number of packages to build on this machine in parallel [default: bulk.conf]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Options")]
    jobs: Option<u32>,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
    /// The packages to build with their requirements: names, with or without versions, or locations [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

enum RunAnswer {
    Ran(Box<BulkRunOutcome>),
    Planned(RunPlan),
    Unchanged(u64),
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk run";
    let args: RunArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    // A dry run changes nothing, so it needs no lock.
    let _lock = if args.dry_run.dry_run { None } else { Some(args.wait.lock(call, &work)?) };
    must_have_installer(call)?;
    let program = std::env::current_exe()?;
    let names = match args.list.as_ref().or(work.conf.list.as_ref()).filter(|_| args.names.is_empty()) {
        Some(list) => read_names(list).map_err(|error| list_failed(&error))?,
        None => args.names.clone(),
    };
    let preparation = PatchPreparation::of(call, &work, !args.no_set && !args.dry_run.dry_run)?;
    let network = &call.surroundings.network;
    let http = HttpSettings {
        certificate_file: network.certificate_file.clone(),
        certificate_directories: network.certificate_directories.clone(),
        proxies: network.proxies.clone(),
        // Recipes name the addresses.
        local_hosts: Some(work.conf.local_sources.clone()),
        ..HttpSettings::default()
    };
    let mut notes = Vec::new();
    let mut display = RunDisplay::new(call);
    let answer = with_counted_signals(|interrupt, count| -> Result<RunAnswer, RunError> {
        let tell: &mut dyn FnMut(BulkRunEvent<'_>) = &mut |event| {
            if let BulkRunEvent::Note(note) = event {
                notes.push(note.to_owned());
            }
            display.show(&event);
        };
        let driver = Driver::find(&work)?;
        let mut base = RunBase::prepare(&work, interrupt)?;
        base.sources.http = http;
        for note in &base.layer.notes {
            tell(BulkRunEvent::Note(note));
        }
        let template = &preparation.template;
        let patch = |id: PatchId| BuildRequest { id, ..template.clone() };
        let publish = |made: &MadePatches| preparation.publish(made, &|| interrupt());
        let patches = RunPatches { patch: &patch, syntax: read_by_shell, publish: &publish };
        let request = RunRequest {
            work: &work,
            driver: &driver,
            base: base.with_digest(),
            user: base.user,
            names: &names,
            is_whole: args.names.is_empty() && args.list.is_none(),
            retries: args.retry,
            rebuild: &args.rebuild,
            is_new: args.new,
            stops_on_failure: args.stop_on_failure,
            makes_set: !args.no_set,
            patches: work.conf.depot.is_some().then_some(&patches),
            jobs: args.jobs,
            cores: u32::try_from(patchadm_rootfs::cores()).unwrap_or(1),
            program: &program,
            sources: &base.sources,
            overtime: LONGEST_OVERTIME,
            page: &page_of,
            time: &|| Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            now: Utc::now().timestamp_nanos_opt().unwrap_or_default(),
            interrupt,
            is_urgent: &|| count() > 1,
        };
        if args.dry_run.dry_run {
            return plan_run(&request, tell).map(RunAnswer::Planned);
        }
        if args.if_changed
            && let Some(run) = has_changed(&request, tell)?
        {
            return Ok(RunAnswer::Unchanged(run));
        }
        perform(&request, tell).map(|outcome| RunAnswer::Ran(Box::new(outcome)))
    })?;
    drop(display);
    Ok(match answer.map_err(|error| run_failed(&error))? {
        RunAnswer::Planned(plan) => Reply::new(Exit::OK, PlanReport { plan, notes }),
        RunAnswer::Unchanged(run) => Reply::new(Exit::OK, UnchangedReport { run, unchanged: true }),
        RunAnswer::Ran(outcome) => {
            call.output.heedless();
            let exit = exit_of(&outcome, &names, preparation.is_unpublished.get());
            Reply::new(exit, BulkRunReport { report: outcome.ended.report, notes, base: base_of(&work) })
        }
    })
}

struct PatchPreparation {
    template: BuildRequest,
    publisher: Option<Publisher>,
    is_unpublished: Cell<bool>,
}

impl PatchPreparation {
    /// Reads the key before anything is built.
    fn of(call: &mut Invocation, work: &BulkWork, makes_set: bool) -> anyhow::Result<Self> {
        let template = template(call.surroundings.now.timestamp())?;
        let publisher = if makes_set { Publisher::of(call, work)? } else { None };
        Ok(Self { template, publisher, is_unpublished: Cell::new(false) })
    }

    fn publish(
        &self,
        made: &MadePatches,
        interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<Option<Value>, String> {
        let Some(publisher) = self.publisher.as_ref().filter(|_| made_patch(made)) else { return Ok(None) };
        match publisher.publish(interrupt) {
            Ok(published) => Ok(Some(published.document)),
            Err(error) => {
                self.is_unpublished.set(true);
                Err(format!("{error:#}"))
            }
        }
    }
}

struct RunDisplay {
    screen: Output,
    is_silent: bool,
    has_terminal: bool,
    bars: Option<SlotsBar>,
}

impl RunDisplay {
    fn new(call: &Invocation) -> Self {
        Self {
            screen: Output::new(call.program),
            is_silent: call.in_json || call.surroundings.is_quiet,
            has_terminal: call.surroundings.stderr_is_terminal,
            bars: None,
        }
    }

    fn show(&mut self, event: &BulkRunEvent<'_>) {
        if self.is_silent {
            return;
        }
        if let (BulkRunEvent::Begins { packages, .. }, true) = (event, self.has_terminal) {
            self.bars = SlotsBar::new(*packages);
        }
        let line = line_of(event, self.bars.is_some());
        let screen = &mut self.screen;
        // Without standard error there is nobody to tell.
        let mut print = |line: String| drop::<io::Result<()>>(screen.complain(line));
        match (&self.bars, line) {
            (Some(bars), Some(line)) => bars.beside(|| print(line)),
            (None, Some(line)) => print(line),
            (_, None) => {}
        }
        if let Some(bars) = &mut self.bars {
            draw(bars, event);
        }
    }
}

fn draw(bars: &mut SlotsBar, event: &BulkRunEvent<'_>) {
    match event {
        BulkRunEvent::Starts { package, slot } => bars.begin(package, slot),
        BulkRunEvent::Phase { package, phase } => bars.phase(package, phase),
        BulkRunEvent::PutBack { package } => bars.put_back(package),
        BulkRunEvent::Ends { package, outcome } => bars.end(package, is_bad(outcome)),
        BulkRunEvent::Begins { .. } | BulkRunEvent::Note(_) => {}
    }
}

fn is_bad(outcome: &PackageOutcome) -> bool {
    matches!(outcome.state, BuildState::Failed | BuildState::Deferred)
}

/// With bars only failures have a line.
fn line_of(event: &BulkRunEvent<'_>, has_bars: bool) -> Option<String> {
    match event {
        BulkRunEvent::Begins { run, is_continued, packages } => {
            let continues = if *is_continued { " continues" } else { "" };
            Some(format!("run {run}{continues}: {packages} packages\n"))
        }
        BulkRunEvent::Ends { outcome, .. } if has_bars && !is_bad(outcome) => None,
        BulkRunEvent::Ends { package, outcome } => {
            let cause = outcome.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            Some(format!("{package}: {}{cause}\n", outcome.state))
        }
        BulkRunEvent::Note(note) => Some(format!("note: {note}\n")),
        BulkRunEvent::Starts { .. } | BulkRunEvent::Phase { .. } | BulkRunEvent::PutBack { .. } => None,
    }
}

#[derive(Serialize)]
struct BulkRunReport {
    #[serde(flatten)]
    report: RunReport,
    notes: Vec<String>,
    #[serde(skip)]
    base: String,
}

impl CommandReport for BulkRunReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let input = ReportTextInput {
            title: "bulk build",
            base: &self.base,
            url: None,
            difference: None,
            log_ends: std::collections::BTreeMap::new(),
        };
        Ok(output.print(report_text(&self.report, &input))?)
    }
}

#[derive(Serialize)]
struct PlanReport {
    #[serde(flatten)]
    plan: RunPlan,
    notes: Vec<String>,
}

impl CommandReport for PlanReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let counted = |action| self.plan.plan.iter().filter(|package| package.action == action).count();
        for package in self.plan.plan.iter().filter(|package| package.action != PlannedAction::Nothing) {
            output.line(format!("{}  {}: {}", package.action.word(), package.package, package.why))?;
        }
        output.line(format!(
            "{} to build, {} perhaps, {} not",
            counted(PlannedAction::Build),
            counted(PlannedAction::Maybe),
            counted(PlannedAction::Nothing)
        ))?;
        if !self.plan.longest_way.is_empty() {
            output.line(format!("longest way: {}", self.plan.longest_way.join(" -> ")))?;
        }
        match self.plan.expected_ms {
            Some(ms) => output.line(format!("expected: {} s at most", ms.div_ceil(1000)))?,
            None => output.line("expected: unknown, because nothing was built yet")?,
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.notes.iter().try_for_each(|note| output.warning(note))?)
    }
}

#[derive(Serialize)]
struct UnchangedReport {
    run: u64,
    unchanged: bool,
}

impl CommandReport for UnchangedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("nothing changed since run {}", self.run))?)
    }
}

/// Packages skipped by their recipes count only if named, faults of the tree always.
fn exit_of(outcome: &BulkRunOutcome, names: &[String], are_patches_unpublished: bool) -> Exit {
    let ended = &outcome.ended;
    if let Some(signal) = ended.interrupted {
        return Exit::by_signal(signal);
    }
    let count = |state| ended.report.count(state);
    let is_named = |package: &str, location: &str| {
        let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
        names.iter().any(|named| [package, name, location].contains(&named.as_str()))
    };
    let prefailed = ended.report.packages.iter().any(|package| {
        matches!(package.state, BuildState::Prefailed | BuildState::IndirectPrefailed)
            && (package.fault.is_some() || is_named(&package.package, &package.location))
    });
    let leaves_out = ended.report.set.as_ref().is_some_and(|set| !set.left_out.is_empty());
    let is_refused = ended.report.set_refused.is_some()
        || leaves_out
        || !ended.is_handed_on
        || !ended.are_patches_whole
        || ended.patches_error.is_some()
        || are_patches_unpublished;
    if prefailed || is_refused || count(BuildState::Failed) > 0 || count(BuildState::Deferred) > 0 {
        return Exit::PARTLY;
    }
    Exit::OK
}

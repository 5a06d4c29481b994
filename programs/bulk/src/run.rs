//! `patchadm-bulk run`: scans, resolves, builds, and reports.

use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};

use crate::ends::{list_failed, run_failed, work_failed};
use crate::installer::must_have_installer;
use crate::page::page_of;
use crate::run_display::RunDisplay;
use crate::run_face::{BulkRunReport, PlanReport, UnchangedReport, exit_of};
use crate::run_patches::{PatchPreparation, with_id};
use crate::waiting::WaitOption;
use patchadm_building::driver::Driver;
use patchadm_building::name_list::read_names;
use patchadm_building::patches::MadePatches;
use patchadm_building::report_inputs::base_of;
use patchadm_building::run::{
    LONGEST_OVERTIME, RunBase, RunError, RunEvent, RunOutcome, RunPatches, RunRequest, has_changed, plan_run,
    run as carry_out,
};
use patchadm_building::work::Work;
use patchadm_bulk_values::schedule::RunPlan;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply};
use patchadm_cli::surroundings::caller::with_repeated_signals;
use patchadm_inputs::http::HttpSettings;
use patchadm_producing::shell::read_by_shell;
use patchadm_svr4::patch::PatchId;

const USAGE: &str = "patchadm-bulk run WORK [NAME...] [option...]";

/// Build the packages of a tree, and tell what failed, why, and who waits for it
#[derive(clap::Parser)]
struct RunArgs {
    /// Build the packages that this file names, one a line, and what they need
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    list: Option<PathBuf>,
    /// Try packages again that failed before, although nothing has changed
    #[arg(long)]
    retry: bool,
    /// Build this package although its result is there; may be repeated
    #[arg(long, value_name = "NAME")]
    rebuild: Vec<String>,
    /// Begin a new run, also where the last one was cut off
    #[arg(long)]
    new: bool,
    /// Start nothing more once a package has failed
    #[arg(long)]
    stop_on_failure: bool,
    /// Only show what would be built, and why: nothing is fetched, and nothing is written
    #[arg(long)]
    dry_run: bool,
    /// Only if something has changed since the last run that came to its end
    #[arg(long, conflicts_with = "dry_run")]
    if_changed: bool,
    /// Make no set
    #[arg(long)]
    no_set: bool,
    /// How many packages are built on this machine at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// Packages, with or without version, or locations; all without one. What they need is built, too
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// What a run that is asked for came to.
enum RunAnswer {
    /// It was carried out.
    Ran(Box<RunOutcome>),
    /// It was only planned.
    Planned(RunPlan),
    /// Nothing has changed since the run of this number.
    Unchanged(u64),
}

/// Runs the action.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk run";
    let args: RunArgs = parse(call, USAGE)?;
    let work = Work::open(&args.work).map_err(|error| work_failed(&error))?;
    // What changes nothing needs no lock.
    let _lock = if args.dry_run { None } else { Some(args.wait.lock(call, &work)?) };
    must_have_installer(call)?;
    let program = std::env::current_exe()?;
    let names = match args.list.as_ref().or(work.conf.list.as_ref()).filter(|_| args.names.is_empty()) {
        Some(list) => read_names(list).map_err(|error| list_failed(&error))?,
        None => args.names.clone(),
    };
    let preparation = PatchPreparation::of(call, &work, !args.no_set && !args.dry_run)?;
    let mut notes = Vec::new();
    let mut display = RunDisplay::new(call);
    let http = http_settings(call);
    let wanted = WantedRun {
        args: &args,
        work: &work,
        names: &names,
        program: &program,
        http: &http,
        preparation: &preparation,
    };
    let answer = with_repeated_signals(|interrupt, is_urgent| {
        wanted.carry_out((interrupt, is_urgent), &mut |event| {
            if let RunEvent::Note(note) = event {
                notes.push(note.to_owned());
            }
            display.show(&event);
        })
    })?;
    drop(display);
    let reply = match answer.map_err(|error| run_failed(&error))? {
        RunAnswer::Planned(plan) => Reply::new(Exit::OK, PlanReport { plan, notes }),
        RunAnswer::Unchanged(run) => Reply::new(Exit::OK, UnchangedReport { run, unchanged: true }),
        RunAnswer::Ran(outcome) => {
            call.output.heedless();
            let exit = exit_of(&outcome, &names, preparation.exit(&outcome.ended));
            Reply::new(exit, BulkRunReport { report: outcome.ended.report, notes, base: base_of(&work) })
        }
    };
    Ok(reply)
}

/// Returns how servers are reached.
fn http_settings(call: &Invocation) -> HttpSettings {
    let network = &call.surroundings.network;
    HttpSettings {
        certificate_file: network.certificate_file.clone(),
        certificate_directories: network.certificate_directories.clone(),
        proxies: network.proxies.clone(),
        ..HttpSettings::default()
    }
}

/// A run that is asked for.
struct WantedRun<'a> {
    args: &'a RunArgs,
    work: &'a Work,
    names: &'a [String],
    program: &'a Path,
    http: &'a HttpSettings,
    /// What patches are made and published with.
    preparation: &'a PatchPreparation,
}

impl WantedRun<'_> {
    fn carry_out(
        &self,
        (interrupt, is_urgent): (&(dyn Fn() -> Option<i32> + Sync), &(dyn Fn() -> bool + Sync)),
        tell: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<RunAnswer, RunError> {
        let Self { args, work, .. } = self;
        let driver = Driver::find(work)?;
        let mut base = RunBase::prepare(work)?;
        base.sources.http = self.http.clone();
        if let Some(note) = &base.layer.note {
            tell(RunEvent::Note(note));
        }
        let template = self.preparation.template();
        let patch = |id: PatchId| with_id(&template, id);
        let publish = |made: &MadePatches| self.preparation.publish(made, &|| interrupt());
        let patches = RunPatches { patch: &patch, syntax: read_by_shell, publish: &publish };
        let request = RunRequest {
            work,
            driver: &driver,
            base: base.with_digest(),
            user: base.user,
            names: self.names,
            is_whole: args.names.is_empty() && args.list.is_none(),
            retries: args.retry,
            rebuild: &args.rebuild,
            is_new: args.new,
            stops_on_failure: args.stop_on_failure,
            makes_set: !args.no_set,
            patches: work.conf.depot.is_some().then_some(&patches),
            jobs: args.jobs,
            cores: u32::try_from(patchadm_rootfs::cores()).unwrap_or(1),
            program: self.program,
            sources: &base.sources,
            overtime: LONGEST_OVERTIME,
            page: &page_of,
            time: &|| Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            now: Utc::now().timestamp_nanos_opt().unwrap_or_default(),
            interrupt,
            is_urgent,
        };
        if args.dry_run {
            return plan_run(&request, tell).map(RunAnswer::Planned);
        }
        if args.if_changed
            && let Some(run) = has_changed(&request, tell)?
        {
            return Ok(RunAnswer::Unchanged(run));
        }
        carry_out(&request, tell).map(|outcome| RunAnswer::Ran(Box::new(outcome)))
    }
}

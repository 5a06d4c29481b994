//! `patchadm bulk run`: scans, resolves, builds, and reports.

use std::path::PathBuf;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::ends::{FAILED, NO_SLOT, list_failed, run_failed, work_failed};
use super::run_patches::{PatchPreparation, with_id};
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::{CommandReport, Exit, ExitCause, Reply};
use crate::surroundings::Output;
use crate::surroundings::caller::with_signals;
use crate::verbs::lint::read_by_shell;
use crate::verbs::options::RootlessOptions;
use patchadm_building::base::{base_digest, base_layer, build_user};
use patchadm_building::driver::Driver;
use patchadm_building::name_list::read_names;
use patchadm_building::patches::MadePatches;
use patchadm_building::run::{
    RunError, RunEvent, RunOutcome, RunPatches, RunRequest, base_of, run as carry_out,
};
use patchadm_building::work::Work;
use patchadm_bulk::journal::PackageState;
use patchadm_bulk::report::{ReportTextInput, RunReport, report_text};
use patchadm_inputs::http::HttpSettings;
use patchadm_svr4::patch::PatchId;

const USAGE: &str = "patchadm bulk run WORK [NAME...] [option...]";

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
    /// Make no set
    #[arg(long)]
    no_set: bool,
    /// How many packages are built on this machine at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// Packages, with or without version, or locations; all without one. What they need is built, too
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the action.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk run";
    let args: RunArgs = parse(call, USAGE)?;
    let work = Work::open(&args.work).map_err(|error| work_failed(&error))?;
    let _lock = work.lock(|_| false).map_err(|error| work_failed(&error))?;
    let program = std::env::current_exe()?;
    let cores = u32::try_from(patchadm_rootfs::cores()).unwrap_or(1);
    let http = http_settings(call);
    let in_json = call.in_json;
    let mut screen = Output::new(call.program);
    let names = match args.list.as_ref().or(work.conf.list.as_ref()).filter(|_| args.names.is_empty()) {
        Some(list) => read_names(list).map_err(|error| list_failed(&error))?,
        None => args.names.clone(),
    };
    let preparation = PatchPreparation::of(call, &work, !args.no_set)?;
    let template = preparation.template();
    let patch = |id: PatchId| with_id(&template, id);
    let mut notes = Vec::new();
    let now = Utc::now().timestamp_nanos_opt().unwrap_or_default();
    let done = with_signals(|interrupt| {
        let user = build_user(&work.conf).map_err(RunError::User)?;
        let driver = Driver::find(&work)?;
        let base = base_layer(&work.conf, user).map_err(|error| RunError::Base(error.to_string()))?;
        let digest = base_digest(&work.conf).map_err(RunError::Base)?;
        let publish = |made: &MadePatches| preparation.publish(made, &|| interrupt());
        let patches = RunPatches { patch: &patch, syntax: read_by_shell, publish: &publish };
        let request = RunRequest {
            work: &work,
            driver: &driver,
            base: (&base, digest),
            user,
            names: &names,
            is_whole: args.names.is_empty() && args.list.is_none(),
            retries: args.retry,
            rebuild: &args.rebuild,
            is_new: args.new,
            stops_on_failure: args.stop_on_failure,
            makes_set: !args.no_set,
            patches: work.conf.depot.is_some().then_some(&patches),
            jobs: args.jobs,
            cores,
            program: &program,
            http: &http,
            time: &|| Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            now,
            interrupt,
        };
        carry_out(&request, &mut |event| {
            if let RunEvent::Note(note) = event {
                notes.push(note.to_owned());
            }
            // If standard error cannot be written to, there is no one to tell.
            let _ = tell(&mut screen, in_json, &event);
        })
    })?;
    let outcome = done.map_err(|error| run_failed(&error))?;
    call.output.heedless();
    let exit = exit_of(&outcome, &names, preparation.exit(&outcome.ended));
    Ok(Reply::new(exit, BulkRunReport { report: outcome.ended.report, notes, base: base_of(&work) }))
}

/// Returns how distfiles are fetched.
fn http_settings(call: &Invocation) -> HttpSettings {
    let network = &call.surroundings.network;
    HttpSettings {
        certificate_file: network.certificate_file.clone(),
        certificate_directories: network.certificate_directories.clone(),
        proxies: network.proxies.clone(),
        ..HttpSettings::default()
    }
}

/// Tells what happens, a line for each package.
fn tell(screen: &mut Output, in_json: bool, event: &RunEvent<'_>) -> std::io::Result<()> {
    if in_json || screen.is_quiet() {
        return Ok(());
    }
    match event {
        RunEvent::Begins { run, is_continued, packages } => {
            let goes_on = if *is_continued { " goes on" } else { "" };
            screen.complain(format!("run {run}{goes_on}: {packages} packages\n"))
        }
        RunEvent::Starts { .. } => Ok(()),
        RunEvent::Ends { package, outcome } => {
            let cause = outcome.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            screen.complain(format!("{package}: {}{cause}\n", outcome.state))
        }
        RunEvent::Note(note) => screen.complain(format!("note: {note}\n")),
    }
}

/// Returns the exit code of a run: what failed before anything was built counts only where it was named. `of_patches` is that
/// of patches, where something else than a failure kept them from being made or published.
fn exit_of(outcome: &RunOutcome, names: &[String], of_patches: Option<Exit>) -> Exit {
    let ended = &outcome.ended;
    if let Some(signal) = ended.interrupted {
        return Exit::by_signal(signal);
    }
    let count = |state| ended.report.count(state);
    if count(PackageState::Deferred) > 0 {
        return Exit::new(NO_SLOT, ExitCause::Internal);
    }
    if let Some(exit) = of_patches {
        return exit;
    }
    let is_named = |package: &str, location: &str| {
        let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
        names.iter().any(|named| [package, name, location].contains(&named.as_str()))
    };
    let prefailed = ended.report.packages.iter().any(|package| {
        matches!(package.state, PackageState::Prefailed | PackageState::IndirectPrefailed)
            && is_named(&package.package, &package.location)
    });
    let is_refused = ended.report.set_refused.is_some()
        || !ended.is_handed_on
        || !ended.are_patches_whole
        || ended.patches_error.is_some();
    if prefailed || is_refused || count(PackageState::Failed) > 0 {
        return Exit::new(FAILED, ExitCause::DamagedInput);
    }
    Exit::OK
}

/// What a run came to.
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
        output.print(report_text(&self.report, &input))?;
        Ok(())
    }
}

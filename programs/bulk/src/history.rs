//! `patchadm-bulk history`: the runs, or the builds of one package.

use serde::Serialize;

use crate::ends::root_failed;
use crate::preparation::WorkOperand;
use patchadm_building::runs::{PastBulkRun, PastBulkRuns, builds_of, read_runs};
use patchadm_bulk_values::history::BuildRecord;
use patchadm_bulk_values::journal::{BuildState, FailureCause};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;

const USAGE: &str = "patchadm-bulk history WORK [NAME]";

/// Show the runs, or each build of a package
#[derive(clap::Parser)]
struct RunHistoryArgs {
    #[command(flatten)]
    work: WorkOperand,
    /// A package, with or without its version, or a location
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

#[derive(Serialize)]
struct RunsReport {
    runs: Vec<PastBulkRun>,
    notes: Vec<String>,
}

impl CommandReport for RunsReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for run in &self.runs {
            let zone = output.zone();
            let began = zone.minute_of(&run.began);
            let ended = run.ended.as_ref().map_or("not ended".to_owned(), |ended| zone.minute_of(ended));
            let counts: Vec<String> =
                run.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
            let set = run.set.map(|_| "; with a set").unwrap_or_default();
            output.line(format!("{:>5}  {began:16}  {ended:16}  {}{set}", run.run, counts.join(", ")))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.notes.iter().try_for_each(|note| output.warning(note))?)
    }
}

#[derive(Serialize)]
struct BuildsReport {
    builds: Vec<PackageBuild>,
}

#[derive(Serialize)]
struct PackageBuild {
    run: u64,
    package: String,
    state: BuildState,
    cause: Option<FailureCause>,
    ms: u64,
    peak_memory: u64,
    slot: String,
}

impl From<BuildRecord> for PackageBuild {
    fn from(build: BuildRecord) -> Self {
        let BuildRecord { run, package, state, cause, ms, peak_memory, slot, .. } = build;
        Self { run, package, state, cause, ms, peak_memory, slot }
    }
}

impl CommandReport for BuildsReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for build in &self.builds {
            let cause = build.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            output.line(format!(
                "{:>5}  {:30}  {:20}  {:>10} ms  {:>6} MiB  {}",
                build.run,
                build.package,
                format!("{}{cause}", build.state),
                build.ms,
                build.peak_memory >> 20,
                build.slot
            ))?;
        }
        Ok(())
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk history";
    let args: RunHistoryArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let Some(name) = &args.name else {
        let PastBulkRuns { runs, notes } = read_runs(&work).map_err(|error| root_failed(&error))?;
        return Ok(Reply::new(Exit::OK, RunsReport { runs, notes }));
    };
    let builds = builds_of(&work, name).map_err(|error| root_failed(&error))?;
    if builds.is_empty() {
        let message = format!("{}: it was never built", name.escape_debug());
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::Unknown), message }.into());
    }
    let builds = builds.into_iter().map(PackageBuild::from).collect();
    Ok(Reply::new(Exit::OK, BuildsReport { builds }))
}

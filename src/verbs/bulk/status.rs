//! `patchadm bulk status`: how far a run is.

use std::path::PathBuf;

use serde::Serialize;

use super::ends::{run_failed, work_failed};
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use crate::surroundings::Output;
use crate::verbs::options::RootlessOptions;
use patchadm_building::run::{RunningPackage, read_status};
use patchadm_building::work::Work;
use patchadm_bulk::journal::StateCounts;

const USAGE: &str = "patchadm bulk status WORK [RUN]";

/// Show how far a run is
#[derive(clap::Parser)]
struct StatusArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// The number of the run; the last one without
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

/// How far a run is.
#[derive(Serialize)]
struct StatusReport {
    run: u64,
    began: String,
    ended: Option<String>,
    counts: StateCounts,
    running: Vec<RunningPackage>,
}

impl CommandReport for StatusReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let end = self.ended.as_ref().map_or("not ended".to_owned(), |end| format!("ended {end}"));
        output.line(format!("run {}: began {}, {end}", self.run, self.began))?;
        for (state, count) in &self.counts {
            output.line(format!("{count:>8} {state}"))?;
        }
        for running in &self.running {
            output.line(format!("  {} on {}", running.package, running.slot))?;
        }
        Ok(())
    }
}

/// Runs the action.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk status";
    let args: StatusArgs = parse(call, USAGE)?;
    let work = Work::open(&args.work).map_err(|error| work_failed(&error))?;
    let status = read_status(&work, args.run).map_err(|error| run_failed(&error))?;
    let Some(status) = status else {
        let message = "there is no such run".to_owned();
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::NotFound), message }.into());
    };
    let report = StatusReport {
        run: status.run,
        began: status.began,
        ended: status.ended,
        counts: status.counts,
        running: status.running,
    };
    Ok(Reply::new(Exit::OK, report))
}

//! `patchadm bulk diff`: what is otherwise in a later run.

use std::path::PathBuf;

use serde::Serialize;

use super::ends::{report_failed, work_failed};
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::{CommandReport, Exit, Reply};
use crate::surroundings::Output;
use crate::verbs::options::RootlessOptions;
use patchadm_building::report_files::read_report;
use patchadm_building::work::Work;
use patchadm_bulk::history::RunDifference;

const USAGE: &str = "patchadm bulk diff WORK RUN RUN";

/// Show what is otherwise in a later run
#[derive(clap::Parser)]
struct DiffArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// The number of the earlier run
    #[arg(value_name = "RUN")]
    earlier: u64,
    /// The number of the later run
    #[arg(value_name = "RUN")]
    later: u64,
}

/// What is otherwise.
#[derive(Serialize)]
struct DiffReport {
    #[serde(flatten)]
    difference: RunDifference,
}

impl CommandReport for DiffReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let RunDifference { failed, repaired, new, gone, slower } = &self.difference;
        let lists = [("newly failed", failed), ("repaired", repaired), ("new", new), ("gone", gone)];
        for (words, packages) in lists {
            for package in packages {
                output.line(format!("{words}: {package}"))?;
            }
        }
        for build in slower {
            output
                .line(format!("slower: {}, {} ms instead of {} ms", build.package, build.ms, build.was_ms))?;
        }
        Ok(())
    }
}

/// Runs the action.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk diff";
    let args: DiffArgs = parse(call, USAGE)?;
    let work = Work::open(&args.work).map_err(|error| work_failed(&error))?;
    let read = |run| read_report(&work, run).map_err(|error| report_failed(&error));
    let (earlier, later) = (read(args.earlier)?, read(args.later)?);
    let difference = RunDifference::between(&earlier.run_packages(), &later.run_packages());
    Ok(Reply::new(Exit::OK, DiffReport { difference }))
}

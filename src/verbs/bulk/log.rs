//! `patchadm bulk log`: prints the log of a package.

use std::path::PathBuf;

use super::ends::work_failed;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::{Exit, ExitCause, Reply, Stop};
use crate::verbs::options::RootlessOptions;
use patchadm_building::logs::{LogError, read_log};
use patchadm_building::work::Work;

const USAGE: &str = "patchadm bulk log WORK PACKAGE [RUN]";

/// Print the log of a package
#[derive(clap::Parser)]
struct LogArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
    /// The package, with its version
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// The number of the run; the last one that has a log of it
    #[arg(value_name = "RUN")]
    run: Option<u64>,
}

/// Runs the action.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk log";
    let args: LogArgs = parse(call, USAGE)?;
    let work = Work::open(&args.work).map_err(|error| work_failed(&error))?;
    let log = read_log(&work, &args.package, args.run).map_err(|error| {
        let cause = match &error {
            LogError::None(_) => ExitCause::NotFound,
            LogError::Root(error) => crate::reply::cause_of::of_root(error),
        };
        Stop::Refused { exit: Exit::failed(cause), message: error.to_string() }
    })?;
    call.output.print(&log)?;
    Ok(Reply::silent(Exit::OK))
}

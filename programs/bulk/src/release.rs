//! `patchadm-bulk release`: marks the set that users have.

use patchadm_building::set::{ReleasedSet, release};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use serde::Serialize;

use crate::ends::release_failed;
use crate::preparation::{LockOption, WorkOperand};

const USAGE: &str = "patchadm-bulk release WORK RUN [--force] [--wait DURATION]";

/// Release the set of a run to users, as the base for all patches
#[derive(clap::Parser)]
struct ReleaseArgs {
    /// Release a set that is missing packages because of errors in the tree, and move patches of other sets aside
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: LockOption,
    #[command(flatten)]
    work: WorkOperand,
    /// The number of the run
    #[arg(value_name = "RUN")]
    run: u64,
}

#[derive(Serialize)]
struct ReleaseReport(ReleasedSet);

impl CommandReport for ReleaseReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let ReleasedSet { run, packages, patches_moved } = self.0;
        output.line(format!("the set of run {run} is released: {packages} packages"))?;
        if let Some(number) = patches_moved {
            output.line(format!("the patches of the previous set are in patches.{number}"))?;
        }
        Ok(())
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk release";
    let args: ReleaseArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let _lock = args.wait.lock(call, &work)?;
    let released = with_signals(|interrupt| release(&work, args.run, args.force, interrupt))?;
    Ok(Reply::new(Exit::OK, ReleaseReport(released.map_err(|error| release_failed(&error))?)))
}

//! `patchadm-make build`: makes a patch of two releases.

mod options;
mod report;

use std::ffi::OsString;

use crate::releases::read_release;
use options::{BuildArgs, USAGE};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_making::build::{
    BuildError, OtherPatch, PreviousError, PreviousPatch, WriteWatch, draft_patch, write_patch,
};
use patchadm_producing::ends::{of_build, of_previous};
use report::BuildReport;

/// The event that did not happen, as the first line of an end.
const NO_PATCH_MADE: &str = "no patch was made";

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: BuildArgs = parse(call, USAGE)?;
    let request = args.request(call.surroundings.now.timestamp())?;
    let destination = args.destination()?;
    if !args.dry_run && !args.force && destination.path.symlink_metadata().is_ok() {
        return Err(refused(&BuildError::Exists(destination.path)));
    }
    let cores = call.surroundings.processors;
    let busy = call.busy("building");
    let read = |operand: &OsString| read_release(operand, cores, busy.meter(), NO_PATCH_MADE);
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    let previous = args.previous.as_deref().map(PreviousPatch::read).transpose();
    let previous = previous.map_err(|error| refused_patch(&error))?;
    let mut others = Vec::new();
    for operand in &args.patch.against {
        others.extend(OtherPatch::open_all(operand).map_err(|error| refused_patch(&error))?);
    }
    let draft = draft_patch(&from, &to, previous.as_ref(), &others, &request);
    let draft = draft.map_err(|error| refused(&error))?;
    let written = if args.dry_run {
        None
    } else {
        let written = with_signals(|interrupt| {
            let watch = WriteWatch { interrupt: &|| interrupt(), meter: busy.meter() };
            write_patch(&draft, &destination, watch)
        })?;
        Some(written.map_err(|error| refused(&error))?)
    };
    let report = BuildReport::of(&draft, &destination, written.as_ref(), call.surroundings.began);
    Ok(Reply::new(Exit::OK, report))
}

/// Returns the end for a patch that was named and cannot be used.
fn refused_patch(error: &PreviousError) -> anyhow::Error {
    stop(of_previous(error), error)
}

/// Returns the end where no patch is made.
fn refused(error: &BuildError) -> anyhow::Error {
    stop(of_build(error), error)
}

/// Returns an end in the three lines of the modern face: what did not happen, why, what to do.
fn stop((exit, next): (Exit, &'static str), reason: &dyn std::fmt::Display) -> anyhow::Error {
    Stop::Refused { exit, message: format!("{NO_PATCH_MADE}\n{reason}.\n{next}") }.into()
}

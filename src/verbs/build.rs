//! `patchadm build`: makes a patch of two releases.

mod options;
mod report;

use std::ffi::OsString;

use super::releases::read_release;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::cause_of::{of_io, of_root};
use crate::reply::failure::source_code;
use crate::reply::{Exit, ExitCause, Reply, Stop};
use crate::surroundings::caller::with_signals;
use options::{BuildArgs, USAGE};
use patchadm_core::build::{
    AbiError, BuildError, OtherPatch, PreviousError, PreviousPatch, draft_patch, write_patch,
};
use patchadm_core::plan::refusal::Command;
use report::BuildReport;

/// What did not happen, as the first line of an end says it.
const NO_PATCH_MADE: &str = "no patch was made";

/// The code where the releases make no patch.
const NO_PATCH: u8 = 10;

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: BuildArgs = parse(call, USAGE)?;
    let request = args.request(call.surroundings.now.timestamp())?;
    let destination = args.destination();
    if !args.dry_run && !args.force && destination.path.symlink_metadata().is_ok() {
        return Err(refused(&BuildError::Exists(destination.path)));
    }
    let cores = call.surroundings.processors;
    let read = |operand: &OsString| read_release(operand, cores, NO_PATCH_MADE);
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    let previous = args.previous.as_deref().map(PreviousPatch::read).transpose();
    let previous = previous.map_err(|error| refused_patch(&error))?;
    let mut others = Vec::new();
    for operand in &args.against {
        others.extend(OtherPatch::open_all(operand).map_err(|error| refused_patch(&error))?);
    }
    let draft = draft_patch(&from, &to, previous.as_ref(), &others, &request);
    let draft = draft.map_err(|error| refused(&error))?;
    let written = if args.dry_run {
        None
    } else {
        let written = with_signals(|interrupt| write_patch(&draft, &destination, &|| interrupt()))?;
        Some(written.map_err(|error| refused(&error))?)
    };
    let report = BuildReport::of(&draft, &destination, written.as_ref(), call.surroundings.began);
    Ok(Reply::new(Exit::OK, report))
}

/// The end for a patch that was named and cannot be used.
fn refused_patch(error: &PreviousError) -> anyhow::Error {
    let exit = match error {
        PreviousError::Source(error) => source_code(Command::Patchadd, error),
        PreviousError::Macros { .. } => Exit::new(28, ExitCause::DamagedInput),
        _ => Exit::new(33, ExitCause::DamagedInput),
    };
    stop(exit, &error.to_string(), "Name a patch that this program can read.")
}

/// The end where no patch is made.
fn refused(error: &BuildError) -> anyhow::Error {
    let (exit, next) = match error {
        BuildError::Pair(_) => (Exit::failed(ExitCause::Usage), "Say it with the option that is named."),
        BuildError::Pattern(_) => (Exit::failed(ExitCause::Usage), "Mend the pattern of the policy."),
        BuildError::Exists(_) | BuildError::Foreign(_) => {
            (Exit::failed(ExitCause::AlreadyApplied), "Choose another name, or use --force for a patch.")
        }
        BuildError::NoLaterRevision { .. } | BuildError::PreviousPackage { .. } => {
            (Exit::new(NO_PATCH, ExitCause::NotApplicable), "Look at --id, --previous and --base-version.")
        }
        BuildError::NothingChanged { .. } => {
            (Exit::new(NO_PATCH, ExitCause::NotApplicable), "Nothing: there is no change to deliver.")
        }
        BuildError::NotRestricted { .. } => {
            (Exit::new(NO_PATCH, ExitCause::Restricted), "Choose another --id, or leave out --restricted.")
        }
        BuildError::Overlap(_) => (
            Exit::new(NO_PATCH, ExitCause::Dependency),
            "Name the other patch with --requires or --obsoletes.",
        ),
        BuildError::AbiBreak(_) | BuildError::Abi(AbiError::Source(_)) => {
            (Exit::new(NO_PATCH, ExitCause::Dependency), "Deliver what is needed, or use --allow-abi-break.")
        }
        BuildError::Sparse(_) | BuildError::Path(_) | BuildError::Name(_) | BuildError::TooLarge { .. } => {
            (Exit::new(NO_PATCH, ExitCause::DamagedInput), "Leave the object out with --exclude, or mend it.")
        }
        BuildError::Changed { .. } => {
            (Exit::new(NO_PATCH, ExitCause::Edited), "Build again when nobody writes to the release.")
        }
        BuildError::Read { error, .. } | BuildError::Abi(AbiError::Read { error, .. }) => {
            (Exit::new(33, of_io(error)), "Look at the file that is named.")
        }
        BuildError::Write { error, .. } => {
            (Exit::failed(of_io(error)), "Look at the directory that is written to.")
        }
        BuildError::Root(error) => {
            (Exit::failed(of_root(error)), "Look at the directory that is written to.")
        }
        BuildError::Interrupted(signal) => (Exit::by_signal(*signal), "Run it again."),
        _ => (Exit::failed(ExitCause::Internal), "Look at the directory that is written to."),
    };
    stop(exit, &error.to_string(), next)
}

/// An end in the three lines of the modern face: what did not happen, why, what to do.
fn stop(exit: Exit, reason: &str, next: &str) -> anyhow::Error {
    Stop::Refused { exit, message: format!("{NO_PATCH_MADE}\n{reason}.\n{next}") }.into()
}

//! The processes of a bulk build, which only the program itself starts: a task, the one that looks whether a slot can be used,
//! the one that calls `scan` in a sandbox, and the one that tries patches there.

use std::io::{self, Write as _};

use crate::call::Invocation;
use crate::reply::{Exit, Reply};
use patchadm_building::patches::serve_trial;
use patchadm_building::scan::serve_scan;
use patchadm_building::sources::serve_fetch;
use patchadm_building::task::{serve_probe, serve_task};

/// Carries out the task that standard input tells.
pub(crate) fn run_task(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_task(io::stdin(), io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

/// Looks whether tasks can be carried out here.
pub(crate) fn run_probe(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_probe(io::stdin(), &mut io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

/// Calls `scan` for the locations that standard input tells.
pub(crate) fn run_scan(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_scan(io::stdin().lock(), &mut io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

/// Fetches a source, and prints it.
pub(crate) fn run_fetch(_call: &mut Invocation) -> anyhow::Result<Reply> {
    match serve_fetch(io::stdin().lock(), &mut io::stdout()) {
        Ok(()) => Ok(Reply::silent(Exit::OK)),
        Err(reason) => {
            writeln!(io::stderr(), "{reason}")?;
            Ok(Reply::silent(Exit::INTERNAL))
        }
    }
}

/// Carries out the trial of patches that is ordered in its sandbox.
pub(crate) fn run_trial(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_trial()?;
    Ok(Reply::silent(Exit::OK))
}

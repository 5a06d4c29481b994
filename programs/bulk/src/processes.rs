//! The internal processes of a bulk build: tasks, probes, and fetching.

use std::io;
use std::io::Write as _;

use patchadm_building::patches::{TRIAL, serve_trial};
use patchadm_building::sources::serve_fetch;
use patchadm_building::task::{PACKING, pack_in_enclosure, serve_probe, serve_task};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply};
use patchadm_core::namespaces::serve;

use crate::preparation::find_installer;

pub(crate) fn run_task(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_task(io::stdin(), io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

pub(crate) fn run_first(_call: &mut Invocation) -> anyhow::Result<Reply> {
    let trial = |order| serve_trial(order).map(|()| 0).map_err(io::Error::other);
    serve(&[(PACKING, &pack_in_enclosure), (TRIAL, &trial)])?;
    Ok(Reply::silent(Exit::OK))
}

pub(crate) fn run_probe(call: &mut Invocation) -> anyhow::Result<Reply> {
    let installer = find_installer(call).map(drop).map_err(|error| error.to_string());
    serve_probe(io::stdin(), installer, &mut io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

pub(crate) fn run_fetch(_call: &mut Invocation) -> anyhow::Result<Reply> {
    match serve_fetch(io::stdin().lock(), &mut io::stdout()) {
        Ok(()) => Ok(Reply::silent(Exit::OK)),
        Err(reason) => {
            writeln!(io::stderr(), "{reason}")?;
            Ok(Reply::silent(Exit::INTERNAL))
        }
    }
}

//! `patchadm-bulk`: builds all packages in a tree from source; one file per action.
//!
//! `preparation` has the lock of an action.

mod diff;
mod ends;
mod enter;
mod history;
mod init;
mod log;
#[cfg(not(feature = "sign"))]
mod no_publishing;
mod page;
mod patches;
mod preparation;
mod prune;
#[cfg(feature = "sign")]
mod publishing;
mod release;
mod report;
mod run;
mod scan;
mod status;
mod upload;
mod why;

use std::io::{self, Write as _};
use std::process::ExitCode;

#[cfg(not(feature = "sign"))]
use no_publishing as publishing;
use patchadm_building::patches::{TRIAL, serve_trial};
use patchadm_building::run::TASK_PROCESS;
use patchadm_building::sources::{FETCH_PROCESS, serve_fetch};
use patchadm_building::task::{PACKING, PROBE_PROCESS, pack_in_enclosure, serve_probe, serve_task};
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::VerbGroup::Make;
use patchadm_cli::call::{AppletKind, Invocation, Program, RunCommand};
use patchadm_cli::program::complete::{self, COMPLETE};
use patchadm_cli::program::processes::{run_enclosure, run_segments};
use patchadm_cli::program::schema::{self, SCHEMA};
use patchadm_cli::program::{self, hidden, verb};
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_core::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS, SEGMENTS_PROCESS, serve};

use crate::preparation::find_installer;

const BULK: &str = "bulk";

static PATCHADM_BULK: Program = Program {
    name: "patchadm-bulk",
    about: env!("CARGO_PKG_DESCRIPTION"),
    usage: USAGE,
    ending: "",
    applets: &[
        verb(Make, BULK, "build all packages in a tree from source", bulk),
        hidden(COMPLETE, AppletKind::Internal, complete::run),
        hidden(SCHEMA, AppletKind::Internal, schema::run),
        hidden(FIRST_PROCESS, AppletKind::Internal, run_first),
        hidden(ENCLOSING_PROCESS, AppletKind::Internal, run_enclosure),
        hidden(SEGMENTS_PROCESS, AppletKind::Internal, run_segments),
        hidden(PROBE_PROCESS, AppletKind::Internal, run_probe),
        hidden(TASK_PROCESS, AppletKind::Internal, run_task),
        hidden(FETCH_PROCESS, AppletKind::Internal, run_fetch),
    ],
    only: Some(BULK),
    overall: None,
    queries: &["bulk diff", "bulk history", "bulk log", "bulk status", "bulk why"],
    meant: &[],
    never_suggested: &[],
    schemas: patchadm_cli::schemas!(
        "../../../docs/schema":
            "bulk" "bulk-diff" "bulk-history" "bulk-init" "bulk-log" "bulk-patches" "bulk-prune"
            "bulk-release" "bulk-report" "bulk-run" "bulk-scan" "bulk-status" "bulk-upload" "bulk-why" "delta"
    ),
};

fn main() -> ExitCode {
    program::main(&PATCHADM_BULK, std::env::args_os())
}

pub(crate) const USAGE: &str = "patchadm-bulk init|run|scan|status|why|log|history|diff|report|enter|release|patches|upload|prune WORK \
     [ARGUMENT...]";

const ACTIONS: [(&str, RunCommand); 14] = [
    ("init", init::run),
    ("run", run::run),
    ("scan", scan::run),
    ("status", status::run),
    ("why", why::run),
    ("history", history::run),
    ("log", log::run),
    ("diff", diff::run),
    ("report", report::run),
    ("enter", enter::run),
    ("release", release::run),
    ("patches", patches::run),
    ("upload", upload::run),
    ("prune", prune::run),
];

/// Build all packages in a tree from source; `patchadm-bulk ACTION --help` explains an action
#[derive(clap::Parser)]
struct BulkArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: init, run, scan, status, why, log, history, diff, report, enter, release, patches, upload or prune
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    _work: Option<std::path::PathBuf>,
}

pub(crate) fn bulk(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    let _: BulkArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "specify an action".to_owned(), usage: USAGE }.into())
}

fn run_task(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_task(io::stdin(), io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

fn run_first(_call: &mut Invocation) -> anyhow::Result<Reply> {
    let trial = |order| serve_trial(order).map(|()| 0).map_err(io::Error::other);
    serve(&[(PACKING, &pack_in_enclosure), (TRIAL, &trial)])?;
    Ok(Reply::silent(Exit::OK))
}

fn run_probe(call: &mut Invocation) -> anyhow::Result<Reply> {
    let installer = find_installer(call).map(drop).map_err(|error| error.to_string());
    serve_probe(io::stdin(), installer, &mut io::stdout())?;
    Ok(Reply::silent(Exit::OK))
}

fn run_fetch(_call: &mut Invocation) -> anyhow::Result<Reply> {
    match serve_fetch(io::stdin().lock(), &mut io::stdout()) {
        Ok(()) => Ok(Reply::silent(Exit::OK)),
        Err(reason) => {
            writeln!(io::stderr(), "{reason}")?;
            Ok(Reply::silent(Exit::INTERNAL))
        }
    }
}

//! `patchadm stage drop`: a stage is removed, and nothing else.

use std::path::PathBuf;

use serde::Serialize;

use super::refused::stage_refused;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::cause_of::of_root;
use crate::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use crate::surroundings::Output;
use crate::verbs::options::VerbOptions;
use patchadm_core::operation::stages::{DropError, DroppedStage, drop_stage};

const USAGE: &str = "patchadm [-R root] stage drop [--force] stage";

/// The code where a guard refuses.
const REFUSED: u8 = 10;

/// Remove a stage that nobody is in
#[derive(clap::Parser)]
struct DropArgs {
    /// Remove it even if it is damaged or of another root; never one that somebody is in
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: VerbOptions,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    stage: PathBuf,
}

/// A stage that was removed.
#[derive(Serialize)]
struct DropReport {
    result: ResultWord,
    /// The number of objects removed.
    removed: u64,
    #[serde(skip)]
    path: String,
}

/// Runs the action.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DropArgs = parse(call, USAGE)?;
    call.name = "stage drop";
    let root = args.common.root.open(call)?;
    let dropped = drop_stage(&root, &args.stage, args.force).map_err(refused)?;
    let DroppedStage { path, removed, .. } = dropped;
    Ok(Reply::about(&root, Exit::OK, DropReport { result: ResultWord::Done, removed, path }))
}

fn refused(error: DropError) -> anyhow::Error {
    let what_holds = "the stage was not removed";
    let exit = match &error {
        DropError::Stage(fault) => return stage_refused(what_holds, fault),
        DropError::InUse { .. } => Exit::LOCKED,
        DropError::Mount(_) | DropError::HasRoot(_) => Exit::new(REFUSED, ExitCause::Restricted),
        DropError::Root(error) => Exit::failed(of_root(error)),
    };
    Stop::Refused { exit, message: format!("{what_holds}\n{error}") }.into()
}

impl CommandReport for DropReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("{}: removed, {} objects", self.path, self.removed))?)
    }
}

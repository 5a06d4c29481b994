//! `patchadm stage drop`: removes a stage, and nothing else.

use std::ffi::OsString;

use serde::Serialize;

use super::ends::stage_failed;
use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{BriefVerbOptions, WaitOption};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::words::{counted, print_notes};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::stages::{DropError, DroppedStage, drop_stage};
use patchadm_planning::plan::refusal::Command;

const USAGE: &str = "patchadm [-R root] stage drop [--force] [--wait duration] stage";

/// The name in lock, journal and history.
const NAME: &str = "stage";

/// Remove a stage that is not in use
#[derive(clap::Parser)]
struct DropArgs {
    /// Remove the stage even if it is damaged or belongs to another root, but not while it is in use
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    stage: OsString,
}

#[derive(Serialize)]
struct DropReport {
    result: ResultWord,
    /// The root no longer lists the stage.
    changed: bool,
    removed: u64,
    notes: Vec<String>,
    #[serde(skip)]
    path: String,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage drop";
    let args: DropArgs = parse(call, USAGE)?;
    let root = args.owner.open::<DropArgs>(call, &args.common.root, Command::Patchadd)?;
    call.output.heedless();
    let dropped = call.change(&root, NAME, args.wait.seconds, |caller| {
        drop_stage(&root, &args.stage, args.force, caller)
    })?;
    let dropped = dropped.map_err(|error| {
        let undone = "the stage was not removed";
        let exit = match &error {
            DropError::Stage(error) => return stage_failed(&root, undone, error),
            DropError::InUse { .. } => Exit::LOCKED,
            _ => Exit::of_verb(ExitCause::Restricted),
        };
        let result = exit.result();
        Stop::Ran { exit, result, message: format!("{undone}: {error}") }.into()
    })?;
    let DroppedStage { path, removed, was_listed, notes } = dropped;
    let report = DropReport { result: ResultWord::Done, changed: was_listed, removed, notes, path };
    Ok(Reply::about(&root, Exit::OK, report))
}

impl CommandReport for DropReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        output.line(format!("{}: removed, {}", self.path, counted(self.removed, "object")))?;
        Ok(print_notes(output, &self.notes)?)
    }
}

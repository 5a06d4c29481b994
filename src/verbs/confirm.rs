//! `patchadm confirm`: keeps what is on trial.

use serde::Serialize;

use super::options::{BriefVerbOptions, NoteOption, WaitOption};
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_failed;
use patchadm_cli::reply::patches::AfterRunEntries;
use patchadm_cli::reply::words::{print_notes, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::trial::{ConfirmReport, confirm_trial};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] confirm [option...] [run]";

/// Keep the changes that are on trial
#[derive(clap::Parser)]
struct ConfirmArgs {
    #[command(flatten)]
    wait: WaitOption,
    /// Keep the changes even if the probe failed, or if the trial is over and they could not be reverted
    #[arg(long)]
    despite_failure: bool,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The name or number of the run [default: the one on trial]
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let ConfirmArgs { wait, despite_failure, note, owner, common, run } = parse(call, USAGE)?;
    let root = owner.open::<ConfirmArgs>(call, &common.root, Command::Confirm)?;
    call.output.heedless();
    let confirm = |caller: &Caller<'_>| {
        confirm_trial(&root, run.as_deref(), despite_failure, &caller.noting(note.text.as_deref()))
    };
    match call.change(&root, Command::Confirm.name(), wait.seconds, confirm)? {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, ConfirmReply::of(&root, &report))),
        Err(failed) => Err(change_failed(&root, Command::Confirm, &failed).into()),
    }
}

#[derive(Debug, Serialize)]
struct ConfirmReply {
    result: ResultWord,
    changed: bool,
    run: String,
    confirmed: String,
    patches: Vec<String>,
    /// Patches that can no longer be backed out, because limits of the policy waited for this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    irremovable: Vec<String>,
    notes: Vec<String>,
}

impl ConfirmReply {
    fn of(root: &Root, report: &ConfirmReport) -> Self {
        let after = AfterRunEntries::of(root, &report.after, false);
        let recovery = recovery_sentence(&report.recovered).into_iter();
        let told = report.recovered.notes().iter().chain(&report.receipt.notes).cloned();
        Self {
            result: ResultWord::Done,
            changed: true,
            run: report.receipt.run.clone(),
            confirmed: report.trial.run.clone(),
            patches: report.trial.patches.clone(),
            irremovable: after.irremovable,
            notes: recovery.chain(told).chain(after.notes).collect(),
        }
    }
}

impl CommandReport for ConfirmReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let patches = self.patches.join(", ");
        Ok(output.line(format!("run {} is confirmed: {patches}", self.confirmed))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}

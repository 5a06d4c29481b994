//! `patchadm undo-data drop`: deletes undo data, so that patches can no longer be removed.

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::verbs::confirmation::{PROCEED, planned_first};
use crate::verbs::options::{
    BriefVerbOptions, DryRunOption, NoteOption, UndoDirOption, WaitOption, YesOption,
};
use patchadm_cli::arguments::{age, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{change_failed, change_or_plan_failed};
use patchadm_cli::reply::words::counted_patches;
use patchadm_cli::reply::words::{human, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::questions::Confirmation;
use patchadm_core::operation::patches::undo_drop::{
    PatchOfDrop, UndoDropReport, UndoDropRequest, UndoLimits, drop_undo_data,
};
use patchadm_core::operation::session::Caller;
use patchadm_inputs::policy::byte_size;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] undo-data drop [--superseded] [--keep n] [--older-than age] [--shrink-to size] [--dry-run]\n\
     \x20        [option...] [id...]";

/// Delete undo data (cannot be undone)
#[derive(clap::Parser)]
struct CommitArgs {
    /// Select superseded and obsoleted patches
    #[arg(long)]
    superseded: bool,
    /// Keep the undo data of the newest N patches
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Select patches applied longer ago than this (90d, 12w, 1y)
    #[arg(long, value_name = "DURATION", value_parser = age)]
    older_than: Option<u64>,
    /// Select the oldest patches until no more than this much undo data remains (500M, 2G)
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    shrink_to: Option<u64>,
    #[command(flatten)]
    undo_dir: UndoDirOption,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    yes: YesOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "undo-data drop";
    let args: CommitArgs = parse(call, USAGE)?;
    let CommitArgs { superseded, keep, undo_dir, dry_run, yes, wait, note, owner, common, ids, .. } = args;
    let (undo_dir, dry_run, wait) = (undo_dir.undo_dir, dry_run.dry_run, wait.seconds);
    let limits =
        UndoLimits { older_than: args.older_than, shrink_to: args.shrink_to, ..UndoLimits::default() };
    if ids.is_empty() && !superseded && keep.is_none() && limits.is_none() {
        let message = "specify patches, or use --superseded, --keep, --older-than or --shrink-to".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let root = owner.open::<CommitArgs>(call, &common.root, Command::Commit)?;
    let expected = None;
    let mut request = UndoDropRequest { ids, superseded, keep, limits, undo_dir, dry_run, expected };
    if !dry_run && call.may_ask(yes.yes) {
        confirm(call, &root, &mut request, wait)?;
    }
    if !dry_run {
        call.output.heedless();
    }
    let commit = |caller: &Caller<'_>| drop_undo_data(&root, &request, &caller.noting(note.text.as_deref()));
    let result = call.change(&root, Command::Commit.name(), wait, commit)?;
    match result {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, CommitReply::of(&report, dry_run))),
        Err(failed) => Err(change_or_plan_failed(&root, Command::Commit, &failed, dry_run).into()),
    }
}

/// Shows the undo data to delete, and asks. The request is held to the plan from then on.
fn confirm(
    call: &mut Invocation,
    root: &Root,
    request: &mut UndoDropRequest,
    wait: Option<u64>,
) -> anyhow::Result<()> {
    let plan = UndoDropRequest { dry_run: true, ..request.clone() };
    let commit = |caller: &Caller<'_>| drop_undo_data(root, &plan, caller);
    let planned = planned_first(call, root, (Command::Commit, wait), request.undo_dir.as_deref(), &commit)?;
    let planned = planned.map_err(|failed| change_failed(root, Command::Commit, &failed))?;
    let with_undo = planned.patches.iter().filter(|patch| !patch.packages.is_empty()).count();
    if with_undo == 0 {
        return Ok(());
    }
    let reply = CommitReply::of(&planned, true);
    reply.print_text(&mut call.output)?;
    reply.print_remarks(&mut call.output)?;
    let what = format!("The undo data of {} ({})", counted_patches(with_undo), human(reply.freed));
    call.output.line(format!("{what} will be deleted. This cannot be undone."))?;
    let confirmation = Confirmation { is_yes_by_default: false, ..PROCEED };
    call.must_be_agreed_to(confirmation, "no undo data was deleted")?;
    request.expected = Some(planned.patches);
    Ok(())
}

#[derive(Debug, Serialize)]
struct CommitReply {
    result: ResultWord,
    changed: bool,
    /// Of a plan: the root would differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_change: Option<bool>,
    run: Option<String>,
    patches: Vec<PatchOfDrop>,
    freed: u64,
    irremovable: Vec<String>,
    notes: Vec<String>,
}

impl CommitReply {
    fn of(report: &UndoDropReport, dry_run: bool) -> Self {
        let has_undo = report.patches.iter().any(|patch| !patch.packages.is_empty());
        let result = match (has_undo, dry_run) {
            (false, _) => ResultWord::NothingToDo,
            (true, true) => ResultWord::Planned,
            (true, false) => ResultWord::Done,
        };
        let notes = report.receipt.iter().flat_map(|receipt| receipt.notes.iter().cloned());
        let notes = with_recovery(&report.recovered, notes.chain(beyond_limits(report)));
        let irremovable = report.patches.iter().filter(|patch| !patch.packages.is_empty());
        Self {
            result,
            changed: report.receipt.is_some(),
            would_change: dry_run.then_some(has_undo),
            run: report.receipt.as_ref().map(|receipt| receipt.run.clone()),
            freed: report.patches.iter().map(|patch| patch.freed).sum(),
            irremovable: irremovable.map(|patch| patch.id.to_string()).collect(),
            patches: report.patches.clone(),
            notes,
        }
    }
}

/// Undo data beyond the limits that stays, in sentences.
fn beyond_limits(report: &UndoDropReport) -> impl Iterator<Item = String> {
    let excess = (report.excess > 0).then(|| {
        format!(
            "undo data is still {} over the limit: the rest belongs to the newest revisions of patches, is outside the root, or \
             was made by other tools; specify a patch to delete its undo data, too",
            human(report.excess)
        )
    });
    let foreign = report.foreign.iter().map(|id| {
        format!("the undo data of patch {id} stays: another tool made it, and nothing else records the paths of the patch")
    });
    excess.into_iter().chain(foreign.collect::<Vec<_>>())
}

impl CommandReport for CommitReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for patch in &self.patches {
            let text = match (patch.packages.is_empty(), self.result) {
                (true, _) => "has no undo data".to_owned(),
                (false, ResultWord::Planned) => {
                    format!("could no longer be removed; {} would be freed", human(patch.freed))
                }
                (false, _) => format!("can no longer be removed; {} freed", human(patch.freed)),
            };
            output.line(format!("{} {text}", patch.id))?;
        }
        if self.irremovable.len() > 1 {
            let (patches, freed) = (counted_patches(self.irremovable.len()), human(self.freed));
            let would_be = if self.result == ResultWord::Planned { " would be" } else { "" };
            output.line(format!("{patches}: {freed}{would_be} freed"))?;
        }
        if self.patches.is_empty() {
            output.line("nothing to do: there is no undo data to delete")?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}

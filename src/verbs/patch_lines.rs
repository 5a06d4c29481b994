//! The words of verbs about patches: one line for a change, three for a refusal (what did not happen, why, what to type
//! next), and a total for several patches.

use std::path::Path;

use super::meant::refusal_text;
use patchadm_cli::reply::change_entry::ChangeEntry;
use patchadm_cli::reply::exchange_entry::exchange_lines;
use patchadm_cli::reply::patch_entry::{PatchEntry, done_lines, in_use_lines, plan_text, refused_text};
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::shlibs;
use patchadm_cli::reply::unified_diff::print_difference;
use patchadm_cli::reply::words::{human, print_notes, print_recovery, reboot_sentence};
use patchadm_cli::reply::{CommandReport, Reply};
use patchadm_cli::surroundings::{Output, Shade};
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use serde::Serialize;

#[derive(Serialize)]
#[serde(transparent)]
struct PatchLines {
    report: PatchesReport,
    #[serde(skip)]
    root: Root,
}

pub(super) fn reply_of(root: &Root, report: PatchesReport) -> Reply {
    Reply::about(root, report.exit, PatchLines { report, root: root.clone() })
}

impl CommandReport for PatchLines {
    /// Prints each patch with its notes, and its plan in a dry run; then the total.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Self { report, root } = self;
        print_outcomes(root, report, output)?;
        for line in report.closing_lines() {
            output.line(line)?;
        }
        print_end(root, report, output)
    }
}

/// For an answer that has more to say.
pub(super) fn print_without_total(
    root: &Root,
    report: &PatchesReport,
    output: &mut Output,
) -> anyhow::Result<()> {
    print_outcomes(root, report, output)?;
    print_end(root, report, output)
}

/// Prints the plan before the question: a line per patch, the effect on locally modified files, and the total.
pub(super) fn print_summary(root: &Root, plan: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    print_beginning(plan, output)?;
    for entry in &plan.patches {
        if let Some(failed) = &entry.failure {
            print_failure(root, plan, (entry, failed), output)?;
        } else {
            print_change(plan.command, entry, output)?;
            for path in &entry.replaced_edits {
                output.line(format!("  replaces the locally modified {path}"))?;
            }
            print_merges_and_notes(entry, output)?;
        }
    }
    for line in plan.closing_lines() {
        output.line(line)?;
    }
    Ok(())
}

fn print_beginning(report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    print_recovery(output, report.recovered.as_deref(), &report.recovery_notes)?;
    for line in report.preparation.sentences(report.would_change.is_some()) {
        output.line(line)?;
    }
    Ok(())
}

fn print_outcomes(root: &Root, report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    print_beginning(report, output)?;
    for entry in &report.patches {
        match &entry.failure {
            Some(failed) => {
                print_failure(root, report, (entry, failed), output)?;
                if is_refusal(report, entry, failed) {
                    output.print(refused_text(root, entry))?;
                    print_texts(root, entry.refused_changes.iter().flatten(), output)?;
                }
            }
            None => print_patch((root, report), entry, output)?,
        }
    }
    let exchanged = (report.paths.as_slice(), report.holders.as_slice());
    for line in exchange_lines(exchanged, report.would_change.is_some()) {
        output.line(format!("note: {line}"))?;
    }
    print_notes(output, &report.notes)?;
    let zone = output.zone();
    for line in report.trial.iter().flat_map(|trial| trial.lines(zone)) {
        output.line(line)?;
    }
    Ok(())
}

fn print_end(root: &Root, report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    match &report.failure {
        Some(failed) => print_refusal(output, (root, report), "the patch", failed),
        None if report.patches.is_empty() && report.preparation.refresh.is_none() => {
            Ok(output.line(nothing_to_do(report.command))?)
        }
        None => Ok(()),
    }
}

/// True if a patch is neither idle nor kept back by another one.
fn is_refusal(report: &PatchesReport, entry: &PatchEntry, failed: &Failure) -> bool {
    let is_idle = entry.is_idle() && entry.exit != report.exit;
    !is_idle && !matches!(failed, Failure::NotTried(_) | Failure::NotWithout(_))
}

fn print_failure(
    root: &Root,
    report: &PatchesReport,
    (entry, failed): (&PatchEntry, &Failure),
    output: &mut Output,
) -> anyhow::Result<()> {
    let id = &entry.id;
    if is_refusal(report, entry, failed) {
        return print_refusal(output, (root, report), &format!("patch {id}"), failed);
    }
    let line = match failed {
        _ if entry.is_idle() => format!("{id}: nothing to do: {}", entry.reason),
        Failure::NotTried(_) => format!("{id}: {failed}"),
        _ => format!("{id}: not tried: {failed}"),
    };
    Ok(output.line(line)?)
}

/// The depot has nothing for the root, or nothing was applied after a point.
fn nothing_to_do(command: Command) -> &'static str {
    match command {
        Command::Patchrm => "nothing to do: there is no patch to remove",
        _ => "nothing to do: there is no patch to apply",
    }
}

fn print_refusal(
    output: &mut Output,
    (root, report): (&Root, &PatchesReport),
    subject: &str,
    failed: &Failure,
) -> anyhow::Result<()> {
    Ok(output.error(&refusal_text(root, (report.command, report.is_plan()), subject, failed))?)
}

fn print_texts<'c>(
    root: &Root,
    changes: impl Iterator<Item = &'c ChangeEntry>,
    output: &mut Output,
) -> anyhow::Result<()> {
    for change in changes {
        if let Some(difference) = &change.diff {
            print_difference(output, difference)?;
        }
        if let Some(reason) = &change.not_shown {
            output.line(format!("{}: not shown: {reason}", root.show(&change.path)))?;
        }
    }
    Ok(())
}

/// Prints a change, and the other patches that require it.
fn print_change(command: Command, entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    let PatchEntry { id, verdict, files, .. } = entry;
    let words = match command {
        Command::Patchrm if entry.is_planned() => "would be removed",
        _ if entry.is_planned() => "would be applied",
        _ => *verdict,
    };
    output.shaded(Some(Shade::Id), id)?;
    output.print(": ")?;
    output.shaded(Shade::of_state(verdict), words)?;
    output.line(format!(" ({}; {files}; {})", entry.packages.join(", "), human(entry.bytes)))?;
    if !entry.because.is_empty() {
        output.line(format!("  required by {}", entry.because.join(", ")))?;
    }
    Ok(())
}

fn print_merges_and_notes(entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    for sentence in entry.merge_sentences() {
        output.line(format!("  merge: {sentence}"))?;
    }
    for note in entry.edit_sentences().chain(entry.notes.iter().cloned()) {
        output.line(format!("  note: {note}"))?;
    }
    Ok(())
}

fn print_patch(
    (root, report): (&Root, &PatchesReport),
    entry: &PatchEntry,
    output: &mut Output,
) -> anyhow::Result<()> {
    print_change(report.command, entry, output)?;
    if output.is_verbose() {
        output.print(done_lines(root, entry))?;
    }
    if entry.is_planned() && entry.has_plan {
        output.print(plan_text(root, entry))?;
        print_texts(root, entry.changes.iter().flatten(), output)?;
    } else {
        print_merges_and_notes(entry, output)?;
    }
    for sentence in shlibs::sentences(&entry.kept_shlibs) {
        output.line(format!("  {sentence}"))?;
    }
    output.print(in_use_lines(&entry.in_use))?;
    if let Some(sentence) = reboot_sentence(entry.reboot) {
        let is_of_machine = root.prefix() == Path::new("/");
        let sentence = match (report.is_plan(), is_of_machine) {
            (true, _) => "The patch would require a reboot.",
            (false, false) => "The patch requires a reboot of the system in this root.",
            (false, true) => sentence,
        };
        output.line(format!("  {sentence}"))?;
    }
    Ok(())
}

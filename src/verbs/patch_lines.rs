//! The words of the verbs about patches. A change is one line per patch; a refusal is three: what did not happen, why,
//! and what to type next. Nothing is ever prompted.

use super::meant::refusal_text;
use patchadm_cli::reply::exchange_entry::exchange_lines;
use patchadm_cli::reply::patch_entry::PatchEntry;
use patchadm_cli::reply::patch_text::{done_lines, in_use_lines, plan_text, refused_text};
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::trial_entry::TrialEntry;
use patchadm_cli::reply::unified_diff::print_difference;
use patchadm_cli::reply::words::{human, print_notes, print_recovery, reboot_sentence};
use patchadm_cli::surroundings::{Output, Shade};
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

/// Prints a report: of each patch its line or its refusal, its notes, its plan where it is only planned.
pub(super) fn print_report(root: &Root, report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    print_recovery(output, report.recovered.as_deref(), &report.recovery_notes)?;
    for line in report.preparation.sentences(report.would_change.is_some()) {
        output.line(line)?;
    }
    for entry in &report.patches {
        match &entry.failure {
            Some(_) if entry.is_idle() && entry.exit != report.exit => {
                output.line(format!("{}: nothing to do: {}", entry.id, entry.reason))?;
            }
            Some(failed @ Failure::NotTried(_)) => output.line(format!("{}: {failed}", entry.id))?,
            Some(failed @ Failure::NotWithout(_)) => {
                output.line(format!("{}: not tried: {failed}", entry.id))?;
            }
            Some(failed) => {
                print_refusal(output, (root, report.command), &format!("patch {}", entry.id), failed)?;
                output.print(refused_text(root, entry))?;
            }
            None => print_patch(root, entry, output)?,
        }
    }
    let exchanged = (report.paths.as_slice(), report.holders.as_slice());
    for line in exchange_lines(exchanged, report.would_change.is_some()) {
        output.line(format!("note: {line}"))?;
    }
    print_notes(output, &report.notes)?;
    for line in report.trial.iter().flat_map(TrialEntry::lines) {
        output.line(line)?;
    }
    match &report.failure {
        Some(failed) => print_refusal(output, (root, report.command), "the patch", failed),
        None if report.patches.is_empty() && report.preparation.refresh.is_none() => {
            Ok(output.line(nothing_to_do(report.command))?)
        }
        None => Ok(()),
    }
}

/// Returns the line if a depot has nothing for the root, or if nothing was applied after a point.
fn nothing_to_do(command: Command) -> &'static str {
    match command {
        Command::Patchrm => "nothing to do: there is no patch to remove",
        _ => "nothing to do: there is no patch to apply",
    }
}

fn print_refusal(
    output: &mut Output,
    (root, command): (&Root, Command),
    subject: &str,
    failed: &Failure,
) -> anyhow::Result<()> {
    Ok(output.error(&refusal_text(root, command, subject, failed))?)
}

/// Prints the differences of texts, and of which files none is shown.
fn print_texts(root: &Root, entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    for change in entry.changes.iter().flatten() {
        if let Some(difference) = &change.diff {
            print_difference(output, difference)?;
        }
        if let Some(reason) = &change.not_shown {
            output.line(format!("{}: not shown: {reason}", root.show(&change.path)))?;
        }
    }
    Ok(())
}

fn print_patch(root: &Root, entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    let PatchEntry { id, verdict, files, .. } = entry;
    output.shaded(Some(Shade::Id), id)?;
    output.print(": ")?;
    output.shaded(Shade::of_state(verdict), verdict)?;
    output.line(format!(" ({}; {files}; {})", entry.packages.join(", "), human(entry.bytes)))?;
    if !entry.because.is_empty() {
        output.line(format!("  required by {}", entry.because.join(", ")))?;
    }
    if output.is_verbose() {
        output.print(done_lines(root, entry))?;
    }
    if *verdict == "planned" && entry.has_plan {
        output.print(plan_text(root, entry))?;
        print_texts(root, entry, output)?;
    } else {
        for merge in &entry.merges {
            output.line(format!("  merge: {}", merge.sentence()))?;
        }
        for note in &entry.notes {
            output.line(format!("  note: {note}"))?;
        }
    }
    for sentence in entry.kept_shlibs.sentences() {
        output.line(format!("  {sentence}"))?;
    }
    output.print(in_use_lines(&entry.in_use))?;
    if let Some(sentence) = reboot_sentence(entry.reboot) {
        output.line(format!("  {sentence}"))?;
    }
    Ok(())
}

use super::root_report::{
    RootBody, RootClass, RootReport, failure_line, in_one_line, locked_reason, without_root,
};
use patchadm_cli::reply::Exit;
use patchadm_cli::reply::exchange_entry::exchange_lines;
use patchadm_cli::reply::merge_entry::MergeEntry;
use patchadm_cli::reply::patch_entry::PatchEntry;
use patchadm_cli::reply::patch_text::{done_lines, in_use_lines};
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::surroundings::Zone;
use patchadm_rootfs::Root;

/// Returns the report about a root from that of its patches, with a line for each path if it `is_verbose`. Moments are shown
/// in `zone`.
pub(crate) fn of_patches(
    root: &Root,
    report: PatchesReport,
    (is_verbose, zone): (bool, Zone),
) -> RootReport<PatchesReport> {
    let exit = report.exit;
    let line = match &report.error {
        Some(error) => failure_line(exit, error),
        None if report.patches.is_empty() => "there is no patch to apply".to_owned(),
        None => report.patches.iter().map(patch_line).collect::<Vec<_>>().join("; "),
    };
    let well = || report.patches.iter().filter(|patch| patch.exit == Exit::OK);
    // A caller who cannot change the root has seen the plan for it.
    let planned = report.patches.iter().filter(|_| report.error.is_some()).map(patch_line);
    let merges: Vec<String> = well().flat_map(|patch| &patch.merges).map(MergeEntry::sentence).collect();
    let notes = report.recovered.iter().chain(&merges);
    let notes = notes.chain(well().flat_map(|patch| &patch.notes)).chain(&report.notes);
    let exchanged = (report.paths.as_slice(), report.holders.as_slice());
    let exchanged = exchange_lines(exchanged, report.would_change.is_some());
    let trial = report.trial.iter().flat_map(|trial| trial.lines(zone)).collect::<Vec<_>>();
    let in_use: String = well().map(|patch| in_use_lines(&patch.in_use)).collect();
    let paths: String =
        report.patches.iter().filter(|_| is_verbose).map(|patch| done_lines(root, patch)).collect();
    let failed = report.patches.iter().find(|patch| patch.has_failed()).map(patch_line);
    let reason = || without_root(&failed.unwrap_or_else(|| line.clone()), root.prefix());
    RootReport {
        class: class(&report),
        advice: report.advice.clone(),
        result: report.result,
        exit,
        notes: planned
            .chain(notes.map(|note| format!("note: {note}")))
            .chain(trial)
            .chain(exchanged.iter().map(|line| format!("note: {line}")))
            .chain(in_use.lines().chain(paths.lines().map(str::trim_start)).map(str::to_owned))
            .collect(),
        reason: (exit != Exit::OK).then(|| locked_reason(exit).unwrap_or_else(reason)),
        line,
        reboots: well().filter_map(|patch| patch.reboot).collect(),
        changed: report.changed,
        would_change: report.would_change.unwrap_or_default(),
        body: RootBody::Worked(report),
    }
}

fn class(report: &PatchesReport) -> RootClass {
    let failed = report.patches.iter().filter(|patch| patch.has_failed());
    if report.error.is_some() || failed.clone().any(|patch| patch.verdict != "refused") {
        RootClass::Failed
    } else if failed.count() > 0 {
        RootClass::Refused
    } else if report.patches.iter().any(|patch| patch.exit == Exit::OK) {
        RootClass::Done
    } else if !report.patches.is_empty()
        && report.patches.iter().all(|patch| patch.verdict == "not-applicable")
    {
        RootClass::NotApplicable
    } else {
        RootClass::Idle
    }
}

fn patch_line(patch: &PatchEntry) -> String {
    let PatchEntry { id, verdict, code, reason, files, .. } = patch;
    if patch.has_failed() {
        format!("{id} {verdict} ({code}): {}", in_one_line(reason))
    } else if patch.is_idle() || patch.is_untried() {
        format!("{id} {verdict}")
    } else {
        format!("{id} {verdict} ({files})")
    }
}

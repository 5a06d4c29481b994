//! The runs of a root as a page for a browser.

use super::{BY_HOOK, HistoryReport, RunEntry};
use patchadm_cli::reply::page::{
    PageCell, PageList, PagePart, PageRow, PageStory, PageTable, TablePage, html_of_tables,
};
use patchadm_rootfs::Root;

/// The columns of the table of runs.
const COLUMNS: [&str; 9] =
    ["Run", "Began", "By", "Command", "Result", "Patches", "Packages", "Took (ms)", "Remarks"];

/// The kinds of runs that a reader can choose among.
const KINDS: [(&str, &str); 3] =
    [("done", "done"), ("other", "that ended otherwise"), ("undone", "that were undone")];

/// Returns the page.
pub(super) fn page_of(root: &Root, machine: &str, report: &HistoryReport) -> String {
    let facts = [
        ("Machine", machine.to_owned()),
        ("Root", root.prefix().display().to_string()),
        ("Runs", report.runs.len().to_string()),
    ];
    let main = match (report.is_one, report.runs.as_slice()) {
        (true, [run]) => one(run),
        (_, runs) => all(runs),
    };
    let parts = [notes(report), Some(main)];
    html_of_tables(&TablePage {
        title: format!("History of {machine}"),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        skip: "To the runs",
        parts: parts.into_iter().flatten().collect(),
    })
}

fn notes(report: &HistoryReport) -> Option<PagePart> {
    let remarks = report.remarks.clone();
    (!remarks.is_empty()).then(|| PagePart { heading: "Notes".to_owned(), remarks, ..PagePart::default() })
}

/// Returns everything about one run.
fn one(run: &RunEntry) -> PagePart {
    let facts = run.lines().into_iter().filter(|(name, value)| !value.is_empty() && *name != "Log");
    let story = PageStory {
        heading: format!("{}: {}", run.command, run.result),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).collect(),
        lines: run.logs.iter().flatten().cloned().collect(),
        ..PageStory::default()
    };
    PagePart { heading: format!("Run {}", run.run), stories: vec![story], ..PagePart::default() }
}

fn all(runs: &[RunEntry]) -> PagePart {
    let heading = "Runs".to_owned();
    if runs.is_empty() {
        return PagePart { heading, remarks: vec!["No run is recorded.".to_owned()], ..PagePart::default() };
    }
    let table = PageTable {
        caption: format!("{} runs", runs.len()),
        columns: COLUMNS.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows: runs.iter().map(row).collect(),
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

fn row(run: &RunEntry) -> PageRow {
    let is_done = run.result == "done";
    let mut kinds = vec![if is_done { "done" } else { "other" }];
    kinds.extend(run.undone_by.as_ref().map(|_| "undone"));
    let remarks = [
        run.note.clone(),
        run.undoes.as_ref().map(|run| format!("takes back {run}")),
        run.undone_by.as_ref().map(|by| format!("undone by {by}")),
        run.hook.then(|| BY_HOOK.to_owned()),
        run.on_trial.as_ref().map(|trial| trial.sentence.clone()),
        run.trial_end.as_ref().map(|end| format!("run {}: {}", end.run, end.told())),
    ];
    let cells = vec![
        PageCell { key: run.number().parse().ok(), ..PageCell::of(run.number()) },
        PageCell { class: "moment", ..PageCell::of(&run.time) },
        PageCell::of(&run.user),
        PageCell::of(&run.command),
        PageCell { class: if is_done { "fine" } else { "warning" }, ..PageCell::of(&run.result) },
        PageCell::of_list(PageList { names: run.patches.clone(), more: 0 }),
        PageCell::of_list(PageList { names: run.packages.clone(), more: 0 }),
        PageCell::of_number(Some(run.duration_ms), |duration| duration.to_string()),
        PageCell::of(remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")),
    ];
    PageRow { kind: kinds.join(" ").into(), cells }
}

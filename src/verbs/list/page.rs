//! The patches of a root as a page for a browser.

use patchadm_cli::reply::listed_patch::ListedPatch;
use patchadm_cli::reply::page::{PageCell, PagePart, PageRow, PageTable, TablePage, html_of_tables};
use patchadm_cli::reply::patch_list::ListReport;
use patchadm_cli::reply::undo::undo_in_brief;
use patchadm_rootfs::Root;

/// The columns of the table of patches.
const COLUMNS: [&str; 8] =
    ["Patch", "State", "Applied", "Synopsis", "Undo data", "Backout", "Signature", "Packages"];

/// The kinds of patches that a reader can choose among.
const KINDS: [(&str, &str); 6] = [
    ("effective", "in force"),
    ("replaced", "superseded or obsoleted"),
    ("trial", "on trial"),
    ("lost", "lost"),
    ("stuck", "that cannot be backed out"),
    ("damaged", "with damaged undo data"),
];

/// Returns the page.
pub(super) fn page_of(root: &Root, report: &ListReport) -> String {
    let facts = [
        ("Machine", report.machine.clone()),
        ("Root", root.prefix().display().to_string()),
        ("Listed", report.at.clone()),
        ("Patches", report.patches.len().to_string()),
        ("In force", report.patches.iter().filter(|patch| has_state(patch, "effective")).count().to_string()),
        ("Interrupted run", report.unfinished.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    let parts = [attention(report), Some(patches(report)), overtaken(report)];
    html_of_tables(&TablePage {
        title: format!("Patches of {}", report.machine),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        skip: "To the tables",
        parts: parts.into_iter().flatten().collect(),
    })
}

fn has_state(patch: &ListedPatch, word: &str) -> bool {
    patch.state.contains(&word)
}

/// Returns what a refresh or the operator has to take up.
fn attention(report: &ListReport) -> Option<PagePart> {
    let row = |about: &str, what: &str, words: &str, class: &'static str| PageRow {
        cells: vec![PageCell::of(about), PageCell { class, ..PageCell::of(what) }, PageCell::of(words)],
        ..PageRow::default()
    };
    let lost = report.native.lost().map(|(id, told)| row(id, "lost fix", told, "warning"));
    let stale =
        report.native.stale().map(|(package, reason)| row(package, "stale registration", reason, "missing"));
    let trial = report.patches.iter().find_map(|patch| patch.trial.as_ref());
    let trial = trial.map(|trial| row(&trial.run, "on trial", &trial.sentence, "quiet"));
    let rows: Vec<PageRow> = lost.chain(stale).chain(trial).collect();
    if rows.is_empty() && report.remarks.is_empty() {
        return None;
    }
    let columns = ["About", "What", "In words"].map(Into::into).to_vec();
    let table = PageTable { caption: "Findings".to_owned(), columns, rows, ..PageTable::default() };
    Some(PagePart {
        heading: "What needs attention".to_owned(),
        remarks: report.remarks.clone(),
        table: (!table.rows.is_empty()).then_some(table),
        ..PagePart::default()
    })
}

fn patches(report: &ListReport) -> PagePart {
    let rows: Vec<PageRow> = report.patches.iter().map(row).collect();
    let heading = "Patches".to_owned();
    if rows.is_empty() {
        return PagePart { heading, remarks: vec![report.empty()], ..PagePart::default() };
    }
    let table = PageTable {
        caption: format!("{} patches", rows.len()),
        columns: COLUMNS.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows,
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

fn row(patch: &ListedPatch) -> PageRow {
    let is_damaged = patch.undo.iter().any(|undo| matches!(undo.state, "damaged" | "lost"));
    let is_replaced = has_state(patch, "superseded") || has_state(patch, "obsoleted");
    let kinds = [
        (has_state(patch, "effective"), "effective"),
        (is_replaced, "replaced"),
        (patch.trial.is_some(), "trial"),
        (has_state(patch, "lost"), "lost"),
        (!patch.removable.now, "stuck"),
        (is_damaged, "damaged"),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
    let colour = match () {
        () if has_state(patch, "lost") || has_state(patch, "interrupted") => "warning",
        () if has_state(patch, "effective") => "fine",
        () => "quiet",
    };
    // To the minute, in the time zone in which it is recorded.
    let date = patch.date.as_ref().and_then(|date| date.get(..16)).map(|date| date.replace('T', " "));
    let date = date.or_else(|| patch.date_text.clone()).unwrap_or_default();
    let signature = patch.signature.as_ref().map(|signature| signature.state.clone()).unwrap_or_default();
    let backout = patch.removable.reason.clone().unwrap_or_else(|| "possible".to_owned());
    let cells = vec![
        PageCell::of(&patch.id),
        PageCell { class: colour, ..PageCell::of(patch.state_text()) },
        PageCell { class: "moment", ..PageCell::of(date) },
        PageCell { class: "synopsis", ..PageCell::of(patch.synopsis.clone().unwrap_or_default()) },
        PageCell {
            class: if is_damaged { "warning" } else { "" },
            ..PageCell::of(undo_in_brief(&patch.undo))
        },
        PageCell::of(backout),
        PageCell::of(signature),
        PageCell::of(patch.packages.join(", ")),
    ];
    PageRow { kind: kinds.join(" ").into(), cells }
}

/// Returns the patches that ended because dpkg or rpm changed their package.
fn overtaken(report: &ListReport) -> Option<PagePart> {
    let rows = report.overtaken.iter().map(|one| PageRow {
        cells: vec![PageCell::of(&one.id), PageCell::of(&one.told)],
        ..PageRow::default()
    });
    let rows: Vec<PageRow> = rows.collect();
    let columns = ["Patch", "End"].map(Into::into).to_vec();
    let caption = "Patches that ended because dpkg or rpm changed their package".to_owned();
    let table = PageTable { caption, columns, rows, ..PageTable::default() };
    (!table.rows.is_empty()).then(|| PagePart {
        heading: "Overtaken".to_owned(),
        table: Some(table),
        ..PagePart::default()
    })
}

//! The applied patches of a root.

use patchadm_cli::reply::words::human;
use patchadm_pages::{PageCell, PagePart, PageRow, PageTable};
use serde_json::Value;

use super::{Fields as _, PageHead, ended, trial_words};

const COLUMNS: [&str; 8] =
    ["Patch", "State", "Applied", "Synopsis", "Undo data", "Removal", "Signature", "Packages"];

const KINDS: [(&str, &str); 6] = [
    ("effective", "in force"),
    ("replaced", "superseded or obsoleted"),
    ("trial", "on trial"),
    ("lost", "lost"),
    ("stuck", "that cannot be removed"),
    ("damaged", "with damaged undo data"),
];

pub(super) fn head(document: &Value) -> PageHead {
    let patches = document.items("patches");
    let in_force = patches.iter().filter(|patch| has_state(patch, "effective")).count();
    let facts = vec![
        ("Machine", document.text("machine").to_owned()),
        ("Root", document.text("root").to_owned()),
        ("Listed", document.text("at").to_owned()),
        ("Patches", patches.len().to_string()),
        ("In force", in_force.to_string()),
        ("Interrupted run", document.some_text("unfinished").unwrap_or_else(|| "none".to_owned())),
    ];
    PageHead { title: format!("Patches of {}", document.text("machine")), facts, skip: "Skip to the tables" }
}

pub(super) fn parts(document: &Value) -> Vec<PagePart> {
    let parts = [attention(document), Some(patches(document)), overtaken(document)];
    parts.into_iter().flatten().collect()
}

fn has_state(patch: &Value, word: &str) -> bool {
    patch.items("state").iter().any(|state| state == word)
}

/// Everything that the operator has to look at.
fn attention(document: &Value) -> Option<PagePart> {
    let row = |about: &str, what: &str, words: &str, class: &'static str| PageRow {
        cells: vec![PageCell::of(about), PageCell { class, ..PageCell::of(what) }, PageCell::of(words)],
        ..PageRow::default()
    };
    let lost =
        document.items("lost").iter().map(|lost| row(lost.text("id"), "lost fix", &ended(lost), "warning"));
    let stale = document
        .items("stale")
        .iter()
        .map(|stale| row(stale.text("package"), "stale registration", stale.text("reason"), "missing"));
    let trial = document
        .items("patches")
        .iter()
        .find_map(|patch| trial_words(patch.object("trial")).zip(Some(patch)));
    let trial =
        trial.map(|(words, patch)| row(patch.object("trial").text("run"), "on trial", &words, "quiet"));
    let rows: Vec<PageRow> = lost.chain(stale).chain(trial).collect();
    let columns = ["About", "What", "In words"].map(Into::into).to_vec();
    let table = PageTable { caption: "Findings".to_owned(), columns, rows, ..PageTable::default() };
    (!table.rows.is_empty()).then(|| PagePart {
        heading: "Needs attention".to_owned(),
        table: Some(table),
        ..PagePart::default()
    })
}

fn patches(document: &Value) -> PagePart {
    let rows: Vec<PageRow> = document.items("patches").iter().map(row).collect();
    let heading = "Patches".to_owned();
    if rows.is_empty() {
        let remarks = vec!["No patches are listed.".to_owned()];
        return PagePart { heading, remarks, ..PagePart::default() };
    }
    let table = PageTable {
        caption: format!("{} patches", rows.len()),
        columns: COLUMNS.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows,
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

fn row(patch: &Value) -> PageRow {
    let undo = patch.items("undo");
    let is_damaged = undo.iter().any(|undo| matches!(undo.text("state"), "damaged" | "lost"));
    let removable = patch.object("removable");
    let kinds = [
        (has_state(patch, "effective"), "effective"),
        (has_state(patch, "superseded") || has_state(patch, "obsoleted"), "replaced"),
        (patch.object("trial").is_object(), "trial"),
        (has_state(patch, "lost"), "lost"),
        (removable.is_object() && !removable.is_true("now"), "stuck"),
        (is_damaged, "damaged"),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
    let color = match () {
        () if has_state(patch, "lost") || has_state(patch, "interrupted") => "warning",
        () if has_state(patch, "effective") => "fine",
        () => "quiet",
    };
    let date = patch.some_text("date").or_else(|| patch.some_text("date_text")).unwrap_or_default();
    let removal = removable.some_text("reason").unwrap_or_else(|| "possible".to_owned());
    let cells = vec![
        PageCell::of(patch.text("id")),
        PageCell { class: color, ..PageCell::of(state(patch)) },
        PageCell { class: "moment", ..PageCell::of(date) },
        PageCell { class: "synopsis", ..PageCell::of(patch.text("synopsis")) },
        PageCell { class: if is_damaged { "warning" } else { "" }, ..PageCell::of(undo_data(undo)) },
        PageCell::of(removal),
        PageCell::of(patch.object("signature").text("state")),
        PageCell::of(patch.texts("packages").join(", ")),
    ];
    PageRow { kind: kinds.join(" ").into(), cells }
}

/// With the patch that causes it, or the change by dpkg or rpm.
fn state(patch: &Value) -> String {
    patch.some_text("native").unwrap_or_else(|| {
        let by = patch.some_text("by").map(|by| format!(" by {by}")).unwrap_or_default();
        format!("{}{by}", patch.texts("state").join(", ").replace('-', " "))
    })
}

/// The worst state of undo data, else its size.
fn undo_data(undo: &[Value]) -> String {
    let has = |state: &str| undo.iter().any(|one| one.text("state") == state);
    let worst = ["lost", "damaged", "exported", "committed"].into_iter().find(|state| has(state));
    match worst {
        Some("committed") => "dropped".to_owned(),
        Some(state) => state.to_owned(),
        None if !has("saved") && !has("classic") => "none".to_owned(),
        None => match undo.iter().filter_map(|one| one.number("bytes")).fold(0, u64::saturating_add) {
            0 => "elsewhere".to_owned(),
            bytes => human(bytes),
        },
    }
}

/// Patches that ended because dpkg or rpm changed their package.
fn overtaken(document: &Value) -> Option<PagePart> {
    let rows = document.items("overtaken").iter().map(|one| PageRow {
        cells: vec![PageCell::of(one.text("id")), PageCell::of(ended(one))],
        ..PageRow::default()
    });
    let columns = ["Patch", "End"].map(Into::into).to_vec();
    let caption = "Patches that ended because dpkg or rpm changed their package".to_owned();
    let table = PageTable { caption, columns, rows: rows.collect(), ..PageTable::default() };
    (!table.rows.is_empty()).then(|| PagePart {
        heading: "Overtaken".to_owned(),
        table: Some(table),
        ..PagePart::default()
    })
}

//! Effects of applying or removing patches.

use patchadm_cli::reply::words::human;
use patchadm_pages::{PageCell, PageList, PagePart, PageRow, PageTable};
use serde_json::Value;

use super::{Fields as _, PageHead, id_of};

/// Listed objects of a patch; the rest is counted.
const MOST_OBJECTS: usize = 2_000;

const KINDS: [(&str, &str); 3] =
    [("planned", "planned"), ("idle", "with nothing to do"), ("refused", "refused")];

/// Verdicts without anything to do.
const IDLE: [&str; 4] = ["already-applied", "superseded", "obsoleted", "not-applicable"];

pub(super) fn head(document: &Value) -> PageHead {
    let root = document.text("root").to_owned();
    let title = format!("Plan for {root}");
    let facts = vec![
        ("Root", root),
        ("Result", document.text("result").to_owned()),
        ("Patches", document.items("patches").len().to_string()),
        ("Would change the root", if document.is_true("would_change") { "yes" } else { "no" }.to_owned()),
    ];
    PageHead { title, facts, skip: "Skip to the patches" }
}

pub(super) fn parts(document: &Value) -> Vec<PagePart> {
    let details = document.items("patches").iter().filter_map(objects);
    let parts = [notes(document), Some(patches(document)), scripts(document), space(document)];
    parts.into_iter().flatten().chain(details).collect()
}

fn notes(document: &Value) -> Option<PagePart> {
    let of_patches = document
        .items("patches")
        .iter()
        .flat_map(|patch| patch.texts("notes").into_iter().map(|note| format!("{}: {note}", id_of(patch))));
    let all = ["error", "recovered"].into_iter().filter_map(|name| document.some_text(name));
    let remarks = all.chain(document.texts("advice")).chain(document.texts("notes")).chain(of_patches);
    let remarks: Vec<String> = remarks.collect();
    (!remarks.is_empty()).then(|| PagePart { heading: "Notes".to_owned(), remarks, ..PagePart::default() })
}

/// An unsortable table; `None` without rows.
fn plain(heading: String, caption: String, columns: &[&'static str], rows: Vec<PageRow>) -> Option<PagePart> {
    let columns = columns.iter().copied().map(Into::into).collect();
    let table = PageTable { caption, columns, kinds: Vec::new(), rows };
    (!table.rows.is_empty()).then(|| PagePart { heading, table: Some(table), ..PagePart::default() })
}

fn patches(document: &Value) -> PagePart {
    let heading = "Patches".to_owned();
    let columns = ["Patch", "Verdict", "Reason", "Objects", "New bytes", "Reboot", "Packages"];
    let rows = document.items("patches").iter().map(|patch| {
        let verdict = patch.text("verdict");
        let (kind, class) = match verdict {
            "planned" => ("planned", "fine"),
            idle if IDLE.contains(&idle) => ("idle", "quiet"),
            _ => ("refused", "warning"),
        };
        let cells = vec![
            PageCell::of(patch.text("id")),
            PageCell { class, ..PageCell::of(verdict.replace('-', " ")) },
            PageCell::of(patch.text("reason")),
            PageCell::of(counts(patch.object("files"))),
            PageCell::of_number(patch.number("bytes"), human),
            PageCell::of(patch.some_text("reboot").unwrap_or_else(|| "none".to_owned())),
            PageCell::of_list(PageList { names: patch.texts("packages"), more: 0 }),
        ];
        PageRow { kind: kind.into(), cells }
    });
    let table = PageTable {
        caption: "Patches, in the order of the plan".to_owned(),
        columns: columns.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows: rows.collect(),
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

fn counts(files: &Value) -> String {
    let words = ["replaced", "added", "deleted", "kept"].into_iter().filter_map(|word| {
        files.number(word).filter(|number| *number > 0).map(|number| format!("{number} {word}"))
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Scripts to run, objects with privileges, and programs in use.
fn scripts(document: &Value) -> Option<PagePart> {
    let row = |patch: &Value, what: &str, name: &str, words: String| PageRow {
        cells: vec![PageCell::of(id_of(patch)), PageCell::of(what), PageCell::of(name), PageCell::of(words)],
        ..PageRow::default()
    };
    let rows = document.items("patches").iter().flat_map(|patch| {
        let scripts = patch.items("scripts").iter().map(move |script| {
            let owner = script.some_text("package").unwrap_or_else(|| "the patch".to_owned());
            row(patch, "script", script.text("name"), format!("of {owner}: {}", script.text("why")))
        });
        let granted = patch.items("privileged").iter().map(move |grant| {
            let owner = format!("{} {}:{}", grant.text("mode"), grant.text("owner"), grant.text("group"));
            row(patch, grant.text("kind"), grant.text("path"), owner)
        });
        let used = patch.items("in_use").iter().map(move |user| {
            let process = user.number("process").unwrap_or_default();
            let words = format!("process {process}: {}", user.texts("paths").join(", "));
            row(patch, "in use", user.text("program"), words)
        });
        scripts.chain(granted).chain(used)
    });
    let caption = "Scripts that would run, set-id programs and devices, and programs in use".to_owned();
    plain(
        "Scripts and privileges".to_owned(),
        caption,
        &["Patch", "What", "Name", "In words"],
        rows.collect(),
    )
}

fn space(document: &Value) -> Option<PagePart> {
    let rows = document.items("patches").iter().flat_map(|patch| {
        patch.items("space").iter().map(|space| PageRow {
            cells: vec![
                PageCell::of(id_of(patch)),
                PageCell::of(space.text("file_system")),
                PageCell::of_number(space.number("needed"), human),
                PageCell::of_number(space.number("free"), human),
            ],
            ..PageRow::default()
        })
    });
    let caption = "Space on file systems, at most".to_owned();
    plain("Space".to_owned(), caption, &["Patch", "File system", "Needed", "Free"], rows.collect())
}

fn objects(patch: &Value) -> Option<PagePart> {
    let changes = patch.items("changes");
    let row = |change: &Value| PageRow {
        cells: vec![
            PageCell::of(change.text("path")),
            PageCell::of(change.text("action").replace('-', " ")),
            PageCell::of(change.text("package")),
            PageCell::of_number(change.number("size"), human),
        ],
        ..PageRow::default()
    };
    let caption = match changes.len().saturating_sub(MOST_OBJECTS) {
        0 => format!("{} objects", changes.len()),
        more => format!("{MOST_OBJECTS} objects, and {more} more in the document"),
    };
    let rows = changes.iter().take(MOST_OBJECTS).map(row).collect();
    plain(format!("Objects of {}", id_of(patch)), caption, &["Object", "Action", "Package", "Size"], rows)
}

//! A plan as a page for a browser.

use patchadm_cli::reply::change_entry::ChangeEntry;
use patchadm_cli::reply::page::{
    PageCell, PageList, PagePart, PageRow, PageTable, TablePage, html_of_tables,
};
use patchadm_cli::reply::patch_entry::PatchEntry;
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::words::human;
use patchadm_rootfs::Root;

/// The most objects of a patch that are listed; the rest is counted.
const MOST_OBJECTS: usize = 2_000;

/// The kinds of patches that a reader can choose among.
const KINDS: [(&str, &str); 3] =
    [("planned", "planned"), ("idle", "with nothing to do"), ("refused", "refused")];

/// Returns the page.
pub(super) fn page_of(root: &Root, report: &PatchesReport, made: String) -> String {
    let facts = [
        ("Made", made),
        ("Root", root.prefix().display().to_string()),
        ("Result", report.result.word().to_owned()),
        ("Patches", report.patches.len().to_string()),
        ("Would change the root", if report.would_change == Some(true) { "yes" } else { "no" }.to_owned()),
    ];
    let details = report.patches.iter().filter_map(objects);
    let parts = [notes(report), Some(patches(report)), scripts(report), space(report)];
    html_of_tables(&TablePage {
        title: format!("Plan for {}", root.prefix().display()),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        skip: "To the patches",
        parts: parts.into_iter().flatten().chain(details).collect(),
    })
}

fn notes(report: &PatchesReport) -> Option<PagePart> {
    let of_patches = report
        .patches
        .iter()
        .flat_map(|patch| patch.notes.iter().map(|note| format!("{}: {note}", patch.id)));
    let all = [&report.error, &report.recovered].into_iter().flatten().cloned();
    let all = all.chain(report.advice.iter().cloned()).chain(report.notes.iter().cloned());
    let remarks: Vec<String> = all.chain(of_patches).collect();
    (!remarks.is_empty()).then(|| PagePart { heading: "Notes".to_owned(), remarks, ..PagePart::default() })
}

/// Returns a part with a table that nobody sorts; none without rows.
fn plain(heading: String, caption: String, columns: &[&'static str], rows: Vec<PageRow>) -> Option<PagePart> {
    let columns = columns.iter().copied().map(Into::into).collect();
    let table = PageTable { caption, columns, kinds: Vec::new(), rows };
    (!table.rows.is_empty()).then(|| PagePart { heading, table: Some(table), ..PagePart::default() })
}

fn patches(report: &PatchesReport) -> PagePart {
    let heading = "Patches".to_owned();
    let columns = ["Patch", "Verdict", "Reason", "Objects", "New bytes", "Reboot", "Packages"];
    let rows = report.patches.iter().map(|patch| {
        let (kind, class) = match () {
            () if patch.is_planned() => ("planned", "fine"),
            () if patch.is_idle() => ("idle", "quiet"),
            () => ("refused", "warning"),
        };
        let cells = vec![
            PageCell::of(&patch.id),
            PageCell { class, ..PageCell::of(patch.verdict.replace('-', " ")) },
            PageCell::of(&patch.reason),
            PageCell::of(patch.files.to_string()),
            PageCell::of_number(Some(patch.bytes), human),
            PageCell::of(patch.reboot.unwrap_or("none")),
            PageCell::of_list(PageList { names: patch.packages.clone(), more: 0 }),
        ];
        PageRow { kind: kind.into(), cells }
    });
    let table = PageTable {
        caption: "Patches, in the order in which they would be taken".to_owned(),
        columns: columns.map(Into::into).to_vec(),
        kinds: KINDS.to_vec(),
        rows: rows.collect(),
    };
    PagePart { heading, table: Some(table), ..PagePart::default() }
}

/// Returns what runs, and what gets more rights.
fn scripts(report: &PatchesReport) -> Option<PagePart> {
    let row = |patch: &PatchEntry, what: &str, name: String, words: String| PageRow {
        cells: vec![PageCell::of(&patch.id), PageCell::of(what), PageCell::of(name), PageCell::of(words)],
        ..PageRow::default()
    };
    let rows = report.patches.iter().flat_map(|patch| {
        let scripts = patch.scripts.iter().map(move |script| {
            let owner = script.package.as_deref().unwrap_or("the patch");
            row(patch, "script", script.name.clone(), format!("of {owner}: {}", script.why))
        });
        let granted = patch.privileged.iter().map(move |grant| {
            let owner = format!("{} {}:{}", grant.mode, grant.owner, grant.group);
            row(patch, grant.kind, grant.path.to_string(), owner)
        });
        let used = patch.in_use.iter().map(move |user| {
            row(
                patch,
                "in use",
                user.program.clone(),
                format!("process {}: {}", user.process, user.paths.join(", ")),
            )
        });
        scripts.chain(granted).chain(used)
    });
    let caption = "Scripts that would run, set-id programs and devices, and programs in use".to_owned();
    plain("Scripts and rights".to_owned(), caption, &["Patch", "What", "Name", "In words"], rows.collect())
}

fn space(report: &PatchesReport) -> Option<PagePart> {
    let rows = report.patches.iter().flat_map(|patch| {
        patch.space.iter().map(|space| PageRow {
            cells: vec![
                PageCell::of(&patch.id),
                PageCell::of(&space.file_system),
                PageCell::of_number(Some(space.needed), human),
                PageCell::of_number(Some(space.free), human),
            ],
            ..PageRow::default()
        })
    });
    let caption = "Space on file systems, at most".to_owned();
    plain("Space".to_owned(), caption, &["Patch", "File system", "Needed", "Free"], rows.collect())
}

/// Returns the objects that a patch would change.
fn objects(patch: &PatchEntry) -> Option<PagePart> {
    let changes = patch.changes.as_ref().filter(|changes| !changes.is_empty())?;
    let row = |change: &ChangeEntry| PageRow {
        cells: vec![
            PageCell::of(change.path.to_string()),
            PageCell::of(change.action.replace('-', " ")),
            PageCell::of(change.package.to_string()),
            PageCell::of_number(change.size, human),
        ],
        ..PageRow::default()
    };
    let caption = match changes.len().saturating_sub(MOST_OBJECTS) {
        0 => format!("{} objects", changes.len()),
        more => format!("{MOST_OBJECTS} objects, and {more} more, which plan --json lists"),
    };
    let rows = changes.iter().take(MOST_OBJECTS).map(row).collect();
    plain(format!("Objects of {}", patch.id), caption, &["Object", "Action", "Package", "Size"], rows)
}

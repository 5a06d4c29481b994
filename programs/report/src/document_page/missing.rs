//! Missing patches: a section with table, graph and details for each machine.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_pages::{Page, PagePatch, PagePatchState, PageSection, html_of};
use patchadm_svr4::package::control::truncated;
use serde_json::Value;

use super::{Fields as _, LONGEST_NAME, ended, id_of, root_names};

pub(super) fn page_of(documents: &[&Value], made: String) -> String {
    let names = match documents {
        [_] => Vec::new(),
        several => root_names(several),
    };
    let names = names.into_iter().map(Some).chain(std::iter::repeat(None));
    let sections = documents.iter().zip(names).map(|(document, name)| section_of(document, name));
    let sections: Vec<PageSection> = sections.collect();
    let title = match sections.as_slice() {
        [one] => format!("Patches of {}", one.heading),
        several => format!("Patches of {} machines", several.len()),
    };
    html_of(&Page { title, facts: vec![("Made".to_owned(), made)], sections })
}

/// `name` is the name of the root among several.
fn section_of(document: &Value, name: Option<String>) -> PageSection {
    let (kind, machine) = match (document.some_text("host"), document.some_text("root")) {
        (None, Some(root)) => ("Root", root),
        (host, _) => ("Host", host.unwrap_or_else(|| "not named".to_owned())),
    };
    let entries = document.items("patches");
    // A named patch missing in the depot has a verdict.
    let (unknown, rows): (Vec<&Value>, Vec<&Value>) =
        entries.iter().partition(|patch| patch.get("verdict").is_some());
    let count = |is: &dyn Fn(&Value) -> bool| rows.iter().filter(|row| is(row)).count().to_string();
    let from = document.some_text("as_of").map(|day| format!(" from {day}")).unwrap_or_default();
    let groups = document.texts("groups").join(" ");
    let facts = [
        (kind, machine.clone()),
        ("Compared with", format!("{}{from}", document.text("depot"))),
        ("Listed", if groups.is_empty() { "patches".to_owned() } else { groups }),
        ("Patches", rows.len().to_string()),
        ("Missing", document.number("missing").unwrap_or_default().to_string()),
        ("Missing, recommended", count(&|row| row.is_true("missing") && row.is_true("recommended"))),
        ("Missing, security", count(&|row| row.is_true("missing") && row.is_true("security"))),
        ("Withdrawn", count(&|row| row.is_true("bad"))),
    ];
    let lost = document.items("lost").iter().map(|lost| format!("{}: {}", lost.text("id"), ended(lost)));
    let unknown = unknown.into_iter().map(|one| format!("{}: {}", one.text("id"), one.text("reason")));
    let notes = lost.chain(rows.iter().flat_map(|row| kept_notes(row))).chain(unknown);
    PageSection {
        heading: name.filter(|_| kind == "Root").unwrap_or(machine),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        notes: notes.chain(document.some_text("error")).collect(),
        patches: rows.into_iter().map(patch_of).collect(),
    }
}

/// Programs that still use libraries from before a patch.
fn kept_notes(row: &Value) -> impl Iterator<Item = String> {
    let mut by_programs: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
    for library in row.items("kept_shlibs") {
        // Nobody uses a library that only the policy keeps.
        let used = library.items("consumers").iter().filter(|consumer| consumer.text("how") != "policy");
        let programs = used.map(|consumer| consumer.text("path")).collect();
        by_programs.entry(programs).or_default().insert(library.text("library"));
    }
    let patch = format!("{}-{}", id_of(row), truncated(row.text("installed"), LONGEST_NAME));
    by_programs.into_iter().filter(|(programs, _)| !programs.is_empty()).map(move |(programs, libraries)| {
        let words = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
        let (number, load) = match programs.len() {
            1 => ("1 program".to_owned(), "loads"),
            number => (format!("{number} programs"), "load"),
        };
        let (libraries, programs) = (words(libraries), words(programs));
        format!("{patch}: effective, except for {number} that still {load} {libraries}: {programs}")
    })
}

fn patch_of(row: &Value) -> PagePatch {
    PagePatch {
        base: row.text("id").to_owned(),
        installed: row.some_text("installed"),
        current: row.some_text("current"),
        state: state_of(row),
        is_recommended: row.is_true("recommended"),
        is_security: row.is_true("security"),
        is_withdrawn: row.is_true("bad"),
        date: row.some_text("date"),
        age_days: row.number("age_days").and_then(|days| u32::try_from(days).ok()),
        synopsis: row.text("synopsis").to_owned(),
        packages: row.texts("packages"),
        requires: row.texts("requires"),
        size: row.number("size"),
        reboot: row.some_text("reboot"),
    }
}

fn state_of(row: &Value) -> PagePatchState {
    match (row.is_true("missing"), row.some_text("installed"), row.some_text("current"), row.text("relation"))
    {
        (true, ..) => PagePatchState::Missing,
        (false, None, ..) => PagePatchState::NotNeeded,
        (false, Some(_), None, _) => PagePatchState::Unlisted,
        (false, Some(_), Some(_), "=") => PagePatchState::Current,
        (false, Some(_), Some(_), ">") => PagePatchState::Newer,
        (false, Some(_), Some(_), _) => PagePatchState::Older,
    }
}

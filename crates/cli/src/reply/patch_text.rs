use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::change_entry::ChangeEntry;
use super::patch_entry::{PatchEntry, ProcessEntry};
use super::words::{counted, human};
use patchadm_core::operation::changed_texts::ChangedTexts;
use patchadm_rootfs::Root;

/// Returns the effects of a patch, package by package and path by path, and its needs.
pub fn plan_text(root: &Root, entry: &PatchEntry) -> String {
    let mut text = String::new();
    for package in &entry.packages {
        let _ = writeln!(text, "Package {package}:");
        let changes = entry.changes.iter().flatten().filter(|change| change.package.as_str() == package);
        for change in changes {
            text.push_str(&change_lines(root, change));
        }
    }
    let _ = writeln!(text, "Objects: {}.", entry.files);
    if !entry.privileged.is_empty() {
        text.push_str("Set-id programs and devices:\n");
    }
    for grant in &entry.privileged {
        let (kind, path) = (grant.kind, root.show(&grant.path));
        let _ = writeln!(text, "  {kind:<16} {path} ({} {} {})", grant.mode, grant.owner, grant.group);
    }
    for need in &entry.space {
        let (needed, free) = (human(need.needed), human(need.free));
        let _ = writeln!(text, "Space on {}: {needed} needed at most, {free} free.", need.file_system);
    }
    let saved = human(entry.saved_bytes);
    let _ = match entry.undo.iter().filter(|undo| undo.is_kept()).count() {
        0 => writeln!(text, "Undo data: none."),
        number => writeln!(text, "Undo data: {} of {saved} before compression.", counted(number, "archive")),
    };
    text.push_str(if entry.scripts.is_empty() { "Scripts: none.\n" } else { "Scripts:\n" });
    for script in &entry.scripts {
        let whose = script.package.as_deref().unwrap_or("the patch");
        let _ = writeln!(text, "  {:<16} {whose} ({})", script.name, script.why);
    }
    for merge in &entry.merges {
        let _ = writeln!(text, "note: {}", merge.sentence());
    }
    for note in &entry.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Returns the requirements, the packages and the changes of a refused patch, as far as they are known.
pub fn refused_text(root: &Root, entry: &PatchEntry) -> String {
    let mut text = String::new();
    for need in &entry.needs {
        let _ = writeln!(text, "  Requires: {}", need.words());
    }
    for fit in &entry.fits {
        let _ = writeln!(text, "  For: {}", fit.words());
    }
    let Some(changes) = &entry.refused_changes else { return text };
    let _ = writeln!(text, "{} would make these changes:", entry.id);
    let mut package = None;
    for change in changes {
        if package != Some(&change.package) {
            let _ = writeln!(text, "Package {}:", change.package);
            package = Some(&change.package);
        }
        text.push_str(&change_lines(root, change));
    }
    text
}

fn change_lines(root: &Root, change: &ChangeEntry) -> String {
    let size = change.shown_size().map(|size| format!(" ({})", human(size))).unwrap_or_default();
    let mut text = format!("  {:<16} {}{size}\n", change.shown_action(), root.show(&change.path));
    for difference in change.differences() {
        let _ = writeln!(text, "    {difference}");
    }
    text
}

/// Returns the actions, path by path; empty if there were none.
pub fn done_lines(root: &Root, entry: &PatchEntry) -> String {
    let of_plan = |plan| ChangeEntry::of_plan(plan, &BTreeMap::new(), &ChangedTexts::new());
    entry.carried_out.iter().flat_map(of_plan).map(|change| change_lines(root, &change)).collect()
}

/// Programs that still run the old version, one line each.
pub fn in_use_lines(users: &[ProcessEntry]) -> String {
    let mut text = String::new();
    for ProcessEntry { process, program, paths } in users {
        let _ = writeln!(
            text,
            "Process {process} ({program}) runs the old {} until it is restarted.",
            paths.join(", ")
        );
    }
    text
}

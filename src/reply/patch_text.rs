//! The common text of commands about patches: plans, and programs in use.

use std::fmt::Write as _;

use super::change_entry::{action_word, size_of};
use super::patch_entry::{PatchEntry, ProcessEntry};
use super::words::human;
use patchadm_planning::plan::Change;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// Returns the effects of a patch, package by package and path by path, and its needs.
pub(crate) fn plan_text(root: &Root, entry: &PatchEntry) -> String {
    let mut text = String::new();
    for package in &entry.packages {
        let _ = writeln!(text, "Package {package}:");
        let changes = entry.changes.iter().flatten().filter(|change| change.package.as_str() == package);
        for change in changes {
            text.push_str(&change_line(root, change.action, change.size, &change.path));
            for attribute in change.attribute_changes() {
                let _ = writeln!(text, "    {attribute}");
            }
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
        number => writeln!(text, "Undo data: {number} archives of {saved} before compression."),
    };
    text.push_str(if entry.scripts.is_empty() { "Scripts: none.\n" } else { "Scripts:\n" });
    for script in &entry.scripts {
        let whose = script.package.as_deref().unwrap_or("the patch");
        let _ = writeln!(text, "  {:<16} {whose} ({})", script.name, script.why);
    }
    for note in &entry.notes {
        let _ = writeln!(text, "NOTE: {note}");
    }
    text
}

/// Returns one path of a plan, with what happens to it.
fn change_line(root: &Root, action: &str, size: Option<u64>, path: &ObjectPath) -> String {
    let size = size.map(|size| format!(" ({})", human(size))).unwrap_or_default();
    format!("  {action:<16} {}{size}\n", root.show(path))
}

/// Returns the actions, path by path; empty if there were none.
pub(crate) fn done_lines(root: &Root, entry: &PatchEntry) -> String {
    let changes = entry.carried_out.iter().flat_map(|plan| &plan.changes);
    let line = |change: &Change| {
        change_line(root, action_word(&change.action), size_of(&change.action), &change.path)
    };
    changes.map(|change| line(change)).collect()
}

/// Returns the programs that still run the old version, one line each.
pub(crate) fn in_use_lines(users: &[ProcessEntry]) -> String {
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

//! What both faces say of a run, in words: plans, sizes, what recovery found, notes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use crate::operation::failure::Failure;
use crate::plan::Plan;
use crate::plan::engine::PlannedScript;
use crate::plan::rights::grants;
use crate::reply::report::{UserEntry, action_word, counts, size_of};
use crate::root::Root;
use crate::surroundings::output::Output;
use crate::transaction::{Receipt, Recovered};

/// The beginning of a classic transcript: what is looked at, then the patches that passed, in their order.
pub(crate) fn opening(output: &mut Output, phases: &[&str], approved: &str, ids: &[&str]) -> io::Result<()> {
    for phase in phases {
        output.line(phase)?;
    }
    if ids.is_empty() {
        return Ok(());
    }
    output.line(format!("{approved}\n\n{} \n\n", ids.join(" ")))
}

/// What a plan will do, package by package and path by path.
pub(crate) fn plan_text(root: &Root, plan: &Plan, scripts: &[PlannedScript]) -> String {
    let mut text = String::new();
    let mut by_package: BTreeMap<&str, Vec<&crate::plan::Change>> = BTreeMap::new();
    for change in &plan.changes {
        by_package.entry(change.package.as_str()).or_default().push(change);
    }
    for package in &plan.packages {
        let changes = by_package.remove(package.as_str()).unwrap_or_default();
        let _ = writeln!(text, "Package {package}:");
        for change in changes {
            let size = size_of(&change.action).map(|size| format!(" ({})", human(size))).unwrap_or_default();
            let _ = writeln!(text, "  {:<16} {}{size}", action_word(&change.action), root.show(&change.path));
        }
    }
    let _ = writeln!(text, "Objects: {}.", counts(plan));
    text.push_str(&grant_lines(root, plan));
    for need in &plan.space {
        let (needed, free) = (human(need.bytes), human(need.free));
        let _ = writeln!(text, "Space on {}: {needed} needed at most, {free} free.", need.file_system);
    }
    let saved: u64 = plan
        .undo
        .iter()
        .flat_map(|undo| &undo.saved)
        .filter_map(|(entry, _)| entry.object.content.size)
        .sum();
    let _ = match plan.archives().count() {
        0 => writeln!(text, "Undo data: none."),
        number => writeln!(text, "Undo data: {number} archives of {} before compression.", human(saved)),
    };
    text.push_str(&script_lines(scripts));
    for note in &plan.notes {
        let _ = writeln!(text, "NOTE: {note}");
    }
    text
}

/// The set-id programs and devices that there will be, each with its owners and mode.
fn grant_lines(root: &Root, plan: &Plan) -> String {
    let grants = grants(plan);
    if grants.is_empty() {
        return String::new();
    }
    let mut text = "Set-id programs and devices:\n".to_owned();
    for grant in grants {
        let (kind, path) = (grant.kind.words(), root.show(&grant.path));
        let _ = writeln!(text, "  {kind:<16} {path} ({} {} {})", grant.mode, grant.owner, grant.group);
    }
    text
}

/// The procedure scripts that run, in their order.
fn script_lines(scripts: &[PlannedScript]) -> String {
    if scripts.is_empty() {
        return "Scripts: none.\n".to_owned();
    }
    let mut text = "Scripts:\n".to_owned();
    for PlannedScript { package, name, why } in scripts {
        let whose = package.as_ref().map_or("the patch", |package| package.as_str());
        let _ = writeln!(text, "  {name:<16} {whose} ({})", why.words());
    }
    text
}

/// A size in binary units.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Says what recovery found, where it found something.
pub(crate) fn recovered(output: &mut Output, found: &Recovered) -> io::Result<()> {
    if let Some(sentence) = sentence_of(found) {
        output.complain(format!("NOTE: {sentence}\n"))?;
    }
    for note in found.notes() {
        output.complain(format!("NOTE: {note}\n"))?;
    }
    Ok(())
}

/// What recovery found, as a sentence.
pub(crate) fn sentence_of(found: &Recovered) -> Option<String> {
    match found {
        Recovered::Nothing | Recovered::PassedOver { .. } => None,
        Recovered::RolledBack { run, .. } => {
            Some(format!("The interrupted run {run} was rolled back: everything is as before it."))
        }
        Recovered::Finished { run, .. } => {
            Some(format!("The run {run} had been completed and is tidied up now: everything is as after it."))
        }
    }
}

/// The notes of the plan and of the run.
pub(crate) fn notes(
    output: &mut Output,
    plan: &Plan,
    result: &Result<Option<Receipt>, Failure>,
) -> io::Result<()> {
    let receipt = result.as_ref().ok().and_then(Option::as_ref);
    for note in plan.notes.iter().chain(receipt.iter().flat_map(|receipt| &receipt.notes)) {
        output.line(format!("NOTE: {note}"))?;
    }
    Ok(())
}

/// The programs that still run the old version, one line each.
pub(crate) fn in_use_lines(users: &[UserEntry]) -> String {
    let mut text = String::new();
    for UserEntry { process, program, paths } in users {
        let _ = writeln!(
            text,
            "Process {process} ({program}) runs the old {} until it is restarted.",
            paths.join(", ")
        );
    }
    text
}

/// What a patch asks for, as a sentence.
pub(crate) fn reboot_sentence(word: Option<&str>) -> Option<&'static str> {
    Some(match word? {
        "rebootimmediate" => "Reboot this machine now to put the patch into effect.",
        "rebootafter" => "Reboot this machine when it suits to put the patch into effect.",
        "reconfigimmediate" => "Do a reconfiguration reboot now to put the patch into effect.",
        _ => "Do a reconfiguration reboot when it suits to put the patch into effect.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_binary_units() {
        let shown = [0, 1023, 1024, 1536, 20 << 20, 5 << 40].map(human);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "20.0 MiB", "5.0 TiB"]);
    }
}

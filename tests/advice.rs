//! Follows the next step that each refusal names, and checks that it works.
//!
//! A scene provokes one refusal, extracts the command, option or path from the message, uses it, and checks the
//! promised result. The tables have a scene for each cause with advice: a test reads the sources to find causes without
//! one.

mod failures;
mod packages;
mod patches;
mod records;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::scenario::{Run, Scenario};

/// A cause, by its name in the source, and its scene.
pub(crate) type Row = (&'static str, fn());

/// Causes whose advice other suites test, each with its test.
const ELSEWHERE: [(&str, &str); 32] = [
    ("Cause::Root", "directories_behind_links: the link goes to root, and its directory counts"),
    ("Failure::PatchPackage", "signatures: the patch is signed and applied with `add`"),
    (
        "RecordRepair::Stages",
        "stage_rights: the line is taken out, and the stage is promoted by its directory",
    ),
    ("Failure::Depot", "depot, fetching: what each cause says to do is done, and the depot is read"),
    (
        "Failure::Unrecovered",
        "reliability::dead_disk: the disk is well again, and recover puts the root right",
    ),
    ("RootCondition::InDoubt", "reliability::dead_disk, power_cuts: the next recover decides"),
    ("RootCondition::Unfinished", "reliability::dead_disk: recover puts the rest back"),
    ("Cause::Changed", "reliability::concurrent: who is alone comes through"),
    ("Cause::Appeared", "reliability::concurrent: who is alone comes through"),
    ("Failure::Root", "reliability::errors: without the error the same command comes through"),
    ("Failure::Identity", "identity: `recover --new-identity` is typed, and changes go on"),
    ("Cause::Unfinished", "identity: `recover` is typed, and `recover --new-identity` behind it"),
    ("Cause::Journal", "identity, reliability::lost_journal: `recover --discard-journal` is typed"),
    ("Cause::DomainMissing", "identity: a stage that is gone is given up with `recover --keep-stage DIR`"),
    ("ArchiveError::OtherRoot", "identity: `recover --adopt-undo ID --foreign` is typed, and the patch goes"),
    ("Cause::Doubt", "identity, reliability::lost_journal: `recover --keep-stage DIR` is typed"),
    ("Cause::KeepingPlace", "identity: a directory of the caller's own is named"),
    (
        "Failure::ReadOnly",
        "closed_roots names it for every command; all other suites have roots mounted for writing",
    ),
    (
        "Reason::ReadOnly",
        "closed_roots names it for every command; all other suites have roots mounted for writing",
    ),
    ("Reason::Object", "promote_refused: --exclude is typed"),
    (
        "Reason::SharedLater",
        "removable, show: list and show alone say it, and name the patch that remove names",
    ),
    ("Failure::Unvouched", "unvouched: `--allow-unsigned` is said, and the patch is applied"),
    ("Failure::PatchPackage", "signatures: the patch is applied whole"),
    ("Failure::OnTrial", "trial: `confirm` is typed, and the change is made"),
    (
        "Failure::StuckTrial",
        "trial: the undo data is put back, `undo RUN` is typed, and everything is as before",
    ),
    ("Failure::TrialOver", "trial: `recover` is typed, and the plan is shown"),
    ("Failure::NotConfirmed", "trial: `history` is typed, and tells of the end"),
    ("Failure::Trial", "trial: the directory is removed, and changes go on"),
    ("Reason::AlreadyInstalled", "adopt: the registration is removed, and the tree is adopted again"),
    ("Reason::NotNative", "adopt: the registration is removed, and the tree is adopted again"),
    ("Failure::Keys", "process_limits: with a higher limit the same command comes through"),
    ("Failure::Source", "process_limits: with a higher limit the same command comes through"),
];

in_parts!(advice_about_patches_is_accepted, play_patches, 2);

fn play_patches(part: usize, parts: usize) {
    let rows = patches::ROWS;
    play(rows.chunks(rows.len().div_ceil(parts)).nth(part).unwrap());
}

#[test]
fn advice_about_packages_is_accepted() {
    play(packages::ROWS);
}

#[test]
fn advice_after_failures_is_accepted() {
    play(failures::ROWS);
}

#[test]
fn advice_about_damaged_records_is_accepted() {
    play(records::ROWS);
}

#[test]
fn every_cause_that_carries_advice_has_a_scene() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cause = Regex::new(
        r"\b(Reason|Failure|RootCondition|Cause|ArchiveError|LockError|ScriptError|RecordRepair|RegistrationRepair)::[A-Z]\w+",
    )
    .unwrap();
    let mut met = BTreeSet::new();
    for source in ["crates/planning/src/plan/refusal/advice.rs", "crates/cli/src/reply/advice.rs"] {
        let text = fs::read_to_string(checkout.join(source)).unwrap();
        let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            met.extend(cause.find_iter(line).map(|found| found.as_str().to_owned()));
        }
    }
    let rows = [patches::ROWS, packages::ROWS, failures::ROWS, records::ROWS].concat();
    let mut played: BTreeSet<String> = rows.iter().map(|(cause, _)| (*cause).to_owned()).collect();
    played.extend(ELSEWHERE.iter().map(|(cause, _)| (*cause).to_owned()));
    // These wrap other causes.
    for wrapper in
        ["Failure::Refused", "Failure::Archive", "Failure::Lock", "Failure::Scripts", "Failure::Transaction"]
    {
        met.remove(wrapper);
    }
    for wrapper in ["Failure::Database", "ArchiveError::Root", "ArchiveError::View"] {
        met.remove(wrapper); // errors of the system, as Failure::Root
    }
    assert!(met.len() > 30, "{met:?}");
    let missing: Vec<_> = met.difference(&played).collect();
    assert!(missing.is_empty(), "no scene for {missing:?}");
    let stale: Vec<_> = played.difference(&met).collect();
    assert!(stale.is_empty(), "no advice any more for {stale:?}");
}

#[test]
fn every_command_that_is_named_is_about_the_root_that_was_named() {
    let stage = Scenario::with(&[crate::packages::Package::new("ACMEweb").file("a", 0o644, "one\n")]);
    let patch = crate::delivery::Patch::of(
        "100-01",
        crate::packages::Package::new("ACMEweb").file("a", 0o644, "two\n"),
    );
    patch.directory(&stage);
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    let lines = [
        "history -R @ROOT@ 99",
        "libs prune -R @ROOT@ ACMEnone",
        "add --trial 1h -R @ROOT@ delivered/100-01",
        "status -R @ROOT@",
        "remove -R @ROOT@ 100-01",
        "confirm -R @ROOT@ 99",
        "undo -R @ROOT@ 99",
        "update -R @ROOT@ -M https://127.0.0.1:9/none",
        "stage drop -R @ROOT@ nowhere",
        "stage promote -R @ROOT@ nowhere",
        "undo-data list -R @ROOT@",
        "patchrm -R @ROOT@ 300-01",
        "undo-data export -R @ROOT@ 300-01",
    ];
    let mut named = 0;
    for line in lines {
        let run = stage.run(line);
        let said = run.stdout + &run.stderr;
        for command in said.split('`').skip(1).step_by(2).filter(|command| command.starts_with("patchadm ")) {
            assert!(command.contains(" -R @ROOT@ "), "{line}: {said}");
            named += 1;
        }
    }
    assert!(named >= 6, "only {named} commands were named");
}

/// Hints get their root from `Wording::verb`, or from `Wording::completed`, which knows the verbs in `OF_A_ROOT`.
#[test]
fn no_text_that_is_printed_as_it_stands_names_a_command_without_its_root() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wording = fs::read_to_string(checkout.join("crates/planning/src/plan/refusal/wording.rs")).unwrap();
    let (_, list) = wording.split_once("const OF_A_ROOT").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let verbs: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let hint = Regex::new(r"`patchadm ([a-z-]+)").unwrap();
    let mut stray = Vec::new();
    // Bulk builds have no root.
    for directory in [
        "crates/cli/src/arguments",
        "crates/cli/src/reply",
        "crates/producing/src",
        "programs/report/src",
        "src/verbs",
        "src/classic",
    ] {
        for entry in files_below(&checkout.join(directory)) {
            let name = entry.strip_prefix(checkout).unwrap().display().to_string();
            // The help and the explanations of exit codes are about no particular root.
            let is_of_none = name.starts_with("src/verbs/help");
            if is_of_none || COMPLETED.contains(&&*name) {
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let is_stray = hint.captures(line).is_some_and(|found| verbs.contains(&found[1]));
                stray.extend(is_stray.then(|| format!("{name}: {}", line.trim())));
            }
        }
    }
    assert_eq!(stray, Vec::<String>::new(), "write it with Wording::verb");
}

/// Sources whose hints get their root from `Output::error`, `Output::complain` or `Wording::completed`, or are about
/// another host.
const COMPLETED: [&str; 5] = [
    "crates/cli/src/arguments/later.rs",
    "crates/cli/src/reply/depot_end.rs",
    "crates/cli/src/reply/refreshed.rs",
    "src/verbs/adopt/before_upgrade.rs",
    "programs/report/src/host_documents.rs",
];

/// All files below a directory, sorted.
fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[allow(clippy::print_stderr)] // which scene it was, where one fails
fn play(rows: &[Row]) {
    for (cause, scene) in rows {
        eprintln!("{cause}");
        scene();
    }
}

/// Returns the command in backquotes, with `own` words in place of the placeholders in capitals.
#[track_caller]
pub(crate) fn command_of(said: &str, own: &[(&str, &str)]) -> String {
    let hint = last_line(said);
    let is_command = hint.starts_with("patchadm ") && !hint.contains('`');
    let command = if is_command { Some(hint) } else { said.split('`').nth(1) };
    let command = command.unwrap_or_else(|| panic!("no command is named: {said}"));
    assert!(!command.starts_with("patchadm ") || command.contains(" -R "), "it would be about `/`: {said}");
    own.iter().fold(command.to_owned(), |command, (word, with)| command.replace(word, with))
}

/// Runs the command that a refusal names.
#[track_caller]
pub(crate) fn type_it(stage: &Scenario, said: &str, own: &[(&str, &str)]) -> Run {
    let command = command_of(said, own);
    let (first, rest) = command.split_once(' ').unwrap_or((&command, ""));
    let line = if first == "patchadm" { rest } else { &command };
    stage.run(line)
}

/// Runs a line until it succeeds, and each command that a refusal names. Returns these commands.
#[track_caller]
pub(crate) fn until_accepted(stage: &Scenario, line: &str) -> Vec<String> {
    let mut typed = Vec::new();
    loop {
        let run = stage.run(line);
        if run.code == 0 {
            return typed;
        }
        assert!(typed.len() < 9, "{line} leads nowhere: {typed:?}, {}", run.stderr);
        typed.push(command_of(&run.stderr, &[]));
        let next = type_it(stage, &run.stderr, &[]);
        assert_eq!(next.code, 0, "{}: {}{}", typed.concat(), next.stdout, next.stderr);
    }
}

/// The last line of a verb's output, which names the next step.
#[track_caller]
pub(crate) fn last_line(said: &str) -> &str {
    let line = said.lines().last().unwrap_or_default().trim();
    line.strip_prefix("hint: ").unwrap_or(line)
}

//! A file is about one thing, and a function fits on a screen: what is longer has its reason here.
//!
//! Lines of code are counted with their comments, without test modules. The end of a function is told by its indentation,
//! which rustfmt keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::{CRATES, checkout, files, is_test};

/// The most lines of a file.
const FILE: usize = 500;

/// The most lines of a function.
const FUNCTION: usize = 60;

/// The most that may be longer, of each.
const EXCEPTIONS: usize = 10;

/// Files that are longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "crates/changeset/src/records/view.rs",
        "the one protocol by which records are read beside a running change",
    ),
    (
        "crates/planning/src/plan/kept_libraries/settlement.rs",
        "what a kept library changes in each part of a plan",
    ),
    (
        "crates/planning/src/plan/plan_builder.rs",
        "the draft that all passes fill, with the checks of each path",
    ),
    (
        "crates/svr4/src/patch/applied_patches.rs",
        "one question after another to one index of applied patches",
    ),
];

/// Functions that are longer, each with its file, its name and its reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/changeset/src/transaction/scripted.rs",
        "switch",
        "one batch from layout to rename, in the order of the protocol",
    ),
    (
        "crates/core/src/operation/stages/promote/made_plan.rs",
        "make_plan",
        "the value that it fills has a field a line",
    ),
    ("crates/inputs/src/database/policy.rs", "set", "one arm for each setting"),
    (
        "crates/planning/src/plan/patch/middle/rewrite.rs",
        "finish",
        "the parts of an archive, one after another",
    ),
    ("crates/planning/src/plan/refusal/words.rs", "conflict", "one arm for each reason"),
    ("crates/planning/src/plan/refusal/words.rs", "obstacle", "one arm for each reason"),
    ("src/reply/failure.rs", "number", "one arm for each failure: the table of exit codes"),
    ("src/reply/patch_entry.rs", "of", "the document of a patch has a field a line"),
];

/// The lines of a production file, without its test module.
fn production_lines(text: &str) -> Vec<&str> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].trim_end().lines().collect()
}

/// The production files of all crates, by their paths in the checkout.
fn production() -> BTreeMap<String, String> {
    let all = CRATES.iter().flat_map(|(directory, _)| files(&checkout().join(directory).join("src")));
    let own = all.filter(|path| !is_test(path.strip_prefix(checkout()).unwrap()));
    own.map(|path| (relative(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(checkout()).unwrap().to_str().unwrap().replace("/./", "/")
}

/// The functions of a file: name and number of lines.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let head = Regex::new(r"^( *)(?:pub(?:\([a-z ]+\))? )?(?:const |async |extern )*fn (\w+)").unwrap();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(parts) = head.captures(line) else { continue };
        let end = format!("{}}}", &parts[1]);
        // A function of a trait without a body, or one on a single line, ends where its declaration does.
        let length = lines[at..].iter().position(|line| {
            *line == end
                || line.ends_with(';') && !line.starts_with(&format!("{}    ", &parts[1]))
                || line.ends_with('}') && line.contains("fn ")
        });
        found.push((parts[2].to_owned(), length.map_or(0, |length| length + 1)));
    }
    found
}

#[test]
fn files_are_short_or_say_why_not() {
    let production = production();
    let long: Vec<&str> = production
        .iter()
        .filter(|(_, text)| production_lines(text).len() > FILE)
        .map(|(path, _)| path.as_str())
        .collect();
    let known: Vec<&str> = LONG_FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(long, known, "files of more than {FILE} lines, and those of the table");
    assert!(known.len() <= EXCEPTIONS);
}

#[test]
fn functions_fit_on_a_screen_or_say_why_not() {
    let production = production();
    let all = production.iter().flat_map(|(path, text)| {
        functions(&production_lines(text))
            .into_iter()
            .map(move |(name, length)| (path.as_str(), name, length))
    });
    let all: Vec<(&str, String, usize)> = all.collect();
    assert!(all.len() > 5_000, "the functions are found: {}", all.len());
    let mut long: Vec<(&str, &str)> = all
        .iter()
        .filter(|(_, _, length)| *length > FUNCTION)
        .map(|(path, name, _)| (*path, name.as_str()))
        .collect();
    long.sort_unstable();
    let known: Vec<(&str, &str)> = LONG_FUNCTIONS.iter().map(|(path, name, _)| (*path, *name)).collect();
    assert_eq!(long, known, "functions of more than {FUNCTION} lines, and those of the table");
    assert!(known.len() <= EXCEPTIONS);
}

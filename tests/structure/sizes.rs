//! Production code is short enough to be read in one go: every file, and every function.
//!
//! Lines are counted as they stand, with comments and empty ones: of a file those above its test module, of a function
//! those below the line with its name, down to its closing brace.

use std::fs;
use std::path::PathBuf;

use regex::Regex;

use super::{checkout, files, is_test, without_tests};

/// The most lines of a file.
const LONGEST_FILE: usize = 500;

/// The most lines of a function.
const LONGEST_FUNCTION: usize = 60;

/// Returns the files of production, each with its text above the tests.
fn production() -> Vec<(PathBuf, String)> {
    let crates = fs::read_dir(checkout().join("crates")).unwrap();
    let sources = crates.map(|entry| entry.unwrap().path().join("src")).chain([checkout().join("src")]);
    let all = sources.flat_map(|sources| files(&sources));
    let all = all.map(|path| path.strip_prefix(checkout()).unwrap().to_owned()).filter(|path| !is_test(path));
    all.map(|path| {
        let text = fs::read_to_string(checkout().join(&path)).unwrap();
        (path, without_tests(&text).to_owned())
    })
    .collect()
}

/// Returns the functions of a text with their numbers of lines. What rustfmt has made ends with a brace below the first
/// letter of its first line; a function without a body ends with a semicolon.
fn functions(text: &str) -> Vec<(String, usize)> {
    let head =
        Regex::new(r#"^( *)(?:pub(?:\(.+?\))? )?(?:(?:const|async|unsafe|extern "C") )*fn (\w+)"#).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(head) = head.captures(line) else { continue };
        let is_last = |line: &&str| {
            let rest = line.strip_prefix(&head[1]).unwrap_or_default();
            rest == "}" || rest.starts_with(')') && rest.ends_with(';')
        };
        let is_one_line = line.ends_with(['}', ';']);
        let length = if is_one_line { 0 } else { 1 + lines[first + 1..].iter().position(is_last).unwrap() };
        found.push((head[2].to_owned(), length));
    }
    found
}

#[test]
fn no_file_has_more_than_500_lines() {
    let all = production();
    assert!(all.len() > 1000, "only {} files", all.len());
    let lengths = all.iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, length)| *length > LONGEST_FILE).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn no_function_has_more_than_60_lines() {
    let all: Vec<_> = production()
        .into_iter()
        .flat_map(|(path, text)| {
            functions(&text).into_iter().map(move |(name, length)| (path.clone(), name, length))
        })
        .collect();
    assert!(all.len() > 5000, "only {} functions", all.len());
    let long: Vec<_> = all.iter().filter(|(_, _, length)| *length > LONGEST_FUNCTION).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_function_is_as_long_as_what_is_below_its_name() {
    let text = "fn one() {}\n\nimpl A {\n    pub(super) fn two(\n        &self,\n    ) -> u8 {\n        1\n    }\n}\n\n\
                trait B {\n    fn three(\n        &self,\n    ) -> u8;\n}\n";
    let expected = [("one", 0), ("two", 4), ("three", 2)].map(|(name, length)| (name.to_owned(), length));
    assert_eq!(functions(text), expected);
}

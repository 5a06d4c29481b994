//! Checks the pages about the code: every path in `docs/architecture.md` and `CONTRIBUTING.md` exists, and the first
//! page names every crate and program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

#[test]
fn every_path_that_a_page_about_the_code_names_is_there() {
    let mut missing = Vec::new();
    for page in PAGES {
        let named = paths(&text(page));
        assert!(named.len() > 20, "{page} names only {named:?}");
        missing.extend(named.iter().filter(|path| !at(path).exists()).map(|path| format!("{page}: {path}")));
    }
    assert!(missing.is_empty(), "named and not there:\n{}", missing.join("\n"));
}

#[test]
fn the_architecture_names_every_crate_and_program() {
    let named = paths(&text(PAGES[0]));
    for folder in ["crates", "programs"] {
        let entries = fs::read_dir(at(folder)).unwrap();
        let missing: Vec<String> = entries
            .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
            .filter(|path| !named.contains(path))
            .collect();
        assert!(missing.is_empty(), "there and not named: {missing:?}");
    }
}

/// The page must be short enough to be read as a whole.
#[test]
fn the_architecture_has_at_most_two_thousand_words() {
    let words = text(PAGES[0]).split_ascii_whitespace().count();
    assert!(words <= 2_000, "{words} words");
}

/// A change without a place would not help the reader.
#[test]
fn the_architecture_says_where_each_of_forty_changes_goes() {
    let page = text(PAGES[0]);
    let table = page.split("| change | place |").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with("| ")).collect();
    assert!(rows.len() >= 40, "{} changes", rows.len());
    let lost: Vec<&&str> = rows.iter().filter(|row| paths(row).is_empty()).collect();
    assert!(lost.is_empty(), "nowhere: {lost:?}");
}

#[test]
fn paths_are_what_stands_in_backticks_with_a_slash_or_an_ending() {
    let page = "`src/a` and `Plan`, `cargo test x/y`, `b.rs`, `-R /`, `/dev/null`, `var/sadm`\n```\n`src/no`\n```\n`man`";
    assert_eq!(Vec::from_iter(paths(page)), ["b.rs", "man", "src/a"]);
}

/// The paths that a page names: words in backticks that look like paths in the checkout.
fn paths(page: &str) -> BTreeSet<String> {
    let prose: String = page.split("```").step_by(2).collect();
    let words = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    words.filter(|word| is_path(word)).collect()
}

/// Top-level folders need no slash. Paths that begin with `var` or `etc` are in a root.
fn is_path(word: &str) -> bool {
    let folders = [
        "benches",
        "crates",
        "docs",
        "fuzz",
        "man",
        "packaging",
        "programs",
        "src",
        "systemd",
        "testdata",
        "tests",
    ];
    let endings = [".rs", ".md", ".toml"];
    let below_a_root = ["/", "var/", "etc/"].iter().any(|start| word.starts_with(start));
    !word.contains(char::is_whitespace)
        && !below_a_root
        && (word.contains('/')
            || folders.contains(&word)
            || endings.iter().any(|ending| word.ends_with(ending)))
}

fn text(page: &str) -> String {
    fs::read_to_string(at(page)).unwrap()
}

fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

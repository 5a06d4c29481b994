//! Each rule by which a value of a record is believed, and the lie that it answers.
//!
//! A build with the feature `rules-left-out` can leave single rules out. Each lie of the table is told twice to a program
//! of that build: with all rules nothing comes of it, without its rule something does. So no check is there for nothing, and
//! none is covered by another one. What no record of a whole root can show is shown by a unit test, which is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::arena::{Arena, Attempt, Outcome};
use super::in_a_box;
use super::records::{Record, Told};
use super::roots::{Owner, State};
use super::table::RULES;
use crate::reliability::{figures, is_whole};

/// How it is shown that a rule is needed.
pub(super) enum Shown {
    /// By a lie: in which root, in the first line of which kind, what is told (an object of JSON pointers), to which command.
    Lie(State, Owner, &'static str, &'static str, &'static str),
    /// By the tests of a file, where no record of a whole root can show it, and why.
    Unit(&'static str, &'static str),
}

/// The names of the rules in a source text.
fn rules_in(text: &str) -> BTreeSet<String> {
    let asked = Regex::new(r#"\b(?:holds|must|keeps)\(\s*"([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)""#).unwrap();
    asked
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .filter(|name| !name.starts_with("test."))
        .collect()
}

fn sources(at: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![at.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn every_rule_of_the_sources_has_its_lie_and_every_lie_its_rule() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let texts = sources.iter().map(|path| fs::read_to_string(path).unwrap());
    let written: BTreeSet<String> = texts.flat_map(|text| rules_in(&text)).collect();
    let shown: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown.len(), RULES.len(), "a rule is twice in the table");
    let without_lie: Vec<&String> = written.difference(&shown).collect();
    let without_rule: Vec<&String> = shown.difference(&written).collect();
    assert!(without_lie.is_empty() && without_rule.is_empty(), "{without_lie:?} {without_rule:?}");
    for (name, shown) in RULES {
        let Shown::Unit(file, why) = shown else { continue };
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        assert!(text.contains("#[test]") && !why.is_empty(), "{name}: {file} has no tests");
    }
}

/// The program built so that it can leave rules out.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rules-left-out");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bin", "patchadm", "--features", "rules-left-out", "--target-dir"]);
    let built = cargo.arg(&target).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success());
    target.join("debug/patchadm")
}

/// The first record of the root that has a line of this kind, and what is told there.
fn place(arena: &Arena, kind: &str, lie: &str) -> (Record, Vec<Told>) {
    let root = arena.stage.root();
    let lie: Value = serde_json::from_str(&arena.outside.named_in(lie)).unwrap();
    let mut fields = Record::all(&root).into_iter().flat_map(|record| record.fields(&root));
    let field =
        fields.find(|field| field.kind == kind).unwrap_or_else(|| panic!("no record has a line {kind}"));
    let told =
        lie.as_object().unwrap().iter().map(|(pointer, value)| (field.line, pointer.clone(), value.clone()));
    (field.record, told.collect())
}

/// Whether a lie worked, in comparison with what the program does that keeps all rules.
fn works(kept: &Outcome, left_out: &Outcome) -> bool {
    left_out.code != kept.code || left_out.picture != kept.picture || !left_out.wrongs.is_empty()
}

/// Tells each lie with and without its rule: what is wrong with which.
fn play(program: &Path) -> Vec<String> {
    let mut arena = Arena::new();
    let mut wrong = Vec::new();
    for (rule, shown) in RULES {
        let &Shown::Lie(state, owner, kind, lie, command) = shown else { continue };
        let is_it = |template: &super::roots::Template| template.state == state && template.owner == owner;
        let template = arena.templates.iter().position(is_it).unwrap();
        arena.put(template);
        let (record, told) = place(&arena, kind, lie);
        let mut attempt = |rule| {
            let build = Some((program, rule));
            let (record, told) = (&record, &told[..]);
            let attempt =
                Attempt { template, record, told, command, is_traced: false, is_trusted: true, build };
            arena.attempt(&attempt).unwrap_or_else(|| panic!("{rule}: the lie cannot be told"))
        };
        let (kept, left_out) = (attempt(""), attempt(*rule));
        if !kept.wrongs.is_empty() {
            wrong.push(format!("{rule}: the lie works with the rule: {:?}", kept.wrongs));
        }
        if !works(&kept, &left_out) {
            wrong.push(format!("{rule}: without it nothing is different ({}): {}", kept.code, kept.said));
        }
    }
    wrong
}

#[test]
fn without_its_rule_each_lie_works() {
    const TEST: &str = "reliability::lies::rules::without_its_rule_each_lie_works";
    if std::env::var_os(super::INSIDE).is_some() {
        let wrong = play(&Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rules-left-out/debug/patchadm"));
        assert!(wrong.is_empty(), "{} rules:\n{}", wrong.len(), wrong.join("\n"));
        return;
    }
    if !is_whole() {
        return crate::skipped(&format!(
            "{TEST}: it takes a build of its own; PATCHADM_TESTS=whole plays it"
        ));
    }
    build();
    if in_a_box(TEST).is_some() {
        let lies = RULES.iter().filter(|(_, shown)| matches!(shown, Shown::Lie(..))).count() as u64;
        let units = RULES.iter().filter(|(_, shown)| matches!(shown, Shown::Unit(..))).count();
        let counts = [
            ("rules shown by a lie", lies),
            ("rules shown by unit tests", units as u64),
            ("rules for nothing", 0),
        ];
        figures("rules", &counts);
    }
}

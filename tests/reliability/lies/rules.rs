//! Each rule by which a value of a record is believed, and the lie that it stops.
//!
//! A build with the feature `rules-left-out` can leave single rules out. Each lie of the table is told twice to a
//! program of that build: with all rules it has no effect, without its rule it has one. If no record of a whole root
//! can show a rule, a named test does: in that build it passes with all rules, and fails without the one. So no check
//! is useless, and none is covered by another one.
//!
//! There is one build for all rules, of the crates that have such a test, in `target/rules-left-out`. The rules are
//! played in pieces. An interrupted suite continues: cargo builds the rest, and a rule that was shown with the same
//! build is not played again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use regex::Regex;
use serde_json::Value;

use super::arena::{Arena, Attempt, Outcome};
use super::in_a_box;
use super::records::{Field, Record, Told};
use super::roots::{Owner, State};
use super::table::RULES;
use crate::reliability::{figures, is_whole};

/// How a rule is shown to be needed.
pub(super) enum Shown {
    /// By a lie: the root, its owner, the kind of the line (the first one is used), the lie (an object of JSON
    /// pointers), and the command.
    Lie(State, Owner, &'static str, &'static str, &'static str),
    /// By the unit test of this name, with the reason why no record of a whole root can show it.
    Unit(&'static str, &'static str),
    /// By the program's test of this name, with the reason.
    Story(&'static str, &'static str),
}

/// The names of the rules in a source text.
fn rules_in(text: &str) -> BTreeSet<String> {
    static ASKED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\b(?:holds|must|keeps)\(\s*"([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)""#).unwrap()
    });
    ASKED
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .filter(|name| !name.starts_with("test."))
        .collect()
}

/// The sources below a directory of the project.
fn texts_in(directory: &str) -> impl Iterator<Item = String> {
    let (mut found, mut open) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.into_iter().map(|path| fs::read_to_string(path).unwrap())
}

/// The sources of the program and of the crates that it is made of.
fn texts_of_program() -> impl Iterator<Item = String> {
    texts_in("src").chain(texts_in("crates"))
}

/// True if a text has a test of this name.
fn has_test(text: &str, test: &str) -> bool {
    text.replace("\n    fn", "\nfn").contains(&format!("\nfn {test}()"))
}

/// The number of texts with a test of each name.
fn tests_in(texts: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut tests = BTreeMap::new();
    for text in texts {
        let text = text.replace("\n    fn", "\nfn");
        let names = text.split("\nfn ").skip(1).filter_map(|rest| Some(rest.split_once("()")?.0));
        for name in names.collect::<BTreeSet<&str>>() {
            *tests.entry(name.to_owned()).or_default() += 1;
        }
    }
    tests
}

/// The packages whose unit tests show a rule.
fn packages_of_unit_tests() -> BTreeSet<String> {
    let crates = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).unwrap();
    let names = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let shows = |text: &String| {
        RULES.iter().any(|(_, shown)| matches!(shown, Shown::Unit(test, _) if has_test(text, test)))
    };
    let with_tests = names.filter(|name| texts_in(&format!("crates/{name}/src")).any(|text| shows(&text)));
    with_tests.map(|name| format!("patchadm-{name}")).collect()
}

#[test]
fn every_rule_of_the_sources_has_its_lie_and_every_lie_its_rule() {
    let written: BTreeSet<String> = texts_of_program().flat_map(|text| rules_in(&text)).collect();
    let shown: BTreeSet<String> = RULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown.len(), RULES.len(), "a rule is twice in the table");
    let without_lie: Vec<&String> = written.difference(&shown).collect();
    let without_rule: Vec<&String> = shown.difference(&written).collect();
    assert!(without_lie.is_empty() && without_rule.is_empty(), "{without_lie:?} {without_rule:?}");
    let (units, stories) = (tests_in(texts_of_program()), tests_in(texts_in("tests")));
    for (name, shown) in RULES {
        let (test, why, tests) = match shown {
            Shown::Lie(..) => continue,
            Shown::Unit(test, why) => (test, why, &units),
            Shown::Story(test, why) => (test, why, &stories),
        };
        let found = tests.get(*test).copied().unwrap_or_default();
        assert!(found == 1 && !why.is_empty(), "{name}: {found} tests are called {test}");
    }
}

/// The programs that can leave rules out.
struct Built {
    program: PathBuf,
    unit_tests: PathBuf,
    stories: PathBuf,
    /// The file with the rules that were shown to be needed, below a line that identifies the build.
    shown: PathBuf,
}

impl Built {
    /// The paths of the build.
    fn new() -> Self {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rules-left-out");
        let [program, unit_tests, stories, shown] =
            ["debug/patchadm", "unit-tests", "stories", "shown"].map(|name| place.join(name));
        Self { program, unit_tests, stories, shown }
    }

    /// Builds it. The unit tests of each crate are a separate program, all in one directory.
    fn make(&self) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--quiet", "--lib", "--test", "integration", "--package", "patchadm"]);
        for package in packages_of_unit_tests() {
            cargo.args(["--package", &package]);
        }
        cargo.args(["--features", "patchadm/rules-left-out", "--no-run"]);
        // Line numbers are not needed, and no file changes before the next build.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_INCREMENTAL", "0");
        cargo.args(["--message-format", "json-render-diagnostics", "--target-dir"]);
        cargo.arg(self.unit_tests.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = cargo.stderr(Stdio::inherit()).output().unwrap();
        assert!(built.status.success());
        let _ = fs::remove_dir_all(&self.unit_tests);
        fs::create_dir(&self.unit_tests).unwrap();
        for line in String::from_utf8(built.stdout).unwrap().lines() {
            let told: Value = serde_json::from_str(line).unwrap();
            let (Some(made), true) = (told["executable"].as_str(), told["profile"]["test"] == true) else {
                continue;
            };
            let target = &told["target"];
            let name = match target["name"].as_str() {
                Some("integration") => self.stories.clone(),
                Some(name) => self.unit_tests.join(format!("{name}-{}", target["kind"][0].as_str().unwrap())),
                None => continue,
            };
            let _ = fs::remove_file(&name);
            fs::hard_link(made, name).unwrap();
        }
    }

    /// The programs of unit tests.
    fn unit_tests(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.unit_tests).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Distinguishes this build from the previous one: the modification times of its programs.
    fn mark(&self) -> String {
        let mut programs = self.unit_tests();
        programs.extend([self.program.clone(), self.stories.clone()]);
        programs.sort();
        let made = programs.iter().map(|program| {
            let made = fs::metadata(program).unwrap().modified().unwrap();
            made.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos().to_string()
        });
        made.collect::<Vec<_>>().join(" ")
    }

    /// The rules that were shown with this build.
    fn shown(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.shown).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() != Some(self.mark().as_str()) {
            return BTreeSet::new();
        }
        lines.map(str::to_owned).collect()
    }

    fn note_shown(&self, shown: &BTreeSet<String>) {
        let lines = shown.iter().fold(self.mark(), |text, rule| format!("{text}\n{rule}"));
        fs::write(&self.shown, lines + "\n").unwrap();
    }
}

/// Number of rules that are played in one box: enough to share the cost of making the roots, and a few minutes of work.
const PIECE: usize = 24;

/// The variable that names the rules of a piece.
const PLAYED: &str = "PATCHADM_RULES_PLAYED";

type Rule = (&'static str, Shown);

/// The rules that the variable names.
fn played() -> Vec<&'static Rule> {
    let names = std::env::var(PLAYED).unwrap();
    let names: BTreeSet<&str> = names.split(',').collect();
    RULES.iter().filter(|(rule, _)| names.contains(rule)).collect()
}

/// Finds the program with the test of a name, and the test's path in it.
fn found(programs: &[PathBuf], name: &str) -> Result<(PathBuf, String), String> {
    for program in programs {
        let output = Command::new(program).arg("--list").output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let mut tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        if let Some(test) = tests.find(|test| test.rsplit("::").next() == Some(name)) {
            return Ok((program.clone(), test.to_owned()));
        }
    }
    Err("no program has it".to_owned())
}

/// True if a test passes while the rules that `left_out` names are left out; an error if it was not played.
fn passes(programs: &[PathBuf], name: &str, left_out: &str) -> Result<bool, String> {
    let (program, test) = found(programs, name)?;
    let mut command = Command::new(program);
    command.args(["--exact", &test]).env(super::arena::LEFT_OUT, left_out).env_remove(super::INSIDE);
    // In a process group of its own, because the group of the box has no number inside.
    let output = command.process_group(0).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    match (said.contains("1 passed; 0 failed"), said.contains("0 passed; 1 failed")) {
        _ if said.contains("skipped: ") => Err(said.into_owned()),
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(said.into_owned()),
    }
}

/// Plays each test with and without its rule. Returns what is wrong.
fn play_tests(built: &Built, rules: &[&Rule]) -> Vec<String> {
    let (unit_tests, stories) = (built.unit_tests(), vec![built.stories.clone()]);
    let mut wrong = Vec::new();
    for (rule, shown) in rules.iter().copied() {
        let (tests, test) = match shown {
            Shown::Lie(..) => continue,
            Shown::Unit(test, _) => (&unit_tests, test),
            Shown::Story(test, _) => (&stories, test),
        };
        match (passes(tests, test, ""), passes(tests, test, rule)) {
            (Ok(true), Ok(false)) => {}
            (Ok(true), Ok(true)) => wrong.push(format!("{rule}: without it {test} passes")),
            (kept, left_out) => wrong.push(format!("{rule}: {test}: {kept:?}, without it {left_out:?}")),
        }
    }
    wrong
}

/// The first record of the root that has a line of this kind, and the values that are told there. Of journals it is the
/// last one: those that an earlier run may have left have no effect any more.
fn place(arena: &Arena, kind: &str, lie: &str) -> (Record, Vec<Told>) {
    let root = arena.stage.root();
    let lie: Value = serde_json::from_str(&arena.outside.named_in(lie)).unwrap();
    let fields = Record::all(&root).into_iter().flat_map(|record| record.fields(&root));
    let fields: Vec<_> = fields.filter(|field| field.kind == kind).collect();
    let last = fields.iter().map(|field| &field.record.path).max();
    let is_told_of = |path| !kind.starts_with("journal ") || Some(path) == last;
    let lie = lie.as_object().unwrap();
    let says = |record: &Record, line: usize, pointer: &str| {
        let it = |field: &&Field| {
            (&field.record.path, field.line, &*field.pointer) == (&record.path, line, pointer)
        };
        fields.iter().find(it).map_or(&Value::Null, |field| &field.truth)
    };
    // An absent value is false.
    let is_truth = |field: &Field, (pointer, value): (&String, &Value)| {
        let truth = says(&field.record, field.line, pointer);
        truth == value || truth.is_null() && *value == Value::Bool(false)
    };
    let is_lie = |field: &&Field| !lie.iter().all(|said| is_truth(field, said));
    let field = fields.iter().filter(|field| is_told_of(&field.record.path)).find(is_lie);
    let field = field.unwrap_or_else(|| panic!("no record has a line {kind} where it is a lie"));
    let told = lie.iter().map(|(pointer, value)| (field.line, pointer.clone(), value.clone()));
    (field.record.clone(), told.collect())
}

/// True if a lie worked, compared with the program that keeps all rules.
fn works(kept: &Outcome, left_out: &Outcome) -> bool {
    left_out.code != kept.code || left_out.picture != kept.picture || !left_out.wrongs.is_empty()
}

/// Tells each lie with and without its rule. Returns what is wrong.
fn play(program: &Path, rules: &[&Rule]) -> Vec<String> {
    let mut wrong = Vec::new();
    if rules.iter().all(|(_, shown)| !matches!(shown, Shown::Lie(..))) {
        return wrong;
    }
    let mut arena = Arena::new();
    for (rule, shown) in rules.iter().copied() {
        let &Shown::Lie(state, owner, kind, lie, command) = shown else { continue };
        let is_it = |template: &super::roots::Template| template.state == state && template.owner == owner;
        let template = arena.templates.iter().position(is_it).unwrap();
        arena.put(template);
        let (record, told) = place(&arena, kind, lie);
        let mut attempt = |left_out| {
            let build = Some((program, left_out));
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
fn without_its_rule_each_lie_works_and_each_test_fails() {
    const TEST: &str = "reliability::lies::rules::without_its_rule_each_lie_works_and_each_test_fails";
    let built = Built::new();
    if std::env::var_os(super::INSIDE).is_some() {
        let rules = played();
        let wrong = [play_tests(&built, &rules), play(&built.program, &rules)].concat();
        assert!(wrong.is_empty(), "{} rules:\n{}", wrong.len(), wrong.join("\n"));
        return;
    }
    if !is_whole() {
        return crate::skipped(&format!(
            "{TEST}: it takes a build of its own; PATCHADM_TESTS=whole plays it"
        ));
    }
    built.make();
    let mut shown = built.shown();
    let open: Vec<&str> = RULES.iter().map(|(rule, _)| *rule).filter(|rule| !shown.contains(*rule)).collect();
    for piece in open.chunks(PIECE) {
        if in_a_box(TEST, &[(PLAYED, &piece.join(","))]).is_none() {
            return;
        }
        shown.extend(piece.iter().map(ToString::to_string));
        built.note_shown(&shown);
    }
    let lies = RULES.iter().filter(|(_, shown)| matches!(shown, Shown::Lie(..))).count() as u64;
    let rules = RULES.len() as u64;
    let counts = [
        ("rules played", rules),
        ("shown by a lie", lies),
        ("shown by a test that fails without the rule", rules - lies),
        ("that nothing shows", 0),
    ];
    figures("rules", &counts);
}

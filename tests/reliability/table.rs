//! The table of docs/reliability.md, made of what the suites counted: `tests/reliability/table/rows.md` has its words, and
//! `{suite/what}` in them is a figure of a file in `target/reliability`.
//!
//! All figures are of one commit and of suites that were played whole; one that is missing, of a sample or of another
//! commit is refused, and the page stays as it is. `.ci/reliability` plays everything and then has the table made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The commit that is played; whoever starts the suites says it.
const COMMIT: &str = "PATCHADM_COMMIT";

/// Set to anything, the table is written.
const WRITE: &str = "PATCHADM_WRITE_RELIABILITY";

const ROWS: &str = include_str!("table/rows.md");
const PAGE: &str = "docs/reliability.md";

/// The modules outside `reliability` whose figures are in the table, by the files that count them.
const ELSEWHERE: [&str; 11] = [
    "promote_model",
    "never_without_a_version",
    "stage_refresh/interrupted",
    "hostile_depots",
    "kept_model",
    "native_real_model",
    "system_libraries",
    "many_roots",
    "bulk/killed",
    "bulk/killed_at_calls",
    "bulk/power_cuts",
];

/// The suites among the unit tests of the planner, by the modules that count, and where these are.
const OF_PLANNER: [&str; 2] = ["linked", "redone"];
const PLANNER: &str = "crates/planning/src/plan/tests";

/// The file of a suite's figures: a line for people, the commit and day, and each count with its name.
pub(super) fn figures_file(line: &str, counts: &[(&str, u64)]) -> String {
    let commit = std::env::var(COMMIT).unwrap_or_else(|_| "unknown".to_owned());
    let day = chrono::Utc::now().format("%Y-%m-%d");
    let mut text = format!("{line}commit {commit}\nday {day}\n");
    for (what, count) in counts {
        text.push_str(&format!("{count}\t{what}\n"));
    }
    text
}

/// The figures of a suite.
#[derive(Debug)]
struct Figures {
    day: String,
    counts: BTreeMap<String, u64>,
}

impl Figures {
    /// Reads the figures of a suite, which must be whole and of this commit.
    fn read(directory: &Path, suite: &str, commit: &str) -> Result<Self, String> {
        let Ok(text) = fs::read_to_string(directory.join(format!("{suite}-whole"))) else {
            let is_sampled = directory.join(format!("{suite}-sample")).exists();
            let what = if is_sampled { "only a sample was played" } else { "was not played" };
            return Err(format!("{suite}: {what}"));
        };
        let mut lines = text.lines().skip(1);
        let mut said = |word: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(word)?.strip_prefix(' '));
            line.map(str::to_owned).ok_or_else(|| format!("{suite}: does not say its {word}"))
        };
        let (of, day) = (said("commit")?, said("day")?);
        if of != commit {
            return Err(format!("{suite}: was played on commit {of}, not on {commit}"));
        }
        let count = |line: &str| {
            let (count, what) = line.split_once('\t')?;
            Some((what.to_owned(), count.parse().ok()?))
        };
        let counts = lines.map(|line| count(line).ok_or_else(|| format!("{suite}: {line}")));
        Ok(Self { day, counts: counts.collect::<Result<_, _>>()? })
    }
}

/// A row as its words and, between them, its figures: suite and name.
fn parts(row: &str) -> Vec<(&str, Option<(&str, &str)>)> {
    let mut parts = Vec::new();
    for piece in row.split('}') {
        match piece.split_once('{') {
            Some((words, figure)) => parts.push((words, figure.split_once('/'))),
            None => parts.push((piece, None)),
        }
    }
    parts
}

/// `1,288,034`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The table of a commit and the last day on which a suite of it was played; or everything that it lacks.
fn table(rows: &str, directory: &Path, commit: &str) -> Result<(String, String), Vec<String>> {
    let (mut out, mut wrong, mut last) = (String::new(), BTreeSet::new(), String::new());
    let mut read: BTreeMap<&str, Result<Figures, String>> = BTreeMap::new();
    for (words, figure) in rows.lines().flat_map(|row| parts(row).into_iter().chain([("\n", None)])) {
        out.push_str(words);
        let Some((suite, what)) = figure else { continue };
        match read.entry(suite).or_insert_with(|| Figures::read(directory, suite, commit)) {
            Err(error) => {
                wrong.insert(error.clone());
            }
            Ok(figures) => {
                last = last.max(figures.day.clone());
                match figures.counts.get(what) {
                    Some(count) => out.push_str(&with_commas(*count)),
                    None => {
                        wrong.insert(format!("{suite}: has no figure `{what}`"));
                    }
                }
            }
        }
    }
    if wrong.is_empty() { Ok((out, last)) } else { Err(wrong.into_iter().collect()) }
}

/// The page with another table: the line about the figures, an empty one, and the rows are replaced.
fn with_table(page: &str, line: &str, table: &str) -> String {
    let begin = page.find("\nThe figures of ").expect("a line about the figures") + 1;
    let rows = begin + page[begin..].find("\n| ").expect("a table") + 1;
    let end = rows + page[rows..].find("\n\n").expect("what follows the table") + 1;
    format!("{}{line}\n\n{table}{}", &page[..begin], &page[end..])
}

/// The machine, as far as the page tells it.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let version: Vec<&str> = kernel.split('.').take(2).collect();
    format!("{cores} cores of a virtual machine with Linux {}", version.join("."))
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_table_is_written_of_figures_of_one_commit() {
    if std::env::var_os(WRITE).is_none() {
        return crate::skipped(&format!("the table of {PAGE}: {WRITE}=1 writes it"));
    }
    let commit = std::env::var(COMMIT).expect(COMMIT);
    let made = table(ROWS, &at("target/reliability"), &commit);
    let (table, day) = made.unwrap_or_else(|wrong| panic!("the table stays as it is:\n{}", wrong.join("\n")));
    let short = commit.get(..8).unwrap_or(&commit);
    let line = format!("The figures of commit `{short}`, played on {day}, on {}:", machine());
    let page = fs::read_to_string(at(PAGE)).unwrap();
    fs::write(at(PAGE), with_table(&page, &line, &table)).unwrap();
}

#[test]
fn a_figure_that_is_missing_of_a_sample_or_of_another_commit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let rows = "| killed | `crash` | {crash/crash points} points | {crash/third states} |\n";
    let wrong = || table(rows, dir.path(), "abc").unwrap_err().join("; ");
    assert_eq!(wrong(), "crash: was not played");
    put("crash-sample", "x\ncommit abc\nday 2026-11-24\n7\tcrash points\n0\tthird states\n");
    assert_eq!(wrong(), "crash: only a sample was played");
    put("crash-whole", "reliability (whole): crash: 7 crash points\n");
    assert_eq!(wrong(), "crash: does not say its commit");
    put("crash-whole", "x\ncommit abd\nday 2026-11-24\n7\tcrash points\n0\tthird states\n");
    assert_eq!(wrong(), "crash: was played on commit abd, not on abc");
    put("crash-whole", "x\ncommit unknown\nday 2026-11-24\n");
    assert_eq!(wrong(), "crash: was played on commit unknown, not on abc");
    put("crash-whole", "x\ncommit abc\nday 2026-11-24\n1234567\tcrash points\n");
    assert_eq!(wrong(), "crash: has no figure `third states`");
    put("crash-whole", "x\ncommit abc\nday 2026-11-24\n1234567\tcrash points\n0\tthird states\n");
    let (made, day) = table(rows, dir.path(), "abc").unwrap();
    assert_eq!(
        (made.as_str(), day.as_str()),
        ("| killed | `crash` | 1,234,567 points | 0 |\n", "2026-11-24")
    );
    let page = "# Reliability\n\nThe figures of 2026, by hand:\n\n| what |\n| --- |\n| old |\n\nMore.\n";
    let expected = format!("# Reliability\n\nThe figures of now:\n\n{made}\nMore.\n");
    assert_eq!(with_table(page, "The figures of now:", &made), expected);
}

#[test]
fn every_figure_is_written_with_its_commit() {
    let text = figures_file("reliability (whole): x: 3 a, b\n", &[("a, b", 3)]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x-whole"), text).unwrap();
    let commit = std::env::var(COMMIT).unwrap_or_else(|_| "unknown".to_owned());
    let read = Figures::read(dir.path(), "x", &commit).unwrap();
    assert_eq!(read.counts, BTreeMap::from([("a, b".to_owned(), 3)]));
}

#[test]
fn no_figure_of_the_table_is_written_by_hand() {
    for row in ROWS.lines().skip(2) {
        let [_, what, _, how_often, found, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let words = |column| parts(column).into_iter().map(|(words, _)| words).collect::<String>();
        for column in [how_often, found] {
            assert!(!words(column).contains(|letter: char| letter.is_ascii_digit()), "{what}: {column}");
        }
    }
}

/// The sources of the suites.
fn sources() -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![at("tests")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(at("tests")).unwrap().with_extension("");
                found.push((name.to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The names under which a source counts: the first texts of its calls.
fn counted(text: &str, call: &str) -> BTreeSet<String> {
    let calls = text.split(call).skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
    calls.filter_map(|call| call.split_once('"').map(|(name, _)| name.to_owned())).collect()
}

#[test]
fn the_table_has_every_suite_that_counts_and_the_command_plays_it() {
    let command = fs::read_to_string(at(".ci/reliability")).unwrap();
    let mut counts = BTreeSet::new();
    for (name, text) in sources() {
        let is_of_suite = name.starts_with("reliability/") && name != "reliability/table";
        let is_elsewhere = ELSEWHERE.contains(&name.as_str())
            || ELSEWHERE.iter().any(|module| name.starts_with(&format!("{module}/")));
        if !text.contains(" figures(\"") && !text.contains("figures(about") && !text.contains("figures(\n") {
            continue;
        }
        if is_of_suite || is_elsewhere {
            counts.extend(counted(&text, "figures("));
        } else if name != "reliability" && name != "reliability/table" {
            panic!("{name} counts, and nobody plays it for the table");
        }
    }
    // Those that never_without_a_version counts, by the ways in which it switches.
    counts.extend(
        ["by renames", "by exchange", "two passes of rsync"]
            .map(|way| format!("never without a version, {way}")),
    );
    for module in OF_PLANNER {
        let text = fs::read_to_string(at(PLANNER).join(format!("{module}.rs"))).unwrap();
        counts.extend(counted(&text, "seen.tell("));
        assert!(
            command.contains(&format!("plan::tests::{module}")),
            ".ci/reliability does not play {module}"
        );
    }
    let in_table = parts(ROWS).into_iter().filter_map(|(_, figure)| Some(figure?.0.trim().to_owned()));
    assert_eq!(in_table.collect::<BTreeSet<_>>(), counts);
    for module in ELSEWHERE {
        assert!(command.contains(&module.replace('/', "::")), ".ci/reliability does not play {module}");
    }
}

//! The table of docs/reliability.md, made from the counts of the suites: `tests/reliability/table/rows.md` has its
//! words, and `{suite/what}` in them is a figure of docs/reliability.tsv, in which `.ci/reliability` keeps a line for
//! each test. For a suite that counts nothing, `{module/tests}` is the number of its tests.
//!
//! A row has the day and the commit of the oldest of its results, and no figures as long as one of them is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// If this is set to anything, the table is written.
const WRITE: &str = "PATCHADM_WRITE_RELIABILITY";

const ROWS: &str = include_str!("table/rows.md");
const PAGE: &str = "docs/reliability.md";
const RESULTS: &str = "docs/reliability.tsv";

/// The paragraph before the table, while a row has no result.
const UNPLAYED: &str = "A row without a date has not been played in full since the table is made of results: earlier runs kept none.\n\n";

/// The files that are never played whole: this one, and one that only a build with assertions has.
const NOT_PLAYED: [&str; 2] = ["reliability/table", "reliability/digested"];

/// The directory of the suites among the unit tests of the planner.
const PLANNER: &str = "crates/planning/src/plan/tests";

/// Day and commit of a result.
type Played<'a> = (&'a str, &'a str);

/// The counts of the suites.
#[derive(Default)]
struct Results<'a> {
    /// The counts, by suite and name.
    counts: BTreeMap<(&'a str, &'a str), u64>,
    /// The oldest result of each suite.
    oldest: BTreeMap<&'a str, Played<'a>>,
}

/// The modules that a test is in, the innermost one last.
fn modules(test: &str) -> impl DoubleEndedIterator<Item = &str> {
    test.match_indices("::").map(|(at, _)| &test[..at]).collect::<Vec<_>>().into_iter()
}

impl<'a> Results<'a> {
    /// Reads the results; modules with a test that was never played do not count.
    fn read(text: &'a str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let [_, commit, day, _, test, figures] = line.split('\t').collect::<Vec<_>>()[..] else {
                return Err(format!("{RESULTS}: six fields are expected: {line}"));
            };
            lines.push(((day, commit), test, figures));
        }
        let never = lines.iter().filter(|((day, _), ..)| *day == "-");
        let lacking: BTreeSet<&str> = never.flat_map(|&(_, test, _)| modules(test)).collect();
        let mut results = Self::default();
        for (played, test, figures) in lines {
            for module in modules(test).filter(|module| !lacking.contains(module)) {
                results.add((module, "tests"), 1, played);
            }
            if modules(test).next_back().is_none_or(|module| lacking.contains(module)) {
                continue;
            }
            for told in figures.split('|').filter(|told| !told.is_empty()) {
                let wrong = || format!("{RESULTS}: {test}: {told}");
                let (about, counts) = told.split_once(": ").ok_or_else(wrong)?;
                for count in counts.split("; ") {
                    let (count, what) = count.split_once(' ').ok_or_else(wrong)?;
                    results.add((about, what), count.parse().map_err(|_| wrong())?, played);
                }
            }
        }
        Ok(results)
    }

    fn add(&mut self, counted: (&'a str, &'a str), count: u64, played: Played<'a>) {
        *self.counts.entry(counted).or_default() += count;
        let oldest = self.oldest.entry(counted.0).or_insert(played);
        *oldest = played.min(*oldest);
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

/// A row with its figures, the day and the commit; none if a figure is missing.
fn filled<'a>(row: &'a str, results: &Results<'a>) -> Option<String> {
    let (mut out, mut oldest) = (String::new(), BTreeSet::new());
    for (words, figure) in parts(row) {
        out.push_str(words);
        let Some((about, what)) = figure else { continue };
        out.push_str(&with_commas(*results.counts.get(&(about, what))?));
        oldest.insert(*results.oldest.get(about)?);
    }
    let (day, commit) = oldest.first()?;
    Some(format!("{out} {day} | `{}` |\n", commit.get(..8).unwrap_or(commit)))
}

/// The table of these results, and the paragraph before it.
fn table<'a>(rows: &'a str, results: &Results<'a>) -> String {
    let (mut out, mut before) = (String::new(), "");
    for (number, row) in rows.lines().enumerate() {
        let made = match number {
            0 => format!("{row} date | commit |\n"),
            1 => format!("{row} --- | --- |\n"),
            _ => filled(row, results).unwrap_or_else(|| {
                before = UNPLAYED;
                let what_and_suite: String = row.split_inclusive('|').take(3).collect();
                format!("{what_and_suite} not played yet | | | |\n")
            }),
        };
        out.push_str(&made);
    }
    format!("{before}{out}")
}

/// The page with another table.
fn with_table(page: &str, table: &str) -> String {
    let rows = page.find("\n| ").expect("a table") + 1;
    let begin = page.find(UNPLAYED).unwrap_or(rows);
    let end = rows + page[rows..].find("\n\n").expect("what follows the table") + 1;
    format!("{}{table}{}", &page[..begin], &page[end..])
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_table_is_made_of_the_results() {
    let results = fs::read_to_string(at(RESULTS)).unwrap();
    let results = Results::read(&results).unwrap_or_else(|wrong| panic!("{wrong}"));
    let page = fs::read_to_string(at(PAGE)).unwrap();
    let made = with_table(&page, &table(ROWS, &results));
    if std::env::var_os(WRITE).is_some() {
        fs::write(at(PAGE), made).unwrap();
    } else {
        assert!(page == made, "{PAGE} is not what {RESULTS} says: `.ci/reliability --for 0` writes it");
    }
}

#[test]
fn figures_of_several_tests_are_added_up_and_a_row_says_which_is_the_oldest() {
    let rows = "| what | suite | how often | found |\n| --- | --- | --- | --- |\n\
        | killed | `crash` | {crash/crash points} points in {all::crash::kill/tests} tests | {crash/third states} |\n\
        | lost | `lost` | {lost/cuts, all at once} | {lost/third states} |\n";
    let text = "# digest, commit, day, seconds, test, figures\n\
        d1\tabcdef1234\t2026-11-24\t7\tall::crash::kill::part_1\tcrash: 1234567 crash points; 0 third states\n\
        d2\tbcdef12345\t2026-11-23\t7\tall::crash::kill::part_2\tx: 3 a, b|crash: 3 crash points; 0 third states\n\
        d2\tbcdef12345\t2026-11-22\t7\tall::crash::other\t\n\
        d1\tabcdef1234\t2026-11-24\t7\tall::lost::part_1\tlost: 3 cuts, all at once; 0 third states\n";
    let made = |text: &str| table(rows, &Results::read(text).unwrap());
    let head =
        "| what | suite | how often | found | date | commit |\n| --- | --- | --- | --- | --- | --- |\n";
    let crash = "| killed | `crash` | 1,234,570 points in 2 tests | 0 | 2026-11-23 | `bcdef123` |\n";
    assert_eq!(made(text), format!("{head}{crash}| lost | `lost` | 3 | 0 | 2026-11-24 | `abcdef12` |\n"));
    let lacking = format!("{text}-\t-\t-\t0\tall::lost::part_2\t\n");
    let expected = format!("{UNPLAYED}{head}{crash}| lost | `lost` | not played yet | | | |\n");
    assert_eq!(made(&lacking), expected);
    let page = "# Reliability\n\n| what |\n| --- |\n| old |\n\nMore.\n";
    let lacks = with_table(page, &expected);
    assert_eq!(lacks, format!("# Reliability\n\n{expected}\nMore.\n"));
    assert_eq!(with_table(&lacks, &made(text)), format!("# Reliability\n\n{}\nMore.\n", made(text)));
    for odd in ["d\tc\t2026-11-24\t7\ttest", "d\tc\t2026-11-24\t7\ta::b\tcrash: many points"] {
        assert!(Results::read(odd).is_err(), "{odd}");
    }
}

#[test]
fn no_figure_of_the_table_is_written_by_hand() {
    for row in ROWS.lines().skip(2) {
        let [_, what, _, how_often, found, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        assert!(!what.contains('{'), "a row without results has these words: {what}");
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

/// The names under which a source counts: the first string literals of its calls.
fn counted(text: &str, call: &str) -> BTreeSet<String> {
    let calls = text.split(call).skip(1).filter_map(|call| call.trim_start().strip_prefix('"'));
    calls.filter_map(|call| call.split_once('"').map(|(name, _)| name.to_owned())).collect()
}

/// The suites that the command plays.
fn suites(command: &str) -> Vec<&str> {
    let (_, list) = command.split_once("\nsuites='").expect("a list of suites");
    list.split('\'').next().unwrap_or_default().split_whitespace().collect()
}

#[test]
fn the_table_has_every_suite_that_counts_and_the_command_plays_it() {
    let command = fs::read_to_string(at(".ci/reliability")).unwrap();
    let suites = suites(&command);
    let sources = sources();
    let mut counts = BTreeSet::new();
    for (name, text) in &sources {
        let module = name.replace('/', "::");
        let is_played = suites.iter().any(|suite| {
            module.strip_prefix(*suite).is_some_and(|below| below.is_empty() || below.starts_with("::"))
        });
        if NOT_PLAYED.contains(&name.as_str()) || matches!(name.as_str(), "reliability" | "benchmark") {
            continue;
        }
        let has_tests = text.contains("#[test]") || text.contains("\nin_parts!(");
        assert!(is_played || !has_tests || !name.starts_with("reliability/"), "nobody plays {name}");
        if text.contains(" figures(\"") || text.contains("figures(about") || text.contains("figures(\n") {
            assert!(is_played, "{name} counts, and nobody plays it for the table");
            counts.extend(counted(text, "figures("));
        }
    }
    // The counts of `never_without_a_version`, by the ways in which it switches.
    counts.extend(
        ["by renames", "by exchange", "two passes of rsync"]
            .map(|way| format!("never without a version, {way}")),
    );
    for suite in &suites {
        if let Some(module) = suite.strip_prefix("plan::tests::") {
            let text = fs::read_to_string(at(PLANNER).join(format!("{module}.rs"))).unwrap();
            counts.extend(counted(&text, "seen.tell("));
        } else {
            assert!(sources.iter().any(|(name, _)| *name == suite.replace("::", "/")), "{suite} is no suite");
        }
    }
    let in_table: Vec<(&str, &str)> = parts(ROWS).into_iter().filter_map(|(_, figure)| figure).collect();
    let (tests, figures): (Vec<_>, Vec<_>) = in_table.into_iter().partition(|(_, what)| *what == "tests");
    assert_eq!(figures.iter().map(|(about, _)| (*about).to_owned()).collect::<BTreeSet<_>>(), counts);
    for (module, _) in tests {
        assert!(suites.contains(&module), ".ci/reliability does not play {module}");
    }
}

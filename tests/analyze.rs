//! `patchadm analyze`: what the program lists whose rules it has, what is different on purpose, and how it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::packages::Package;
use crate::scenario::{Scenario, shared};
use crate::schema::assert_document;

/// Requests whose names do not say their words: the name of the output, and what was typed.
const REQUESTS: &[(&str, &[&str])] = &[
    ("missing-nodep", &["--no-requires", "missing"]),
    ("id-900003", &["900003"]),
    ("id-900010", &["900010"]),
    ("id-900010-01", &["900010-01"]),
    ("ids", &["900052", "900011"]),
    ("unknown", &["900077"]),
    ("ignore", &["--ignore", "900001", "--ignore", "900019-01", "missing"]),
    ("ignore-syn", &["--ignore", "twenty", "--ignore", "patch 90002", "missing"]),
    ("pattern", &["--pattern", "patch 90001", "missing"]),
    ("pattern-not", &["--pattern", "!patch 9000", "missing"]),
    ("rec", &["--rec", "900022", "missingr"]),
];

/// The table of deliberate differences: the case, the outputs (all where none is named), the number of the difference,
/// the lines that the program lists and we do not, and those that we list. Those without a line here are the circle of
/// obsoletions (7) and the line of ten fields (9), which have tests of their own, and the tables inside the program (8).
type Difference =
    (&'static str, &'static [&'static str], u8, &'static [&'static str], &'static [&'static str]);
const DIFFERENCES: &[Difference] = &[
    ("*", &["missing", "all", "total", "ids", "ignore", "ignore-syn", "pattern"], 1, &[TWICE], &[]),
    (
        "some",
        &["installed", "all"],
        2,
        &["999999 01 = 01 --- ACME-web-03"],
        &["ACME-web 03 > -- --- NOT FOUND IN CROSS REFERENCE FILE!"],
    ),
    ("some", &["total"], 2, &["999999 01 = 01 --- ACME-web-03"], &[]),
    ("some", &["installed"], 3, &["900040 01 < 02 --- Acme 1.0: patch 900040"], &[IDR]),
    (
        "some",
        &["all"],
        3,
        &["900040 01 < 02 --- Acme 1.0: patch 900040"],
        &["900040 -- < 02 --- Acme 1.0: patch 900040", IDR],
    ),
    (
        "some",
        &["missing", "missing-nodep", "total", "ignore", "ignore-syn"],
        3,
        &["900040 01 < 02 --- Acme 1.0: patch 900040"],
        &["900040 -- < 02 --- Acme 1.0: patch 900040"],
    ),
    (
        "some",
        &["missing", "missing-nodep", "all", "ignore", "ignore-syn"],
        4,
        &[],
        &["900070 -- < 02 --- Acme 1.0: patch 900070"],
    ),
    ("*", &["id-900010-01"], 5, &[], &["900009 -- < 01 --- Acme 1.0: patch 900009"]),
];

const TWICE: &str = "900011 -- < 01 --- Acme 1.0: patch 900011";
const IDR: &str = "IDR900040 01 > -- --- NOT FOUND IN CROSS REFERENCE FILE!";

/// What a case and a request list, without header, ages and blanks; and the exit code.
fn listed(stage: &Scenario, case: &Path, words: &[&str]) -> (Vec<String>, i32) {
    let mut command = stage.command("analyze");
    let xref = case.join("patchdiag.xref");
    command.args(["--xref".as_ref(), xref.as_os_str(), "--from".as_ref(), case.as_os_str()]).args(words);
    let run = command.output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("----")).skip(1);
    let without_age = |line: &str| {
        let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.remove(5);
        words.join(" ")
    };
    (rows.map(without_age).collect(), run.status.code().unwrap())
}

/// What the program listed, as it is to be compared: blanks do not count, and nothing that is different on purpose is in
/// it; and what we list besides.
fn expected(case: &str, name: &str, text: &str) -> (Vec<String>, Vec<&'static str>) {
    let squeezed = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(squeezed).collect();
    let mut besides = Vec::new();
    assert_eq!(lines.pop().as_deref(), Some("exit 0"), "{case}/{name}");
    for (of, names, number, theirs, ours) in DIFFERENCES {
        let is_made_up = !case.starts_with("real");
        if *of != case && (*of != "*" || !is_made_up) || !names.contains(&name) {
            continue;
        }
        for line in *theirs {
            let place = lines.iter().position(|one| one == line);
            lines.remove(place.unwrap_or_else(|| panic!("{case}/{name}: difference {number}: {line}")));
        }
        besides.extend(*ours);
    }
    (lines, besides)
}

/// The lines without those that are listed besides, each of which must be there once.
fn without(mut lines: Vec<String>, besides: &[&str]) -> Option<Vec<String>> {
    for line in besides {
        let place = lines.iter().position(|one| one == line)?;
        lines.remove(place);
    }
    Some(lines)
}

#[test]
fn every_case_lists_what_the_program_lists_but_for_the_table_of_differences() {
    let Some(cases) = shared("every case of an analysis", "cases/pca") else { return };
    let stage = Scenario::new();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in ["empty", "some", "real-html", "real-sparc", "real-x86"] {
        for entry in fs::read_dir(cases.join(case)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_none_or(|ending| ending != "out")
                || ["uname", "pkginfo", "showrev"].contains(&&*name)
            {
                continue;
            }
            let typed = [&*name];
            let words =
                REQUESTS.iter().find(|(known, _)| *known == name).map_or(&typed[..], |(_, words)| words);
            let (ours, code) = listed(&stage, &cases.join(case), words);
            let (theirs, besides) = expected(case, &name, &fs::read_to_string(&path).unwrap());
            if without(ours.clone(), &besides).as_ref() != Some(&theirs)
                || code != if name == "unknown" { 33 } else { 0 }
            {
                let (ours, theirs) = (ours.join("\n"), theirs.join("\n"));
                wrong.push(format!(
                    "{case}/{name}: exit {code}\nours:\n{ours}\ntheirs, and {besides:?}:\n{theirs}"
                ));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(compared, 85);
}

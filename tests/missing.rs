//! `patchadm missing`: the output of the program whose rules it has, the deliberate differences, and the exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, shared};
use crate::schema::assert_document;

/// Requests whose names differ from their arguments: the name of the output, and the arguments.
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

/// The table of deliberate differences: the case, the outputs, the number of the difference, the lines that only the
/// program lists, and the lines that only we list. Three differences have no line here: the circle of obsoletions (7)
/// and the line of ten fields (9), which have tests of their own, and the tables inside the program (8).
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

/// The lines that a request lists for a case, without header, ages and blanks; and the exit code.
fn listed(stage: &Scenario, case: &Path, words: &[&str]) -> (Vec<String>, i32) {
    let mut command = stage.command("missing");
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

/// The output of the program for the comparison, without blanks and deliberate differences; and the lines that only we
/// list.
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

/// Removes the lines that only we list; `None` if one of them is absent.
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
                || code != if name == "unknown" { 4 } else { 0 }
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

/// A cross-reference of our own, with one oddity a line.
const XREF: &str = "## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Nov/19/26 ##\r\n\
    100001|01|Nov/10/26|R| | |  |Unbundled|i386;|ACMEweb:1.0;|web: first | second\r\n\
    100001|02|Nov/11/26| | | |  |Unbundled|i386;100002-01;|ACMEweb:1.0;|web: first | second\r\n\
    100002|01|Nov/12/26| |S| |  |Unbundled|i386;|ACMEweb:1.0;|caf\u{e9}\r\n\
    100003|01|Nov/12/26| | | | B|Unbundled|i386;|ACMEweb:1.0;|withdrawn\r\n\
    100004|01|Nov/12/26| | |O|  |Unbundled|i386;|ACMEweb:1.0;|Obsoleted by: 100005-01 both\r\n\
    100005|01|Nov/12/26| | |O|  |Unbundled|i386;|ACMEweb:1.0;|Obsoleted by: 100004-01 both\r\n\
    100006|01|Nov/12/26| | | |  |Unbundled|i386;|ACMEnone:1.0;|not here\r\n";

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    fs::write(stage.beside("patchdiag.xref"), XREF).unwrap();
    stage
}

#[test]
fn a_root_is_held_against_a_cross_reference() {
    let stage = stage();
    let said = stage.run("missing -R @ROOT@ --xref patchdiag.xref").ok();
    assert_eq!(
        said,
        "Using patchdiag.xref from 2026-11-19\n\
         Root: @ROOT@\n\
         List: missing (2 patches; R: recommended, S: security, B: withdrawn)\n\
         \n\
         Patch  Old New RSB Age Synopsis\n\
         ------ -- - -- --- --- -------------------------------------------------------\n\
         100002 -- < 01 -S-   8 caf\u{e9}\n\
         100001 -- < 02 R--   9 web: first | second\n"
    );
    let listed = |words: &str| {
        let said = stage.run(&format!("missing -R @ROOT@ --xref patchdiag.xref {words}")).ok();
        let rows = said.lines().skip(6).map(|line| line[..6].to_owned());
        rows.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed("total"), "100002 100001 100003 100004 100005 100006");
    assert_eq!(listed("mr"), "100002 100001");
    assert_eq!(listed("mr --no-requires"), "100001");
    assert_eq!(listed("--max-age 8d"), "100002");
    assert_eq!(listed("--pattern !caf --min-age 9d"), "100002 100001");
    assert_eq!(listed("100003 100001"), "100002 100001 100003");
    assert_eq!(listed("bad"), "");
}

#[test]
fn what_is_applied_is_no_longer_missing() {
    let stage = stage();
    let patch = Patch::of("100002-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    let said = stage.run("missing -R @ROOT@ --xref patchdiag.xref --check installed").ok();
    assert!(said.ends_with("100002 01 = 01 -S-   8 caf\u{e9}\n"), "{said}");
    let run = stage.run("missing -R @ROOT@ --xref patchdiag.xref --check all");
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("List: all (2 patches; "), "{}", run.stdout);
}

#[test]
fn patches_that_nobody_knows_are_named() {
    let stage = stage();
    let run = stage.run("missing -R @ROOT@ --xref patchdiag.xref 100002 999999 100001-07 mising");
    assert_eq!(run.code, 4);
    assert!(run.stdout.ends_with("100002 -- < 01 -S-   8 caf\u{e9}\n"), "{}", run.stdout);
    for word in ["999999", "100001-07", "mising"] {
        let line = format!("patchadm: error: {word}: patchdiag.xref does not have it\n");
        assert!(run.stderr.contains(&line), "{}", run.stderr);
    }
    assert!(
        stage.run("missing -R @ROOT@ --xref patchdiag.xref ../x").fails(2).contains("neither a group nor")
    );
    assert!(
        stage.run("missing -R @ROOT@ --xref patchdiag.xref --pattern (").fails(2).contains("unclosed group")
    );
    assert!(stage.run("missing -R @ROOT@").fails(2).contains("nothing to compare with"));
}

#[test]
fn a_document_has_every_field() {
    let stage = stage();
    let run = stage.run("missing --json -R @ROOT@ --xref patchdiag.xref missing 999999");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_document("missing --json", run.stdout.as_bytes());
    assert_eq!((&document["as_of"], &document["missing"]), (&"2026-11-19".into(), &2.into()));
    assert_eq!(document["groups"], serde_json::json!(["missing"]));
    let first = &document["patches"][1];
    assert_eq!(
        (&first["id"], &first["current"], &first["relation"]),
        (&"100001".into(), &"02".into(), &"<".into())
    );
    assert_eq!((&first["installed"], &first["age_days"]), (&Value::Null, &9.into()));
    assert_eq!(first["requires"], serde_json::json!(["100002-01"]));
    assert_eq!(document["patches"][2]["reason"], "patchdiag.xref does not have it");
}

#[test]
fn many_roots_have_a_line_each_and_one_page() {
    let stage = stage();
    let analyze = "missing --xref patchdiag.xref --roots @ROOT@";
    let said = stage.run(analyze).ok();
    assert!(said.starts_with("@ROOT@: 2 patches listed, 2 are missing\n  Patch  Old New"), "{said}");
    fs::write(stage.beside("all.json"), stage.run(&format!("{analyze} --json")).ok()).unwrap();
    let page = stage.run("report page all.json").ok();
    assert_eq!(page.matches("<section").count(), 1);
    assert_eq!(stage.run("missing --check --xref patchdiag.xref --roots @ROOT@").code, 4);
    stage.run("missing --xref patchdiag.xref --from . --roots @ROOT@").fails(2);
}

#[test]
fn a_depot_is_a_cross_reference() {
    let stage = stage();
    let web = || Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    Patch::of("100007-01", web()).directory(&stage);
    Patch::of("100008-01", web().param("SUNW_REQUIRES", "100007-01")).directory(&stage);
    let run = stage.run("missing -R @ROOT@ -M delivered --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr));
    let ids: Vec<&str> =
        document["patches"].as_array().unwrap().iter().map(|patch| patch["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["100007", "100008"]);
    assert!(document["patches"][0]["size"].as_u64().unwrap() > 0);
    let said = stage.run("missing -R @ROOT@ -M nowhere").fails(1);
    assert!(said.contains("nothing was analyzed") && said.contains("nowhere does not exist"), "{said}");
}

#[test]
fn files_that_are_none_are_refused_with_the_reason_and_a_hint() {
    let stage = stage();
    fs::write(stage.beside("ten.xref"), "100393|01|Sep/02/94| | |O|  |Unbundled||OBSOLETED\n").unwrap();
    fs::write(stage.beside("page.xref"), "<html><body>404 Not Found</body></html>\n").unwrap();
    for (file, reason) in [
        ("ten.xref", "line 1 has 10 fields, not 11"),
        ("page.xref", "neither the header of a cross-reference file nor a line about a patch"),
        ("none.xref", "No such file"),
    ] {
        let said = stage.run(&format!("missing -R @ROOT@ --xref {file}")).fails(1);
        assert!(said.contains(reason) && said.lines().count() == 2, "{said}");
    }
    let from = stage.beside("machine");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("pkginfo.out"), "ACMEweb Web\n").unwrap();
    fs::write(from.join("showrev.out"), "No patches are installed\n").unwrap();
    let said = stage.run("missing --xref patchdiag.xref --from machine").fails(1);
    assert!(said.contains("the architecture and version of ACMEweb are missing"), "{said}");
}

#[test]
fn listings_of_real_machines_are_read() {
    let Some(real) = shared("listings of real machines", "realdata") else { return };
    let stage = stage();
    let from = stage.beside("machine");
    fs::create_dir(&from).unwrap();
    let files = |directory: &str| -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![real.join(directory)];
        while let Some(path) = open.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => open.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) => found.push(path),
            }
        }
        found.retain(|path| path.extension().is_none_or(|ending| ending != "md"));
        found
    };
    fs::write(from.join("pkginfo.out"), "").unwrap();
    let patches = files("showrev-p");
    assert!(patches.len() >= 6);
    for path in patches {
        fs::copy(&path, from.join("showrev.out")).unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        let bases: BTreeSet<&str> = lines
            .lines()
            .filter_map(|line| line.strip_prefix("Patch: ")?.split_whitespace().next()?.split('-').next())
            .collect();
        let said = stage.run("missing --xref patchdiag.xref --from machine installed").ok();
        assert_eq!(said.lines().skip(6).count(), bases.len(), "{}", path.display());
    }
    fs::write(from.join("showrev.out"), "").unwrap();
    // Lists of the Image Packaging System are no output of `pkginfo`.
    let packages =
        files("pkginfo-l").into_iter().filter(|path| fs::read_to_string(path).unwrap().contains("PKGINST:"));
    let packages: Vec<PathBuf> = packages.collect();
    assert!(packages.len() >= 3, "{packages:?}");
    for path in packages {
        fs::copy(&path, from.join("pkginfo.out")).unwrap();
        stage.run("missing --xref patchdiag.xref --from machine").ok();
    }
}

#[test]
fn a_claim_on_later_revisions_of_the_same_patch_hides_them_from_analyze_as_add_refuses_them() {
    let stage = stage();
    let web = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    let claims = Patch::of("100007-01", web("one\n").param("SUNW_OBSOLETES", "100007-03"));
    stage.patchadd("", &claims).ok();
    for (revision, is_claimed) in [("02", true), ("03", true), ("04", false)] {
        let id = format!("100007-{revision}");
        let patch = Patch::of(&id, web("later\n")).directory(&stage);
        let depot = format!("depot-{revision}");
        fs::create_dir(stage.beside(&depot)).unwrap();
        fs::rename(patch, stage.beside(&depot).join(&id)).unwrap();
        let add = stage.run(&format!("patchadd -a -R @ROOT@ {depot}/{id}"));
        assert_eq!(add.code == 6, is_claimed, "{id}: {} {}", add.code, add.stderr);
        let analyze = stage.run(&format!("missing --check -R @ROOT@ -M {depot}"));
        assert_eq!(analyze.code == 0, add.code == 6, "{id}: {}", analyze.stdout);
        assert_eq!(analyze.code == 4, add.code == 0, "{id}: {}", analyze.stdout);
    }
    // The patch that claims them is in force.
    let obsolete = stage.run("missing -R @ROOT@ -M depot-03 obsolete").ok();
    assert!(obsolete.contains("List: obsolete (0 patches; "), "{obsolete}");
}

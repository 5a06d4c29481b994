//! A dry run tells what a run would do, and does nothing. `--if-changed` skips a run if nothing has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::BulkBuild;
use crate::scenario::is_root;

const INSTALL: &str = "mkdir -p $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/${PKGNAME%-*}\n";

/// The packages of a plan with their actions.
fn actions(plan: &Value) -> Vec<String> {
    let packages = plan["plan"].as_array().unwrap().iter();
    packages
        .map(|package| {
            format!("{} {}", package["package"].as_str().unwrap(), package["action"].as_str().unwrap())
        })
        .collect()
}

/// The reason for the action of a package in a plan.
fn why<'a>(plan: &'a Value, name: &str) -> &'a str {
    let packages = plan["plan"].as_array().unwrap();
    packages.iter().find(|package| package["package"] == name).unwrap()["why"].as_str().unwrap()
}

/// All files below a directory, without those that are local to each machine.
fn files(work: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![work.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && path != work.join("build") {
                open.push(path);
            } else if path.is_file() {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_plan_says_what_is_built_and_why_and_writes_nothing() {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("a_plan_says…", !is_root(), settings) else { return };
    build.recipe("base", "", INSTALL);
    build.recipe("user", "ALL_DEPENDS=base>=1:../base\n", INSTALL);
    build.recipe("program", "ALL_DEPENDS=user>=1:../user\n", INSTALL);
    build.recipe("alone", "PBULK_WEIGHT=5000\n", INSTALL);
    build.recipe("broken", "", "exit 3\n");
    build.recipe("masked", "PKG_FAIL_REASON=it does not build here\n", INSTALL);
    let sha256 = "0".repeat(64);
    let fetched =
        format!("DISTFILES=x.tar:{sha256}:1\nDISTURL=file:{}\n", build.tree().join("scan").display());
    build.recipe("fetches", &fetched, INSTALL);

    let before = files(&build.work());
    let first = build.run("--dry-run").ends(0).report;
    assert_eq!(files(&build.work()), before, "nothing is written");
    let expected = [
        "alone-1.0 build",
        "base-1.0 build",
        "broken-1.0 build",
        "fetches-1.0 build",
        "masked-1.0 nothing",
        "program-1.0 build",
        "user-1.0 build",
    ];
    assert_eq!(actions(&first), expected);
    assert_eq!(why(&first, "program-1.0"), "it was never built");
    assert_eq!(why(&first, "masked-1.0"), "it does not build here");
    assert_eq!((&first["longest_way"], &first["expected_ms"]), (&json!(["alone-1.0"]), &Value::Null));

    build.run("").ends(5);
    build.change("base/build", ("echo", "echo the"));
    let before = files(&build.work());
    let second = build.run("--dry-run").ends(0).report;
    assert_eq!(files(&build.work()), before);
    let expected = [
        "alone-1.0 nothing",
        "base-1.0 build",
        "broken-1.0 nothing",
        "fetches-1.0 build",
        "masked-1.0 nothing",
        "program-1.0 maybe",
        "user-1.0 maybe",
    ];
    assert_eq!(actions(&second), expected);
    assert_eq!(why(&second, "base-1.0"), "changed since its last success: file:build");
    let maybe = "base-1.0 is built first, and the bytes of its result decide";
    assert_eq!((why(&second, "user-1.0"), why(&second, "program-1.0")), (maybe, maybe));
    assert!(
        why(&second, "broken-1.0").starts_with("it failed in run 1 (exit), and nothing has changed since")
    );
    assert_eq!(second["longest_way"], json!(["base-1.0", "user-1.0", "program-1.0"]));
    assert!(second["expected_ms"].as_u64().is_some());

    let asked = build.run("--dry-run --retry --rebuild alone alone broken").ends(0).report;
    assert_eq!(actions(&asked), ["alone-1.0 build", "broken-1.0 build"]);
    assert_eq!(why(&asked, "alone-1.0"), "it was requested");
    build.run("--dry-run nothing").ends(4);
    let text = build.action("run @WORK@ --dry-run base").ok();
    assert!(
        text.starts_with("build  base-1.0: changed since its last success: file:build\n1 to build, "),
        "{text}"
    );
}

#[test]
fn a_run_is_left_out_where_no_file_that_was_scanned_has_changed() {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("a_run_is_left_out…", !is_root(), settings) else { return };
    build.recipe("one", "SCAN_DEPENDS=../mk\n", INSTALL);
    build.write("mk", "common");
    let changed = |what: &str, run: u64| {
        let ran = build.run("--if-changed").ends(0);
        assert_eq!(
            (ran.report["run"].as_u64(), ran.report["unchanged"].as_bool()),
            (Some(run), None),
            "{what}"
        );
        let again = build.run("--if-changed").ends(0);
        assert_eq!(again.report["unchanged"], json!(true), "{what}");
        assert_eq!(again.report["run"], json!(run), "{what}");
    };
    changed("nothing was built yet", 1);
    build.write("one/text", "new");
    changed("a file of a recipe comes", 2);
    build.write("mk", "COMMON");
    changed("a common file changes", 3);
    build.recipe("two", "", INSTALL);
    changed("a location comes", 4);
    fs::remove_dir_all(build.tree().join("two")).unwrap();
    changed("a location goes", 5);
    build.set("time=2h\n");
    changed("the configuration changes", 6);
    assert_eq!(build.action("run @WORK@ --if-changed").ok(), "nothing changed since run 6\n");
    assert_eq!(
        build.run("--if-changed --rebuild one").ends(0).report["run"],
        json!(7),
        "something is asked for"
    );
}

#[test]
fn a_command_says_whether_the_tree_has_changed() {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("a_command_says…", !is_root(), settings) else { return };
    build.recipe("one", "", INSTALL);
    build.set("poll=cat revision\n");
    let revision = |text: &str| fs::write(build.work().join("revision"), text).unwrap();
    revision("1");
    build.run("--if-changed").ends(0);
    build.write("one/text", "it is not looked at");
    assert_eq!(build.run("--if-changed").ends(0).report["unchanged"], json!(true));
    revision("2");
    assert_eq!(build.run("--if-changed").ends(0).report["run"], json!(2));
    assert_eq!(build.run("--if-changed").ends(0).report["unchanged"], json!(true));

    // If the `poll` command fails, the run is carried out.
    fs::remove_file(build.work().join("revision")).unwrap();
    let ran = build.run("--if-changed").ends(0);
    assert_eq!(ran.report["run"], json!(3));
    let notes = ran.report["notes"].to_string();
    assert!(notes.contains("poll: cat: exit status: 1: it counts as a change"), "{notes}");
    revision("2");
    assert_eq!(build.run("--if-changed").ends(0).report["run"], json!(4));
}

#[test]
fn a_package_may_be_named_as_its_directory_and_what_may_be_meant_is_told() {
    let Some(build) = BulkBuild::of_recipes("a_package_may_be_named…", !is_root(), "check=none\n") else {
        return;
    };
    for (location, name) in [("net/client", "curl"), ("net/x", "one"), ("devel/x", "two")] {
        build.write(&format!("{location}/record"), format!("PKGNAME={name}-1.0\n"));
        build.write(&format!("{location}/build"), "mkdir $DESTDIR/opt\n");
    }
    let listing = "#!/bin/sh\nif [ $# = 0 ]; then exec find . -mindepth 2 -type d -printf '%P\\n'; fi\nexec cat \"$1/record\"\n";
    fs::write(build.scenario.beside("driver/scan"), listing).unwrap();
    assert_eq!(build.run("client").ends(0).in_state("done"), ["curl"]);
    let begin = "no package has this PKGNAME, name or location: ";
    for (name, alike) in [("x", "devel/x or net/x"), ("client-7", "net/client"), ("crul", "curl")] {
        let said = build.action(&format!("run @WORK@ {name}")).fails(4);
        assert!(said.contains(&format!("{begin}{name}; did you mean {alike}?")), "{said}");
    }
    let said = build.action("run @WORK@ --rebuild crul").fails(4);
    assert!(said.contains(&format!("{begin}crul; did you mean curl?")), "{said}");
}

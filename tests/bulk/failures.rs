//! Packages that fail: which packages wait for them, how long failures are remembered, and when they are tried again.

use std::fs;

use serde_json::json;

use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;

const NAMES: &str = "chain diamond fails hello";

/// `because`, `breaks` and `breaks_alone` of a package.
#[track_caller]
fn links(run: &BulkRun, package: &str) -> (Vec<String>, u64, u64) {
    let package = run.package(package);
    let because = package["because"].as_array().unwrap().iter();
    let because = because.map(|name| name.as_str().unwrap().to_owned()).collect();
    (because, package["breaks"].as_u64().unwrap(), package["breaks_alone"].as_u64().unwrap())
}

#[test]
fn a_failure_takes_what_needs_it_with_it_is_remembered_and_mended() {
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_sample("a_failure_takes…", !is_root(), settings) else { return };
    for broken in ["chain/libthree", "diamond/libleft", "diamond/libright"] {
        build.change(&format!("{broken}/src/Makefile"), ("include", "$(error This one is broken)\ninclude"));
    }
    build.write("tools/fails/fail", "");
    let first = build.run(NAMES).ends(5);
    let states = [
        "chain-1.0 indirect-failed",
        "diamond-1.0 indirect-failed",
        "fails-1.0 failed (exit)",
        "hello-1.0 done",
        "hello-text-1.0 done",
        "libbase-1.0 done",
        "libfive-1.0 indirect-failed",
        "libfour-1.0 indirect-failed",
        "libleft-1.0 failed (exit)",
        "libone-1.0 done",
        "libright-1.0 failed (exit)",
        "libthree-1.0 failed (exit)",
        "libtwo-1.0 done",
    ];
    assert_eq!(first.states(), states);
    assert_eq!(first.report["counts"], json!({ "done": 5, "failed": 4, "indirect-failed": 4 }));
    let because = |names: &[&str]| names.iter().map(|name| format!("{name}-1.0")).collect::<Vec<_>>();
    assert_eq!(links(&first, "libthree-1.0"), (because(&[]), 3, 3));
    // Both sides break the diamond; neither breaks it alone.
    assert_eq!(links(&first, "libleft-1.0"), (because(&[]), 1, 0));
    assert_eq!(links(&first, "libright-1.0"), (because(&[]), 1, 0));
    assert_eq!(links(&first, "fails-1.0"), (because(&[]), 0, 0));
    assert_eq!(links(&first, "chain-1.0").0, because(&["libthree"]));
    assert_eq!(links(&first, "libfour-1.0").0, because(&["libthree"]));
    assert_eq!(links(&first, "diamond-1.0").0, because(&["libleft", "libright"]));
    let failed = first.package("fails-1.0");
    assert_eq!((&failed["phase"], &failed["detail"]), (&json!("build"), &json!("exit 3")));
    assert!(build.log("fails-1.0").contains("This build fails on request.\n"));
    assert!(build.log("libthree-1.0").contains("This one is broken"));

    // The failure is remembered: nothing is built, and the report names the run.
    let second = build.run(NAMES).ends(5);
    let still: Vec<String> = states.iter().map(|state| state.replace(" done", " up-to-date")).collect();
    assert_eq!((second.states(), build.started(2)), (still.clone(), Vec::new()));
    assert_eq!(second.package("fails-1.0")["run"], json!(1));
    assert_eq!(links(&second, "libthree-1.0"), links(&first, "libthree-1.0"));

    // `--retry` tries it again.
    let third = build.run(&format!("{NAMES} --retry")).ends(5);
    let mut tried = build.started(3);
    tried.sort();
    assert_eq!(tried, because(&["fails", "libleft", "libright", "libthree"]));
    assert_eq!(third.states(), still);

    // One is repaired: the packages that waited for it are built, and the others stay as they were.
    build.change("chain/libthree/src/Makefile", ("$(error This one is broken)\n", ""));
    let fourth = build.run(NAMES).ends(5);
    assert_eq!(fourth.in_state("done"), ["chain", "libfive", "libfour", "libthree"]);
    assert_eq!(fourth.in_state("failed"), ["fails", "libleft", "libright"]);
    assert_eq!(fourth.in_state("indirect-failed"), ["diamond"]);

    // Only the named packages count for the exit code.
    build.run("chain hello").ends(0);
    for side in ["left", "right"] {
        let makefile = format!("diamond/lib{side}/src/Makefile");
        build.change(&makefile, ("$(error This one is broken)\n", ""));
    }
    fs::remove_file(build.tree().join("tools/fails/fail")).unwrap();
    let last = build.run(NAMES).ends(0);
    assert_eq!(last.in_state("done"), ["diamond", "fails", "libleft", "libright"]);
}

#[test]
fn nothing_new_starts_after_a_failure_where_that_is_asked_for() {
    let Some(build) = BulkBuild::of_recipes("nothing_new_starts…", !is_root(), "slot=local 1\ncheck=none\n")
    else {
        return;
    };
    // The package with the most dependents comes first.
    build.recipe("first", "", "exit 7");
    for name in ["one", "two"] {
        build.recipe(name, "", "mkdir $DESTDIR/opt");
        build.recipe(&format!("user-{name}"), "ALL_DEPENDS=first-[0-9]*\n", "mkdir $DESTDIR/opt");
    }
    let run = build.run("--stop-on-failure").ends(5);
    assert_eq!(run.detail("first-1.0"), "exit 7");
    assert_eq!(build.started(1), ["first-1.0"]);
    assert_eq!(run.in_state("open"), ["one", "two"]);
    // The next run does the rest.
    let next = build.run("").ends(5);
    assert_eq!(next.in_state("done"), ["one", "two"]);
    assert_eq!(next.in_state("indirect-failed"), ["user-one", "user-two"]);
}

#[test]
fn a_chain_behind_many_failures_names_a_hundred_of_them_and_counts_the_others() {
    let Some(build) = BulkBuild::of_recipes("a_chain_behind…", !is_root(), "slot=local 1\n") else {
        return;
    };
    let mut records = String::new();
    for number in 0..300 {
        let before = if number > 0 { format!(" chain{:03}-1.0", number - 1) } else { String::new() };
        records += &format!("PKGNAME=leaf{number:03}-1.0\nPKG_FAIL_REASON=broken\n");
        records += &format!("PKGNAME=chain{number:03}-1.0\nALL_DEPENDS=leaf{number:03}-1.0{before}\n");
    }
    build.write("chain/record", records);
    // Each of these characters takes six bytes in JSON.
    build.write("talks/record", format!("PKGNAME=talks-1.0\nPKG_FAIL_REASON={}\n", "\u{1}".repeat(4 << 20)));
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    for state in ["done", "up-to-date"] {
        let run = build.run("").ends(0);
        assert_eq!(run.in_state(state), ["good"], "{}", run.said);
        for (number, named, more) in [(0, 1, 0), (99, 100, 0), (100, 100, 1), (299, 100, 200)] {
            let package = run.package(&format!("chain{number:03}-1.0"));
            let told =
                (package["because"].as_array().unwrap().len(), package["more_causes"].as_u64().unwrap());
            assert_eq!(told, (named, more), "{package}");
            assert_eq!(package["state"], "indirect-prefailed");
        }
        assert!(run.detail("talks-1.0").len() < 100_000);
    }
    let page = fs::read_to_string(build.work().join("runs/1/report.html")).unwrap();
    assert!(page.contains(" and 200 more"));
}

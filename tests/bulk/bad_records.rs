//! Recipes that cannot be built: each excludes itself and its dependents, with the reason, and the rest is built.

use std::fs;

use super::{BulkBuild, mark};
use crate::scenario::is_root;

/// Locations: name, behavior of its `scan`, resulting package, and the reason why that cannot be built.
const BAD: [(&str, &str, &str, &str); 12] = [
    ("hangs", "trap '' TERM; setsid sleep 1000 & sleep 1000", "hangs-0", "scan: it took longer than 1 s"),
    ("fails", "echo first >&2; echo the reason >&2; exit 2", "fails-0", "scan: exit 2: the reason"),
    ("dies", "kill -9 $$", "dies-0", "scan: signal 9:"),
    ("half", "printf 'PKGNAME=half-1.0\\nALL_DEP'", "half-0", "scan: "),
    ("nul", "printf 'PKGNAME=nul-1.0\\nCOMMENT=\\0\\n'", "nul-0", "scan: "),
    ("return", "printf 'PKGNAME=return-1.0\\r\\n'", "return-0", "scan: "),
    ("words", "echo words; echo PKGNAME=words-1.0", "words-0", "scan: "),
    ("name", "echo PKGNAME=../../etc-1.0", "name-0", "scan: "),
    ("flood", "echo PKGNAME=flood-1.0; yes COMMENT=flood", "flood-0", "scan: it printed more than 16 MiB"),
    (
        "skipped",
        "echo PKGNAME=skipped-1.0; echo PKG_SKIP_REASON=only elsewhere",
        "skipped-1.0",
        "only elsewhere",
    ),
    ("broken", "echo PKGNAME=broken-1.0; echo PKG_FAIL_REASON=it is broken", "broken-1.0", "it is broken"),
    (
        "greedy",
        "echo PKGNAME=greedy-1.0; echo LIMITS=time=2h",
        "greedy-1.0",
        "LIMITS asks for time=7200, which is more than limit_max allows",
    ),
];

#[test]
fn a_bad_recipe_takes_out_itself_and_what_needs_it_and_the_rest_is_built() {
    let mark = mark();
    let settings = format!("slot=local 2\ncheck=none\nscan_time=1\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_recipes("a_bad_recipe…", !is_root(), &settings) else { return };
    let makes = "mkdir $DESTDIR/opt\n";
    for (name, script, ..) in BAD {
        build.write(&format!("{name}/scan"), script);
    }
    build.recipe("good", "COMMENT=<script> \u{1b}[31m red\nMAINTAINER=a@example.org\n", makes);
    build.recipe("around", "ALL_DEPENDS=there-[0-9]*\n", makes);
    build.recipe("there", "ALL_DEPENDS=around>=1.0\n", makes);
    build.recipe("of-itself", "ALL_DEPENDS=of-itself-1.0\n", makes);
    build.recipe("lost", "ALL_DEPENDS=good-[0-9]* nowhere>=2.0\n", makes);
    build.recipe("too-old", "ALL_DEPENDS=good>=2.0\n", makes);
    build.recipe("again", "", makes);
    build.write("again/record", "PKGNAME=good-1.0\n");
    build.recipe("user-of-broken", "ALL_DEPENDS=broken-[0-9]*\n", makes);
    build.recipe("user-of-user", "ALL_DEPENDS=user-of-broken-[0-9]*\n", makes);
    build.recipe("user-of-greedy", "ALL_DEPENDS=greedy-[0-9]*\n", makes);
    build.recipe("user-of-good", "ALL_DEPENDS=good-[0-9]*:good\n", makes);
    // No package is named, but the tree has faults. Declarations of a recipe about itself are no fault.
    let run = build.run("").ends(5);
    build.assert_nothing_left(&mark);
    let word = |package: &str| run.package(package)["fault"].as_str().map(str::to_owned);
    let faults =
        ["fails-0", "lost-1.0", "around-1.0", "of-itself-1.0", "greedy-1.0", "skipped-1.0", "broken-1.0"];
    let words = faults.map(word);
    let words: Vec<&str> = words.iter().map(|word| word.as_deref().unwrap_or("-")).collect();
    assert_eq!(words, ["scan", "unmatched", "circle", "circle", "recipe", "-", "-"]);
    for (_, _, package, why) in BAD {
        assert_eq!(run.package(package)["state"], "prefailed", "{package}");
        let detail = run.detail(package);
        assert!(detail.starts_with(why) && detail.len() > "scan: ".len(), "{package}: {detail}");
    }
    let others = [
        ("around-1.0", "around-1.0 → there-1.0 → around-1.0"),
        ("there-1.0", "around-1.0 → there-1.0 → around-1.0"),
        ("of-itself-1.0", "of-itself-1.0 → of-itself-1.0"),
        ("lost-1.0", "it needs nowhere>=2.0, which nothing matches"),
        ("too-old-1.0", "it needs good>=2.0, which nothing matches"),
    ];
    for (package, why) in others {
        assert_eq!(run.package(package)["state"], "prefailed", "{package}");
        assert!(run.detail(package).contains(why), "{package}: {}", run.detail(package));
    }
    for (user, bad) in [
        ("user-of-broken-1.0", "broken-1.0"),
        ("user-of-user-1.0", "broken-1.0"),
        ("user-of-greedy-1.0", "greedy-1.0"),
    ] {
        let user = run.package(user);
        assert_eq!(
            (&user["state"], &user["because"]),
            (&"indirect-prefailed".into(), &serde_json::json!([bad]))
        );
    }
    // Of two locations with the same package, the first in byte order provides it.
    let good = run.packages().iter().filter(|package| package["package"] == "good-1.0");
    let good: Vec<_> = good
        .map(|package| (package["location"].as_str().unwrap(), package["state"].as_str().unwrap()))
        .collect();
    assert_eq!(good, [("again", "done"), ("good", "prefailed")]);
    assert!(run.packages().iter().any(|package| package["fault"] == "duplicate"));
    assert_eq!(run.in_state("done"), ["good", "user-of-good"]);

    // Every later run would wait for its time limit.
    fs::remove_dir_all(build.tree().join("hangs")).unwrap();

    // A named package that cannot be built is a failure.
    build.run("fails").ends(5);
    build.run("user-of-user").ends(5);
    // The run scans only the locations that it needs, not `again`, which has the same package.
    let good = build.run("user-of-good").ends(0);
    assert_eq!(good.states(), ["good-1.0 done", "user-of-good-1.0 done"]);
    assert_eq!(good.package("good-1.0")["location"], "good");
    // Without `again`, a full run takes the package from `good` as well.
    fs::remove_dir_all(build.tree().join("again")).unwrap();
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("up-to-date"), ["good", "user-of-good"]);
}

#[test]
fn a_tree_that_cannot_be_listed_is_not_built() {
    let Some(build) = BulkBuild::of_recipes("a_tree_that_cannot…", !is_root(), "slot=local 1\n") else {
        return;
    };
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let scan = build.scenario.beside("driver/scan");
    for (listing, why) in [
        (
            "echo good; echo the list is lost >&2; exit 4",
            "the list of locations: scan: exit 4: the list is lost",
        ),
        ("echo good; exit 1", "the list of locations: scan: exit 1"),
    ] {
        fs::write(&scan, format!("#!/bin/sh\n{listing}\n")).unwrap();
        let run = build.run("").ends(1);
        assert!(run.said.contains(why), "{}", run.said);
        assert_eq!(build.journal(1).len(), 0);
    }
}

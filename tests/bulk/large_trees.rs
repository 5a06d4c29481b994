//! Trees of 100,000 locations, chains of 10,000 packages, and packages that 5,000 others need: nothing is too deep or
//! too wide.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::BulkBuild;
use crate::reliability::sample_or_whole;
use crate::scenario::is_root;

/// Records of a chain, of packages that all need its end, and of packages that need nothing.
fn records(chain: u32, users: u32, others: u32) -> String {
    let record = |name: String, needs: String| {
        format!("PKGNAME={name}-1.0\nPKG_LOCATION=all/{name}\nALL_DEPENDS={needs}\n")
    };
    let first = record("c0".to_owned(), String::new());
    let chain_records = (1..chain).map(|n| record(format!("c{n}"), format!("c{0}>=1:../c{0}", n - 1)));
    let users = (0..users).map(|n| record(format!("u{n}"), format!("c{}-[0-9]*", chain - 1)));
    let others = (0..others).map(|n| record(format!("o{n}"), String::new()));
    [first].into_iter().chain(chain_records).chain(users).chain(others).collect()
}

#[test]
fn a_chain_of_10_000_packages_and_5_000_that_need_its_end_are_resolved_among_100_000() {
    let Some(build) = BulkBuild::of_recipes("a_chain_of_10_000…", !is_root(), "slot=local 1\n") else {
        return;
    };
    let elsewhere = build.tree().join("elsewhere");
    let (users, others) = sample_or_whole((500, 1_000), (5_000, 85_000));
    fs::write(&elsewhere, records(10_000, users, others)).unwrap();
    let said = build.action(&format!("scan @WORK@ --import {} --json", elsewhere.display())).ok();
    let scanned: Value = serde_json::from_str(&said).unwrap();
    let count = 10_000 + users + others;
    assert_eq!((&scanned["records"], &scanned["locations"]), (&count.into(), &count.into()));
    assert_eq!(scanned["prefailed"], serde_json::json!([]));
    let why = |name: &str| -> Value {
        serde_json::from_str(&build.action(&format!("why @WORK@ {name} --json")).ok()).unwrap()
    };
    assert_eq!(why("c0")["needed_by"], 9_999 + users);
    assert_eq!(why("c9999")["needed_by"], users);
    let user = why(&format!("u{}", users - 1));
    assert_eq!((&user["state"], &user["needs"][0]["package"]), (&"open".into(), &"c9999-1.0".into()));
}

#[test]
fn a_tree_of_100_000_locations_is_scanned_and_what_can_be_built_of_it_is_built() {
    let test = "a_tree_of_100_000_locations…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    let count = sample_or_whole(100, 100_000);
    // All but three are masked, and the three of a chain are built.
    for number in 0..count {
        let record = format!("PKGNAME=p{number}-1.0\nPKG_SKIP_REASON=masked\n");
        build.write(&format!("all{}/p{number}/record", number % 100), record);
    }
    for (name, needs) in [("one", ""), ("two", "one-[0-9]*"), ("three", "two-[0-9]*")] {
        build.recipe(&format!("all0/{name}"), "", "mkdir $DESTDIR/opt\n");
        build.write(&format!("all0/{name}/record"), format!("PKGNAME={name}-1.0\nALL_DEPENDS={needs}\n"));
    }
    let driver = build.scenario.beside("driver/scan");
    let listing = "#!/bin/sh\n\
        if [ $# = 0 ]; then exec find . -mindepth 2 -type d -printf '%P\\n'; fi\nexec cat \"$1/record\"\n";
    fs::write(driver, listing).unwrap();
    let run = build.run("").ends(0);
    assert_eq!(run.in_state("done"), ["one", "three", "two"]);
    assert_eq!(run.report["counts"]["prefailed"], count);
    assert_eq!(run.report["set"]["packages"], 3);
    let again = build.run("").ends(0);
    assert_eq!(again.in_state("up-to-date"), ["one", "three", "two"]);
    let lines = Command::new("wc").arg("-l").arg(build.work().join("runs/2/pbuild")).output().unwrap();
    assert!(String::from_utf8_lossy(&lines.stdout).starts_with(&format!("{} ", count + 3)));
}

#[test]
fn a_package_with_2_000_directories_in_one_is_packed_installed_and_removed_with_256_descriptors() {
    let settings = "slot=few 1 /bin/sh -c 'ulimit -n 256; exec \"$@\"' x\n";
    let Some(build) = BulkBuild::of_recipes("a_package_with_2_000…", !is_root(), settings) else { return };
    let script = "mkdir -p $DESTDIR/opt/wide; cd $DESTDIR/opt/wide; n=0\n\
                  while [ $n -lt 2000 ]; do mkdir d$n; n=$((n + 1)); done; echo x > d1999/file\n";
    build.recipe("wide", "", script);
    build.recipe(
        "user",
        "ALL_DEPENDS=wide-[0-9]*\n",
        "mkdir $DESTDIR/opt; cp /opt/wide/d1999/file $DESTDIR/opt/file\n",
    );
    assert_eq!(build.run("").ends(0).in_state("done"), ["user", "wide"]);
    // Every run looks through the installed packages.
    assert_eq!(build.run("--rebuild user").ends(0).in_state("done"), ["user"]);
}

//! Several commands on one build or one pool at once: they wait or are refused, and readers always work.

use std::fs;
use std::process::Stdio;

use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;
use crate::workshop::eventually;

const WAITS: &str =
    "echo begun; while [ ! -e $TREE/go ]; do sleep 0.1; done; mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/x\n";

#[test]
fn while_a_run_goes_on_nothing_else_changes_its_directory_or_prunes_its_pool() {
    let test = "while_a_run_goes_on…";
    let settings = "slot=local 1\ncheck=none\n";
    let [Some(build), Some(other)] = [0, 1].map(|_| BulkBuild::of_recipes(test, !is_root(), settings)) else {
        return;
    };
    for (build, script) in [(&build, WAITS), (&other, "mkdir $DESTDIR/opt; echo y > $DESTDIR/opt/y\n")] {
        build.recipe("quick", "", "mkdir $DESTDIR/opt\n");
        build.recipe("slow", "", script);
    }
    let pool = build.work().join("pool");
    other.set(&format!("pool={}\n", pool.display()));
    if is_root() {
        // Both builds run as root.
        assert_eq!(other.who(), build.who());
    }
    let running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = build.work().join("runs/1/logs/slow-1.0.log");
    eventually("the slow one has begun", || fs::read_to_string(&log).is_ok_and(|log| log.contains("begun")));
    for line in
        ["run @WORK@", "scan @WORK@", "patches @WORK@", "release @WORK@ 1", "prune @WORK@", "report @WORK@"]
    {
        let said = build.action(line).fails(6);
        assert!(said.contains(&running.id().to_string()), "{line}: {said}");
    }
    for line in ["status @WORK@", "why @WORK@ slow", "log @WORK@ slow-1.0", "history @WORK@"] {
        build.action(line).ok();
    }
    // Another build with the same pool can run at the same time, but cannot prune the pool.
    other.run("").ends(0);
    let said = other.action("prune @WORK@").fails(6);
    assert!(said.contains("pool"), "{said}");
    fs::write(build.tree().join("go"), "").unwrap();
    BulkRun::of(&running.wait_with_output().unwrap()).ends(0);

    // Pruning one build keeps the results that the other one needs.
    other.recipe("quick", "", "mkdir $DESTDIR/opt; echo z > $DESTDIR/opt/z\n");
    for _ in 0..2 {
        other.run("").ends(0);
    }
    other.action("prune @WORK@ --keep 1").ok();
    assert_eq!(build.run("").ends(0).in_state("up-to-date"), ["quick", "slow"]);
    assert_eq!(other.run("").ends(0).in_state("up-to-date"), ["quick", "slow"]);
}

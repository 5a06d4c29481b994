//! The history of all runs, and of the builds of one package.

use std::fs;

use serde_json::{Value, json};

use super::BulkBuild;
use crate::scenario::is_root;

#[track_caller]
fn history(build: &BulkBuild, name: &str) -> Value {
    serde_json::from_str(&build.action(&format!("history @WORK@ {name} --json")).ok()).unwrap()
}

#[test]
fn runs_and_builds_are_told_in_their_order() {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("runs_and_builds…", !is_root(), settings) else { return };
    assert_eq!(history(&build, "")["runs"], json!([]));
    build.recipe("good", "", "mkdir $DESTDIR/opt; echo good > $DESTDIR/opt/good\n");
    build.recipe("sometimes", "", "exit 3\n");
    build.run("").ends(5);
    build.write("sometimes/build", "mkdir $DESTDIR/opt; echo now > $DESTDIR/opt/now\n");
    build.run("").ends(0);

    let runs = history(&build, "");
    let runs = runs["runs"].as_array().unwrap();
    let told: Vec<_> = runs.iter().map(|run| (run["run"].as_u64().unwrap(), run["counts"].clone())).collect();
    let expected = [(1, json!({ "done": 1, "failed": 1 })), (2, json!({ "done": 1, "up-to-date": 1 }))];
    assert_eq!(told, expected);
    assert!(runs.iter().all(|run| run["began"].is_string() && run["ended"].is_string()));
    // Only a run with all packages has a set.
    assert_eq!(runs[1]["set"], json!(2));

    let builds = history(&build, "sometimes");
    let told: Vec<String> = builds["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|build| format!("{} {} {} {}", build["run"], build["state"], build["cause"], build["slot"]))
        .collect();
    assert_eq!(told, ["1 \"failed\" \"exit\" \"local\"", "2 \"done\" null \"local\""]);
    assert_eq!(history(&build, "sometimes-1.0"), builds);
    assert_eq!(history(&build, "good")["builds"].as_array().unwrap().len(), 1);
    let said = build.action("history @WORK@ nothing").fails(4);
    assert!(said.contains("nothing: it was never built"), "{said}");
    let text = build.action("history @WORK@ sometimes").ok();
    assert!(text.contains("    1  sometimes-1.0") && text.contains("failed (exit)"), "{text}");

    // A damaged journal is left out with a warning; readers need no lock.
    fs::write(build.work().join("runs/1/journal"), "nonsense\n").unwrap();
    let damaged = build.action("history @WORK@ --json");
    assert_eq!(damaged.code, 0);
    assert!(damaged.stderr.contains("run 1 is left out: journal: line 1"), "{}", damaged.stderr);
    let runs: Value = serde_json::from_str(&damaged.stdout).unwrap();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}

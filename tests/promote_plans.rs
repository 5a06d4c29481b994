//! `--save-plan` and `--plan` of a promotion: exactly the planned changes go live, or nothing does.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::promote::Staged;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A stage with two changes, and its saved plan.
fn planned() -> Staged {
    let staged = Staged::new();
    staged.write("etc/tool.conf", "port 2\n");
    staged.write("bin/new", "new\n");
    staged.save_plan("plan.json").ok();
    staged
}

fn plan(staged: &Staged) -> Value {
    serde_json::from_slice(&fs::read(staged.live.beside("plan.json")).unwrap()).unwrap()
}

fn edit(staged: &Staged, with: impl FnOnce(&mut Value)) {
    let mut plan = plan(staged);
    with(&mut plan);
    fs::write(staged.live.beside("plan.json"), plan.to_string()).unwrap();
}

/// Asserts that carrying out the plan fails with this code and these words, and changes nothing.
#[track_caller]
fn refused(staged: &Staged, code: i32, words: &[&str]) -> String {
    let before = (staged.live.everything(), staged.staged_tree());
    let said = staged.live.run("stage promote -R @ROOT@ --plan plan.json").fails(code);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_same(&staged.live.everything(), &before.0);
    assert_same(&staged.staged_tree(), &before.1);
    said
}

#[test]
fn a_promotion_that_was_planned_is_carried_out() {
    let staged = planned();
    let before = staged.live.everything();
    let saved = plan(&staged);
    assert_eq!((&saved["schema"], &saved["command"]), (&json!("patchadm-plan/1"), &json!("promote")));
    let states = &saved["promotion"];
    let fingerprint = states["fingerprint"].as_str().unwrap();
    assert!(fingerprint.len() == 67 && fingerprint.starts_with("b3:"), "{fingerprint}");
    assert_eq!((&states["base"], &states["run"]), (&json!("0"), &json!(1)));
    assert_eq!(states["live"]["/usr/pkg/bin/new"], Value::Null);
    assert_eq!(states["staged"]["/usr/pkg/bin/new"].as_str().unwrap().len(), 16);
    assert_eq!(saved["patches"][0]["id"], "web-01");
    let changes = saved["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["path"] == "/usr/pkg/bin/new" && change["action"] == "add"));
    // A plan can be saved again and again, with the same content.
    staged.save_plan("again.json").ok();
    let again = fs::read(staged.live.beside("again.json")).unwrap();
    assert_eq!(fs::read(staged.live.beside("plan.json")).unwrap(), again, "the clock is no part of it");
    staged.live.run("stage status -R @ROOT@ --plan plan.json").ok();
    let run = staged.live.run("stage promote -R @ROOT@ --plan plan.json --dry-run --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["fingerprint"]), (0, &json!(fingerprint)));
    assert_same(&staged.live.everything(), &before);
    let said = staged.live.run("stage promote -R @ROOT@ --plan plan.json").ok();
    assert!(said.starts_with("web-01: applied"), "{said}");
    assert_same(&staged.tree(), &staged.staged_tree());
    refused(
        &staged,
        3,
        &["the last run: planned with 1, now 2", "applied patch web-01: planned with nothing"],
    );
}

#[test]
fn a_plan_that_cannot_be_saved_is_an_error() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let before = staged.live.everything();
    let said = staged.save_plan("none/plan.json").fails(1);
    assert!(said.contains("cannot be written"), "{said}");
    assert_same(&staged.live.everything(), &before);
}

#[test]
fn a_stage_that_was_edited_since_is_named_by_its_paths() {
    let staged = planned();
    staged.write("bin/new", "newer\n");
    let said = refused(&staged, 3, &["plan.json is out of date", "/usr/pkg/bin/new in the stage"]);
    assert!(said.contains("--save-plan"), "{said}");
    assert!(!said.contains("the last run") && !said.contains("in the live tree"), "{said}");
    staged.write("bin/new", "new\n");
    staged.write("doc/more", "more\n");
    refused(&staged, 3, &["/usr/pkg/doc/more in the stage: planned with nothing, now another"]);
    fs::remove_dir_all(staged.at("doc")).unwrap();
    // It is in conflict by now; only the difference from the plan counts.
    staged.live.file("/usr/pkg/etc/tool.conf", "live\n");
    refused(&staged, 3, &["is out of date", "/usr/pkg/etc/tool.conf in the live tree"]);
}

#[test]
fn a_live_tree_that_was_edited_since_is_named_by_its_paths() {
    let staged = planned();
    staged.live.file("/usr/pkg/log", "live\n");
    let said = refused(&staged, 3, &["/usr/pkg/log in the live tree: planned with nothing, now another"]);
    assert_eq!(said.matches("in the live tree").count(), 1, "{said}");
    fs::remove_file(staged.live.at("/usr/pkg/log")).unwrap();
    staged.live.mode("/usr/pkg/share/3", 0o600);
    refused(&staged, 3, &["/usr/pkg/share/3 in the live tree: planned with an object, now another"]);
    staged.live.mode("/usr/pkg/share/3", 0o644);
    // Outside the promoted paths nothing matters, and neither does the time of a directory.
    staged.live.file("/opt/other", "x\n");
    staged.live.file("/usr/pkg/passing", "");
    fs::remove_file(staged.live.at("/usr/pkg/passing")).unwrap();
    staged.live.run("stage promote -R @ROOT@ --plan plan.json").ok();
    assert_eq!(staged.text("bin/new"), "new\n");
}

#[test]
fn another_patch_in_between_makes_the_plan_an_old_one() {
    let staged = planned();
    let package = Package::new("ACMEweb").param("BASEDIR", "/opt/web").file("a", 0o644, "1\n");
    package.write(&staged.live.beside("spool"));
    assert_eq!(staged.live.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    refused(&staged, 3, &["the last run: planned with 1, now 2"]);
    staged.save_plan("plan.json").ok();
    let patch =
        Patch::of("100-01", Package::new("ACMEweb").param("BASEDIR", "/opt/web").file("a", 0o644, "2\n"));
    staged.live.patchadd("", &patch).ok();
    refused(&staged, 3, &["the last run: planned with 2, now 3", "applied patch 100-01"]);
}

#[test]
fn options_are_those_of_the_file() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/etc/tool.conf", "live\n");
    staged.write("etc/tool.conf", "stage\n");
    staged.write("cache/x", "x\n");
    staged
        .save_plan(
            "plan.json --path usr/pkg --id web-07 --exclude cache --max-delete 3% \
             --edited keep --replace-edited /usr/pkg/etc/tool.conf --no-undo --no-hooks",
        )
        .ok();
    for line in
        ["stage promote web -R @ROOT@ --plan plan.json", "stage promote -R @ROOT@ --plan plan.json --no-undo"]
    {
        let said = staged.live.run(line).fails(2);
        assert!(said.contains("--plan takes the stage and the options from the file"), "{said}");
    }
    staged.live.run("stage status -R @ROOT@ --plan plan.json --save-plan other.json").fails(2);
    staged.live.run("stage promote web -R @ROOT@ --dry-run --save-plan other.json").fails(2);
    let said = staged.live.run("add -R @ROOT@ --plan plan.json").fails(2);
    assert!(said.contains("is one of `stage promote`"), "{said}");
    let said = staged.live.run("stage promote -R @ROOT@ --plan plan.json").ok();
    assert!(said.starts_with("web-07: applied"), "{said}");
    assert_eq!(staged.text("etc/tool.conf"), "stage\n");
    assert!(!staged.live.at("/usr/pkg/cache").exists());
    staged.live.run("patchrm -R @ROOT@ web-07").fails(4);
}

#[test]
fn a_tree_without_identity_has_plans_too() {
    let live = Scenario::new();
    live.file("/opt/web/a", "1\n");
    live.file("/opt/web/gone", "1\n");
    let dest = live.beside("dest/opt/web");
    fs::create_dir_all(&dest).unwrap();
    fs::write(dest.join("a"), "2\n").unwrap();
    live.run("stage status dest -R @ROOT@ --two-way --delete --max-delete 100% --path opt/web --save-plan plan.json")
        .ok();
    fs::write(dest.join("a"), "3\n").unwrap();
    let said = live.run("stage promote -R @ROOT@ --plan plan.json").fails(3);
    assert!(said.contains("/opt/web/a in the stage"), "{said}");
    live.run("stage status dest -R @ROOT@ --two-way --delete --max-delete 100% --path opt/web --save-plan plan.json")
        .ok();
    live.run("stage promote -R @ROOT@ --plan plan.json").ok();
    assert_eq!(fs::read_to_string(live.at("/opt/web/a")).unwrap(), "3\n");
    assert!(!live.at("/opt/web/gone").exists());
}

#[test]
fn a_hook_that_came_in_between_is_a_difference() {
    let staged = planned();
    staged.live.file("/etc/hook", "#!/bin/sh\n");
    staged.live.mode("/etc/hook", 0o755);
    staged.live.file("/etc/patchadm/policy", "promote_after=/etc/hook\n");
    refused(&staged, 3, &["script 1", "promote_after"]);
}

/// Changes a plan file.
type Hand = fn(&mut Value);

#[test]
fn what_is_no_plan_file_of_a_promotion_is_refused() {
    let staged = planned();
    let whole = fs::read(staged.live.beside("plan.json")).unwrap();
    let hands: [(Hand, &str); 9] = [
        (|plan| plan["promotion"]["fingerprint"] = json!("b3:12"), "its fingerprint is not valid"),
        (|plan| plan["promotion"]["live"]["../x"] = json!("0123456789abcdef"), "its path is not valid"),
        (|plan| plan["promotion"]["live"]["/x"] = json!("0"), "its digest of a state is not valid"),
        (|plan| plan["promotion"]["more"] = json!(1), "unknown field `more`"),
        (|plan| plan["options"]["promotion"] = json!({"more": 1}), "unknown field `more`"),
        (|plan| plan["options"]["operands"] = json!([]), "its operands is not valid"),
        (|plan| plan["options"]["exclude"] = json!(["[a"]), "its exclude is not valid"),
        (|plan| plan["options"]["edited"] = json!("perhaps"), "its edited is not valid"),
        (|plan| plan["command"] = json!("remove"), "its command is not valid"),
    ];
    for (hand, words) in hands {
        edit(&staged, hand);
        refused(&staged, 1, &["plan.json", words]);
        fs::write(staged.live.beside("plan.json"), &whole).unwrap();
    }
    for end in [0, 1, 100, whole.len() - 3] {
        fs::write(staged.live.beside("plan.json"), &whole[..end]).unwrap();
        refused(&staged, 1, &["plan.json", "it is not a plan file"]);
    }
    fs::remove_file(staged.live.beside("plan.json")).unwrap();
    refused(&staged, 1, &["plan.json", "specify a file that `--save-plan` wrote"]);
    // A made-up fingerprint is refused.
    fs::write(staged.live.beside("plan.json"), &whole).unwrap();
    edit(&staged, |plan| plan["promotion"]["fingerprint"] = json!(format!("b3:{}", "0".repeat(64))));
    refused(&staged, 3, &["the fingerprint"]);
}

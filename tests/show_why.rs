//! Why a patch is on a root (`show`), and why one would be refused (`plan`).

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn web(content: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, content)
}

fn stage() -> Scenario {
    let stage = Scenario::with(&[web("one\n")]);
    stage.patchadd("", &Patch::of("100-01", web("two\n"))).ok();
    stage
        .patchadd(
            "",
            &Patch::of("200-01", Package::new("ACMEweb").file("x", 0o644, "x\n"))
                .says("SUNW_REQUIRES", "100-01"),
        )
        .ok();
    stage
}

fn shown(stage: &Scenario, id: &str) -> Value {
    let document: Value =
        serde_json::from_str(&stage.run(&format!("show --json -R @ROOT@ {id}")).ok()).unwrap();
    document["answers"][0].clone()
}

/// The entry of the only patch of a plan.
fn planned(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(&format!("plan --json -R @ROOT@ {line}"));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let patches = document["patches"].as_array().unwrap();
    assert_eq!(patches.len(), 1, "{document}");
    patches[0].clone()
}

#[test]
fn an_applied_patch_is_told_with_its_origin_what_it_requires_and_who_requires_it() {
    let stage = stage();
    let said = shown(&stage, "200-01");
    assert_eq!((&said["kind"], &said["named"]), (&json!("applied"), &json!(true)));
    assert_eq!(said["needs"], json!([{ "requirement": "100-01", "met_by": "100-01" }]));
    assert_eq!(shown(&stage, "100-01")["needed_by"], json!(["200-01"]));
    let text = stage.run("show -R @ROOT@ 200-01").ok();
    assert!(
        text.contains("\n         Run: ") && text.contains("\n         Why: named by the user\n"),
        "{text}"
    );
    assert!(text.contains("    Requires: 100-01 (applied)\n"), "{text}");
    let text = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(text.contains(" Required by: 200-01\n"), "{text}");
    stage.patchadd("", &Patch::of("100-02", web("three\n"))).ok();
    assert_eq!(shown(&stage, "200-01")["needs"][0]["met_by"], "100-01");
}

#[test]
fn for_whom_a_patch_was_taken_is_what_the_history_says() {
    let stage = stage();
    let at = stage.at("/var/sadm/patchadm/history");
    let text = std::fs::read_to_string(&at).unwrap();
    let told = "\"patches\":[\"100-01\"],\"because\":{\"100-01\":\"200-01\"},";
    std::fs::write(&at, text.replace("\"patches\":[\"100-01\"],", told)).unwrap();
    let said = shown(&stage, "100-01");
    assert_eq!((&said["named"], &said["because"]), (&json!(false), &json!(["200-01"])));
    assert!(stage.run("show -R @ROOT@ 100-01").ok().contains("         Why: required by 200-01\n"));
    std::fs::remove_file(at).unwrap();
    assert_eq!(shown(&stage, "100-01")["named"], Value::Null);
    assert!(!stage.run("show -R @ROOT@ 100-01").ok().contains("Why: "));
}

#[test]
fn a_plan_of_a_patch_that_would_be_refused_has_its_reasons_and_all_its_changes() {
    let stage = stage();
    let before = stage.everything();
    let four = Package::new("ACMEweb").file("bin/httpd", 0o700, "four\n").file("bin/new", 0o755, "new\n");
    Patch::of("300-01", four).says("SUNW_REQUIRES", "100-02 100-01").directory(&stage);
    let said = planned(&stage, "delivered/300-01");
    assert_eq!((&said["verdict"], &said["code"]), (&json!("refused"), &json!(3)));
    assert_eq!(
        said["needs"],
        json!([{ "requirement": "100-02", "met_by": null }, { "requirement": "100-01", "met_by": "100-01" }])
    );
    assert_eq!(said["fits"][0]["instance"], "ACMEweb");
    let changes = said["refused_changes"].as_array().unwrap();
    let changed: Vec<(&str, &str)> =
        changes.iter().map(|one| (one["action"].as_str().unwrap(), one["path"].as_str().unwrap())).collect();
    assert_eq!(changed, [("replace", "/opt/ACMEweb/bin/httpd"), ("add", "/opt/ACMEweb/bin/new")]);
    let run = stage.run("plan -R @ROOT@ delivered/300-01");
    assert_eq!(run.code, 3);
    assert_eq!(
        run.stdout,
        "300-01: would be refused
  Requires: 100-02 (not applied)
  Requires: 100-01 (applied)
  For: ACMEweb (i386) 1.0 (installed as ACMEweb)
If it were not refused, it would make these changes:
Package ACMEweb:
  replace          @ROOT@/opt/ACMEweb/bin/httpd (5 bytes)
    mode 0755 → 0700
  add              @ROOT@/opt/ACMEweb/bin/new (4 bytes)
"
    );
    let added = stage.run("add -R @ROOT@ delivered/300-01");
    assert_eq!((added.code, added.stdout.as_str()), (3, ""));
    let planned = run.stderr.replace("would not be applied", "was not applied");
    assert_eq!(added.stderr, planned, "the reason is that of add");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn each_patch_of_a_plan_stands_above_its_own_requirements() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).says("SUNW_REQUIRES", "999-01").directory(&stage);
    let run = stage.run("plan -R @ROOT@ delivered/100-01 delivered/300-01");
    let expected = "100-01: nothing to do: it is already applied to ACMEweb
300-01: would be refused
  Requires: 999-01 (not applied)
  For: ACMEweb (i386) 1.0 (installed as ACMEweb)
If it were not refused, it would make these changes:
Package ACMEweb:
  replace          @ROOT@/opt/ACMEweb/bin/httpd (5 bytes)
2 patches: 1 skipped, 1 refused
";
    assert_eq!(run.stdout, expected, "nothing is planned, so there are no totals");
}

#[test]
fn a_plan_for_a_package_in_another_version_names_both_versions() {
    let stage = stage();
    Patch::of("400-01", web("four\n").param("VERSION", "2.0")).directory(&stage);
    let said = planned(&stage, "delivered/400-01");
    assert_eq!((&said["verdict"], &said["code"]), (&json!("not-applicable"), &json!(3)));
    assert_eq!(said["fits"][0]["wanted"], "ACMEweb (i386) 2.0");
    assert_eq!(said["fits"][0]["instance"], Value::Null);
    assert!(said["fits"][0]["installed"][0].as_str().unwrap().starts_with("ACMEweb (i386) "), "{said}");
    assert_eq!(said.get("refused_changes"), None);
}

#[test]
fn the_patches_of_a_set_that_the_resolver_refuses_have_their_changes_too() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).says("SUNW_REQUIRES", "999-01").directory(&stage);
    Patch::of("500-01", Package::new("ACMEweb").file("y", 0o644, "y\n")).directory(&stage);
    let run = stage.run("plan --json -R @ROOT@ delivered/300-01 delivered/500-01");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let patches = document["patches"].as_array().unwrap();
    let of = |id: &str| patches.iter().find(|one| one["id"] == id).unwrap();
    assert_eq!((&of("300-01")["verdict"], &of("500-01")["verdict"]), (&json!("refused"), &json!("planned")));
    assert_eq!(of("300-01")["refused_changes"][0]["path"], "/opt/ACMEweb/bin/httpd");
    assert_eq!(of("300-01")["needs"], json!([{ "requirement": "999-01", "met_by": null }]));
}

#[test]
fn what_is_applied_already_has_no_changes_in_a_plan() {
    let stage = stage();
    stage.patchadd("", &Patch::of("100-02", web("three\n"))).ok();
    let said = planned(&stage, "delivered/100-01");
    assert_eq!(said["verdict"], "already-applied");
    assert_eq!((said.get("refused_changes"), said.get("needs")), (None, None));
}

#[test]
fn a_patch_of_a_depot_is_planned_by_its_id_with_its_reason() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).directory(&stage);
    Patch::of("300-02", web("five\n")).says("SUNW_REQUIRES", "999-01 100-01").directory(&stage);
    let said = planned(&stage, "-M delivered 300");
    assert_eq!(
        (&said["id"], &said["verdict"], &said["code"]),
        (&json!("300-02"), &json!("refused"), &json!(3))
    );
    assert!(said["reason"].as_str().unwrap().contains("it requires 999-01 or later"), "{said}");
}

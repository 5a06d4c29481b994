//! `patchadm why`: why a patch is on a root, or is not.

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

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

#[test]
fn an_applied_patch_is_told_with_what_it_needs_and_who_needs_it() {
    let stage = stage();
    let said = document(&stage, "why --json -R @ROOT@ 200-01");
    assert_eq!((&said["applied"], &said["named"]), (&json!(true), &json!(true)));
    assert_eq!(said["needs"], json!([{ "requirement": "100-01", "met_by": "100-01" }]));
    assert_eq!((&said["verdict"], &said["code"]), (&json!("already-applied"), &json!(2)));
    let said = document(&stage, "why --json -R @ROOT@ 100-01");
    assert_eq!(said["needed_by"], json!(["200-01"]));
    let text = stage.run("why -R @ROOT@ 200-01").ok();
    assert!(text.starts_with("       Patch: 200-01\n  Applied to: ACMEweb\n      By run: "), "{text}");
    assert!(text.contains("       Needs: 100-01, which is applied\n"), "{text}");
    assert!(text.contains("         Add: already-applied (2): "), "{text}");
}

#[test]
fn what_took_the_place_of_a_patch_is_named() {
    let stage = stage();
    let later = web("three\n");
    stage.patchadd("", &Patch::of("100-02", later).says("SUNW_OBSOLETES", "050-03")).ok();
    let said = document(&stage, "why --json -R @ROOT@ 100-01");
    assert_eq!(said["superseded_by"], "100-02");
    let said = document(&stage, "why --json -R @ROOT@ 050-02");
    assert_eq!((&said["applied"], &said["obsoleted_by"]), (&json!(false), &json!("100-02")));
    assert_eq!((&said["verdict"], &said["code"]), (&json!("obsoleted"), &json!(6)));
    let said = document(&stage, "why --json -R @ROOT@ 200-01");
    assert_eq!(said["needs"][0]["met_by"], "100-01");
}

#[test]
fn a_delivered_patch_is_tried_without_a_change() {
    let stage = stage();
    let before = stage.everything();
    Patch::of("300-01", web("four\n")).says("SUNW_REQUIRES", "100-02").directory(&stage);
    let said = document(&stage, "why --json -R @ROOT@ delivered/300-01");
    assert_eq!(said["needs"], json!([{ "requirement": "100-02", "met_by": null }]));
    assert_eq!((&said["verdict"], &said["code"]), (&json!("refused"), &json!(25)));
    assert_eq!(said["packages"][0]["instance"], "ACMEweb");
    Patch::of("400-01", web("four\n").param("VERSION", "2.0")).directory(&stage);
    let said = document(&stage, "why --json -R @ROOT@ delivered/400-01");
    assert_eq!((&said["verdict"], &said["code"]), (&json!("not-applicable"), &json!(8)));
    assert_eq!(said["packages"][0]["wanted"], "ACMEweb (i386) 2.0");
    assert_eq!(said["packages"][0]["instance"], Value::Null);
    assert!(said["packages"][0]["installed"][0].as_str().unwrap().starts_with("ACMEweb (i386) "), "{said}");
    Patch::of("500-01", web("five\n")).directory(&stage);
    let text = stage.run("why -R @ROOT@ delivered/500-01").ok();
    assert!(text.contains("      Is for: ACMEweb (i386) 1.0, installed as ACMEweb\n"), "{text}");
    assert!(text.ends_with("         Add: would be applied\n"), "{text}");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn a_patch_of_a_depot_is_asked_for_by_its_id() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).says("SUNW_REQUIRES", "999-01").directory(&stage);
    let said = document(&stage, "why --json -R @ROOT@ -M delivered 300-01");
    assert_eq!((&said["verdict"], &said["code"]), (&json!("refused"), &json!(25)));
    assert!(said["reason"].as_str().unwrap().contains("it requires 999-01 or later"), "{said}");
}

#[test]
fn for_whom_a_patch_was_taken_is_what_the_history_says() {
    let stage = stage();
    let at = stage.at("/var/sadm/patchadm/history");
    let text = std::fs::read_to_string(&at).unwrap();
    let told = "\"patches\":[\"100-01\"],\"because\":{\"100-01\":\"200-01\"},";
    std::fs::write(&at, text.replace("\"patches\":[\"100-01\"],", told)).unwrap();
    let said = document(&stage, "why --json -R @ROOT@ 100-01");
    assert_eq!((&said["named"], &said["because"]), (&json!(false), &json!(["200-01"])));
    assert!(stage.run("why -R @ROOT@ 100-01").ok().contains("   Taken for: 200-01\n"));
}

#[test]
fn what_is_not_known_is_said() {
    let stage = stage();
    let said = document(&stage, "why --json -R @ROOT@ 900-01");
    assert_eq!((&said["applied"], &said["verdict"]), (&json!(false), &Value::Null));
    let text = stage.run("why -R @ROOT@ 900-01").ok();
    assert_eq!(
        text,
        "       Patch: 900-01\n  Applied to: no\n         Add: not known: name its file, or a depot with -M\n"
    );
    let said = stage.run("why -R @ROOT@ nonsense").fails(1);
    assert!(said.contains("is no patch id"), "{said}");
}

#[test]
fn an_id_without_a_revision_is_the_current_one_of_the_depot_with_what_it_needs() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).directory(&stage);
    Patch::of("300-02", web("five\n")).says("SUNW_REQUIRES", "999-01 100-01").directory(&stage);
    let said = document(&stage, "why --json -R @ROOT@ -M delivered 300");
    let needs = json!([
        { "requirement": "999-01", "met_by": null },
        { "requirement": "100-01", "met_by": "100-01" },
    ]);
    assert_eq!((&said["id"], &said["needs"]), (&json!("300-02"), &needs));
    assert_eq!((&said["verdict"], &said["code"]), (&json!("refused"), &json!(25)));
    let said = stage.run("why -R @ROOT@ -M delivered 400").fails(33);
    assert_eq!(said, "patchadm: ERROR: 400: delivered does not have it\n");
}

#[test]
fn the_depot_of_the_policy_is_asked_where_none_is_named() {
    let stage = stage();
    Patch::of("300-01", web("four\n")).says("SUNW_REQUIRES", "100-01").directory(&stage);
    let policy = format!("depot={}\n", stage.beside("delivered").display());
    std::fs::write(stage.beside("policy"), policy).unwrap();
    let said = document(&stage, "why --json -R @ROOT@ --policy policy 300-01");
    assert_eq!((&said["verdict"], &said["needs"][0]["met_by"]), (&json!("planned"), &json!("100-01")));
    let said = document(&stage, "why --json -R @ROOT@ --policy policy 300");
    assert_eq!((&said["id"], &said["verdict"]), (&json!("300-01"), &json!("planned")));
    let said = document(&stage, "why --json -R @ROOT@ --policy policy 200-01");
    assert_eq!(said["verdict"], "already-applied");
}

//! `patchadm diff`: what taking a patch out would change, before anything is changed.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn web() -> Package {
    Package::new("ACMEweb")
}

/// The worked example of patchadm-rules(7), and a file that only the second patch changes.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web()
        .file("httpd", 0o755, "one\nh0\nthree\n")
        .file("lib", 0o644, b"\x7fELF\0w0")
        .file("old", 0o644, "old\n")]);
    stage
        .patchadd(
            "",
            &Patch::of("100-01", web().file("httpd", 0o755, "one\nhA\nthree\n").file("x", 0o644, "x\n")),
        )
        .ok();
    let second = web()
        .file("httpd", 0o755, "one\nhB\nthree\n")
        .file("x", 0o644, "xB\n")
        .file("lib", 0o644, b"\x7fELF\0wB!")
        .deletes(&["old"]);
    stage.patchadd("", &Patch::of("200-01", second)).ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn object<'d>(document: &'d Value, path: &str) -> &'d Value {
    let objects = document["objects"].as_array().unwrap();
    objects.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path}: {document}"))
}

#[test]
fn text_is_shown_line_by_line_and_other_things_by_size_and_digest() {
    let stage = stage();
    let before = stage.everything();
    let said = document(&stage, "diff --json -R @ROOT@ 200-01");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert_eq!((&httpd["action"], &httpd["to"]), (&json!("replaced"), &Value::Null));
    assert_eq!(
        httpd["diff"],
        "--- /opt/ACMEweb/httpd (now)\n+++ /opt/ACMEweb/httpd (then)\n@@ -1,3 +1,3 @@\n one\n-hB\n+hA\n three\n"
    );
    let lib = object(&said, "/opt/ACMEweb/lib");
    assert_eq!((&lib["action"], &lib["diff"]), (&json!("replaced"), &Value::Null));
    assert_eq!((&lib["now"]["size"], &lib["then"]["size"]), (&json!(8), &json!(7)));
    let old = object(&said, "/opt/ACMEweb/old");
    assert_eq!((&old["action"], &old["now"]), (&json!("added"), &Value::Null));
    assert_eq!(old["diff"], "--- /dev/null\n+++ /opt/ACMEweb/old (then)\n@@ -0,0 +1 @@\n+old\n");
    assert!(before.difference(&stage.everything()).is_empty(), "nothing is changed");
    stage.run("remove -R @ROOT@ 200-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/httpd"), "one\nhA\nthree\n");
}

#[test]
fn what_goes_into_the_undo_data_of_a_later_patch_names_it() {
    let stage = stage();
    let said = document(&stage, "diff --json -R @ROOT@ 100-01");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert_eq!((&httpd["action"], &httpd["to"]), (&json!("unchanged"), &json!("200-01")));
    assert_eq!(
        httpd["diff"],
        "--- /opt/ACMEweb/httpd (now)\n+++ /opt/ACMEweb/httpd (then)\n@@ -1,3 +1,3 @@\n one\n-hA\n+h0\n three\n"
    );
    let x = object(&said, "/opt/ACMEweb/x");
    assert_eq!((&x["to"], &x["then"]), (&json!("200-01"), &Value::Null));
    assert_eq!(said["objects"].as_array().unwrap().len(), 2, "nothing live changes: {said}");
    let text = stage.run("diff -R @ROOT@ 100-01 /opt/ACMEweb/httpd").ok();
    assert!(
        text.starts_with("@ROOT@/opt/ACMEweb/httpd: the undo data of 200-01 changes\n  now:  file, "),
        "{text}"
    );
    assert!(!text.contains("ACMEweb/x"), "{text}");
}

#[test]
fn paths_choose_what_is_shown() {
    let stage = stage();
    let text = stage.run("diff -R @ROOT@ 200-01 @ROOT@/opt/ACMEweb/old").ok();
    assert!(
        text.starts_with("@ROOT@/opt/ACMEweb/old: added\n  now:  nothing\n  then: file, 4 bytes, 0644 "),
        "{text}"
    );
    assert!(text.ends_with("--- /dev/null\n+++ /opt/ACMEweb/old (then)\n@@ -0,0 +1 @@\n+old\n"), "{text}");
    let all = document(&stage, "diff --json -R @ROOT@ 200-01 /opt");
    assert_eq!(all["objects"].as_array().unwrap().len(), 4);
    let none = stage.run("diff -R @ROOT@ 200-01 /etc").ok();
    assert_eq!(none, "Taking 200-01 out would change no object here.\n");
}

#[test]
fn an_edited_file_is_compared_as_it_is_and_kept() {
    let stage = stage();
    fs::write(stage.at("/opt/ACMEweb/httpd"), "mine\n").unwrap();
    let run = stage.run("diff --json -R @ROOT@ 200-01");
    assert!(run.stderr.contains("was edited; the edited one is kept as "), "{}", run.stderr);
    let said: Value = serde_json::from_str(&run.stdout).unwrap();
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert!(httpd["diff"].as_str().unwrap().contains("\n-mine\n"), "{httpd}");
    let kept = object(&said, "/opt/ACMEweb/httpd.edited-200-01");
    assert_eq!(kept["action"], "added");
    assert!(kept["diff"].as_str().unwrap().ends_with("+mine\n"), "{kept}");
}

#[test]
fn a_patch_that_cannot_go_is_told_as_remove_tells_it() {
    let stage = stage();
    let said = stage.run("diff -R @ROOT@ 300-01").fails(2);
    assert!(said.contains("it is not applied"), "{said}");
    stage.run("undo-data drop -R @ROOT@ 200-01").ok();
    let code = stage.run("remove --dry-run -R @ROOT@ 200-01").code;
    assert_eq!(stage.run("diff -R @ROOT@ 200-01").code, code);
    stage.run("diff -R @ROOT@").fails(1);
}

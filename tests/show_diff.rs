//! `patchadm show --diff`: what a patch changed, or would change, before and after.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn web() -> Package {
    Package::new("ACMEweb")
}

/// Two patches of one file, and files that only the second one changes.
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

fn answer(stage: &Scenario, line: &str) -> Value {
    let document: Value = serde_json::from_str(&stage.run(line).ok()).unwrap();
    document["answers"][0].clone()
}

fn object<'d>(answer: &'d Value, path: &str) -> &'d Value {
    let objects = answer["objects"][0]["objects"].as_array().unwrap();
    objects.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path}: {answer}"))
}

const HTTPD: &str =
    "--- /opt/ACMEweb/httpd (before)\n+++ /opt/ACMEweb/httpd (after)\n@@ -1,3 +1,3 @@\n one\n";

#[test]
fn text_is_shown_line_by_line_forward_and_other_things_by_size_and_digest() {
    let stage = stage();
    let before = stage.everything();
    let said = answer(&stage, "show --diff --json -R @ROOT@ 200-01");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert_eq!(httpd["action"], "replaced");
    assert_eq!(httpd["diff"], format!("{HTTPD}-hA\n+hB\n three\n"));
    let lib = object(&said, "/opt/ACMEweb/lib");
    assert_eq!((&lib["action"], lib.get("diff")), (&json!("replaced"), None));
    assert_eq!((&lib["was"]["size"], &lib["became"]["size"]), (&json!(7), &json!(8)));
    let old = object(&said, "/opt/ACMEweb/old");
    assert_eq!((&old["action"], &old["became"]), (&json!("deleted"), &Value::Null));
    assert_eq!(old["diff"], "--- /opt/ACMEweb/old (before)\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n");
    let text = stage.run("show --diff -R @ROOT@ 200-01").ok();
    assert!(text.contains(&format!("{HTTPD}-hA\n+hB\n three\n")), "{text}");
    assert!(text.contains("@ROOT@/opt/ACMEweb/lib: replaced; not shown: "), "{text}");
    assert!(before.difference(&stage.everything()).is_empty(), "nothing is changed");
}

#[test]
fn a_file_that_a_later_patch_changed_is_shown_as_this_one_left_it() {
    let stage = stage();
    let said = answer(&stage, "show --diff --json -R @ROOT@ 100-01");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert_eq!(
        (httpd["diff"].as_str().unwrap(), httpd.get("note")),
        (&*format!("{HTTPD}-h0\n+hA\n three\n"), None)
    );
    let x = object(&said, "/opt/ACMEweb/x");
    assert_eq!(x["diff"], "--- /dev/null\n+++ /opt/ACMEweb/x (after)\n@@ -0,0 +1 @@\n+x\n");
    assert_eq!(said["objects"][0]["objects"].as_array().unwrap().len(), 2, "{said}");
}

#[test]
fn paths_choose_what_is_shown() {
    let stage = stage();
    let text = stage.run("show --diff -R @ROOT@ 200-01 -- @ROOT@/opt/ACMEweb/old").ok();
    assert!(
        text.ends_with("--- /opt/ACMEweb/old (before)\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n")
            && !text.contains("httpd"),
        "{text}"
    );
    let all = answer(&stage, "show --diff --json -R @ROOT@ 200-01 -- /opt");
    assert_eq!(all["objects"][0]["objects"].as_array().unwrap().len(), 4);
    let none = answer(&stage, "show --diff --json -R @ROOT@ 200-01 -- /etc");
    assert_eq!(none["objects"], json!([]));
    let said = stage.run("show -R @ROOT@ 200-01 -- /etc").fails(2);
    assert!(said.contains("paths after -- are for --files and --diff"), "{said}");
    let said = stage.run("show --files -R @ROOT@ /opt/ACMEweb/httpd").fails(2);
    assert!(said.contains("--files is for patches, and /opt/ACMEweb/httpd is a path"), "{said}");
    let hint = "hint: patchadm -R @ROOT@ show --files 200-01 -- /opt/ACMEweb/httpd\n";
    assert!(said.contains(hint), "{said}");
}

#[test]
fn a_path_named_like_a_patch_is_told_how_to_choose_it() {
    let stage = stage();
    let run = stage.run("show --diff -R @ROOT@ 200-01 /opt/ACMEweb/httpd");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let note = "note: to see only what 200-01 changed in /opt/ACMEweb/httpd, run \
                `patchadm -R @ROOT@ show --diff 200-01 -- /opt/ACMEweb/httpd`\n";
    assert_eq!(run.stderr, note);
    assert_eq!(stage.run("show --diff -R @ROOT@ 200-01 -- /opt/ACMEweb/httpd").stderr, "");
}

#[test]
fn another_name_of_a_file_is_compared_like_the_file() {
    let both = |text: &str| web().file("tool", 0o755, text).link("again", "tool");
    let stage = Scenario::with(&[both("one\n")]);
    stage.patchadd("", &Patch::of("100-01", both("two\n"))).ok();
    let names = ["/opt/ACMEweb/again", "/opt/ACMEweb/tool"];
    let compared = |stage: &Scenario| {
        let said = answer(stage, "show --diff --json -R @ROOT@ 100-01");
        for name in names {
            let diff = object(&said, name)["diff"].as_str().unwrap_or_default();
            assert!(diff.ends_with("-one\n+two\n"), "{name}: {said}");
        }
    };
    compared(&stage);
    for name in names {
        let text = stage.run(&format!("show --diff -R @ROOT@ {name}")).ok();
        assert!(text.ends_with("-one\n+two\n"), "{name}: {text}");
    }
    stage.patchadd("", &Patch::of("200-01", both("three\n"))).ok();
    compared(&stage);
}

#[test]
fn a_path_is_shown_as_it_was_before_the_last_patch_and_as_it_is_now() {
    let stage = stage();
    let text = stage.run("show --diff -R @ROOT@ /opt/ACMEweb/httpd").ok();
    assert!(text.contains("\n  before patch 200-01, and now:\n"), "{text}");
    assert!(text.ends_with(&format!("{HTTPD}-hA\n+hB\n three\n")), "{text}");
    fs::write(stage.at("/opt/ACMEweb/httpd"), "mine\n").unwrap();
    let said = answer(&stage, "show --diff --json -R @ROOT@ @ROOT@/opt/ACMEweb/httpd");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert!(httpd["diff"].as_str().unwrap().ends_with("+mine\n"), "{httpd}");
    let said = stage.run("show --diff -R @ROOT@ /opt/ACMEweb/none").fails(4);
    assert!(said.contains("is not an applied patch"), "{said}");
    stage.run("undo-data drop -R @ROOT@ 200-01").ok();
    let run = stage.run("show --diff -R @ROOT@ /opt/ACMEweb/httpd");
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stderr.contains("cannot show the changes of "), "{}", run.stderr);
}

#[test]
fn a_locally_modified_file_is_shown_as_it_is_now_with_a_note() {
    let stage = stage();
    fs::write(stage.at("/opt/ACMEweb/httpd"), "mine\n").unwrap();
    let said = answer(&stage, "show --diff --json -R @ROOT@ 200-01");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert!(httpd["diff"].as_str().unwrap().ends_with("+mine\n"), "{httpd}");
    assert!(httpd["note"].as_str().unwrap().starts_with("modified locally since"), "{httpd}");
    let first = answer(&stage, "show --diff --json -R @ROOT@ 100-01");
    let httpd = object(&first, "/opt/ACMEweb/httpd");
    assert_eq!((&httpd["diff"], httpd.get("note")), (&json!(format!("{HTTPD}-h0\n+hA\n three\n")), None));
}

#[test]
fn a_patch_whose_undo_data_was_dropped_has_no_diff() {
    let stage = stage();
    let said = stage.run("show --diff -R @ROOT@ 300-01").fails(4);
    assert!(said.contains("patch 300-01 is not applied"), "{said}");
    stage.run("undo-data drop -R @ROOT@ 200-01").ok();
    stage.run("remove --dry-run -R @ROOT@ 200-01").fails(3);
    let run = stage.run("show --diff -R @ROOT@ 200-01");
    assert_eq!(run.code, 4);
    assert!(run.stderr.contains("cannot show the changes of 200-01: "), "{}", run.stderr);
}

#[test]
fn a_delivered_patch_is_compared_with_the_root_forward() {
    let stage = stage();
    let third = web().file("httpd", 0o744, "one\nhC\nthree\n").symlink("link", "httpd").deletes(&["x"]);
    Patch::of("300-01", third).says("SUNW_REQUIRES", "999-01").directory(&stage);
    let before = stage.everything();
    let said = answer(&stage, "show --diff --json -R @ROOT@ delivered/300-01");
    assert_eq!(said["kind"], "delivered");
    let httpd = object(&said, "/opt/ACMEweb/httpd");
    assert_eq!(httpd["diff"], format!("{HTTPD}-hB\n+hC\n three\n"));
    let x = object(&said, "/opt/ACMEweb/x");
    assert_eq!(x["diff"], "--- /opt/ACMEweb/x (before)\n+++ /dev/null\n@@ -1 +0,0 @@\n-xB\n");
    let text = stage.run("show --files -R @ROOT@ delivered/300-01").ok();
    for line in [
        "  replaced   @ROOT@/opt/ACMEweb/httpd: mode 0755 → 0744\n",
        "  added      @ROOT@/opt/ACMEweb/link: link → httpd\n",
        "  deleted    @ROOT@/opt/ACMEweb/x\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(before.difference(&stage.everything()).is_empty(), "nothing is changed");
    Patch::of("400-01", Package::new("ACMEother").file("tool", 0o755, "t\n")).directory(&stage);
    let run = stage.run("show --files -R @ROOT@ delivered/400-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("   ACMEother: f tool\n"), "{}", run.stdout);
    assert!(run.stderr.contains("400-01 is not compared with the root: "), "{}", run.stderr);
}

//! `patchadm show`: each operand decides what it names, and an ambiguous word is reported.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn web(content: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, content)
}

fn stage() -> Scenario {
    let stage = Scenario::with(&[web("one\n")]);
    let patch = Patch::of("100-01", web("two\n")).says("PATCH_FIXES", "CVE-2026-1234 200-01");
    stage.patchadd("", &patch).ok();
    stage
}

fn answers(stage: &Scenario, code: i32, line: &str) -> Vec<Value> {
    let run = stage.run(line);
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    document["answers"].as_array().unwrap().clone()
}

fn kinds(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["kind"].as_str().unwrap()).collect()
}

#[test]
fn several_operands_are_answered_in_their_order_each_as_what_it_is() {
    let stage = stage();
    Patch::of("300-01", web("three\n")).directory(&stage);
    let line = "show --json -R @ROOT@ CVE-2026-1234 100-01 delivered/300-01 /opt/ACMEweb/bin/httpd";
    let said = answers(&stage, 0, line);
    assert_eq!(kinds(&said), ["fix", "applied", "delivered", "path"]);
    assert_eq!(said[2]["word"], "delivered/300-01");
    let text = stage.run(&line.replace("--json ", "")).ok();
    assert_eq!(text.matches("\n\n").count(), 3, "an empty line between two answers: {text}");
}

#[test]
fn an_applied_patch_comes_before_a_file_of_that_name_and_the_output_says_so() {
    let stage = stage();
    Patch::of("100-01", web("two\n")).directory(&stage);
    fs::rename(stage.beside("delivered/100-01"), stage.beside("100-01")).unwrap();
    let run = stage.run("show -R @ROOT@ 100-01");
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("       State: effective\n"), "{}", run.stdout);
    assert_eq!(run.stderr, "note: 100-01 is an applied patch; ./100-01 names the file or directory\n");
    let said = answers(&stage, 0, "show --json -R @ROOT@ 100-01 ./100-01");
    assert_eq!(kinds(&said), ["applied", "delivered"]);
    assert!(
        said[0]["ambiguous"].as_str().unwrap().contains("./100-01") && said[1].get("ambiguous").is_none()
    );
}

#[test]
fn the_runs_of_a_removed_patch_are_named_although_a_directory_has_its_name() {
    let stage = stage();
    stage.run("remove -R @ROOT@ 100-01").ok();
    let hint = "\nhint: patchadm -R @ROOT@ history 100-01\n";
    let said = stage.run("show -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("patch 100-01 is not applied: run 3-") && said.contains(" removed it\n"), "{said}");
    assert!(said.ends_with(hint), "{said}");
    fs::create_dir(stage.beside("100-01")).unwrap();
    let said = stage.run("show -R @ROOT@ 100-01").fails(4);
    assert!(said.contains(" removed it; ./100-01 names the file or directory\n"), "{said}");
    assert!(said.ends_with(hint), "{said}");
    fs::remove_dir(stage.beside("100-01")).unwrap();
    Patch::of("100-01", web("two\n")).directory(&stage);
    fs::rename(stage.beside("delivered/100-01"), stage.beside("100-01")).unwrap();
    let run = stage.run("show -R @ROOT@ 100-01");
    assert!(run.code == 0 && run.stdout.contains("       State: delivered\n"), "{}", run.stdout);
    let note = "note: 100-01 is a delivered patch; `patchadm -R @ROOT@ history 100-01` lists the runs of patch 100-01 in the root\n";
    assert_eq!(run.stderr, note);
    assert_eq!(stage.run("show -R @ROOT@ ./100-01").ok(), run.stdout);
}

#[test]
fn an_applied_patch_comes_before_a_fix_of_that_name() {
    let stage = stage();
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/x", 0o755, "x\n"))).ok();
    let run = stage.run("show -R @ROOT@ 200-01");
    assert!(run.stdout.contains("       Patch: 200-01\n"), "{}", run.stdout);
    assert_eq!(run.stderr, "note: 200-01 is an applied patch; it is also the id of a fix\n");
}

#[test]
fn a_base_without_its_revision_is_told_the_applied_revision() {
    let stage = stage();
    let before = stage.everything();
    for (line, code) in [
        ("remove -R @ROOT@ 100", 2),
        ("undo-data drop -R @ROOT@ 100", 2),
        ("list -R @ROOT@ --missing 100", 2),
        ("show -R @ROOT@ 100", 4),
    ] {
        let said = stage.run(line).fails(code);
        assert!(said.contains("; specify the revision: 100-01 is applied\n"), "{line}: {said}");
    }
    let said = stage.run("remove -R @ROOT@ 300").fails(2);
    assert!(said.contains("; specify base and revision, as in 300-01\n"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn a_word_with_a_slash_is_a_path() {
    let stage = stage();
    stage.install(&Package::new("ACMEodd").param("BASEDIR", "/").file("100-01", 0o644, "odd\n"));
    let said = answers(&stage, 0, "show --json -R @ROOT@ 100-01 ./100-01 /100-01");
    assert_eq!(kinds(&said), ["applied", "path", "path"]);
    assert_eq!(said[1]["packages"], json!(["ACMEodd"]));
}

#[test]
fn an_operand_that_names_nothing_is_told_beside_the_answers_about_others() {
    let stage = stage();
    let said = answers(&stage, 4, "show --json -R @ROOT@ 100-01 999-01 /etc/nothing CVE-2026-9999");
    assert_eq!(kinds(&said), ["applied", "unknown", "unknown", "unknown"]);
    let run = stage.run("show -R @ROOT@ 999-01 100-01");
    assert_eq!(run.code, 4);
    assert!(run.stdout.contains("       Patch: 100-01\n"), "{}", run.stdout);
    assert!(
        run.stderr.starts_with("patchadm: error: patch 999-01 is not applied, and there is no file"),
        "{}",
        run.stderr
    );
    for (word, reason) in [
        (
            "/etc/nothing",
            "`/etc/nothing` is not an applied patch, a delivered patch, a path in the root, or a fix",
        ),
        ("nonsense", "`nonsense` is not an applied patch, a delivered patch, a path in the root, or a fix"),
        ("CVE-2026-9999", "no patch of this root fixes CVE-2026-9999"),
    ] {
        let run = stage.run(&format!("show --json -R @ROOT@ {word}"));
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((run.code, &document["cause"]), (4, &json!("unknown")), "{word}");
        assert_eq!(document["error"], reason);
    }
    let said = stage.run("show -R @ROOT@").fails(2);
    assert!(said.contains("specify a patch, a path, or a fix"), "{said}");
}

#[test]
fn a_patch_that_another_one_replaced_names_that_one() {
    let stage = stage();
    stage.patchadd("", &Patch::of("100-02", web("three\n")).says("SUNW_OBSOLETES", "050-03")).ok();
    let said = stage.run("show -R @ROOT@ 050-02").fails(4);
    assert!(said.contains("patch 050-02 is not applied: 100-02, which is applied, contains it"), "{said}");
    let said = answers(&stage, 0, "show --json -R @ROOT@ 100-01");
    assert_eq!(said[0]["superseded_by"], "100-02");
}

#[test]
fn an_absolute_path_of_the_host_is_a_path_that_the_root_does_not_have() {
    let stage = stage();
    fs::write(stage.beside("rubbish"), "rubbish\n").unwrap();
    fs::create_dir(stage.beside("empty")).unwrap();
    for name in ["rubbish", "empty"] {
        let path = stage.beside(name).display().to_string();
        let said = stage.run(&format!("show -R @ROOT@ {path}")).fails(4);
        assert!(
            said.contains(&format!("`{path}` is not a patch; no package owns that path in the root ")),
            "{said}"
        );
    }
    fs::write(stage.beside("foo.deb"), "!<arch>\ndebian-binary   ").unwrap();
    let said = stage.run(&format!("show -R @ROOT@ {}", stage.beside("foo.deb").display())).fails(1);
    assert!(said.contains(": a Debian package, and neither an SVR4 package nor a patch; "), "{said}");
}

#[test]
fn a_file_that_is_no_patch_and_no_object_is_an_error_of_that_file() {
    let stage = stage();
    fs::write(stage.beside("rubbish"), "rubbish\n").unwrap();
    let run = stage.run("show -R @ROOT@ ./rubbish");
    assert!(run.code != 0 && run.stderr.contains("rubbish"), "{}", run.stderr);
}

//! `patchadm history`: all runs of a root, or one of them.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::adopt_refresh::upgraded;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))).ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).stdout).unwrap()
}

fn append(stage: &Scenario, text: &str) {
    let at = stage.at("/var/sadm/patchadm/history");
    fs::OpenOptions::new().append(true).open(at).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn the_runs_are_listed_oldest_first() {
    let stage = stage();
    let said = document(&stage, "history --json -R @ROOT@");
    let runs = said["runs"].as_array().unwrap();
    let commands: Vec<&str> = runs.iter().map(|run| run["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["pkgadd", "patchadd", "patchrm"]);
    assert_eq!((&runs[1]["patches"], &runs[1]["result"]), (&json!(["100-01"]), &json!("done")));
    assert_eq!((&runs[1]["undoes"], &runs[1]["because"]), (&Value::Null, &json!({})));
    let text = stage.run("history -R @ROOT@").ok();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1][1..3], ["2026-11-20", "07:00"]);
    assert_eq!(said["runs"][1]["time"], "2026-11-20T07:00:00Z");
    assert_eq!((lines[1][4], &lines[1][lines[1].len() - 2..]), ("patchadd", ["done", "100-01"].as_slice()));
    assert_eq!((lines[0][4], &lines[0][lines[0].len() - 2..]), ("pkgadd", ["done", "ACMEweb"].as_slice()));
    assert_eq!(&lines[2][4..], ["remove", "100-01", "done", "100-01"], "the root is left out");
}

#[test]
fn a_run_that_was_rolled_back_is_said_in_words() {
    let stage = stage();
    append(
        &stage,
        "{\"run\":\"99-00000000000000ab\",\"time\":\"2026-11-20T08:00:00Z\",\"user\":\"root\",\"command\":\"patchadd\",\
         \"typed\":\"add 100-01\",\"patches\":[\"100-01\"],\"packages\":[\"ACMEweb\"],\"result\":\"rolled-back\",\"duration\":3}\n",
    );
    let table = stage.run("history -R @ROOT@").ok();
    assert!(table.lines().last().unwrap().contains("  rolled back  100-01"), "{table}");
    assert!(stage.run("history -R @ROOT@ 99").ok().contains("  Result: rolled back\n"));
    assert_eq!(document(&stage, "history --json -R @ROOT@ 99")["runs"][0]["result"], "rolled-back");
}

#[test]
fn a_run_is_told_whole_with_its_logs() {
    let stage = stage();
    let all = document(&stage, "history --json -R @ROOT@");
    let name = all["runs"][2]["run"].as_str().unwrap();
    let number = name.split('-').next().unwrap();
    let text = stage.run(&format!("history -R @ROOT@ {number}")).ok();
    assert!(text.starts_with(&format!("         Run: {name}\n")), "{text}");
    assert!(
        text.contains("     Command: remove -R @ROOT@ 100-01\n") && text.contains("       Patch: 100-01\n"),
        "{text}"
    );
    assert!(text.ends_with("         Log: @ROOT@/var/sadm/patchadm/log\n"), "{text}");
    let one = document(&stage, &format!("history --json -R @ROOT@ {name}"));
    assert_eq!(one["runs"].as_array().unwrap().len(), 1);
    assert_eq!(one["runs"][0]["run"], name);
    assert!(one["runs"][0]["logs"].is_array());
    let said = stage.run("history -R @ROOT@ 4711").fails(4);
    assert!(said.contains("the history has no run or patch 4711"), "{said}");
    let said = stage.run("history -R @ROOT@ yesterday").fails(4);
    assert!(
        said.contains("yesterday; specify the number or name of a run, the id of a patch, or a path"),
        "{said}"
    );
}

#[test]
fn the_runs_of_a_patch_or_a_path_are_listed() {
    let stage = stage();
    let other = Package::new("ACMEweb").file("bin/other", 0o755, "two\n");
    stage.patchadd("", &Patch::of("200-01", other)).ok();
    let runs = |about: &str| -> Vec<String> {
        let run = stage.run(&format!("history -R @ROOT@ {about}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(runs("100-01"), ["2", "3"]);
    assert_eq!(runs("100"), ["2", "3"]);
    assert_eq!(runs("200-01"), ["4"]);
    assert_eq!(runs("/opt/ACMEweb/bin/other"), ["4"]);
    assert_eq!(runs("@ROOT@/opt/ACMEweb/etc/../bin/other"), ["4"]);
    assert_eq!(document(&stage, "history --json -R @ROOT@ 100-01")["runs"].as_array().unwrap().len(), 2);

    let of_package = stage.run("history -R @ROOT@ /opt/ACMEweb/bin/httpd");
    assert_eq!((of_package.code, of_package.stdout.lines().count()), (0, 1), "{}", of_package.stdout);
    assert!(of_package.stdout.contains(" pkgadd "), "{}", of_package.stdout);
    assert!(
        of_package.stderr.contains("2 runs (2, 3) of patches that are no longer applied may have changed"),
        "{}",
        of_package.stderr
    );

    let said = stage.run("history -R @ROOT@ 300-01").fails(4);
    assert!(said.contains("the history has no run or patch 300-01"), "{said}");
    let said = stage.run("history -R @ROOT@ /nowhere").fails(4);
    assert!(said.contains("the history has no run that changed /nowhere"), "{said}");
}

#[test]
fn a_command_is_told_as_it_was_typed_and_without_secrets() {
    let stage = stage();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    stage.run("remove --note it's -R @ROOT@ --wait=1s 100-01").ok();
    stage.run("add -x you:secret@proxy:3128 -R @ROOT@ delivered/100-01").ok();
    let command = |run: &str| {
        let text = stage.run(&format!("history -R @ROOT@ {run}")).ok();
        text.lines().find_map(|line| line.trim().strip_prefix("Command: ").map(str::to_owned)).unwrap()
    };
    assert_eq!(command("4"), "patchadd -R @ROOT@ delivered/100-01");
    assert_eq!(command("5"), r"remove --note 'it'\''s' -R @ROOT@ --wait=1s 100-01");
    assert_eq!(command("6"), "add -x ...@proxy:3128 -R @ROOT@ delivered/100-01");
    let text = stage.run("history -R @ROOT@").ok();
    let verbs: Vec<&str> = text.lines().map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    assert_eq!(verbs, ["pkgadd", "patchadd", "remove", "patchadd", "remove", "add"]);
    assert!(!stage.text("/var/sadm/patchadm/history").contains("secret"));
}

#[test]
fn values_of_options_that_may_be_secret_are_not_kept() {
    let stage = stage();
    Package::new("ACMEdb").file("f", 0o644, "x\n").write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    let admin = stage.beside("admin").display().to_string();
    stage.run(&format!("pkgadd -n -a {admin} -P pass:secret -d spool -R @ROOT@ ACMEdb")).done();
    stage.run("pkgrm -n -R @ROOT@ ACMEdb").done();
    stage.run(&format!("pkgadd -nPpass:secret -a {admin} -d spool -R @ROOT@ ACMEdb")).done();
    stage.run("add --probe : -R @ROOT@ delivered/100-01").done();
    let text = stage.text("/var/sadm/patchadm/history");
    assert!(!text.contains("secret"), "{text}");
    for kept in [" -P ... -d spool ", "pkgadd -nP... -a ", "add --probe ... -R "] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
}

#[test]
fn a_refresh_says_what_the_package_manager_had_done_since() {
    let stage = upgraded();
    stage.run("adopt --refresh -R @ROOT@").ok();
    let all = document(&stage, "history --json -R @ROOT@");
    let last = all["runs"].as_array().unwrap().last().unwrap();
    let expected =
        json!({"package": "DEBweb", "manager": "dpkg", "name": "web", "from": "1.0-1", "to": "1.0-2"});
    assert_eq!((&last["command"], &last["refreshed"]), (&json!("adopt"), &json!([expected])));
    assert_eq!(all["runs"][0]["refreshed"], json!([]));
    let text = stage.run(&format!("history -R @ROOT@ {}", last["run"].as_str().unwrap())).ok();
    assert!(text.contains("   Refreshed: DEBweb, web from 1.0-1 to 1.0-2 (dpkg)\n"), "{text}");
    let of_path = document(&stage, "history --json -R @ROOT@ /usr/lib/libweb.so");
    let mut of_path = of_path["runs"].as_array().unwrap().iter();
    assert!(of_path.any(|run| run["patches"] == json!(["100-01"])), "the patch that was lost changed it");
    let other = stage.run("history -R @ROOT@ /usr/bin/web");
    assert!(
        other.stderr.contains("of patches that are no longer applied may have changed"),
        "{}",
        other.stderr
    );
}

#[test]
fn a_run_that_was_taken_back_names_the_other() {
    let stage = stage();
    let all = document(&stage, "history --json -R @ROOT@");
    let name = all["runs"][1]["run"].as_str().unwrap().to_owned();
    let line = format!(
        "{{\"run\":\"99-00000000000000ab\",\"time\":\"2026-11-20T08:00:00Z\",\"user\":\"root\",\"command\":\"patchrm\",\
         \"patches\":[\"100-01\"],\"result\":\"done\",\"duration\":3,\"undoes\":\"{name}\",\"note\":\"a change \\u001b[31m\"}}\n"
    );
    append(&stage, &line);
    let all = document(&stage, "history --json -R @ROOT@");
    assert_eq!(all["runs"][1]["undone_by"], "99-00000000000000ab");
    assert_eq!(all["runs"][3]["undoes"], name);
    let text = stage.run("history -R @ROOT@ 99").ok();
    assert!(text.contains(&format!("  Takes back: {name}\n")), "{text}");
    assert!(text.contains("        Note: a change \\033[31m\n"), "{text}");
}

#[test]
fn a_line_end_in_a_record_begins_no_other_row() {
    let stage = stage();
    let forged = r"\n7  2026-11-20 08:00  root  add  done  300-01";
    let long = "x".repeat(5_000);
    let line = format!(
        "{{\"run\":\"99-00000000000000ab\",\"time\":\"2026-11-20T08:00:00Z\",\"user\":\"root{forged}\",\"command\":\"patchrm\",\
         \"typed\":\"add{forged}\",\"patches\":[],\"packages\":[\"ACME{forged}{long}\"],\"result\":\"done{forged}{long}\",\
         \"duration\":3,\"note\":\"a note{forged}\"}}\n"
    );
    append(&stage, &line);
    let table = stage.run("history -R @ROOT@").ok();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains(r"root\0127  2026-11-20"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() < 700), "{table}");
    let one = stage.run("history -R @ROOT@ 99").ok();
    for text in [r"  By: root\0127", r"  Command: add\0127", r"  Note: a note\0127", &long[..900]] {
        assert!(one.contains(text), "{one}");
    }
    assert!(!one.lines().any(|line| line.starts_with("7  ")), "{one}");
}

#[test]
fn a_record_as_long_as_a_file_is_cut() {
    let stage = stage();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let long = "x".repeat(400_000);
    let record = |run: &str, patches: &str, more: &str| {
        format!(
            "{{\"run\":\"{run}-00000000000000ab\",\"time\":\"2026-11-20T08:00:00Z\",\"user\":\"root\",\
             \"command\":\"patchadd\",\"patches\":[{patches}],\"packages\":[\"ACMEweb\"],\"result\":\"done\",\
             \"duration\":3{more}}}\n"
        )
    };
    append(&stage, &record("98", "\"100-01\"", &format!(",\"typed\":\"add {long}\",\"note\":\"{long}\"")));
    let many: Vec<String> = (0..20_000).map(|number| format!("\"{number}-01\"")).collect();
    append(&stage, &record("99", &many.join(","), ""));

    let one = stage.run("history -R @ROOT@ 98").ok();
    assert!(one.contains("  Command: add xxx") && one.contains("x…\n") && one.len() < 4_000, "{}", one.len());
    let many = stage.run("history -R @ROOT@ 99").ok();
    assert!(many.contains("  Patch: 7-01\n") && many.lines().count() == 5_001, "{}", many.lines().count());
    assert!(
        many.lines().last().is_some_and(|line| line.trim_start().starts_with("and 15")),
        "{}",
        many.len()
    );
    for line in ["history -R @ROOT@", "history -v -R @ROOT@", "status -R @ROOT@", "show -R @ROOT@ 100-01"] {
        let said = stage.run(line).ok();
        assert!(said.len() < 60_000, "{line}: {}", said.len());
    }
    assert!(stage.run("history --json -R @ROOT@ 98").stdout.len() < 5_000);
}

#[test]
fn lines_that_are_none_are_passed_over_and_said() {
    let stage = stage();
    append(&stage, "what is this\n{\"run\":\"9");
    let run = stage.run("history -R @ROOT@");
    assert_eq!((run.code, run.stdout.lines().count()), (0, 3));
    let history = "@ROOT@/var/sadm/patchadm/history";
    assert_eq!(
        run.stderr,
        format!(
            "note: {history} has 1 line that is not a record of a run; skipped\n\
             note: the last line of {history} is incomplete: its run is not listed\n"
        )
    );
    assert_eq!(document(&stage, "history --json -R @ROOT@")["runs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_root_without_runs_says_so() {
    let stage = Scenario::new();
    stage.package("ACMEold", "PKG=ACMEold\nNAME=Old\nARCH=i386\nVERSION=1\nCATEGORY=application\n");
    stage.contents(&[]);
    assert_eq!(stage.run("history -R @ROOT@").ok(), "No run is recorded.\n");
}

fn notes(stage: &Scenario) -> Vec<Value> {
    let said = document(stage, "history --json -R @ROOT@");
    said["runs"].as_array().unwrap().iter().map(|run| run["note"].clone()).collect()
}

/// Every verb that changes patches records the note, and recovery writes it if the command could not.
#[test]
fn a_note_is_kept_with_the_run() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for id in ["100-01", "200-01"] {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, id)).directory(&stage);
    }
    stage.run("add -R @ROOT@ --note first delivered/100-01 delivered/200-01").ok();
    stage.run("remove -R @ROOT@ --note second 200-01").ok();
    stage.run("undo -R @ROOT@ --note third -M delivered").ok();
    stage.run("remove -R @ROOT@ 200-01").ok();
    stage.run("update -R @ROOT@ --note fifth -M delivered").ok();
    stage.run("undo-data drop -R @ROOT@ --note sixth 100-01").ok();
    let expected = json!([null, "first", "second", "third", null, "fifth", "sixth"]);
    assert_eq!(Value::from(notes(&stage)), expected);
    let why: Value = serde_json::from_str(&stage.run("show --json -R @ROOT@ 200-01").ok()).unwrap();
    let why = &why["answers"][0];
    assert_eq!((&why["note"], &why["named"]), (&json!("fifth"), &json!(false)));
    assert!(stage.run("show -R @ROOT@ 200-01").ok().contains("        Note: fifth\n"));
    for bad in ["", "two\nlines", "\u{1b}[31m", &"x".repeat(1_001)] {
        let output = stage
            .command("add")
            .args(["--note", bad, "-R"])
            .arg(stage.root())
            .arg("delivered/200-01")
            .output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn the_history_says_for_whom_a_patch_was_taken() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let file = |id: &str| Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, id));
    file("100-01").says("SUNW_REQUIRES", "300-01").directory(&stage);
    file("300-01").directory(&stage);
    stage.run("add -R @ROOT@ -M delivered 100-01").ok();
    let text = stage.text("/var/sadm/patchadm/history");
    let because: Vec<&str> =
        text.lines().filter(|line| line.contains("\"because\":{\"300-01\":\"100-01\"}")).collect();
    assert!(because.len() == 1 && because[0].contains("\"patches\":[\"300-01\"]"), "{text}");
    let said = document(&stage, "history --json -R @ROOT@");
    assert_eq!(said["runs"][1]["because"], json!({ "300-01": "100-01" }));
    assert!(stage.run("show -R @ROOT@ 300-01").ok().contains("         Why: required by 100-01\n"));
}

//! Runs that ended before they changed a live file: the history lists them, and a note reports the leftovers that
//! recovery removed.

use std::fs;

use patchadm_rootfs::{Lock, Root};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Run, Scenario};

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("as of {id}\n")))
}

fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")])
}

/// The outcome in a row of the table.
fn result<'a>(row: &[&'a str]) -> &'a str {
    let results = ["done", "failed", "interrupted"];
    row.iter().copied().find(|word| results.contains(word)).unwrap_or_default()
}

/// Creates the leftovers of a run that was killed while it staged: its stage, with the line that it wrote first.
fn killed_while_staging(stage: &Scenario, run: &str) {
    let at = format!("/var/sadm/patchadm/stage/{run}");
    stage.file(&format!("{at}/marker"), format!("{run} 0\n"));
    stage.file(&format!("{at}/o/1"), vec![b'x'; 2 << 20]);
    let line = format!(
        "{{\"run\":\"{run}\",\"time\":\"2026-11-20T07:00:00Z\",\"user\":\"root\",\"command\":\"patchadd\",\
         \"patches\":[\"100-02\"],\"packages\":[\"ACMEweb\"],\"result\":\"interrupted\",\"duration\":0}}\n"
    );
    stage.file(&format!("{at}/attempt"), line);
    fs::set_permissions(stage.at(&at), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn recovery_says_what_it_removed_of_a_run_killed_while_staging_and_the_history_has_it() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    killed_while_staging(&stage, "3-00000000000000aa");
    let said = stage.run("recover -R @ROOT@").ok();
    let sentence = regex::Regex::new(
        r"^Removed the leftovers of an interrupted run \(2\.0 MiB\); the root was unchanged\.\n$",
    );
    assert!(sentence.unwrap().is_match(&said), "{said}");
    assert!(!stage.at("/var/sadm/patchadm/stage/3-00000000000000aa").exists());
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    stage.patchadd("", &patch("100-02")).ok();
    let history = stage.run("history -R @ROOT@").ok();
    let rows: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<[&str; 3]> = rows.iter().map(|row| [row[0], row[4], result(row)]).collect();
    let expected = [
        ["1", "pkgadd", "done"],
        ["2", "patchadd", "done"],
        ["-", "patchadd", "interrupted"],
        ["3", "patchadd", "done"],
    ];
    assert_eq!(told, expected, "{history}");
    let one = stage.run("history -R @ROOT@ 3-00000000000000aa").ok();
    assert!(one.contains("Result: interrupted\n") && one.contains("Patch: 100-02\n"), "{one}");
    assert!(!one.contains("Took"), "{one}");
    assert!(stage.run("history -R @ROOT@ 3").ok().contains("Result: done\n"), "a number means one run");
}

#[test]
fn status_and_check_name_leftovers_and_status_names_a_command_at_work_instead() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let run = "3-00000000000000aa";
    killed_while_staging(&stage, run);
    let said = stage.run("status -R @ROOT@").ok();
    let line = format!("\nInterrupted  leftovers of run {run} (2.0 MiB); the root is unchanged\n");
    assert!(said.contains(&line), "{said}");
    assert!(said.ends_with("\nNext         `patchadm -R @ROOT@ recover` removes the leftovers\n"), "{said}");
    let document = |stage: &Scenario| -> serde_json::Value {
        serde_json::from_str(&stage.run("status -R @ROOT@ --json").ok()).unwrap()
    };
    assert_eq!(document(&stage)["leftovers"]["runs"], serde_json::json!([run]));
    assert!(document(&stage)["leftovers"]["bytes"].as_u64().unwrap() >= 2 << 20);
    let said = stage.run("check -R @ROOT@").ok();
    assert!(said.contains(&format!("leftovers of {run} use disk space")), "{said}");

    let lock = Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    let said = stage.run("status -R @ROOT@").ok();
    let words = format!(
        "\nInterrupted  no; process {} (pkgadd) has been changing the root since 20",
        std::process::id()
    );
    assert!(said.contains(&words), "{said}");
    let running = document(&stage);
    assert_eq!(running["leftovers"], serde_json::Value::Null);
    assert_eq!(running["running"]["command"], "pkgadd");
    assert_eq!(running["running"]["process"], std::process::id());
    drop(lock);

    stage.run("recover -R @ROOT@").ok();
    let said = stage.run("status -R @ROOT@").ok();
    assert!(said.contains("\nInterrupted  no\n"), "{said}");
}

#[test]
fn another_command_says_it_too_and_goes_on() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    killed_while_staging(&stage, "3-00000000000000aa");
    let Run { code, stderr, .. } = stage.patchadd("", &patch("100-02"));
    assert_eq!(code, 0);
    let note = "NOTE: Removed the leftovers of an interrupted run (2.0 MiB); the root was unchanged.\n";
    assert!(stderr.contains(note), "{stderr}");
}

#[test]
fn a_run_that_fails_while_it_stages_is_in_the_history_and_a_refusal_is_not() {
    let stage = stage();
    // The file does not match its entry in the pkgmap.
    let delivered = patch("100-01").directory(&stage);
    fs::write(delivered.join("ACMEweb/reloc/bin/httpd"), "as of 100-0X\n").unwrap();
    assert_ne!(stage.run("add -R @ROOT@ delivered/100-01").code, 0);
    stage.file("/opt/ACMEweb/bin/httpd", "edited\n");
    patch("200-01").directory(&stage);
    stage.run("add -R @ROOT@ delivered/200-01").fails(3);
    let history = stage.run("history -R @ROOT@").ok();
    let rows: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<[&str; 2]> = rows.iter().map(|row| [row[4], result(row)]).collect();
    assert_eq!(told, [["pkgadd", "done"], ["add", "failed"]], "{history}");
}

#[test]
fn attempts_that_cannot_be_read_hide_no_run() {
    let stage = stage();
    stage.file("/var/sadm/patchadm/attempts", "rubbish\n{\"run\":\"1-");
    let history = stage.run("history -R @ROOT@").ok();
    assert_eq!(history.lines().count(), 1, "{history}");
}

//! Files with an attribute that forbids all changes. A command that would stop halfway because of them is refused at
//! the start, with the file and the attribute.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

/// A file that stays immutable until this value is dropped.
struct Immutable(PathBuf);

impl Immutable {
    /// Makes a file immutable; `None` if that is impossible.
    fn made(test: &str, path: &Path) -> Option<Self> {
        if !chattr("+i", path) {
            crate::skipped(&format!("{test}: no file can be made immutable"));
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(option: &str, path: &Path) -> bool {
    Command::new("chattr").arg(option).arg(path).output().is_ok_and(|done| done.status.success())
}

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

fn stage() -> Scenario {
    let stage = Scenario::on_disk();
    stage.install(&web("one\n"));
    stage
}

#[test]
fn an_undo_archive_that_nobody_may_remove_refuses_what_would_remove_it() {
    let stage = stage();
    stage.patchadd("", &Patch::of("100-01", web("two\n"))).ok();
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz");
    let Some(immutable) = Immutable::made("an_undo_archive_that_nobody_may_remove", &archive) else { return };
    let before = stage.everything();
    for line in ["remove -R @ROOT@ 100-01", "patchrm -R @ROOT@ 100-01", "undo-data drop -R @ROOT@ 100-01"] {
        let run = stage.run(line);
        assert_ne!(run.code, 0, "{line}");
        let said = run.stdout + &run.stderr;
        assert!(said.contains("undo.gz is immutable; `chattr -i` clears the flag"), "{line}: {said}");
        crate::tree::assert_same(&stage.everything(), &before);
        stage.run("list -R @ROOT@").ok();
    }
    drop(immutable);
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn a_stage_with_a_file_that_nobody_may_remove_stays_whole_and_listed() {
    let stage = stage();
    let copy = stage.beside("copy");
    stage.run(&format!("stage new {} -R @ROOT@ --path opt", copy.display())).ok();
    let file = copy.join("opt/ACMEweb/bin/httpd");
    let Some(immutable) = Immutable::made("a_stage_with_a_file_that_nobody_may_remove", &file) else {
        return;
    };
    let listed = stage.run("stage list -R @ROOT@").ok();
    let whole = crate::packages::files(&copy);
    let said = stage.run(&format!("stage drop -R @ROOT@ {}", copy.display()));
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("httpd is immutable; `chattr -i` clears the flag"), "{said:?}");
    assert_eq!(crate::packages::files(&copy), whole);
    assert_eq!(stage.run("stage list -R @ROOT@").ok(), listed);
    drop(immutable);
    stage.run(&format!("stage drop -R @ROOT@ {}", copy.display())).ok();
    assert!(!copy.exists());
}

#[test]
fn a_stage_of_a_run_that_nobody_may_remove_is_named_by_status_with_the_reason() {
    let stage = stage();
    stage.patchadd("", &Patch::of("100-01", web("two\n"))).ok();
    assert!(stage.run("status -R @ROOT@").ok().contains("Interrupted  no\n"));
    let run = "9-00000000000000aa";
    let left = format!("/var/sadm/patchadm/stage/{run}");
    stage.file(&format!("{left}/marker"), format!("{run} 1\n"));
    stage.file(&format!("{left}/o/3"), "old\n");
    let Some(immutable) = Immutable::made("a_stage_of_a_run_…", &stage.at(&format!("{left}/o/3"))) else {
        return;
    };
    stage.run("remove -R @ROOT@ 100-01").fails(9);
    let said = stage.run("status -R @ROOT@").ok();
    let words =
        format!("Interrupted  the stage @ROOT@{left} of run {run}, which is over, cannot be removed: ");
    assert!(
        said.contains(&words) && said.contains("/o/3 is immutable; `chattr -i` clears the flag"),
        "{said}"
    );
    assert!(said.contains("recover` removes the stage"), "{said}");
    let said = stage.run("status --json -R @ROOT@").ok();
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["stuck_stage"]["run"], run, "{said}");
    drop(immutable);
    assert_eq!(stage.run("recover -R @ROOT@").code, 0);
    assert!(stage.run("status -R @ROOT@").ok().contains("Interrupted  no\n"));
    stage.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn a_directory_of_records_that_nobody_may_change_is_named_with_its_attribute() {
    let stage = stage();
    let patch = Patch::of("100-01", web("two\n")).directory(&stage);
    let records = stage.at("/var/sadm/install");
    let Some(immutable) = Immutable::made("a_directory_of_records_that_nobody_may_change", &records) else {
        return;
    };
    let run = stage.run(&format!("add -R @ROOT@ {}", patch.display()));
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("/var/sadm/install is immutable; `chattr -i` clears the flag"), "{run:?}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    drop(immutable);
    stage.run(&format!("add -R @ROOT@ {}", patch.display())).ok();
}

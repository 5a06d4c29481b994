//! Failures before and in a run.

use std::fs;

use patchadm_rootfs::{Lock, Root};

use super::{Row, last_line, type_it};
use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::locked::waiting;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

pub(super) const ROWS: &[Row] = &[
    ("Failure::OwnedByRoot", owned_by_root),
    ("Failure::NoDepot", no_depot),
    ("Failure::Plan", plan_that_does_not_hold),
    ("LockError::Held", lock_held),
    ("ScriptError::Locked", lock_held),
    ("Failure::Script", script),
    ("Failure::NotPrivileged", not_privileged),
    ("Failure::NoDatabase", no_database),
    ("Failure::DuringRun", during_run),
    ("Failure::BackoutDirectory", backout_directory),
    ("Failure::ExchangeDirectory", exchange_directory),
    ("ArchiveError::Missing", archive_missing),
    ("ArchiveError::Lost", archive_lost),
    ("ArchiveError::Exported", archive_exported),
    ("ArchiveError::Earlier", archive_of_an_earlier_form),
    ("ArchiveError::Outside", archive_outside),
    ("ArchiveError::NotBound", archive_not_bound),
    ("ArchiveError::Ledger", ledger_damaged),
    ("Cause::Ledger", ledger_damaged),
    ("Failure::StaleIndex", depot_begun_anew),
    ("Failure::DepotMemory", memory_of_depots_damaged),
];

/// Hint: name the depot.
fn no_depot() {
    let stage = stage();
    let said = stage.run("update -R @ROOT@").fails(1);
    assert!(said.contains("no depot specified"), "{said}");
    assert!(last_line(&said).ends_with(" update -M DEPOT"), "{said}");
    stage.run("update -R @ROOT@ -M delivered").ok();
}

/// Hint: save the plan again; the new plan holds.
fn plan_that_does_not_hold() {
    let stage = stage();
    let save = "plan -R @ROOT@ --save-plan plan.json delivered/100-01";
    stage.run(save).ok();
    stage.file("/opt/ACMEweb/bin/httpd", "edited\n");
    let carry_out = "add -R @ROOT@ --plan plan.json";
    let said = stage.run(carry_out).fails(3);
    assert!(last_line(&said).starts_with("save the plan again with `--save-plan`"), "{said}");
    stage.run(&save.replace("--save-plan", "--edited replace --save-plan")).ok();
    stage.run(carry_out).ok();
}

/// Indexes the delivered directory as a depot; returns the command that checks it.
fn depot(stage: &Scenario) -> String {
    let depot = stage.beside("delivered");
    stage.run(&format!("depot index {}", depot.display())).ok();
    format!("depot check -R @ROOT@ {}", depot.display())
}

/// Records in the root that another depot was at this location.
fn remember_another_depot(stage: &Scenario) {
    let line = format!(
        "{{\"depot\":\"{}\",\"location\":\"{}\",\"version\":7,\"sha256\":\"{}\",\"expires\":null,\
         \"seen\":\"2026-11-20T00:00:00Z\"}}\n",
        "0f".repeat(16),
        stage.beside("delivered").canonicalize().unwrap().display(),
        "ab".repeat(32)
    );
    stage.file("/var/sadm/patchadm/depots", line);
}

/// Hint: remove the line of a depot that was created anew; the hint names the file.
fn depot_begun_anew() {
    let stage = stage();
    let check = depot(&stage);
    remember_another_depot(&stage);
    let said = stage.run(&check).fails(3);
    let file = last_line(&said).split("remove its line from ").nth(1).unwrap().to_owned();
    let file = file.replace("@ROOT@", stage.root().to_str().unwrap());
    fs::write(file, "").unwrap();
    stage.run(&check).ok();
}

/// Hint: remove the unreadable line.
fn memory_of_depots_damaged() {
    let stage = stage();
    let check = depot(&stage);
    stage.file("/var/sadm/patchadm/depots", "rubbish\n");
    let said = stage.run(&check).fails(1);
    let file = last_line(&said).split(' ').nth(1).unwrap().replace("@ROOT@", stage.root().to_str().unwrap());
    fs::write(file, "").unwrap();
    stage.run(&check).ok();
}

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    patch().directory(&stage);
    stage
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
}

/// Hint: restore the lost archive from a backup; the patch can then be removed.
fn archive_lost() {
    let stage = stage();
    stage.run(ADD).ok();
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz");
    fs::rename(&archive, stage.beside("backup")).unwrap();
    let said = stage.run(REMOVE).fails(1);
    assert!(last_line(&said).starts_with("restore it from a backup of the root"), "{said}");
    fs::rename(stage.beside("backup"), &archive).unwrap();
    stage.run(REMOVE).ok();
}

fn archive_exported() {
    let stage = stage();
    stage.run(ADD).ok();
    let file = stage.beside("exported.tar");
    stage.run(&format!("undo-data export -R @ROOT@ -o {} 100-01", file.display())).ok();
    let said = stage.run(REMOVE).fails(3);
    let advice = last_line(&said);
    assert!(advice.starts_with("restore it with ") && advice.contains("undo-data import"), "{said}");
    stage.run(&format!("undo-data import -R @ROOT@ {}", file.display())).ok();
    stage.run(REMOVE).ok();
}

/// The patch stays. A later one can still be applied over it and backed out again.
fn archive_of_an_earlier_form() {
    let stage = stage();
    stage.run(ADD).ok();
    let ledger = stage.at("/var/sadm/patchadm/ledger/ACMEweb");
    let lines = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, lines.replace("\"b3:", "\"sha256:")).unwrap();
    let said = stage.run(REMOVE).fails(1);
    let advice = last_line(&said);
    assert!(advice.starts_with("remove the patch with the version of patchadm that applied it"), "{said}");
    assert!(advice.ends_with("later patches can still be applied"), "{said}");
    let later = Patch::of("200-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
    later.directory(&stage);
    for (line, content) in
        [(&*ADD.replace("100-01", "200-01"), "three\n"), (&*REMOVE.replace("100-01", "200-01"), "two\n")]
    {
        stage.run(line).ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), content, "{line}");
    }
    assert_eq!(stage.run(REMOVE).fails(1), said);
}

const ADD: &str = "add -R @ROOT@ delivered/100-01";
const REMOVE: &str = "remove -R @ROOT@ 100-01";

fn owned_by_root() {
    if !is_root() {
        return crate::skipped("advice: only root owns such a root");
    }
    let stage = stage();
    let said = stage.run(&ADD.replace("add", "add --as-owner")).fails(3);
    assert!(said.contains("run it again without `--as-owner`"), "{said}");
    stage.run(ADD).ok();
}

/// The verbs can wait and name the option. The classic commands have no such option and name none.
fn lock_held() {
    let stage = stage();
    let hold = || Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    let lock = hold();
    for line in
        ["patchadd -R @ROOT@ delivered/100-01", "pkgrm -n -R @ROOT@ ACMEweb", "patchrm -R @ROOT@ 1-01"]
    {
        let said = stage.run(line).stderr;
        assert!(said.contains("ry again when it has finished") && !said.contains("--wait"), "{line}: {said}");
    }
    for line in [ADD, REMOVE, "recover -R @ROOT@"] {
        let said = stage.run(line).fails(6);
        assert!(said.contains("wait for it with `--wait DURATION`"), "{line}: {said}");
    }
    drop(lock);
    for line in [ADD, "recover -R @ROOT@", REMOVE] {
        let lock = hold();
        let (code, said) = waiting(&stage, &format!("{line} --wait 60"), || drop(lock));
        assert_eq!(code, Some(0), "{line}: {said}");
        assert!(said.contains("waiting for process "), "{line}: {said}");
    }
}

/// The named log exists and has the output of the script.
fn script() {
    let stage = stage();
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    let failing = package.information("preinstall", "echo it is too early\nexit 1\n");
    Patch::of("100-01", failing).directory(&stage);
    let run = stage.run(ADD);
    let log = run.stderr.split_once("hint: see ").and_then(|(_, rest)| rest.split_once(" for details"));
    let (log, _) = log.unwrap_or_else(|| panic!("{}", run.stderr));
    let text = stage.text(log.strip_prefix("@ROOT@").unwrap());
    assert!(text.contains("it is too early"), "{text}");
    let told = &run.stderr;
    assert!(told.contains("last output of the script:\n") && told.contains("  it is too early\n"), "{told}");
}

/// The owner of the root may run it.
fn not_privileged() {
    let stage = stage();
    if !is_root() {
        return crate::skipped("advice: root alone can make a root of somebody else");
    }
    let run = |directories: &[&std::path::Path]| {
        let output = as_ordinary_user(&stage, ADD, directories).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&[]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("run it as the owner of the root directory, or as root, with `--as-owner`"),
        "{said}"
    );
    let (code, said) = run(&[&stage.root()]);
    assert_eq!(code, 0, "{said}");
}

fn no_database() {
    let stage = Scenario::bare();
    patch().directory(&stage);
    let said = stage.run(ADD).fails(1);
    assert!(said.contains("-R"), "{said}");
    if said.contains("install a package there first") {
        stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
        assert_eq!(stage.run(ADD).code, 0);
    }
}

/// A run is at work when a plan is refused, and then dies. The command that the refusal names ends it.
fn during_run() {
    let stage = stage();
    let wait = "#!/bin/sh\ntouch $PKG_INSTALL_ROOT/begun\nexec sleep 60\n";
    let waiting = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("preinstall", wait);
    Patch::of("200-01", waiting).directory(&stage);
    let mut child = stage.command("add --scripts run -R @ROOT@ delivered/200-01").spawn().unwrap();
    crate::workshop::eventually("the script has begun", || stage.at("/begun").exists());
    let said = stage.run("plan -R @ROOT@ delivered/100-01").fails(9);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(type_it(&stage, last_line(&said), &[]).ok().starts_with("Interrupted run "), "{said}");
    assert_eq!(stage.run("plan -R @ROOT@ delivered/100-01").code, 0);
}

fn backout_directory() {
    let stage = stage();
    let undo = stage.beside("undo");
    let line = format!("add --undo-dir {} -R @ROOT@ delivered/100-01", undo.display());
    let said = stage.run(&line).fails(3);
    assert!(
        last_line(&said).contains("absolute path of an existing directory with `--undo-dir DIR`"),
        "{said}"
    );
    fs::create_dir(&undo).unwrap();
    stage.run(&line).ok();
    let said = stage.run(&line.replace("add --undo-dir", "patchadd -B").replace("/undo", "/none")).fails(37);
    assert!(said.contains("with `-B DIR`."), "{said}");
}

fn exchange_directory() {
    let stage = stage();
    let said = stage.run("add --exchange /nowhere -R @ROOT@ delivered/100-01").fails(3);
    assert!(
        last_line(&said).contains("absolute paths of directories in the root, none inside another"),
        "{said}"
    );
    stage.run("add --exchange /opt/ACMEweb -R @ROOT@ delivered/100-01").ok();
}

fn archive_missing() {
    let stage = stage();
    let (first, second) = (stage.beside("undo"), stage.beside("moved"));
    fs::create_dir(&first).unwrap();
    stage.run(&ADD.replace("add", &format!("add --undo-dir {}", first.display()))).ok();
    fs::rename(&first, &second).unwrap();
    let said = stage.run(REMOVE).fails(1);
    assert_eq!(last_line(&said), "specify the directory of the undo data with `--undo-dir DIR`");
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(12);
    assert!(said.contains("with `-B DIR`.\n"), "{said}");
    stage.run(&format!("{REMOVE} --undo-dir {}", second.display())).ok();
}

fn archive_outside() {
    if !is_root() {
        return crate::skipped("advice: only root does not follow such a path");
    }
    let stage = stage();
    let (first, second) = (stage.beside("undo"), stage.beside("moved"));
    fs::create_dir(&first).unwrap();
    stage.run(&ADD.replace("add", &format!("add --undo-dir {}", first.display()))).ok();
    fs::rename(&first, &second).unwrap();
    let remote = "/var/sadm/pkg/ACMEweb/save/100-01/remote";
    stage.file(remote, stage.text(remote).replace("/undo/", "/moved/"));
    let said = stage.run(REMOVE).fails(3);
    assert!(
        last_line(&said).contains("if this is the right directory, specify it with `--undo-dir DIR`"),
        "{said}"
    );
    stage.run(&format!("{REMOVE} --undo-dir {}", second.display())).ok();
}

fn archive_not_bound() {
    let stage = stage();
    stage.run(ADD).ok();
    crate::ledger::disown(&stage.root(), "ACMEweb");
    let said = stage.run(REMOVE).fails(3);
    assert_eq!(type_it(&stage, last_line(&said), &[("ID", "100-01")]).code, 0, "{said}");
    stage.run(REMOVE).ok();
}

fn ledger_damaged() {
    let stage = stage();
    stage.run(ADD).ok();
    for line in [REMOVE, "add -R @ROOT@ delivered/100-02"] {
        let next = Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
        next.directory(&stage);
        fs::write(stage.at("/var/sadm/patchadm/ledger/ACMEweb"), "{nonsense\n").unwrap();
        let run = stage.run(line);
        if run.code != 0 {
            let typed = type_it(&stage, last_line(&run.stderr), &[("ID", "100-01")]);
            assert_eq!(typed.code, 0, "{line}: {}", run.stderr);
            stage.run(line).ok();
        }
        stage.run(ADD);
    }
}

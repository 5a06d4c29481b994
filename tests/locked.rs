//! Two writers at once: the second reports the holder of the lock, or waits. Readers are not affected.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use patchadm_rootfs::{Lock, Root};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (id, text) in [("100-01", "two\n"), ("100-02", "three\n")] {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).directory(&stage);
    }
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    stage
}

/// The lock of a root, as another command would hold it.
pub(crate) fn hold(stage: &Scenario) -> Lock {
    Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap()
}

/// Runs a command on a locked root, and calls `work` once the command says that it waits. Returns its exit code and its
/// standard error.
pub(crate) fn waiting(stage: &Scenario, line: &str, work: impl FnOnce()) -> (Option<i32>, String) {
    let mut command = stage.command(line);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(running.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    work();
    errors.read_to_string(&mut said).unwrap();
    (running.wait().unwrap().code(), said)
}

#[test]
fn a_second_writer_is_refused_and_told_who_is_first() {
    let stage = stage();
    let lock = hold(&stage);
    let before = stage.everything();
    let held =
        format!("@ROOT@/var/sadm/install/.lockfile is locked by process {} (pkgadd)", std::process::id());
    for (line, code, ending) in [
        ("patchadd -R @ROOT@ delivered/100-02", 64, "Patchadd is terminating.\n"),
        ("patchrm -R @ROOT@ 100-01", 19, "Patchrm is terminating.\n"),
    ] {
        let said = stage.run(line).fails(code);
        assert_eq!(
            said,
            format!("ERROR: {held}.\nNothing was changed.\nTry again when it has finished.\n{ending}")
        );
    }
    for (line, code) in [
        ("add -R @ROOT@ delivered/100-02", 6),
        ("remove -R @ROOT@ 100-01", 6),
        ("recover -R @ROOT@", 6),
        ("pkgadd -n -R @ROOT@ -d spool ACMEweb", 64),
        ("pkgrm -n -R @ROOT@ ACMEweb", 64),
    ] {
        let said = stage.run(line).fails(code);
        assert!(said.contains(&held), "{line}: {said}");
        let waits = said.contains("try again when it has finished, or wait for it with `--wait DURATION`");
        assert_eq!(waits, !line.starts_with("pkg"), "{line}: {said}");
    }
    assert_same(&stage.everything(), &before);
    drop(lock);
    stage.run("patchadd -R @ROOT@ delivered/100-02").ok();
}

#[test]
fn readers_take_no_lock() {
    let stage = stage();
    let _lock = hold(&stage);
    for line in [
        "patchadd -p -R @ROOT@",
        "patchadd -a -R @ROOT@ delivered/100-02",
        "patchrm -a -R @ROOT@ 100-01",
        "add --dry-run -R @ROOT@ delivered/100-02",
        "remove --dry-run -R @ROOT@ 100-01",
        "plan -R @ROOT@ delivered/100-02",
        "remove --dry-run -R @ROOT@ 100-01",
        "list -R @ROOT@",
        "show -R @ROOT@ 100-01",
        "showrev -p -R @ROOT@",
        "pkgparam -R @ROOT@ ACMEweb PATCHLIST",
        "pkginfo -l -R @ROOT@ ACMEweb",
        "pkgchk -R @ROOT@",
    ] {
        stage.run(line).ok();
    }
}

#[test]
fn who_waits_gets_the_lock_when_it_is_free_and_gives_up_in_time() {
    let stage = stage();
    let lock = hold(&stage);
    stage.run("add --wait 1 -R @ROOT@ delivered/100-02").fails(6);
    let (code, said) = waiting(&stage, "add --wait 60 -R @ROOT@ delivered/100-02", || drop(lock));
    assert_eq!(code, Some(0), "{said}");
    let waits = format!("patchadm: waiting for process {} (pkgadd) to finish\n", std::process::id());
    assert!(said.starts_with(&waits), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "three\n");
}

#[test]
fn the_policy_of_a_root_may_say_how_long_to_wait() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "wait=60\n");
    let lock = hold(&stage);
    let (code, said) = waiting(&stage, "patchrm -R @ROOT@ 100-01", || drop(lock));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("patchrm: waiting for process "), "{said}");
    assert_eq!(fs::read(stage.at("/opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
}

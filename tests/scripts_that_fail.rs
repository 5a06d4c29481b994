//! Scripts that fail, hang or are killed, and pkgadd killed while they run: the previous state is restored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::Package;
use crate::procedure_scripts::{add, added, line, noted, older, recorded, stage};
use crate::scenario::Scenario;
use crate::tree::assert_same;
use crate::workshop::{eventually, runs};

/// A package that is installed already, and a newer copy of it whose `script` damages the package's own files, and
/// then ends with `ending`.
fn failing(script: &str, ending: &str) -> Package {
    let harm = "cd $PKG_INSTALL_ROOT/opt/ACMEall 2>/dev/null && { echo harm >> tool; rm -f data; rm -f again; \
                echo x > $PKG_INSTALL_ROOT/var/sadm/pkg/ACMEall/left; }\n";
    let copy = "while read src dst; do cp $src $dst; done\n";
    let body = |name: &str| {
        let work = if name == "i.mine" { copy } else { "" };
        if name == script { format!("{work}{harm}{ending}\n") } else { format!("{work}exit 0\n") }
    };
    let check = if script == "checkinstall" { ending } else { "exit 0" };
    Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "newer tool\n")
        .of_class("mine", 'f', "data", 0o644, "newer data\n")
        .link("again", "data")
        .file("fresh", 0o644, "fresh\n")
        .information("checkinstall", check)
        .information("preinstall", body("preinstall"))
        .information("i.mine", body("i.mine"))
        .information("postinstall", body("postinstall"))
}

const SCRIPTS: [&str; 4] = ["checkinstall", "preinstall", "i.mine", "postinstall"];

#[test]
fn a_script_that_fails_leaves_everything_as_before() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in SCRIPTS {
        for code in [1, 3, 4, 5, 6, 11, 99] {
            let run = add(&stage, "-n", &failing(script, &format!("exit {code}")));
            let (expected, ending) = match (script, code) {
                ("checkinstall", 3) | (_, 4) => (4, "was suspended (administration)."),
                (_, 3) => (3, "was terminated due to user request."),
                (_, 5) => (5, "was suspended (interaction required)."),
                _ => (1, "failed."),
            };
            assert_eq!(run.code, expected, "{script} {code}: {}", run.stderr);
            let last = format!("\nInstallation of <ACMEall> {ending}\nNo changes were made to the system.\n");
            assert!(run.stderr.ends_with(&last), "{script} {code}: {}", run.stderr);
            let what = if script == "i.mine" { "class action" } else { script };
            let blame = format!("pkgadd: ERROR: {what} script did not complete successfully\n");
            assert_eq!(run.stderr.contains(&blame), code != 3, "{script} {code}: {}", run.stderr);
            assert_same(&stage.everything(), &before);
        }
    }
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_new_package_whose_script_fails_leaves_nothing() {
    let stage = stage();
    let before = stage.everything();
    for script in SCRIPTS {
        let run = add(&stage, "-n", &failing(script, "exit 1"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn warnings_and_reboots_are_kept_and_told() {
    for (code, ending) in [
        (2, "partially failed."),
        (10, "was successful."),
        (12, "partially failed."),
        (20, "was successful."),
        (22, "partially failed."),
    ] {
        for script in ["preinstall", "i.mine", "postinstall"] {
            let stage = stage();
            let copy = if script == "i.mine" { "while read src dst; do cp $src $dst; done\n" } else { "" };
            let package = older().information("i.mine", "while read src dst; do cp $src $dst; done\n");
            let package = package.information(script, format!("{copy}exit {code}\n"));
            let run = add(&stage, "-n", &package);
            assert_eq!(run.code, code, "{script}: {}", run.stderr);
            assert!(
                run.stderr.contains(&format!("\nInstallation of <ACMEall> {ending}\n")),
                "{}",
                run.stderr
            );
            assert_eq!(run.stderr.contains("*** IMPORTANT NOTICE ***"), code >= 10, "{}", run.stderr);
            assert_eq!(run.stderr.contains("script did not complete successfully"), code % 10 == 2);
            assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
            assert_eq!(recorded(&stage, ""), ["install", "pkginfo", "save"]);
        }
    }
}

#[test]
fn a_script_that_hangs_is_ended_and_undone() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in ["checkinstall", "preinstall", "i.mine"] {
        let run = add(&stage, "-n --script-timeout 1", &failing(script, "sleep 600"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(
            run.stderr.contains("script did not complete successfully\n    ended because it took too long\n"),
            "{}",
            run.stderr
        );
        assert_same(&stage.everything(), &before);
    }
    stage.file("/etc/patchadm/policy", "script_timeout=1\n");
    let run = add(&stage, "-n", &failing("postinstall", "sleep 600"));
    assert!(run.fails(1).contains("took too long"));
}

#[test]
fn a_script_that_is_killed_is_undone() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    let run = add(&stage, "-n", &failing("postinstall", "kill -9 $$"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("\n    ended by signal 9\n"), "{}", run.stderr);
    assert_same(&stage.everything(), &before);
}

/// Starts pkgadd, and waits until the hanging script runs.
fn hanging(stage: &Scenario, script: &str) -> Child {
    fs::write(stage.at("/opt/noted"), "").unwrap();
    let hang = "echo here >> $PKG_INSTALL_ROOT/opt/noted; sleep 60";
    let mut command = stage.command(&line(stage, "-n", &failing(script, hang)));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_script(stage, script);
    child
}

/// Waits until a script reports that it runs.
fn wait_for_script(stage: &Scenario, script: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while noted(stage) != "here\n" {
        assert!(Instant::now() < until, "{script} never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
}

#[test]
fn a_signal_to_pkgadd_ends_the_script_and_undoes_the_run() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for (script, signal) in SCRIPTS.iter().zip([Signal::TERM, Signal::INT, Signal::HUP, Signal::TERM]) {
        let mut child = hanging(&stage, script);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "{script}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn pkgadd_killed_during_any_script_is_undone_by_recovery() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in SCRIPTS {
        let mut child = hanging(&stage, script);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = stage.run("pkgparam -R @ROOT@ ACMEall INSTDATE").ok();
        assert_eq!(said, "Nov 20 2026 07:00\n", "readers see the records of before");
        let recovered = stage.run("recover -R @ROOT@");
        assert_eq!(recovered.code, 0, "{script}: {}{}", recovered.stdout, recovered.stderr);
        assert_same(&stage.everything(), &before);
        assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    }
}

/// The process that `pkgadd` has made to run scripts.
pub(crate) fn second_process(of: &Child) -> Pid {
    let parent = of.id().to_string();
    let is_child = |stat: &str| {
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        behind.split_whitespace().nth(1) == Some(parent.as_str())
    };
    let found = fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        is_child(&stat).then(|| entry.file_name().to_str()?.parse().ok())?
    });
    Pid::from_raw(found.expect("pkgadd has a second process")).unwrap()
}

#[test]
fn a_script_that_outlives_both_processes_is_ended_by_recovery_before_its_work_is_undone() {
    let mut stage = stage();
    // the killed processes cannot remove the private directory
    let private = stage.beside("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o755)).unwrap();
    stage.set("TMPDIR", private);
    added(&stage, &older());
    let before = stage.everything();
    let hang = "echo $$ > $PKG_INSTALL_ROOT/../script; echo here >> $PKG_INSTALL_ROOT/opt/noted; \
                until [ -e $PKG_INSTALL_ROOT/../go ]; do sleep 0.1; done; \
                echo late >> $PKG_INSTALL_ROOT/opt/ACMEall/tool; sleep 60";
    let mut command = stage.command(&line(&stage, "-n", &failing("postinstall", hang)));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_script(&stage, "postinstall");
    let second = second_process(&child);
    child.kill().unwrap();
    kill_process(second, Signal::KILL).unwrap();
    child.wait().unwrap();
    let recovered = stage.run("recover -R @ROOT@");
    assert_eq!(recovered.code, 0, "{}{}", recovered.stdout, recovered.stderr);
    assert_same(&stage.everything(), &before);
    fs::write(stage.beside("go"), "").unwrap();
    let script = fs::read_to_string(stage.beside("script")).unwrap();
    eventually("the script has ended", || !runs(&script));
    assert_same(&stage.everything(), &before);
}

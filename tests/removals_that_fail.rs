//! Scripts of a removal that fail, hang or are killed, and pkgrm killed while they run: the state before the removal
//! is restored.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::Package;
use crate::procedure_scripts::noted;
use crate::removal_scripts::{installed, remove};
use crate::scenario::Scenario;
use crate::tree::assert_same;

const SCRIPTS: [&str; 3] = ["preremove", "r.mine", "postremove"];

/// A package whose `script` damages the package's own files and records, and then ends with `ending`.
fn failing(script: &str, ending: &str) -> Package {
    let harm = "cd $PKG_INSTALL_ROOT/opt/ACMEall 2>/dev/null && { echo harm >> tool; chmod 600 kept/deep; rm -f data; }\n\
                echo x > $PKG_INSTALL_ROOT/var/sadm/pkg/ACMEall/left\n";
    let body = |name: &str| {
        let work = if name == "r.mine" { "while read path; do rm -f $path; done\n" } else { "" };
        if name == script { format!("{work}{harm}{ending}\n") } else { format!("{work}exit 0\n") }
    };
    let package = Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "tool\n")
        .file("kept/deep", 0o640, "deep\n")
        .symlink("kept/s", "deep")
        .link("again", "tool")
        .of_class("mine", 'f', "data", 0o644, "data\n");
    SCRIPTS.iter().fold(package, |package, name| package.information(name, body(name)))
}

#[test]
fn a_script_that_fails_leaves_everything_as_before() {
    for script in SCRIPTS {
        for code in [1, 3, 4, 5, 6, 11, 99] {
            let stage = installed(&failing(script, &format!("exit {code}")));
            let before = stage.everything();
            let run = remove(&stage, "");
            let (expected, ending) = match code {
                4 => (4, "was suspended (administration)."),
                3 => (3, "was terminated due to user request."),
                5 => (5, "was suspended (interaction required)."),
                _ => (1, "failed."),
            };
            assert_eq!(run.code, expected, "{script} {code}: {}", run.stderr);
            let last = format!("\nRemoval of <ACMEall> {ending}\nNo changes were made to the system.\n");
            assert!(run.stderr.ends_with(&last), "{script} {code}: {}", run.stderr);
            let what = if script == "r.mine" { "class action" } else { script };
            let blame = format!("pkgrm: ERROR: {what} script did not complete successfully\n");
            assert_eq!(run.stderr.contains(&blame), code != 3, "{script} {code}: {}", run.stderr);
            assert_same(&stage.everything(), &before);
        }
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
        for script in SCRIPTS {
            let stage = installed(&failing(script, &format!("exit {code}")));
            let run = remove(&stage, "");
            assert_eq!(run.code, code, "{script}: {}", run.stderr);
            assert!(run.stderr.contains(&format!("\nRemoval of <ACMEall> {ending}\n")), "{}", run.stderr);
            assert_eq!(run.stderr.contains("*** IMPORTANT NOTICE ***"), code >= 10, "{}", run.stderr);
            assert_eq!(run.stderr.contains("script did not complete successfully"), code % 10 == 2);
            assert!(!stage.at("/opt/ACMEall").exists());
            assert!(!stage.at("/var/sadm/pkg/ACMEall").exists(), "nothing stays, and no lock either");
            assert_eq!(stage.lines(), [""; 0]);
        }
    }
}

#[test]
fn a_script_that_hangs_is_ended_and_undone() {
    for script in SCRIPTS {
        let stage = installed(&failing(script, "sleep 600"));
        let before = stage.everything();
        let run = remove(&stage, "--script-timeout 1");
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains("\n    ended because it took too long\n"), "{}", run.stderr);
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_script_that_is_killed_is_undone() {
    let stage = installed(&failing("postremove", "kill -9 $$"));
    let before = stage.everything();
    let run = remove(&stage, "");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("\n    ended by signal 9\n"), "{}", run.stderr);
    assert_same(&stage.everything(), &before);
}

/// A root with a package whose `script` hangs.
fn about_to_hang(script: &str) -> Scenario {
    installed(&failing(script, "echo here >> $PKG_INSTALL_ROOT/opt/noted; sleep 60"))
}

/// Starts pkgrm, and waits until the script runs.
fn hanging(stage: &Scenario) -> Child {
    let mut command = stage.command("pkgrm -n -R @ROOT@ -a nocheck ACMEall");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while noted(stage) != "here\n" {
        assert!(Instant::now() < until, "the script never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    child
}

#[test]
fn a_signal_to_pkgrm_ends_the_script_and_undoes_the_run() {
    for (script, signal) in SCRIPTS.iter().zip([Signal::TERM, Signal::INT, Signal::HUP]) {
        let stage = about_to_hang(script);
        let before = stage.everything();
        let mut child = hanging(&stage);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "{script}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn pkgrm_killed_during_any_script_is_undone_by_recovery() {
    for script in SCRIPTS {
        let stage = about_to_hang(script);
        let before = stage.everything();
        let mut child = hanging(&stage);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(
            stage.run("pkgparam -R @ROOT@ ACMEall VERSION").ok(),
            "1.0\n",
            "readers see what was before"
        );
        let recovered = stage.run("recover -R @ROOT@");
        assert_eq!(recovered.code, 0, "{script}: {}{}", recovered.stdout, recovered.stderr);
        assert_same(&stage.everything(), &before);
        assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    }
}

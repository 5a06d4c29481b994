//! A command that receives a signal says at once whether it rolls back or finishes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::terminal::{shell_at_terminal, words_of};

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
}

fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")])
}

#[test]
fn a_run_that_is_interrupted_says_that_it_rolls_back() {
    let stage = stage();
    let hang = "echo here > $PKG_INSTALL_ROOT/opt/noted; sleep 60\n";
    Package::new("ACMEall")
        .file("a", 0o644, "a\n")
        .information("preinstall", hang)
        .write(&stage.beside("spool"));
    stage.file("/var/sadm/install/admin/unattended", "action=nocheck\ninstance=unique\nbasedir=default\n");
    let admin = stage.at("/var/sadm/install/admin/unattended").display().to_string();
    let mut command = stage.command(&format!("pkgadd -n -a {admin} -R @ROOT@ -d spool ACMEall"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !stage.at("/opt/noted").exists() {
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("pkgadd: Interrupted; rolling back…\n"), "{said}");
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert_eq!(said.matches("rolling back").count(), 1, "{said}");
}

/// Applies the patch, and sends SIGINT at the first write to this file in `var/sadm/patchadm`.
fn interrupted_at(stage: &Scenario, file: &str) -> Option<(Option<i32>, String)> {
    let at = stage.at(&format!("/var/sadm/patchadm/{file}"));
    interrupted_by(stage, "add -R @ROOT@ delivered/100-01", ("write,pwrite64", &at))
}

/// Runs a command on the root with the patch beside it, and sends SIGINT at the first of these calls on this file.
fn interrupted_by(
    stage: &Scenario,
    line: &str,
    (calls, file): (&str, &Path),
) -> Option<(Option<i32>, String)> {
    patch().directory(stage);
    let ended = injected(stage, line, (calls, file))?.stdout(Stdio::null()).output().unwrap();
    Some((ended.status.code(), String::from_utf8(ended.stderr).unwrap()))
}

/// The command under strace(1), which sends SIGINT at the first of these calls on this file.
fn injected(stage: &Scenario, line: &str, (calls, file): (&str, &Path)) -> Option<Command> {
    if Command::new("strace").arg("-V").output().is_err() {
        crate::missing("strace", "acknowledged");
        return None;
    }
    let plain = stage.command(line);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={calls}:signal=INT:when=1")]);
    command.arg("-P").arg(file);
    command.arg(plain.get_program()).args(plain.get_args());
    if let Some(directory) = plain.get_current_dir() {
        command.current_dir(directory);
    }
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    Some(command)
}

#[test]
fn a_signal_after_the_commit_comes_too_late_and_the_command_ends_well() {
    let stage = stage();
    let Some((code, said)) = interrupted_at(&stage, "history") else { return };
    assert!(said.contains("patchadm: Too late to stop: finishing…\n"), "{code:?} {said}");
    assert_eq!((code, stage.text("/opt/ACMEweb/bin/httpd").as_str()), (Some(0), "two\n"), "{said}");
}

#[test]
fn a_signal_before_it_rolls_back() {
    let stage = stage();
    let Some((code, said)) = interrupted_at(&stage, "journal.new") else { return };
    assert!(said.contains("patchadm: Interrupted; rolling back…\n"), "{code:?} {said}");
    assert_eq!((code, stage.text("/opt/ACMEweb/bin/httpd").as_str()), (Some(130), "one\n"), "{said}");
    let history = stage.run("history -R @ROOT@").ok();
    assert!(history.contains("interrupted"), "{history}");
}

#[test]
fn a_signal_while_the_root_is_surveyed_or_the_patch_is_read_ends_the_command_and_nothing_is_changed() {
    for line in ["add -R @ROOT@ delivered/100-01", "add --dry-run -R @ROOT@ delivered/100-01"] {
        for is_of_patch in [false, true] {
            let stage = stage();
            let httpd = stage.at("/opt/ACMEweb/bin/httpd");
            let at = if is_of_patch { stage.beside("delivered/100-01/ACMEweb/pkgmap") } else { httpd };
            let before = stage.tree();
            let Some((code, said)) = interrupted_by(&stage, line, ("read,pread64", &at)) else { return };
            assert_eq!(code, Some(130), "{line}: {said}");
            assert!(said.contains("Interrupted; ending…") && said.contains("nothing was changed"), "{said}");
            assert!(said.contains(": interrupted\n") && !said.contains("signal 2"), "{said}");
            assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
            crate::tree::assert_same(&stage.tree(), &before);
            assert!(!stage.run("history -R @ROOT@").ok().contains("100-01"));
        }
    }
}

#[test]
fn a_signal_while_the_plan_of_a_question_is_made_ends_the_command_as_well() {
    for line in [
        "add -R @ROOT@ delivered/100-01",
        "add -q -R @ROOT@ delivered/100-01",
        "remove -R @ROOT@ 100-01",
        "undo -R @ROOT@",
    ] {
        let stage = stage();
        patch().directory(&stage);
        if !line.starts_with("add") {
            stage.run("add -R @ROOT@ delivered/100-01").ok();
        }
        let httpd = stage.at("/opt/ACMEweb/bin/httpd");
        let Some(command) = injected(&stage, line, ("read,pread64", &httpd)) else { return };
        let before = stage.text("/opt/ACMEweb/bin/httpd");
        let mut typed = shell_at_terminal(&stage, &format!("exec {}", words_of(&command)));
        typed.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(running) = spawned else {
            crate::missing("script", "a signal while the plan of a question is made");
            return;
        };
        let ended = running.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(130), "{line}: {said}");
        let acknowledged = usize::from(!line.contains("-q"));
        assert_eq!(said.matches("Interrupted; ending…").count(), acknowledged, "{line}: {said}");
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), before, "{line}: {said}");
    }
}

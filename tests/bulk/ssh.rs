//! A slot behind `ssh`: a real login for each task, without a daemon or a port: `sshd -i` stands behind `ProxyCommand`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::machines::{HERE, assert_as_here, machine, names, slots_of, with_tree, with_tree_or_sample};
use super::{BulkBuild, BulkRun, mark, processes_with};
use crate::scenario::is_root;
use crate::workshop::{eventually, runs};

const SSHD: &str = "/usr/sbin/sshd";

/// Whether both programs are here, and what the superuser's one needs.
fn has_ssh(test: &str) -> bool {
    let is_there = Path::new(SSHD).exists() && Command::new("ssh").arg("-V").output().is_ok();
    let has_user = fs::read_to_string("/etc/passwd").unwrap().lines().any(|line| line.starts_with("sshd:"));
    if !is_there || is_root() && !has_user {
        crate::skipped(&format!("{test}: there is no ssh(1) with sshd(8) and its user"));
        return false;
    }
    true
}

/// Adds a slot behind `ssh`; returns the directory with its keys.
fn add_slot(build: &BulkBuild, count: u32) -> PathBuf {
    let keys = build.scenario.beside("ssh");
    fs::create_dir(&keys).unwrap();
    for name in ["host", "id"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(keys.join(name));
        assert!(keygen.status().unwrap().success());
    }
    let at = keys.display();
    let configuration = format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/id.pub\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    );
    fs::write(keys.join("sshd_config"), configuration).unwrap();
    build.set(&format!(
        "slot=there {count} cores=2 ssh -F none -oBatchMode=yes -oLogLevel=ERROR -oStrictHostKeyChecking=no \
         -oUserKnownHostsFile={at}/known -i {at}/id '-oProxyCommand={SSHD} -i -f {at}/sshd_config' there\n"
    ));
    keys
}

/// The run, where `sshd` of the superuser finds its directory.
fn running(build: &BulkBuild) -> Command {
    let run = build.running("");
    if !is_root() {
        return run;
    }
    let mut command = Command::new("/usr/bin/unshare");
    let script = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$@\"";
    command.args(["--mount", "/bin/sh", "-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    command.env_clear();
    for (name, value) in run.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

/// The processes of which the command line has this in it.
pub(super) fn processes_about(text: &str) -> Vec<String> {
    let numbers =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_about = |number: &String| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text) && runs(number)
    };
    numbers.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).filter(is_about).collect()
}

#[test]
fn what_is_built_behind_ssh_is_as_this_machine_builds_it() {
    let test = "what_is_built_behind_ssh…";
    if !has_ssh(test) {
        return;
    }
    for here in ["", "slot=local 1\n"] {
        let Some(build) = with_tree_or_sample(test, here) else { return };
        add_slot(&build, 2);
        let run = BulkRun::of(&running(&build).output().unwrap()).ends(0);
        assert_as_here(&with_tree_or_sample(test, HERE).unwrap(), &build, &run);
        let slots = if here.is_empty() { vec!["there"] } else { vec!["local", "there"] };
        assert_eq!((slots_of(&run), &machine(&run, "there")["trouble"]), (slots, &0.into()), "{}", run.said);
    }
}

#[test]
fn a_run_that_is_killed_leaves_no_process_behind_ssh() {
    let test = "a_run_that_is_killed…";
    if !has_ssh(test) {
        return;
    }
    let mark = mark();
    let Some(build) = with_tree(test, &format!("env=MARK={mark}\n")) else { return };
    build.write("one/build", "trap '' TERM HUP; echo begun; sleep 1000; mkdir $DESTDIR/opt\n");
    let keys = add_slot(&build, 2);
    let mut run = running(&build);
    let mut run = run.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = build.work().join("runs/1/logs/one-1.0.log");
    eventually("it has begun", || fs::read_to_string(&log).is_ok_and(|log| log.contains("begun")));
    kill_process(Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap(), Signal::KILL).unwrap();
    run.wait().unwrap();
    let began = std::time::Instant::now();
    let keys = keys.display().to_string();
    eventually("nothing is left", || processes_with(&mark).is_empty() && processes_about(&keys).is_empty());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    build.write("one/build", "mkdir $DESTDIR/opt\n");
    let run = BulkRun::of(&running(&build).output().unwrap()).ends(0);
    assert_eq!(run.in_state("done"), names());
    build.assert_nothing_left(&mark);
}

//! Processes that are ended with a script, and processes that never are: a process group number proves nothing, but
//! the environment of a process names its run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use patchadm_core::script::{ProcessIdentity, RunAs, ScriptEnd, ScriptError, end_leftovers};
use patchadm_rootfs::never;
use rustix::process::{Pid, Signal, kill_process};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts;
use crate::scenario::{Scenario, is_root};
use crate::workshop::{Listener, Stage, eventually, runs};

const RUN: &str = "17-00000000000000aa";

/// A script with a child that leaves its group, prints its process number, and runs forever.
const LEAVES: &str = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait; sleep 100";

fn described(child: &Child) -> ProcessIdentity {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    ProcessIdentity { group: child.id().try_into().unwrap(), boot_id, start_time }
}

fn sleeper(run: Option<&str>) -> Child {
    let mut command = Command::new("sleep");
    command.arg("60").process_group(0).env_remove("PATCHADM_RUN").stdin(Stdio::null());
    if let Some(run) = run {
        command.env("PATCHADM_RUN", run);
    }
    command.spawn().unwrap()
}

fn is_alive(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

#[test]
fn a_child_that_left_its_group_is_ended_with_its_script() {
    let stage = Stage::new();
    let mut call = stage.call("script", LEAVES);
    call.limit = Some(Duration::from_secs(2));
    let mut ears = Listener::default();
    assert_eq!(stage.workshop().run(&call, &mut ears).unwrap(), ScriptEnd::TimedOut);
    assert!(!ears.out.is_empty() && !runs(&ears.out), "{}", ears.out);
}

#[test]
fn a_daemon_of_a_run_that_ends_well_lives_on() {
    let stage = Stage::new();
    let (ended, ears) = stage.run("setsid sh -c 'sleep 60 & echo $!' ; exit 0");
    assert_eq!(ended, ScriptEnd::Exited(0));
    assert!(runs(&ears.out), "{}", ears.out);
    Command::new("sh").args(["-c", "kill $0", ears.out.trim()]).status().unwrap();
}

#[test]
fn what_scripts_leave_behind_is_waited_for() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let text = "sh -c 'sleep 0.2 & echo $!'; sleep 1";
    let mut ears = Listener::default();
    assert_eq!(workshop.run(&stage.call("script", text), &mut ears).unwrap(), ScriptEnd::Exited(0));
    eventually("no entry is left", || !fs::exists(format!("/proc/{}", ears.out.trim())).unwrap());
    drop(workshop);
}

#[test]
fn a_forged_group_ends_nobody_whose_environment_does_not_name_the_run() {
    let stage = Stage::new();
    let (mut strange, mut other) = (sleeper(None), sleeper(Some("18-00000000000000bb")));
    for victim in [&strange, &other] {
        drop(end_leftovers(&stage.root, Some((RUN, &described(victim))), &never).unwrap());
    }
    assert!(is_alive(&mut strange) && is_alive(&mut other));
    for mut victim in [strange, other] {
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
}

#[test]
fn a_record_of_another_start_or_of_an_impossible_group_is_about_nobody() {
    let stage = Stage::new();
    let mut child = sleeper(Some(RUN));
    let process = described(&child);
    for (what, forged) in [
        (
            "another start of the machine",
            ProcessIdentity { boot_id: "another".to_owned(), ..process.clone() },
        ),
        ("another time", ProcessIdentity { start_time: process.start_time + 1, ..process.clone() }),
        ("every process", ProcessIdentity { group: -1, ..process.clone() }),
        ("our own group", ProcessIdentity { group: 0, ..process.clone() }),
        ("init", ProcessIdentity { group: 1, ..process.clone() }),
    ] {
        drop(end_leftovers(&stage.root, Some((RUN, &forged)), &never).unwrap());
        assert!(is_alive(&mut child), "{what}");
    }
    drop(end_leftovers(&stage.root, Some((RUN, &process)), &never).unwrap());
    // A dying process loses its environment some time before it can be waited for.
    eventually("it is ended", || !is_alive(&mut child));
}

#[test]
fn an_interrupted_search_for_the_remains_of_a_run_is_an_error_and_ends_nobody() {
    let stage = Stage::new();
    let mut child = sleeper(Some(RUN));
    let process = described(&child);
    let error = end_leftovers(&stage.root, Some((RUN, &process)), &|| Some(15)).unwrap_err();
    assert!(matches!(error, ScriptError::Lost(_)), "{error}");
    assert!(is_alive(&mut child));
    drop(end_leftovers(&stage.root, Some((RUN, &process)), &never).unwrap());
    eventually("it is ended", || !is_alive(&mut child));
}

#[test]
fn when_both_processes_are_killed_a_child_that_left_its_group_is_found_by_its_environment() {
    let stage = Stage::new();
    let mut child = sleeper(Some(RUN));
    let mut left = sleeper(Some(RUN));
    drop(end_leftovers(&stage.root, Some((RUN, &described(&child))), &never).unwrap());
    eventually("both are ended", || !is_alive(&mut child) && !is_alive(&mut left));
}

#[test]
fn before_there_is_a_run_a_child_that_left_its_group_is_found_when_the_second_process_is_killed() {
    let stage = Stage::new();
    let text = "setsid sh -c 'trap \"\" TERM; echo $$; kill -9 $0; while :; do sleep 1; done' $PPID & wait; sleep 100";
    let mut ears = Listener::default();
    let error = stage.workshop().run(&stage.call("checkinstall", text), &mut ears).unwrap_err();
    assert!(matches!(error, ScriptError::Lost(_)), "{error}");
    assert!(!ears.out.is_empty() && !runs(&ears.out), "{}", ears.out);
}

#[test]
fn before_there_is_a_run_a_signal_to_the_program_or_its_end_ends_what_left_the_group() {
    let stage = procedure_scripts::stage();
    let pids = stage.beside("pids");
    let leaves = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1; done' & wait\n",
        pids.display()
    );
    stage.install(&Package::new("ACMEall").file("f", 0o644, "x\n"));
    let patch = Patch::of("100-01", Package::new("ACMEall").file("f", 0o644, "y\n"));
    let hook = patch.beside("prepatch", &leaves).directory(&stage).join("prepatch");
    fs::set_permissions(hook, Permissions::from_mode(0o755)).unwrap();
    let package = Package::new("ACMEweb").file("f", 0o644, "x\n").information("checkinstall", &leaves);
    let adds = procedure_scripts::line(&stage, "-n", &package);
    fs::set_permissions(stage.beside(""), Permissions::from_mode(0o1777)).unwrap();
    for line in [adds.as_str(), "patchadd -R @ROOT@ delivered/100-01"] {
        for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
            let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            eventually("the script runs", || pids.exists());
            let left = fs::read_to_string(&pids).unwrap();
            fs::remove_file(&pids).unwrap();
            assert!(runs(&left));
            kill_process(Pid::from_child(&child), signal).unwrap();
            child.wait().unwrap();
            eventually(line, || !runs(&left));
        }
    }
}

#[test]
fn a_killed_program_takes_along_what_left_the_group() {
    let stage = Stage::new();
    let pids = stage.scenario.beside("pids");
    let text = format!(
        "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 100' & wait; sleep 100",
        pids.display()
    );
    stage.call("script", &text);
    let mut engine = stage.engine();
    eventually("the script runs", || pids.exists());
    let left = fs::read_to_string(pids).unwrap();
    assert!(runs(&left));
    engine.kill().unwrap();
    engine.wait().unwrap();
    drop(end_leftovers(&stage.root, None, &never).unwrap());
    assert!(!runs(&left));
}

#[test]
fn nobody_else_of_the_same_user_can_look_at_what_an_unprivileged_script_has_open() {
    if !is_root() {
        crate::skipped(
            "nobody_else_of_the_same_user_can_look_at_what_an_unprivileged_script_has_open: not root",
        );
        return;
    }
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let user = workshop.unprivileged().unwrap();
    // A world-writable directory, because the script does not run as the superuser.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), Permissions::from_mode(0o1777)).unwrap();
    let said = open.path().join("said");
    let text = format!("echo $$ > {0}; while [ -e {0} ]; do sleep 0.1; done", said.display());
    let mut call = stage.call("script", &text);
    call.user = RunAs::Unprivileged;
    let looks = std::thread::spawn(move || {
        eventually("the script runs", || fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n')));
        let script = fs::read_to_string(&said).unwrap();
        let input = format!("/proc/{}/fd/0", script.trim());
        let can_look = |gid: u32| {
            let mut look = Command::new("readlink");
            look.arg(&input).uid(user.uid).gid(gid).stdout(Stdio::null()).stderr(Stdio::null());
            look.status().unwrap().success()
        };
        let can_look = (can_look(1), can_look(user.gid));
        fs::remove_file(&said).unwrap();
        can_look
    });
    workshop.run(&call, &mut Listener::default()).unwrap();
    assert_eq!(looks.join().unwrap(), (false, true), "the group is what keeps others of that user out");
}

/// A checkinstall that opens its response file, writes its process number and the name of that file to another file,
/// and runs until the latter is gone.
const ASKS: &str = "exec 3>>\"$1\"; echo \"$$ $1\" >@SAID@; while [ -e @SAID@ ]; do sleep 0.1; done\n";

#[test]
fn another_process_of_the_user_of_scripts_cannot_open_their_response_file() {
    let test = "another_process_of_the_user_of_scripts_cannot_open_their_response_file";
    if !is_root() {
        return crate::skipped(&format!("{test}: it takes the superuser"));
    }
    // A world-writable directory, because the script does not run as the superuser.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), Permissions::from_mode(0o1777)).unwrap();
    let said = open.path().join("said");
    let asks = ASKS.replace("@SAID@", said.to_str().unwrap());
    let web = Package::new("ACMEweb").file("opt/ACMEweb/a", 0o644, "a").information("checkinstall", &asks);
    let scenario = Scenario::new();
    web.write(&scenario.beside("spool"));
    let mut pkgadd = scenario.command("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    let mut pkgadd = pkgadd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the script has its file open", || {
        fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n'))
    });
    let text = fs::read_to_string(&said).unwrap();
    let (pid, path) = text.trim().split_once(' ').unwrap();
    let user = fs::metadata(format!("/proc/{pid}")).unwrap();
    let opens = |path: &str| {
        let mut append = Command::new("sh");
        append.args(["-c", "exec 3>>\"$1\"", "sh", path]).uid(user.uid()).gid(65534);
        append.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    assert_ne!(user.uid(), 0);
    assert!(!opens(path), "{path}");
    assert!(!opens(&format!("/proc/{pid}/fd/3")), "what the script has open");
    fs::remove_file(said).unwrap();
    assert!(pkgadd.wait().unwrap().success());
}

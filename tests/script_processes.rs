//! Which processes are ended with a script, and which never: the number of a group proves nothing, the environment of a
//! process names its run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use patchadm::script::{As, Ended, Process, end_leftovers};

use crate::scenario::is_root;
use crate::workshop::{Listener, Stage, eventually, runs};

const RUN: &str = "17-00000000000000aa";

/// A script that leaves its group with a child, says the number of that, and goes on for ever.
const LEAVES: &str = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait; sleep 100";

fn described(child: &Child) -> Process {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    Process { group: child.id().try_into().unwrap(), boot_id, start_time }
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
    assert_eq!(stage.workshop().run(&call, &mut ears).unwrap(), Ended::TimedOut);
    assert!(!ears.out.is_empty() && !runs(&ears.out), "{}", ears.out);
}

#[test]
fn a_daemon_of_a_run_that_ends_well_lives_on() {
    let stage = Stage::new();
    let (ended, ears) = stage.run("setsid sh -c 'sleep 60 & echo $!' ; exit 0");
    assert_eq!(ended, Ended::Exited(0));
    assert!(runs(&ears.out), "{}", ears.out);
    Command::new("kill").arg(ears.out.trim()).status().unwrap();
}

#[test]
fn what_scripts_leave_behind_is_waited_for() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let text = "sh -c 'sleep 0.2 & echo $!'; sleep 1";
    let mut ears = Listener::default();
    assert_eq!(workshop.run(&stage.call("script", text), &mut ears).unwrap(), Ended::Exited(0));
    eventually("no entry is left", || !fs::exists(format!("/proc/{}", ears.out.trim())).unwrap());
    drop(workshop);
}

#[test]
fn a_forged_group_ends_nobody_whose_environment_does_not_name_the_run() {
    let stage = Stage::new();
    let (mut strange, mut other) = (sleeper(None), sleeper(Some("18-00000000000000bb")));
    for victim in [&strange, &other] {
        drop(end_leftovers(&stage.root, Some((RUN, &described(victim)))).unwrap());
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
        ("another start of the machine", Process { boot_id: "another".to_owned(), ..process.clone() }),
        ("another time", Process { start_time: process.start_time + 1, ..process.clone() }),
        ("every process", Process { group: -1, ..process.clone() }),
        ("our own group", Process { group: 0, ..process.clone() }),
        ("init", Process { group: 1, ..process.clone() }),
    ] {
        drop(end_leftovers(&stage.root, Some((RUN, &forged))).unwrap());
        assert!(is_alive(&mut child), "{what}");
    }
    drop(end_leftovers(&stage.root, Some((RUN, &process))).unwrap());
    // A process that dies has no environment some time before it can be waited for.
    eventually("it is ended", || !is_alive(&mut child));
}

#[test]
fn when_both_processes_are_killed_a_child_that_left_its_group_is_found_by_its_environment() {
    let stage = Stage::new();
    let mut child = sleeper(Some(RUN));
    let mut left = sleeper(Some(RUN));
    drop(end_leftovers(&stage.root, Some((RUN, &described(&child)))).unwrap());
    eventually("both are ended", || !is_alive(&mut child) && !is_alive(&mut left));
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
    drop(end_leftovers(&stage.root, None).unwrap());
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
    let mut call = stage.call("script", "sleep 3");
    call.user = As::Unprivileged;
    let looks = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(800));
        let is_of_script = |status: String| {
            status.lines().any(|line| line.starts_with("Gid:") && line.contains(&user.gid.to_string()))
        };
        let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let script = processes.find(|path| fs::read_to_string(path.join("status")).is_ok_and(is_of_script));
        let input = script.unwrap().join("fd/0");
        let can_look = |gid: u32| {
            let mut look = Command::new("readlink");
            look.arg(&input).uid(user.uid).gid(gid).stdout(Stdio::null()).stderr(Stdio::null());
            look.status().unwrap().success()
        };
        (can_look(1), can_look(user.gid))
    });
    workshop.run(&call, &mut Listener::default()).unwrap();
    assert_eq!(looks.join().unwrap(), (false, true), "the group is what keeps others of that user out");
}

//! Whatever is killed, and whenever: no process is left, and the mounts are as before.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use patchadm_rootfs::random;
use rustix::process::{Pid, Signal, kill_process};

use super::{StagedRoot, run};
use crate::workshop::eventually;

/// The processes of this machine: number, parent, and whether `MARK` has this value in their environment.
fn processes(mark: &str) -> Vec<(i32, i32, bool)> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let wanted = format!("MARK={mark}").into_bytes();
    let of_process = |number: i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let is_alive = fields.next()? != "Z";
        let parent = fields.next()?.parse().ok()?;
        let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
        let is_marked = environment.split(|&byte| byte == 0).any(|variable| variable == wanted);
        is_alive.then_some((number, parent, is_marked))
    };
    numbers.filter_map(of_process).collect()
}

fn child_of(parent: i32, all: &[(i32, i32, bool)]) -> Option<i32> {
    all.iter().find(|(_, of, _)| *of == parent).map(|(number, ..)| *number)
}

fn kill(number: i32) {
    // It may have ended by itself.
    let _ = kill_process(Pid::from_raw(number).unwrap(), Signal::KILL);
}

/// Starts a shell inside that leaves processes in the background, in its session and in others.
fn start(staged: &StagedRoot, mark: &str) -> Child {
    let script = "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000; sleep 1000' &)\n\
                  echo begun; sleep 1000";
    let canary = staged.scenario.at(CANARY);
    let bound = canary.parent().unwrap().display();
    let options = format!("--mount {bound}:/opt/web/read --mount rw:{bound}:/opt/web/written");
    let mut entering = staged.entering(&options, &["sh", "-c", script]);
    entering.env("MARK", mark).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// A file in a directory that is bound into the stage; it survives the removal of the stage.
const CANARY: &str = "/srv/bound/canary";

fn pause(most: u64) {
    std::thread::sleep(Duration::from_micros(random().unwrap() % most));
}

in_parts!(nothing_is_left_of_a_stage_whatever_is_killed, kill_stages, 2);

fn kill_stages(part: usize, parts: usize) {
    for staged in StagedRoot::for_everybody("nothing_is_left_of_a_stage…") {
        staged.scenario.file(CANARY, "alive\n");
        let mounts = fs::read("/proc/self/mountinfo").unwrap();
        for round in (part..100).step_by(parts) {
            let mark = format!("{}-{round}", random().unwrap());
            let mut supervisor = start(&staged, &mark);
            let number = i32::try_from(supervisor.id()).unwrap();
            pause(60_000);
            let all = processes(&mark);
            let first = child_of(number, &all);
            let shell = first.and_then(|first| child_of(first, &all));
            match round % 4 {
                0 => kill(number),
                1 => kill(first.unwrap_or(number)),
                2 => kill(shell.unwrap_or(number)),
                _ => all.iter().filter(|(_, _, is_marked)| *is_marked).for_each(|(number, ..)| kill(*number)),
            }
            supervisor.wait().unwrap();
            eventually("all processes inside have ended", || {
                let all = processes(&mark);
                all.iter().all(|(number, _, is_marked)| !is_marked && Some(*number) != first)
            });
            assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), mounts, "round {round}");
        }
        // No process holds the stage any more, so it can be removed.
        assert_eq!(run(&staged.scenario, staged.action("drop", "")).code, 0);
        assert!(!staged.stage().exists());
        assert_eq!(staged.scenario.text(CANARY), "alive\n");
    }
}

#[test]
fn what_a_shell_leaves_in_the_background_ends_with_it() {
    for staged in StagedRoot::for_everybody("what_a_shell_leaves…") {
        let mark = random().unwrap().to_string();
        let script = "sleep 1000 & setsid sleep 1000 & exit 4";
        let mut entering = staged.entering("", &["sh", "-c", script]);
        let ended = entering.env("MARK", &mark).stdout(Stdio::null()).status().unwrap();
        assert_eq!(ended.code(), Some(4));
        // Not a moment later: the supervisor has seen the last of them end.
        assert!(processes(&mark).iter().all(|(_, _, is_marked)| !is_marked));
    }
}

#[test]
fn a_signal_for_the_supervisor_reaches_the_command() {
    use std::io::{BufRead as _, BufReader};
    for staged in StagedRoot::for_everybody("a_signal_for_the_supervisor…") {
        let script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        let mut entering = staged.entering("", &["sh", "-c", script]);
        let mut running = entering.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(running.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        kill_process(Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "told");
        assert_eq!(running.wait().unwrap().code(), Some(9));
    }
}

#[test]
fn a_stage_that_goes_meanwhile_does_not_hold_those_inside_and_nothing_is_made_in_its_place() {
    let Some(staged) = StagedRoot::for_caller("a_stage_that_goes…") else { return };
    let moved = staged.scenario.beside("moved");
    for _ in 0..20 {
        let mut entering = staged.entering("", &["cat", "/opt/web/bin/httpd"]);
        let running = entering.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        pause(20_000);
        fs::rename(staged.stage(), &moved).unwrap();
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let code = output.status.code().unwrap();
        assert!(code == 0 && said == "staged\n" || [4, 125].contains(&code), "{code} {said}");
        assert!(!staged.stage().exists());
        assert_eq!(staged.enter("", &["true"]).code, 4);
        fs::rename(&moved, staged.stage()).unwrap();
    }
}

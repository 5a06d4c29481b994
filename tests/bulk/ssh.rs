//! A slot behind `ssh`: a real login for each task.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::machines::{HERE, assert_as_here, machine, names, slots_of, with_tree, with_tree_or_sample};
use super::{BulkBuild, BulkRun, mark, processes_with};
use crate::sshd::{Sshd, has_ssh, logging_in, processes_about};
use crate::workshop::eventually;

/// Adds a slot behind `ssh`.
fn add_slot(build: &BulkBuild, count: u32) -> Sshd {
    let sshd = Sshd::new(build.scenario.beside("ssh"), "");
    build.set(&format!("slot=there {count} cores=2 ssh {} there\n", sshd.options()));
    sshd
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
        let run = BulkRun::of(&logging_in(build.running("")).output().unwrap()).ends(0);
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
    let sshd = add_slot(&build, 2);
    let mut run = logging_in(build.running(""));
    let mut run = run.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = build.work().join("runs/1/logs/one-1.0.log");
    eventually("it has begun", || fs::read_to_string(&log).is_ok_and(|log| log.contains("begun")));
    kill_process(Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap(), Signal::KILL).unwrap();
    run.wait().unwrap();
    eventually("nothing is left", || {
        processes_with(&mark).is_empty() && processes_about(&sshd.mark()).is_empty()
    });
    build.write("one/build", "mkdir $DESTDIR/opt\n");
    let run = BulkRun::of(&logging_in(build.running("")).output().unwrap()).ends(0);
    assert_eq!(run.in_state("done"), names());
    build.assert_nothing_left(&mark);
}

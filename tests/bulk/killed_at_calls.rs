//! SIGKILL from outside, at a certain system call of a run or of one of its tasks: strace(1) counts the calls and
//! sends it.
//!
//! The tests play all calls that change something below the directory of the build or make it durable. Other
//! processes of the run are not traced: a task notices that its run is gone, and a run that its task is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cut_off::{CutOffRun, said_done};
use super::{BulkBuild, everybody};
use crate::reliability::crash::spread;
use crate::reliability::sigkill::has_strace;
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::scenario::is_root;

/// The calls that change something or make it durable.
const CALLS: &str = "fallocate,fchmod,fchmodat,fchown,fchownat,fdatasync,fsync,ftruncate,ioctl,linkat,mkdirat,openat,pwrite64,\
                     renameat,renameat2,symlinkat,syncfs,unlinkat,utimensat,write";

/// A call: its name, and its number among the calls with this name.
type Point = (String, usize);

/// The calls of a trace that change something below a directory, in order.
fn points(trace: &str, below: &Path) -> Vec<Point> {
    let (mut counts, mut points) = (BTreeMap::<&str, usize>::new(), Vec::new());
    let below = below.to_str().unwrap();
    for line in trace.lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        if !CALLS.split(',').any(|known| known == call) {
            continue;
        }
        let number = counts.entry(call).or_default();
        *number += 1;
        let only_reads =
            call == "openat" && !["O_CREAT", "O_WRONLY", "O_RDWR"].iter().any(|how| rest.contains(how));
        if rest.contains(below) && !only_reads {
            points.push((call.to_owned(), *number));
        }
    }
    points
}

/// The points to play: all, or a sample spread over them.
fn played(points: &[Point], sample: usize) -> Vec<Point> {
    let most = sample_or_whole(sample, points.len());
    let middle = points.len() / most / 2;
    spread(points.len(), most).into_iter().map(|number| points[number + middle].clone()).collect()
}

/// The users who run the builds: true is an ordinary user, false is root. A sample has only the current one.
fn players() -> Vec<bool> {
    if is_whole() { everybody() } else { vec![!is_root()] }
}

fn strace<'a>(options: &[&'a str]) -> Vec<&'a str> {
    ["strace", "-qq"].iter().chain(options).copied().collect()
}

/// The calls of the second run itself.
fn points_of_run(cut: &CutOffRun) -> Vec<Point> {
    cut.restore();
    let trace = cut.build.scenario.beside("theirs/trace");
    let only = format!("trace={CALLS}");
    let run = cut.running(&strace(&["-y", "-e", &only, "-o", trace.to_str().unwrap()]), "").output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    points(&fs::read_to_string(trace).unwrap(), &cut.build.work())
}

#[test]
fn killed_at_any_system_call_a_run_goes_on_and_every_reader_sees_whole_sets() {
    let name = "killed_at_any_system_call_a_run_goes_on_and_every_reader_sees_whole_sets";
    if !has_strace(name) {
        return;
    }
    let (mut killed, mut readings) = (0, 0);
    for is_ordinary in players() {
        let slots = |_: &BulkBuild| "slot=local 2\n".to_owned();
        let Some(cut) = CutOffRun::new(name, is_ordinary, slots, |_| {}) else { continue };
        let points = points_of_run(&cut);
        let ((), read) = cut.read_while(|| {
            for (call, number) in played(&points, 4) {
                killed += u64::from(kill_run(&cut, &call, number));
            }
        });
        readings += read;
    }
    assert!(killed > 0 && readings > 0, "{killed} killed, {readings} readings");
    figures(
        "bulk-runs-killed",
        &[
            ("runs killed at a system call", killed),
            ("other results", 0),
            ("results built twice", 0),
            ("readings of the newest set", readings),
            ("sets that were not whole", 0),
        ],
    );
}

/// Kills the second run at a call, and continues it. False if it ended by itself.
fn kill_run(cut: &CutOffRun, call: &str, number: usize) -> bool {
    cut.restore();
    let when = format!("{}, the run killed at {call} {number}", cut.build.who());
    let (only, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={number}"));
    let words = strace(&["-e", &only, "-e", &inject, "-o", "/dev/null"]);
    let ended = cut.running(&words, "").output().unwrap();
    cut.assert_all_ended(&when);
    let whole = cut.assert_whole_pool(&when);
    assert!(said_done(&ended).is_subset(&whole), "{when}: {:?}, not {:?}", whole, said_done(&ended));
    cut.continue_run(&when);
    match ended.status.code() {
        None | Some(137) => true,
        Some(0) => false,
        other => panic!("{when}: {other:?} {}", String::from_utf8_lossy(&ended.stderr)),
    }
}

/// The package whose task is killed. Its task goes through every step.
const KILLED: &str = "user-1.0";

/// A slot that starts the task of one package once under strace, with the options in the file `armed`.
fn traced_slot(build: &BulkBuild) -> String {
    let directory = build.scenario.beside("theirs/traced");
    fs::create_dir(&directory).unwrap();
    let script = format!(
        "package=$1; shift\ncd /\nif [ \"$2\" = __bulk-task ] && [ \"$package\" = {KILLED} ] &&\n\
         mv {at}/armed {at}/fired 2>/dev/null; then exec strace -qq $(cat {at}/fired) \"$@\"; fi\nexec \"$@\"\n",
        at = directory.display()
    );
    fs::write(directory.join("slot"), script).unwrap();
    format!("slot=traced 1 /bin/sh {}/slot {{package}}\n", directory.display())
}

fn arm(cut: &CutOffRun, options: &str) -> PathBuf {
    cut.restore();
    let directory = cut.build.scenario.beside("theirs/traced");
    let _ = fs::remove_file(directory.join("fired"));
    fs::write(directory.join("armed"), options).unwrap();
    directory
}

/// The calls of the task.
fn points_of_task(cut: &CutOffRun) -> Vec<Point> {
    let trace = cut.build.scenario.beside("theirs/traced/trace");
    arm(cut, &format!("-y -e trace={CALLS} -o {}", trace.display()));
    cut.build.run("").ends(0);
    points(&fs::read_to_string(trace).unwrap(), &cut.build.work())
}

#[test]
fn killed_at_any_system_call_a_task_is_begun_again_by_its_run() {
    let name = "killed_at_any_system_call_a_task_is_begun_again_by_its_run";
    if !has_strace(name) {
        return;
    }
    let (mut killed, mut built) = (0, 0);
    for is_ordinary in players() {
        let Some(cut) = CutOffRun::new(name, is_ordinary, traced_slot, |_| {}) else { continue };
        let points = points_of_task(&cut);
        for (call, number) in played(&points, 4) {
            let (is_killed, is_built_again) = kill_task(&cut, &call, number);
            (killed, built) = (killed + u64::from(is_killed), built + u64::from(is_built_again));
        }
    }
    assert!(killed > 0, "none was killed");
    figures(
        "bulk-tasks-killed",
        &[("tasks killed at a system call", killed), ("built again", built), ("other results", 0)],
    );
}

/// Kills the task at a call, so that its run begins it again. The results are true if it was killed, and if its build
/// began twice.
fn kill_task(cut: &CutOffRun, call: &str, number: usize) -> (bool, bool) {
    let directory =
        arm(cut, &format!("-e trace={call} -e inject={call}:signal=SIGKILL:when={number} -o /dev/null"));
    let when = format!("{}, the task killed at {call} {number}", cut.build.who());
    let run = cut.build.run("");
    assert!(directory.join("fired").exists(), "{when}: it was not started");
    assert_eq!(run.code, 0, "{when}: {}{:#?}", run.said, run.states());
    let notes = run.report["notes"].to_string();
    let is_killed = notes.contains("its process is gone");
    // If its result was already in the pool, the run takes it from there.
    let started = cut.build.started(2).iter().filter(|package| *package == KILLED).count();
    assert!((1..=1 + usize::from(is_killed)).contains(&started), "{when}: {started}: {notes}");
    assert_eq!(run.package(KILLED)["tries"], started, "{when}: {notes}");
    cut.assert_as_undisturbed(&run, &when);
    (is_killed, started == 2)
}

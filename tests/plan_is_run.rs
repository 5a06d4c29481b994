//! Plan and run agree: whatever `plan`, `--dry-run`, `patchadd -a` and `patchrm -a` say, the command then says: the
//! exit code, the error, and the verdict, code and reason of each patch.
//!
//! Random roots, patches and operands; every command is planned first and then run. Only events of the run may make a
//! difference: [`MAY_DIFFER`] lists them, and each of its lines is shown.

mod sequence;
mod story;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use patchadm_rootfs::{Lock, Root};
use rustix::process::{Pid, Signal, kill_process};

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::random::Random;
use crate::reliability::Sampled;
use crate::scenario::{Scenario, is_root};
use sequence::{Owner, Play};
use story::{Said, said_by};

/// The numbers of sequences in a sample and in the whole suite.
const SEQUENCES: (u64, u64) = (10, 3_000);

/// The permitted differences between a plan and the run after it: the event between them or during the run, how the
/// test causes it, and the code and verdict of the run if the plan found no problem.
const MAY_DIFFER: &[(&str, Disturbance, i64, &str)] = &[
    ("a script ends otherwise than with 0", Disturbance::Script, 1, "failed"),
    ("a disk fails, or a limit on files ends a write", Disturbance::Disk, 1, "failed"),
    ("a signal ends the run", Disturbance::Signal, 143, ""),
    ("another command holds the lock", Disturbance::Lock, 6, ""),
    ("another command has changed the root since", Disturbance::Change, 0, "already-applied"),
];

/// An event between a plan and its run, or during the run.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Script,
    Disk,
    Signal,
    Lock,
    Change,
}

#[test]
fn whatever_a_plan_says_the_command_then_says() {
    let template = story::template();
    let sequences = Sampled::of(SEQUENCES.0, SEQUENCES.1);
    let (differences, commands) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(number) = sequences.next() {
                    let random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 7);
                    let mut play = Play::new(&template, random);
                    let found = play.play();
                    commands.fetch_add(play.asked, Ordering::Relaxed);
                    differences.lock().unwrap().extend(found.map(|found| format!("{number}: {found}")));
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    let played = sequences.played();
    assert!(differences.is_empty(), "{} of {played}:\n{}", differences.len(), differences.join("\n"));
    assert!(commands.into_inner() > 4 * played, "too little was asked");
}

/// A root with a package and a patch for it that passes.
fn stage() -> (Scenario, String) {
    let big = "x".repeat(1 << 20);
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, big));
    let at = patch.directory(&stage);
    (stage, at.display().to_string())
}

#[test]
fn only_what_happens_in_a_run_may_differ_and_each_of_these_does() {
    for (what, disturbance, code, verdict) in MAY_DIFFER {
        let (stage, patch) = stage();
        let line = format!("add --json -R @ROOT@ {patch}");
        if let Disturbance::Script = disturbance {
            let script = Path::new(&patch).join("prepatch");
            fs::write(&script, "exit 3\n").unwrap();
            fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let plan = said_by(&stage, &mut stage.command(&line.replace("add", "plan")));
        assert_eq!((plan.code, plan.verdicts()), (0, vec!["applied".to_owned()]), "{what}: {plan:?}");
        let run = match disturbance {
            Disturbance::Script => said_by(&stage, &mut stage.command(&line)),
            Disturbance::Disk => Said::of(&stage.limited("ulimit -f 200", &line).stdout),
            Disturbance::Signal => while_locked(&stage, |stage| {
                let mut waiting = stage.command(&format!("{line} --wait 60"));
                let mut child = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                // It handles signals once it reports that it waits; the time until then depends on the machine.
                let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
                assert!(said.next().unwrap().unwrap().contains("waiting for process"));
                kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
                Said::of(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
            }),
            Disturbance::Lock => while_locked(&stage, |stage| said_by(stage, &mut stage.command(&line))),
            Disturbance::Change => {
                stage.run(&line).ok();
                said_by(&stage, &mut stage.command(&line))
            }
        };
        let verdicts: Vec<&str> = if verdict.is_empty() { vec![] } else { vec![*verdict] };
        assert_eq!(
            (run.code, run.verdicts()),
            (*code, verdicts.iter().map(|one| (*one).to_owned()).collect()),
            "{what}: {run:?}"
        );
    }
}

/// Runs `work` while another command holds the lock of the root.
fn while_locked<T>(stage: &Scenario, work: impl FnOnce(&Scenario) -> T) -> T {
    let lock = Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    let done = work(stage);
    drop(lock);
    done
}

#[test]
fn who_may_not_change_the_root_sees_the_whole_plan_and_then_the_refusal() {
    if !is_root() {
        crate::skipped(
            "who_may_not_change_the_root_sees_the_whole_plan_and_then_the_refusal: only root can be two users",
        );
        return;
    }
    let (stage, patch) = stage();
    let mine = said_by(&stage, &mut stage.command(&format!("plan --json -R @ROOT@ {patch}")));
    for ask in ["plan", "add --dry-run", "patchadd -a"] {
        let line = format!("{ask} --json -R @ROOT@ {patch}");
        let plan = said_by(&stage, &mut as_ordinary_user(&stage, &line, &[]));
        assert_eq!(plan.code, 3, "{ask}: {plan:?}");
        assert_eq!(plan.patches, mine.patches, "{ask}");
        assert!(plan.error.as_ref().unwrap().contains("belongs to another user"), "{ask}: {plan:?}");
        let run = line.replace("plan", "add").replace(" --dry-run", "").replace(" -a", "");
        let run = said_by(&stage, &mut as_ordinary_user(&stage, &run, &[]));
        assert_eq!((run.code, run.error, run.patches.len()), (3, plan.error, 0), "{ask}");
    }
    let text = as_ordinary_user(&stage, &format!("plan -R @ROOT@ {patch}"), &[]).output().unwrap();
    let (out, err) = (String::from_utf8(text.stdout).unwrap(), String::from_utf8(text.stderr).unwrap());
    assert!(out.contains("100-01: would be applied (ACMEweb; 1 replaced, 0 added, 0 deleted"), "{out}");
    assert!(err.contains("belongs to another user") && err.contains("run it as the owner"), "{err}");
}

#[test]
fn a_plan_for_a_read_only_root_ends_as_the_command_would() {
    let (stage, patch) = stage();
    stage.run(&format!("add -R @ROOT@ {patch}")).ok();
    let later = Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
    let patch = later.directory(&stage).display().to_string();
    let mount = "mount --bind \"$ROOT\" \"$ROOT\"; mount -o remount,bind,ro \"$ROOT\"";
    let Some(mounted) = Mounted::new("a_plan_for_a_read_only_root_ends_as_the_command_would", stage, mount)
    else {
        return;
    };
    for (ask, run, operand) in [
        ("plan", "add", &*patch),
        ("add --dry-run", "add", &*patch),
        ("patchadd -a", "patchadd", &*patch),
        ("remove --dry-run", "remove", "100-01"),
        ("patchrm -a", "patchrm", "100-01"),
    ] {
        let said = |what: &str| {
            let line = format!("{what} --json -R @ROOT@ {operand}");
            said_by(mounted.stage(), &mut mounted.command(&line))
        };
        let (plan, run) = (said(ask), said(run));
        let plan = if operand == "100-01" { plan.of_backout() } else { plan };
        let code = if ask.starts_with("patch") { 7 } else { 1 };
        assert_eq!((plan.code, plan.patches.len()), (code, 1), "{ask}: {plan:?}");
        assert_eq!(
            plan.patches[0].verdict,
            if operand == "100-01" { "removed" } else { "applied" },
            "{plan:?}"
        );
        assert_eq!((run.code, &run.error, run.patches.len()), (code, &plan.error, 0), "{ask}: {run:?}");
        assert!(plan.error.unwrap().ends_with("is read-only"), "{ask}");
    }
}

#[test]
fn a_mount_within_the_root_that_is_read_only_is_told_by_the_plan_as_by_the_run() {
    let (stage, patch) = stage();
    let mount = "mount --bind \"$ROOT/opt\" \"$ROOT/opt\"; mount -o remount,bind,ro \"$ROOT/opt\"";
    let test = "a_mount_within_the_root_that_is_read_only_is_told_by_the_plan_as_by_the_run";
    let Some(mounted) = Mounted::new(test, stage, mount) else { return };
    let said = |what: &str| {
        said_by(mounted.stage(), &mut mounted.command(&format!("{what} --json -R @ROOT@ {patch}")))
    };
    let (plan, run) = (said("plan"), said("add"));
    assert_eq!(plan, run);
    assert_eq!((run.code, run.verdicts()), (1, vec!["refused".to_owned()]), "{run:?}");
    assert!(run.patches[0].reason.ends_with("/opt is read-only"), "{run:?}");
}

#[test]
fn an_ordinary_user_has_the_same_answer_twice_on_a_root_of_their_own() {
    let template = story::template();
    let sequences = Sampled::of(1, 300);
    while let Some(number) = sequences.next() {
        let mut play = Play::new(&template, Random(number ^ 0x5eed));
        play.owner = Owner::Everyman;
        assert_eq!(play.play(), None, "sequence {number}");
    }
}

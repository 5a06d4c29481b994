//! Slots behind command prefixes: a slot that fits builds like this machine, any other is named and left out, and
//! nothing is lost.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{BulkBuild, BulkRun, assert_same_results, mark, processes_with, signal_until_ended};
use crate::reliability::is_whole;
use crate::scenario::is_root;
use crate::workshop::eventually;

/// The tree of these stories: a chain, a diamond, and two that nobody needs.
const RECIPES: [(&str, &str); 8] = [
    ("one", ""),
    ("two", "one-[0-9]*"),
    ("three", "two-[0-9]*"),
    ("left", "one-[0-9]*"),
    ("right", "one-[0-9]*"),
    ("both", "left-[0-9]* right-[0-9]*"),
    ("alone", ""),
    ("apart", ""),
];

/// Script of each package: it takes a moment, and records what it is made of.
const SCRIPT: &str = "sleep 0.2; mkdir $DESTDIR/opt\n\
    cat /opt/* > $DESTDIR/opt/$PKGNAME 2>/dev/null || :; echo $PKGNAME >> $DESTDIR/opt/$PKGNAME\n";

/// This machine, for comparison with slots.
pub(super) const HERE: &str = "slot=local 2\n";

/// A bulk build with this tree and these settings.
pub(super) fn with_tree(test: &str, settings: &str) -> Option<BulkBuild> {
    let build = BulkBuild::of_recipes(test, !is_root(), &format!("check=none\n{settings}"))?;
    for (name, needs) in RECIPES {
        build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), SCRIPT);
    }
    Some(build)
}

/// As `with_tree`; the whole suite uses the sample tree.
pub(super) fn with_tree_or_sample(test: &str, settings: &str) -> Option<BulkBuild> {
    if is_whole() {
        return BulkBuild::of_sample(test, !is_root(), &format!("check=none\n{settings}"));
    }
    with_tree(test, settings)
}

/// The names of all packages, sorted.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<String> = RECIPES.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    names
}

/// Asserts that a run built everything as this machine builds it in another bulk build.
#[track_caller]
pub(super) fn assert_as_here(here: &BulkBuild, build: &BulkBuild, run: &BulkRun) {
    let expected = here.run("").ends(0);
    assert_eq!(run.in_state("done"), expected.in_state("done"), "{}", run.said);
    assert_same_results(&build.results(run), &here.results(&expected));
}

/// The report about a slot.
#[track_caller]
pub(super) fn machine<'r>(run: &'r BulkRun, slot: &str) -> &'r Value {
    let machines = run.report["machines"].as_array().unwrap();
    machines.iter().find(|machine| machine["slot"] == slot).unwrap()
}

/// The slots that have built something.
pub(super) fn slots_of(run: &BulkRun) -> Vec<&str> {
    let mut slots: Vec<&str> = run.packages().iter().filter_map(|package| package["slot"].as_str()).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// A prefix that passes the probe through, and runs this script for a task.
pub(super) fn after_probe(script: &str) -> String {
    format!("/bin/sh -c 'case $2 in *probe) exec \"$@\";; esac; {script}' x")
}

#[test]
fn slots_behind_prefixes_and_this_machine_build_the_same_bytes_together() {
    let mark = mark();
    let settings = format!(
        "env=MARK={mark}\nslot=local 1\nslot=env 1 cores=2 /usr/bin/env\nslot=shell 1 /bin/sh -c 'exec \"$@\"' x\n"
    );
    let Some(build) = with_tree("slots_behind_prefixes…", &settings) else { return };
    let run = build.run("").ends(0);
    assert_eq!(slots_of(&run), ["env", "local", "shell"]);
    build.assert_nothing_left(&mark);
    let without = settings.replace(&format!("env=MARK={mark}\n"), "");
    let Some(build) = with_tree("slots_behind_prefixes…", &without) else { return };
    let run = build.run("").ends(0);
    assert_as_here(&with_tree("slots_behind_prefixes…", HERE).unwrap(), &build, &run);
    for slot in ["local", "env", "shell"] {
        assert_eq!(
            (&machine(&run, slot)["trouble"], &machine(&run, slot)["left_out"]),
            (&0.into(), &Value::Null)
        );
    }
    assert!(
        !fs::read_dir(build.work())
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with("probe") })
    );
}

#[test]
fn the_slot_of_a_prefix_rests_a_moment_before_its_next_task() {
    let Some(build) = with_tree("the_slot_of_a_prefix_rests…", "") else { return };
    let times = build.scenario.beside("theirs/times");
    let note = format!("date +%s%N >> {}", times.display());
    build.set(&format!("slot=notes 1 {}\n", after_probe(&format!("{note}; \"$@\"; {note}"))));
    build.run("").ends(0);
    let times = fs::read_to_string(times).unwrap();
    let times: Vec<u64> = times.lines().map(|time| time.parse().unwrap()).collect();
    assert_eq!(times.len(), 2 * RECIPES.len());
    // In this time, an engine frees the resources of the previous task.
    let rests = times[1..].chunks_exact(2).map(|pair| pair[1] - pair[0]);
    for rest in rests {
        assert!(rest >= 50_000_000, "{rest} ns");
    }
}

/// Slots that do not fit: a name, a prefix, and a part of the reason. `@WORK@` is the directory of the build,
/// `@COPY@` a copy of it.
const MISFITS: [(&str, &str, &str); 10] = [
    ("code", "/bin/sh -c 'exit 3' x", "ended without a response (exit status: 3)"),
    ("floods", "/bin/sh -c 'exec yes nonsense' x", "ended without a response"),
    ("hangs", "answer=1s /bin/sh -c 'sleep 1000 & sleep 1000; exit' x", "did not respond within 1 s"),
    ("nonsense", "/bin/sh -c 'echo \"{}\"; printf \"\\033[2Jgone\\n\"; exit' x", "\u{1b}[2Jgone"),
    ("gone", "/nowhere/srun -n1", "`/nowhere/srun` cannot be started: No such file"),
    ("wrong", "/bin/sh -c 'exec /nowhere/patchadm \"$2\"' x", "/nowhere/patchadm"),
    (
        "version",
        "/bin/sh -c 'echo \"{\\\"probe\\\":1,\\\"version\\\":\\\"99.1\\\"}\"; exit' x",
        "patchadm has version 99.1 there and ",
    ),
    (
        "elsewhere",
        "/usr/bin/unshare -m /bin/sh -c 'mount -t tmpfs -o mode=755 none @WORK@; exec \"$@\"' x",
        "@WORK@ is not a directory of a bulk build",
    ),
    (
        "copy",
        "/usr/bin/unshare -m /bin/sh -c 'mount --bind @COPY@ @WORK@; exec \"$@\"' x",
        "@WORK@ is a different directory there",
    ),
    (
        "driver",
        "/usr/bin/unshare -m /bin/sh -c 'mount --bind /bin/true @DRIVER@/build; exec \"$@\"' x",
        "`build` of the driver is a different file there",
    ),
];

#[test]
fn a_slot_that_does_not_fit_is_named_and_left_out_and_nothing_is_lost() {
    let mark = mark();
    let test = "a_slot_that_does_not_fit…";
    let Some(build) = with_tree(test, "slot=local 2\n") else { return };
    let copy = build.scenario.beside("theirs/copy");
    let copied = Command::new("cp").arg("-a").arg(build.work()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let filled = |text: &str| {
        let driver = build.scenario.beside("driver").display().to_string();
        let text = text.replace("@WORK@", &build.work().display().to_string());
        text.replace("@COPY@", &copy.display().to_string()).replace("@DRIVER@", &driver)
    };
    // Only root may mount without a namespace of its own, in which it would be another user.
    let can_mount = is_root() && crate::has("unshare", test);
    let misfits = MISFITS.iter().filter(|(_, prefix, _)| can_mount || !prefix.contains("unshare"));
    let slots = misfits.clone().map(|(name, prefix, _)| format!("slot={name} 1 {}\n", filled(prefix)));
    build.set(&slots.collect::<String>());
    let output = build.running("").env("MARK", &mark).output().unwrap();
    let run = BulkRun::of(&output).ends(0);
    assert_as_here(&with_tree(test, HERE).unwrap(), &build, &run);
    assert_eq!(slots_of(&run), ["local"]);
    assert_eq!(machine(&run, "local")["left_out"], Value::Null);
    for (name, _, words) in misfits {
        let left_out = machine(&run, name)["left_out"].as_str().unwrap_or_default();
        assert!(left_out.contains(&filled(words)), "{name}: {left_out}");
    }
    build.assert_nothing_left(&mark);
    // The report neutralizes control characters.
    let told = fs::read_to_string(build.work().join("runs/1/report.txt")).unwrap();
    assert!(!told.contains('\u{1b}') && told.contains("nonsense"), "{told}");
}

#[test]
fn where_no_slot_fits_nothing_is_started() {
    let settings = "slot=code 2 /bin/sh -c 'exit 3' x\nslot=gone 1 /nowhere/srun\n";
    let Some(build) = with_tree("where_no_slot_fits…", settings) else { return };
    let run = build.run("").ends(1);
    assert!(fs::read_dir(build.work().join("runs")).unwrap().next().is_none());
    for words in ["code: `/bin/sh` ended without a response (exit status: 3)", "gone: `/nowhere/srun` cannot"]
    {
        assert!(
            run.said.contains(words) || run.report.to_string().contains(words),
            "{}{}",
            run.said,
            run.report
        );
    }
}

#[test]
fn tasks_in_trouble_go_to_another_slot_and_the_one_in_trouble_rests() {
    let settings = format!("slot=dies 2 {}\nslot=local 1\n", after_probe("echo no; exit 3"));
    let Some(build) = with_tree("tasks_in_trouble…", &settings) else { return };
    let run = build.run("").ends(0);
    assert_as_here(&with_tree("tasks_in_trouble…", HERE).unwrap(), &build, &run);
    assert_eq!(slots_of(&run), ["local"]);
    let dies = machine(&run, "dies");
    // A second task may be in progress when the third trouble makes the slot rest.
    let trouble = dies["trouble"].as_u64().unwrap();
    assert!((3..=4).contains(&trouble) && dies["left_out"] == Value::Null, "{dies}");
    assert_eq!(run.in_state("failed"), Vec::<String>::new());
    let notes = run.report["notes"].to_string();
    assert!(notes.contains("its process is gone (exit status: 3): no"), "{notes}");
    assert!(notes.contains("slot dies failed three times in a row"), "{notes}");
    let twice = run.packages().iter().filter(|package| package["tries"] == 2).count();
    assert_eq!(twice as u64, trouble, "packages that were started again");
}

#[test]
fn a_package_that_no_slot_can_build_is_deferred_and_not_failed() {
    let mark = mark();
    let Some(build) = with_tree("a_package_that…", &format!("slot=dies 1 {}\n", after_probe("exit 0")))
    else {
        return;
    };
    let output = build.running("alone").env("MARK", &mark).output().unwrap();
    let run = BulkRun::of(&output).ends(5);
    assert_eq!(
        (run.in_state("deferred"), &run.package("alone-1.0")["tries"]),
        (names()[..1].to_vec(), &3.into())
    );
    assert_eq!(run.detail("alone-1.0"), "its process is gone (exit status: 0)");
    build.assert_nothing_left(&mark);
    // It is tried again as soon as a slot can build it.
    build.set("slot=local 1\n");
    assert_eq!(build.run("alone").ends(0).in_state("done"), ["alone"]);
}

#[test]
fn a_task_that_is_silent_or_floods_is_ended_and_built_elsewhere() {
    // The probes of these slots must be answered in time: a slow machine gets more time.
    for seconds in [1, 8, 64, 512] {
        let mark = mark();
        let settings = format!(
            "slot=local 1\nslot=hangs 1 answer={seconds}s {}\nslot=floods 1 answer={seconds}s {}\n",
            after_probe("sleep 1000 & exec sleep 1000"),
            after_probe("exec nice -n 19 yes")
        );
        let Some(build) = with_tree("a_task_that_is_silent…", &settings) else { return };
        let output = build.running("").env("MARK", &mark).output().unwrap();
        let run = BulkRun::of(&output).ends(0);
        build.assert_nothing_left(&mark);
        assert_eq!(slots_of(&run), ["local"]);
        let slots = ["hangs", "floods"].map(|slot| machine(&run, slot));
        if slots.iter().any(|slot| slot["left_out"] != Value::Null) {
            continue;
        }
        assert_as_here(&with_tree("a_task_that_is_silent…", HERE).unwrap(), &build, &run);
        for slot in slots {
            assert!(slot["trouble"].as_u64() > Some(0), "{slot}");
        }
        let notes = run.report["notes"].to_string();
        assert!(notes.contains("it did not respond for "), "{notes}");
        return;
    }
    panic!("no probe was answered");
}

/// A build whose tasks report that they have begun, and run until they are ended. Two of its three slots have
/// processes between run and task.
fn endless(test: &str, mark: &str) -> Option<BulkBuild> {
    let settings = "slot=local 1\nslot=env 1 /usr/bin/env\nslot=shell 1 /bin/sh -c '\"$@\"; exit $?' x\n";
    let build = BulkBuild::of_recipes(test, !is_root(), &format!("{settings}env=MARK={mark}\n"))?;
    for name in ["one", "two", "three"] {
        let script = "trap '' TERM INT HUP; setsid sleep 1000 &\n\
                      echo begun; while [ ! -e $TREE/go ]; do sleep 0.1; done; mkdir $DESTDIR/opt\n";
        build.recipe(name, "", script);
    }
    Some(build)
}

fn send(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
}

/// True if no signal to a process is pending.
fn has_taken_signals(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let masks = status.lines().filter_map(|line| line.split_once("Pnd:"));
    masks.map(|(_, mask)| mask.trim()).all(|mask| mask.bytes().all(|digit| digit == b'0'))
}

/// Waits until all three tasks have begun.
fn await_begun(build: &BulkBuild) {
    let log = |name| fs::read_to_string(build.work().join(format!("runs/1/logs/{name}-1.0.log")));
    let has_begun = |name| log(name).is_ok_and(|log| log.contains("begun"));
    eventually("all tasks have begun", || ["one", "two", "three"].into_iter().all(has_begun));
}

#[test]
fn whatever_ends_a_run_no_process_of_it_is_left_on_any_slot() {
    for (signal, code) in [(Signal::KILL, None), (Signal::INT, Some(130))] {
        let mark = mark();
        let Some(build) = endless("whatever_ends_a_run…", &mark) else { return };
        let mut running = build.running("");
        running.env("MARK", &mark).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = running.spawn().unwrap();
        await_begun(&build);
        signal_until_ended(&mut running, signal);
        assert_eq!(running.wait().unwrap().code(), code);
        eventually("everything has ended", || processes_with(&mark).is_empty());
        build.assert_nothing_runs(&mark);
        // The packages are open, and the next run goes on.
        fs::write(build.tree().join("go"), "").unwrap();
        let run = build.run("").ends(0);
        assert_eq!((run.report["run"].as_u64(), run.report["continued"].as_bool()), (Some(1), Some(true)));
        assert_eq!(run.in_state("done"), ["one", "three", "two"]);
        build.assert_nothing_left(&mark);
    }
}

#[test]
fn after_one_signal_what_runs_is_built_and_nothing_more_is_started() {
    let mark = mark();
    let Some(build) = endless("after_one_signal…", &mark) else { return };
    build.recipe("user", "ALL_DEPENDS=one-[0-9]*\n", "mkdir $DESTDIR/opt\n");
    let running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    await_begun(&build);
    send(running.id(), Signal::TERM);
    eventually("the run has taken the signal", || has_taken_signals(running.id()));
    fs::write(build.tree().join("go"), "").unwrap();
    let run = BulkRun::of(&running.wait_with_output().unwrap()).ends(143);
    assert_eq!(run.in_state("done"), ["one", "three", "two"]);
    assert_eq!(run.in_state("open"), ["user"]);
    assert_eq!(build.run("").ends(0).in_state("done"), ["one", "three", "two", "user"]);
    build.assert_nothing_left(&mark);
}

#[test]
fn what_a_lost_command_has_left_at_its_engine_is_cancelled_by_its_name() {
    let test = "what_a_lost_command_has_left…";
    let Some(build) = with_tree(test, "") else { return };
    // An engine that records each job and forgets it when it ends. The first two tasks are lost.
    let jobs = build.scenario.beside("theirs/jobs");
    fs::create_dir(&jobs).unwrap();
    let jobs = jobs.display().to_string();
    let engine = build.scenario.beside("theirs/engine");
    let script = "#!/bin/sh\njob=$1; shift; touch \"@JOBS@/$job\"\n\
        if [ \"${2%task}\" != \"$2\" ] && mkdir \"@JOBS@/.lost\" 2> /dev/null; then exit 3; fi\n\
        \"$@\"; code=$?; rm \"@JOBS@/$job\"; exit $code\n";
    fs::write(&engine, script.replace("@JOBS@", &jobs)).unwrap();
    fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    build.set(&format!(
        "slot=engine 2 cores=2 cancel='/bin/sh -c \"echo $0 >> {jobs}/.cancelled; rm -f {jobs}/$0\" {{job}}' \
         {} {{job}}\n",
        engine.display()
    ));
    let run = build.run("").ends(0);
    assert_eq!(run.in_state("done"), names());
    assert_eq!(machine(&run, "engine")["trouble"], 1, "{}", run.said);
    let left = fs::read_dir(&jobs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| !name.starts_with('.')).collect();
    assert_eq!(left, Vec::<String>::new(), "jobs that are still there");
    let cancelled = fs::read_to_string(Path::new(&jobs).join(".cancelled")).unwrap();
    let id = fs::read_to_string(build.work().join("id")).unwrap();
    assert_eq!(cancelled.lines().count(), 1, "{cancelled}");
    assert!(cancelled.trim_end().ends_with(&format!(".{}", id.trim_end())), "{cancelled}");
}

//! Results reach the disk some time after they were made: a kill before that loses nothing, and a result that a power
//! cut has torn does not count.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use patchadm_bulk_values::result::Blake3Digest;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{BulkBuild, BulkRun, assert_same_results, everybody, mark, processes_with};
use crate::workshop::eventually;

/// Marks a result that may not be on the disk yet.
const UNFLUSHED: &str = ".unflushed";

/// Results in the pool that may not be on the disk yet.
fn unflushed(build: &BulkBuild) -> Vec<PathBuf> {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let shelves = below(&build.work().join("pool")).filter(|path| path.is_dir());
    let results = shelves.flat_map(|shelf| below(&shelf).collect::<Vec<_>>());
    results.filter(|result| result.join(UNFLUSHED).exists()).collect()
}

#[test]
fn what_was_built_before_a_kill_and_had_not_reached_the_disk_is_not_built_again() {
    for is_ordinary in everybody() {
        let mark = mark();
        let settings = format!("slot=local 2\ncheck=none\nenv=MARK={mark}\n");
        let Some(build) = BulkBuild::of_recipes("what_was_built_before_a_kill…", is_ordinary, &settings)
        else {
            continue;
        };
        let script = "mkdir $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\n";
        build.recipe("needed", "", script);
        build.recipe("user", "ALL_DEPENDS=needed-[0-9]*\n", script);
        build.recipe("fails", "", "exit 3\n");
        build.recipe("slow", "PBULK_WEIGHT=1\n", "sleep 1000\n");
        let (mut rounds, mut before_the_disk) = (0, 0);
        while before_the_disk == 0 {
            rounds += 1;
            assert!(rounds <= 20, "whatever was killed had reached the disk");
            for directory in ["pool", "runs"] {
                let _ = fs::remove_dir_all(build.work().join(directory));
            }
            let mut running = build.running("");
            std::os::unix::process::CommandExt::process_group(&mut running, 0);
            let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let journal = || fs::read_to_string(build.work().join("runs/1/journal")).unwrap_or_default();
            let has = |package: &str, state: &str| {
                let named = format!("{{\"package\":\"{package}-1.0\",");
                let state = format!("\"state\":\"{state}\"");
                journal().lines().any(|line| line.starts_with(&named) && line.contains(&state))
            };
            eventually("all but one have ended", || {
                has("user", "done") && has("fails", "failed") && has("slow", "running")
            });
            let group = i32::try_from(running.id()).ok().and_then(Pid::from_raw).unwrap();
            kill_process_group(group, Signal::KILL).unwrap();
            running.wait().unwrap();
            eventually("everything of it has ended", || processes_with(&mark).is_empty());
            before_the_disk += unflushed(&build).len();
        }
        build.write("slow/build", script);
        let last = build.run("").ends(5);
        assert_eq!(
            last.states(),
            ["fails-1.0 failed (exit)", "needed-1.0 done", "slow-1.0 done", "user-1.0 done"]
        );
        let started = |package: &str| build.started(1).iter().filter(|name| *name == package).count();
        let starts = ["needed-1.0", "user-1.0", "fails-1.0", "slow-1.0"].map(started);
        assert_eq!(starts, [1, 1, 1, 2], "{}: how often each was begun", build.who());
        assert_eq!(unflushed(&build), Vec::<PathBuf>::new());
        build.assert_nothing_left(&mark);
    }
}

/// Damage that a power cut may do to a result.
type Cut = (&'static str, fn(&Path));

#[test]
fn what_a_power_cut_has_left_of_a_result_is_removed_and_built_again() {
    let Some(build) =
        BulkBuild::of_recipes("what_a_power_cut_has_left…", everybody()[0], "slot=local 2\ncheck=none\n")
    else {
        return;
    };
    let script = "mkdir $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\n";
    build.recipe("one", "", script);
    build.recipe("other", "", script);
    let first = build.run("").ends(0);
    let results = build.results(&first);
    let at = |run: &BulkRun, package: &str| build.result(run.package(package)["key"].as_str().unwrap());
    let (one, other) = (at(&first, "one-1.0"), at(&first, "other-1.0"));
    let as_before_the_disk = |result: &Path| {
        let log = Blake3Digest::of(&fs::read(result.join("log.gz")).unwrap());
        fs::write(result.join(UNFLUSHED), log.to_string()).unwrap();
    };
    let cuts: [Cut; 5] = [
        ("a package without bytes", |result| fs::write(result.join("one.pkg"), "").unwrap()),
        ("a package with zeros", |result| {
            let package = fs::File::options().write(true).open(result.join("one.pkg")).unwrap();
            package.write_all_at(&[0; 64], package.metadata().unwrap().len() - 64).unwrap();
        }),
        ("a log without bytes", |result| fs::write(result.join("log.gz"), "").unwrap()),
        ("a description without bytes", |result| fs::write(result.join("result.json"), "").unwrap()),
        ("a mark without bytes", |result| fs::write(result.join(UNFLUSHED), "").unwrap()),
    ];
    for (left, cut) in cuts {
        [&one, &other].into_iter().for_each(|result| as_before_the_disk(result));
        cut(&one);
        let again = build.run("").ends(0);
        assert_eq!(
            (again.in_state("done"), again.in_state("up-to-date")),
            (vec!["one".to_owned()], vec!["other".to_owned()]),
            "{left}"
        );
        let notes = again.report["notes"].to_string();
        assert!(notes.contains("it had not reached the disk, and is built again"), "{left}: {notes}");
        assert_same_results(&build.results(&again), &results);
        assert_eq!(unflushed(&build), Vec::<PathBuf>::new(), "{left}");
        let pool = fs::read_dir(build.work().join("pool")).unwrap().flatten();
        let names: Vec<String> = pool.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with("bad-")), "{left}: {names:?}");
    }
}

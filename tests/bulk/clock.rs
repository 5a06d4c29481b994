//! A clock that jumps by days whenever it is read affects neither durations nor limits nor the order of runs.

use std::fs;
use std::process::Command;

use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;

/// Replaces `clock_gettime` of the C library.
const JUMPING: &str = "#define _GNU_SOURCE\n#include <sys/syscall.h>\n#include <time.h>\n#include <unistd.h>\n\
    static unsigned calls;\n\
    int clock_gettime(clockid_t clock, struct timespec *now) {\n\
    \tint result = syscall(SYS_clock_gettime, clock, now);\n\
    \tif (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += ((long)((calls++ + getpid()) % 7) - 3) * 86400;\n\
    \treturn result;\n}\n";

#[test]
fn a_clock_that_jumps_changes_no_duration_no_limit_and_no_order() {
    let test = "a_clock_that_jumps…";
    let settings = "slot=local 2\ntime=100\nsilence=100\n";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), settings) else { return };
    let (source, library) =
        (build.scenario.beside("theirs/clock.c"), build.scenario.beside("theirs/clock.so"));
    fs::write(&source, JUMPING).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if !made.is_ok_and(|made| made.success()) {
        return crate::missing("cc", test);
    }
    for (name, needs) in [("one", ""), ("two", "one-[0-9]*"), ("silent", "")] {
        build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), "sleep 1; mkdir $DESTDIR/opt\n");
    }
    let run = |options: &str| {
        BulkRun::of(&build.running(options).env("LD_PRELOAD", &library).output().unwrap()).ends(0)
    };
    let first = run("");
    assert_eq!(first.in_state("done"), ["one", "silent", "two"]);
    for package in first.packages() {
        let ms = package["ms"].as_u64().unwrap();
        assert!((900..100_000).contains(&ms), "{package}");
    }
    // The clock did jump.
    let began = |run: &BulkRun| run.report["began"].as_str().unwrap().to_owned();
    let days: std::collections::BTreeSet<String> = (0..6).map(|_| began(&run(""))[..10].to_owned()).collect();
    assert!(days.len() > 1, "{days:?}");
    let history: serde_json::Value =
        serde_json::from_str(&build.action("history @WORK@ --json").ok()).unwrap();
    let runs = history["runs"].as_array().unwrap().iter().map(|run| run["run"].as_u64().unwrap());
    assert_eq!(runs.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(run("").in_state("up-to-date"), ["one", "silent", "two"]);
    build.action("status @WORK@").ok();
}

//! Runs that are killed or interrupted: the next one ends as if nothing had happened.
//!
//! strace(1) counts the calls that change something, and sends the signal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use super::sets::{DELTA, delta, libcurl, replace, stage, told, work};
use crate::scenario::Scenario;

/// The calls at which a run is interrupted.
const CALLS: [&str; 9] =
    ["fchmod", "fsync", "mkdirat", "openat", "renameat", "renameat2", "unlinkat", "write", "pwrite64"];

/// The places at which runs are killed.
const PLACES: usize = 50;

/// A run, and the state before it.
struct RunStory {
    prepare: fn() -> Scenario,
    options: &'static str,
    /// The outcome of each source.
    ends: [&'static str; 3],
}

const STORIES: [RunStory; 3] = [
    RunStory {
        prepare: stage,
        options: "",
        ends: ["curl built curl-01", "less unchanged -", "openssl built openssl-01"],
    },
    RunStory {
        prepare: prepared,
        options: "",
        ends: ["curl built curl-02", "less unchanged -", "openssl kept openssl-01"],
    },
    RunStory {
        prepare: prepared,
        options: "--rebuild --format zip",
        ends: ["curl built curl-01", "less unchanged -", "openssl built openssl-01"],
    },
];

/// A stage with patches, one of which no longer matches its package.
fn prepared() -> Scenario {
    let stage = stage();
    delta(&stage, "");
    replace(&stage.beside("stable"), &libcurl("7.3", "library, mended twice\n"));
    stage
}

impl RunStory {
    /// Runs the command under strace with these options; returns its exit code, or `None` after SIGKILL.
    fn traced(&self, stage: &Scenario, options: &[String]) -> Option<i32> {
        let program = stage.command(&format!("{DELTA} {}", self.options));
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq"])
            .args(options)
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear();
        for (name, value) in program.get_envs() {
            strace.env(name, value.unwrap_or_default());
        }
        strace.current_dir(program.get_current_dir().unwrap()).stdin(Stdio::null());
        let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        // strace ends in the same way as its child.
        if status.signal() == Some(9) || status.code() == Some(137) { None } else { status.code() }
    }

    /// Runs the command and sends a signal at a call.
    fn broken_off(&self, stage: &Scenario, call: &str, number: usize, signal: &str) -> Option<i32> {
        let inject = format!("inject={call}:signal={signal}:when={number}");
        self.traced(stage, &["-e".to_owned(), format!("trace={call}"), "-e".to_owned(), inject])
    }

    /// Every call of a whole run: its name, and its number among the calls of its thread.
    fn calls(&self) -> Vec<(String, usize)> {
        let (stage, mut found) = ((self.prepare)(), Vec::new());
        let (trace, calls) = (stage.beside("trace"), format!("trace={}", CALLS.join(",")));
        let options = ["-e".to_owned(), calls, "-o".to_owned(), trace.display().to_string()];
        assert_eq!(self.traced(&stage, &options), Some(0));
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(trace).unwrap().lines() {
            let mut words = line.split_whitespace();
            let (thread, call) = (words.next().unwrap(), words.next().unwrap_or_default());
            let Some((call, _)) = call.split_once('(') else { continue };
            let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
            *count += 1;
            found.push((call.to_owned(), *count));
        }
        found
    }

    /// The working directory after a whole run.
    fn expected(&self) -> BTreeMap<String, Vec<u8>> {
        let stage = (self.prepare)();
        assert_eq!(told(&delta(&stage, self.options)), self.ends);
        work(&stage)
    }

    /// Kills a run at this number of places, and finishes it with another one each time; returns how many were
    /// killed.
    fn kill(&self, places: usize) -> usize {
        let (expected, calls) = (self.expected(), self.calls());
        let mut killed = 0;
        for place in 0..places {
            let (call, number) = &calls[place * calls.len() / places];
            let stage = (self.prepare)();
            killed += usize::from(self.broken_off(&stage, call, *number, "SIGKILL").is_none());
            let next = delta(&stage, self.options);
            let after = work(&stage);
            assert_eq!(next.code, 0, "{call} {number}: {}{}", next.stdout, next.stderr);
            assert!(after == expected, "{} {call} {number}: {:?}", self.options, after.keys());
        }
        killed
    }
}

fn has_strace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        crate::skipped("delta, broken off: strace(1) does not work here");
    }
    works
}

#[test]
fn a_run_that_is_killed_anywhere_is_finished_by_the_next_one() {
    if !has_strace() {
        return;
    }
    let shares = [20, 15, 15];
    let killed: usize = STORIES.iter().zip(shares).map(|(story, places)| story.kill(places)).sum();
    assert_eq!(shares.iter().sum::<usize>(), PLACES);
    assert!(killed > PLACES / 2, "only {killed} of {PLACES} runs were killed");
}

#[test]
fn an_interrupted_run_leaves_nothing_half_made() {
    if !has_strace() {
        return;
    }
    for story in &STORIES {
        let expected = story.expected();
        for (call, number) in [("openat", 30), ("fchmod", 1), ("renameat", 1), ("renameat", 3)] {
            let stage = (story.prepare)();
            let code = story.broken_off(&stage, call, number, "SIGINT");
            assert!(matches!(code, Some(0 | 130)), "{call} {number}: {code:?}");
            if stage.beside("work").exists() {
                let is_private = |name: &String| name.contains("/.") || name.starts_with('.');
                let private: Vec<String> = work(&stage).into_keys().filter(is_private).collect();
                assert!(private.is_empty(), "{call} {number}: {private:?}");
            }
            let again = delta(&stage, story.options);
            assert_eq!(again.code, 0, "{call} {number}: {}{}", again.stdout, again.stderr);
            assert!(work(&stage) == expected, "{} {call} {number}", story.options);
        }
    }
}

#[test]
fn what_cannot_be_written_fails_and_leaves_nothing_half_made() {
    let stage = stage();
    let run = stage.limited("ulimit -f 4", &format!("{DELTA} --json"));
    assert_eq!(told(&run), ["curl failed curl-01", "less unchanged -", "openssl failed openssl-01"]);
    assert_eq!(run.code, 5);
    assert!(run.stderr.contains("error: curl: cannot write "), "{}", run.stderr);
    assert_eq!(work(&stage).into_keys().collect::<Vec<_>>(), ["bases", "handover/LIST"]);
    assert!(fs::read_to_string(stage.beside("work/logs/curl-01.log")).unwrap().contains("cannot write"));
    assert_eq!(told(&delta(&stage, "")), STORIES[0].ends);
    assert!(work(&stage) == STORIES[0].expected());
}

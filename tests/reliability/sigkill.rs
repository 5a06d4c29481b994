//! SIGKILL from outside, at a certain system call of the real program: strace(1) counts the calls and sends it.
//!
//! The other tests stop the program in its own process, at the door. This one needs no door: the tracer counts every
//! call of the kinds that change something, including those of the libraries and of the start. Most `openat` calls only
//! read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use patchadm_rootfs::Door;

use crate::reliability::crash::{Legal, in_parallel, spread};
use crate::reliability::promotions::{PROMOTED, STAGE};
use crate::reliability::stored::STORED;
use crate::reliability::stories::{Command, STORIES, Story, Trial, is_asked_for, next_export};
use crate::reliability::{figures, is_whole, part_of, sample_or_whole};
use crate::scenario::NOW;

/// The calls that change something or make it durable.
const CALLS: [&str; 18] = [
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdirat",
    "openat",
    "pwrite64",
    "renameat",
    "renameat2",
    "symlinkat",
    "syncfs",
    "unlinkat",
    "write",
];

/// The stories of undo data as files that the whole plays.
const PLAYED: [&str; 4] = [
    "apply two as one run and keep the old files",
    "undo one run by old files",
    "back out in the middle, old files below an archive",
    "repack old files as gz",
];

/// The arguments of the program for a command of a story.
fn arguments(trial: &Trial, command: &Command) -> Vec<PathBuf> {
    let words = |words: &[&str], rest: &[String]| {
        let words = words.iter().map(PathBuf::from).chain([trial.root()]);
        words.chain(rest.iter().map(PathBuf::from)).collect()
    };
    match command {
        Command::Apply { patches, again } => {
            let start: Vec<PathBuf> =
                words(if *again { &["patchadd", "-u", "-R"] } else { &["patchadd", "-R"] }, &[]);
            start.into_iter().chain(patches.iter().cloned()).collect()
        }
        Command::ApplyAdopting(patches) => {
            let start: Vec<PathBuf> = words(&["add", "--adopt", "-R"], &[]);
            start.into_iter().chain(patches.iter().cloned()).collect()
        }
        Command::AdoptAll => words(&["adopt", "--all", "-R"], &[]),
        Command::Refresh => words(&["adopt", "--refresh", "-R"], &[]),
        Command::BackOut(ids) => words(&["patchrm", "-R"], ids),
        Command::Undo => words(&["undo", "-R"], &[]),
        Command::BackOutByScripts(ids) => words(&["patchrm", "--scripts", "run", "-R"], ids),
        Command::Add { spool, packages } | Command::Update { spool, packages } => {
            let is_update = matches!(command, Command::Update { .. });
            let start: &[&str] =
                if is_update { &["pkgadd", "-n", "--update", "-R"] } else { &["pkgadd", "-n", "-R"] };
            let mut all = words(start, &["-d".to_owned(), spool.display().to_string()]);
            all.extend(packages.iter().map(PathBuf::from));
            all
        }
        Command::Remove(packages) => words(&["pkgrm", "-n", "-R"], packages),
        Command::Repair(packages) => words(&["pkgchk", "-f", "-R"], packages),
        Command::Adopt { package, tree } => {
            let more = ["--pkg", package, "--version", "1", "--dir", tree].map(str::to_owned);
            words(&["adopt", "-R"], &more)
        }
        Command::ApplyOnTrial(patches) => {
            let start: Vec<PathBuf> = words(&["add", "--trial", "1h", "-R"], &[]);
            start.into_iter().chain(patches.iter().cloned()).collect()
        }
        Command::Confirm => words(&["confirm", "-R"], &[]),
        Command::Commit(ids) => words(&["undo-data", "drop", "-R"], ids),
        Command::Expire => panic!("a command of its own is told no time"),
        Command::Repack(ids, format) => {
            words(&["undo-data", "repack", "--undo-format", format.word(), "-R"], ids)
        }
        Command::UndoExport(ids) => {
            let file = next_export(&trial.root()).display().to_string();
            words(&["undo-data", "export", "-o", &file, "-R"], ids)
        }
        Command::UndoImport(file) => words(&["undo-data", "import", "-R"], &[file.display().to_string()]),
        Command::Promote => {
            let stage = trial.root().with_file_name(STAGE).display().to_string();
            words(&["stage", "promote", "--allow-set-id", "--max-delete", "100%", "-R"], &[stage])
        }
        Command::Exchange(directory, inner) => {
            let mut all = arguments(trial, inner);
            // The classic commands do not have the option; the verbs do the same.
            for (classic, verb) in [("patchadd", "add"), ("patchrm", "remove")] {
                if let Some(first) = all.first_mut().filter(|first| first.ends_with(classic)) {
                    *first = PathBuf::from(verb);
                }
            }
            all.extend(["--exchange", directory].map(PathBuf::from));
            all
        }
        Command::Forget(package) => {
            let more = ["--forget", "--pkg", package].map(str::to_owned);
            words(&["adopt", "-R"], &more)
        }
    }
}

/// Runs a command under strace with these options. False if it was killed.
fn traced(trial: &Trial, command: &Command, options: &[&str]) -> bool {
    program_traced(&arguments(trial, command), options)
}

/// Runs the program under strace with these options. False if it was killed.
fn program_traced(arguments: &[PathBuf], options: &[&str]) -> bool {
    let mut strace = Process::new("strace");
    strace.args(["-f", "-qq"]).args(options);
    strace.arg(env!("CARGO_BIN_EXE_patchadm")).args(arguments).env_clear();
    strace.env("PATH", "/usr/bin:/bin").env("TZ", "UTC0").env("SOURCE_DATE_EPOCH", NOW.to_string());
    let strace = strace.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = strace.status().unwrap();
    match (status.code(), status.signal()) {
        (Some(0), _) => true,
        // strace ends as its child has ended
        (_, Some(9)) | (Some(137), _) => false,
        other => panic!("{arguments:?} {options:?}: {other:?}"),
    }
}

/// Runs the program and kills it at the `number`-th call of a kind. False if it made fewer calls and ended by itself.
pub(crate) fn is_killed_at(arguments: &[PathBuf], call: &str, number: usize) -> bool {
    let inject = format!("inject={call}:signal=SIGKILL:when={number}");
    !program_traced(arguments, &["-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"])
}

/// Whether programs can be traced here; a test that needs it says that it is skipped.
pub(crate) fn has_strace(test: &str) -> bool {
    let run = Process::new("strace").args(["-qq", "-f", "-e", "trace=none", "/bin/true"]).output();
    let is_here = run.is_ok_and(|output| output.status.success());
    if !is_here {
        crate::skipped(&format!("{test}: strace(1) may not trace here"));
    }
    is_here
}

/// The number of calls of each kind that a command makes.
fn calls_of(story: &Story, scratch: &Path) -> BTreeMap<&'static str, usize> {
    let trial = Trial::of(story);
    calls_of_program(&arguments(&trial, &story.whole), scratch)
}

/// The program's calls of these kinds, one per line, with the paths of descriptors.
pub(crate) fn trace_of_program(arguments: &[PathBuf], calls: &[&str], scratch: &Path) -> String {
    let (calls, to) = (format!("trace={}", calls.join(",")), scratch.join("trace"));
    assert!(program_traced(arguments, &["-y", "-e", &calls, "-o", to.to_str().unwrap()]));
    fs::read_to_string(to).unwrap()
}

/// The number of calls of each kind that the program makes.
pub(crate) fn calls_of_program(arguments: &[PathBuf], scratch: &Path) -> BTreeMap<&'static str, usize> {
    let text = trace_of_program(arguments, &CALLS, scratch);
    let count = |call: &&'static str| {
        let is_call = |line: &&str| {
            line.split_whitespace().nth(1).is_some_and(|word| word.starts_with(&format!("{call}(")))
        };
        (*call, text.lines().filter(is_call).count())
    };
    CALLS.iter().map(count).collect()
}

/// Kills the command at the `number`-th call of a kind, recovers, and checks the root. False if the command ended by
/// itself.
fn kill(story: &Story, legal: &Legal, call: &str, number: usize) -> bool {
    let trial = Trial::of(story);
    let ended = !is_killed_at(&arguments(&trial, &story.whole), call, number);
    let when = format!("{}, killed at {call} {number}", story.name);
    trial.recover(Door::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
    let state = legal.find(&trial, true).unwrap_or_else(|wrong| panic!("{when}: {wrong}"));
    assert!(!ended || state == legal.last(), "{when}: acknowledged, but it is in state {state}");
    !ended
}

in_parts!(
    killed_from_outside_at_any_system_call_a_command_is_done_or_not_done_after_recovery,
    kill_at_calls,
    6
);

/// Kills each story of a part at its calls; two parts share the calls of a story.
fn kill_at_calls(part: usize, parts: usize) {
    let name = "killed_from_outside_at_any_system_call_a_command_is_done_or_not_done_after_recovery";
    if !has_strace(name) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let killed = AtomicU64::new(0);
    let promotions = PROMOTED[..2].iter().step_by(sample_or_whole(2, 1));
    // One apply that keeps old files, one backout, one that hands them on, and one that makes an archive of them.
    let stored = STORED.iter().filter(|_| is_whole()).map(|told| told());
    let stored = stored.filter(|story| PLAYED.contains(&story.name));
    let stored = part_of(stored, part / 2, parts / 2);
    let stories = STORIES[..4].iter().step_by(sample_or_whole(3, 1)).chain(promotions);
    let stories = part_of(stories, part / 2, parts / 2).map(|told| told());
    for story in stories.chain(stored).filter(is_asked_for) {
        let legal = Legal::played(&story, |trial, act| assert!(traced(trial, act, &["-e", "trace=none"])));
        let mut points = Vec::new();
        let most = sample_or_whole(1, 40);
        for (call, count) in calls_of(&story, scratch.path()) {
            let middle = count / most / 2;
            points.extend(spread(count, most).into_iter().map(|number| (call, number + middle + 1)));
        }
        let points: Vec<_> = part_of(points.into_iter(), part % 2, 2).collect();
        in_parallel(&points, |(call, number)| {
            killed.fetch_add(u64::from(kill(&story, &legal, call, *number)), Ordering::Relaxed);
        });
    }
    let killed = killed.into_inner();
    assert!(killed > sample_or_whole(20 / parts as u64, 20), "only {killed} were killed");
    figures("sigkill", &[("commands killed at a system call", killed), ("third states", 0)]);
}

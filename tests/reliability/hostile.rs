//! Hostile input: patches, packages and undo archives whose maker wants to do harm, or did not care.
//!
//! The corpus is one table, made by the modules below `table`: each line names a case, how it is made, the command that
//! is run on it, and the expected result: refused with a code and words and an unchanged root, or handled exactly. The
//! rules for every case are in [`case`].
//!
//! The cases are played in a sandbox, by this same test, started once more inside it: whatever a case managed to reach,
//! there would be nothing of this machine. If no sandbox can be made, they are played by a user who may write nowhere
//! else.

mod archives;
mod bench;
mod case;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::bench::Bench;
use self::case::{Case, MEMORY, Then, bounded};
use crate::everyman;
use crate::reliability::{figures, is_whole, part_of, sample_or_whole};
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, is_root};

/// The name of the tests that are started once more, and the variable that tells them so.
const TEST: &str = "reliability::hostile::every_hostile_case_is_refused_or_handled_exactly";
const INSIDE: &str = "PATCHADM_HOSTILE";

/// A sample plays one of this many lines of the table.
const STRIDE: usize = 9;

/// The lines to play now: a part of all lines, or in a sample a part of every [`STRIDE`]-th quick one.
fn chosen(table: Vec<Case>, part: usize, parts: usize) -> Vec<Case> {
    let is_root = is_root();
    let possible = table.into_iter().filter(|case| is_root || !case.privileged);
    let stride = sample_or_whole(STRIDE, 1);
    let played = possible.filter(|case| is_whole() || !case.giant).step_by(stride);
    part_of(played, part, parts).collect()
}

/// Plays cases on all processors. Returns the failed cases and what is wrong.
fn play(cases: &[Case]) -> Vec<String> {
    let template = Bench::template();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let played = catch_unwind(AssertUnwindSafe(|| case.play(&template)));
            let played = played.unwrap_or_else(|_| Err("an assertion failed, see above".to_owned()));
            if let Err(reason) = played {
                wrong.lock().unwrap().push(format!("[{}] {}: {reason}\n", case.class, case.name));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    wrong.into_inner().unwrap()
}

/// Entries of the directories for temporary files that do not belong to scenarios.
fn strays() -> BTreeSet<String> {
    let places = ["/tmp", "/var/tmp"].into_iter().filter_map(|place| fs::read_dir(place).ok());
    let names = places.flatten().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with(".tmp")).collect()
}

/// The work of the test inside the sandbox.
fn inside(part: usize, parts: usize) {
    let is_own = std::env::temp_dir() == Path::new("/tmp");
    let before = strays();
    let cases = chosen(table::table(), part, parts);
    let wrong = play(&cases);
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(
        !is_own || strays() == before,
        "left behind in the directories for temporary files: {:?}",
        strays()
    );
}

/// The command that plays the cases where they can do no harm; none if there is no such place.
fn box_of(stage: &Scenario) -> Option<Command> {
    let this = std::env::current_exe().unwrap();
    if let Some(sandbox) = Sandbox::new(&stage.beside("")) {
        let mut command = sandbox.command(this);
        command.env("TMPDIR", "/tmp");
        return Some(command);
    }
    let home = stage.beside("");
    let mut command = Command::new(&this);
    if is_root() {
        let can_run = |program: &Path| {
            let mut asked = Command::new(program);
            asked.arg("--help").uid(everyman::NOBODY).gid(everyman::NOBODY);
            asked.output().is_ok_and(|output| output.status.success())
        };
        if !can_run(&this) || !can_run(Path::new(env!("CARGO_BIN_EXE_patchadm"))) {
            return None;
        }
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&home, Some(everyman::NOBODY), Some(everyman::NOBODY)).unwrap();
        command.uid(everyman::NOBODY).gid(everyman::NOBODY);
    }
    command.env("TMPDIR", &home).current_dir(&home);
    Some(command)
}

in_parts!(every_hostile_case_is_refused_or_handled_exactly, play_in_a_box, 2);

fn play_in_a_box(part: usize, parts: usize) {
    if std::env::var_os(INSIDE).is_some() {
        return inside(part, parts);
    }
    let test = format!("{TEST}::part_{}", part + 1);
    let stage = Scenario::new();
    let Some(mut command) = box_of(&stage) else {
        crate::skipped(&format!("{test}: neither a sandbox nor an ordinary user here"));
        return;
    };
    let played = command.args(["--exact", &test, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    let output = played.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let cases = chosen(table::table(), part, parts);
    let refused = cases.iter().filter(|case| matches!(case.then, Then::Refused(..))).count() as u64;
    let all = cases.len() as u64;
    let counts = [
        ("cases", all),
        ("refused", refused),
        ("handled exactly", all - refused),
        ("escapes", 0),
        ("panics", 0),
    ];
    figures("hostile", &counts);
}

#[test]
fn the_table_has_all_classes_and_no_name_twice() {
    let table = table::table();
    let names: BTreeSet<(u8, &str)> = table.iter().map(|case| (case.class, case.name.as_str())).collect();
    assert_eq!(names.len(), table.len(), "a name occurs twice");
    let classes: BTreeSet<u8> = table.iter().map(|case| case.class).collect();
    // Links that are swapped between check and use have tests of their own.
    let missing: Vec<u8> = (1..=16).filter(|class| *class != 4 && !classes.contains(class)).collect();
    assert_eq!(missing, Vec::<u8>::new());
    assert!(table.len() >= 300, "{}", table.len());
}

#[test]
fn the_bounds_of_memory_and_time_bite() {
    let ended = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).env("PATH", "/usr/bin:/bin");
        bounded(&command, 1, MEMORY).output().unwrap().status.code()
    };
    let copy = |mebibytes: u64| {
        let block = format!("bs={mebibytes}M");
        ended("dd", &["if=/dev/zero", "of=/dev/null", "count=1", &block])
    };
    let most = MEMORY >> 10;
    assert_eq!((copy(most - 40), copy(most + 10)), (Some(0), Some(1)));
    assert_eq!((ended("sleep", &["0"]), ended("sleep", &["60"])), (Some(0), None), "it waits");
    assert_ne!(ended("sh", &["-c", "while :; do :; done"]), Some(0), "it is busy");
}

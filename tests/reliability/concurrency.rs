//! Several commands on one root at once: writers one after another, readers at any time.
//!
//! Readers run in loops beside every kind of writer: applying, backing out, failing, ended by a signal, dead. Each
//! answer has to be the one before or the one after, whole, and never an error.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use patchadm_core::operation::queries::applied_patches::applied_patches;
use patchadm_inputs::database::{RecordView, ViewError, read_consistently};
use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::package::ObjectPath;
use rustix::process::{Pid, Signal, kill_process};

use super::killed::journal;
use super::{figures, sample_or_whole};
use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::Scenario;

const FILES: usize = 64;
const ADD: &str = "patchadd -R @ROOT@ delivered/100-01";
const REMOVE: &str = "patchrm -R @ROOT@ 100-01";
/// A patch whose last script fails, so that everything is rolled back.
const FAIL: &str = "patchadd --scripts run -R @ROOT@ delivered/200-01";

/// Queries of the readers.
const QUESTIONS: [&str; 6] = [
    "pkgparam -R @ROOT@ ACMEweb PATCHLIST PATCH_INFO_100-01",
    "showrev -p -R @ROOT@",
    "patchadd -p -R @ROOT@",
    "pkginfo -l -R @ROOT@ ACMEweb",
    "pkgchk -l -R @ROOT@ -p /opt/ACMEweb/share/0001",
    "list --json -R @ROOT@",
];

/// A root of an ordinary user, and the answers to every question before and after its patch.
struct Stage {
    scenario: Scenario,
    before: Vec<String>,
    after: Vec<String>,
    asked: AtomicU64,
}

impl Stage {
    fn new() -> Self {
        let scenario = Scenario::new();
        let (mut package, mut patch) = (Package::new("ACMEweb"), Package::new("ACMEweb"));
        for number in 0..FILES {
            let path = format!("share/{number:04}");
            package = package.file(&path, 0o644, format!("first of {number}\n"));
            patch = patch.file(&path, 0o644, format!("the second of {number}\n").repeat(100));
        }
        scenario.install(&package);
        Patch::of("100-01", patch.clone()).directory(&scenario);
        let fails = patch.information("postinstall", "#!/bin/sh\nsleep 0.2\nexit 1\n");
        Patch::of("200-01", fails).directory(&scenario);
        drop(as_ordinary_user(&scenario, "list", &[&scenario.root()]));
        let mut stage = Self { scenario, before: Vec::new(), after: Vec::new(), asked: AtomicU64::new(0) };
        stage.writes(ADD);
        stage.after = QUESTIONS.map(|line| stage.answer(line)).into();
        stage.writes(REMOVE);
        stage.before = QUESTIONS.map(|line| stage.answer(line)).into();
        for (before, after) in stage.before.iter().zip(&stage.after) {
            assert_ne!(before, after);
        }
        stage
    }

    /// Starts a command that changes the root.
    fn starts(&self, line: &str) -> Child {
        let mut command = as_ordinary_user(&self.scenario, line, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[track_caller]
    fn writes(&self, line: &str) {
        assert!(self.starts(line).wait().unwrap().success(), "{line}");
    }

    /// The answer to a question, without the size of undo data, which depends on the inode numbers in it, and without
    /// the note that a run was interrupted.
    #[track_caller]
    fn answer(&self, line: &str) -> String {
        let run = self.scenario.run(line);
        assert!(
            run.code == 0 && (run.stderr.is_empty() || run.stderr.to_lowercase().starts_with("note: ")),
            "{line}: {run:?}"
        );
        let is_steady = |line: &&str| !line.contains("\"bytes\"") && !line.contains("\"unfinished\"");
        run.stdout.lines().filter(is_steady).collect::<Vec<_>>().join("\n")
    }

    /// Asks all questions once, beginning with one of them. Returns for each whether its answer is the one after the
    /// patch.
    #[track_caller]
    fn ask(&self, from: usize) -> Vec<bool> {
        let numbers = (from..from + QUESTIONS.len()).map(|number| number % QUESTIONS.len());
        let one = |number: usize| {
            let answer = self.answer(QUESTIONS[number]);
            self.asked.fetch_add(1, Relaxed);
            let is_after = answer == self.after[number];
            assert!(is_after || answer == self.before[number], "{}: {answer}", QUESTIONS[number]);
            is_after
        };
        numbers.map(one).collect()
    }

    /// Several reads of one process: one answer reflects one state.
    fn ask_in_process(&self, root: &Root) -> bool {
        let at = |path: &str| ObjectPath::new(path.as_bytes()).unwrap();
        let found = read_consistently(root, |view: &RecordView<'_>| {
            let pkginfo = view.read(&at("/var/sadm/pkg/ACMEweb/pkginfo"), 1 << 20)?.unwrap_or_default();
            let contents = view.read(&at("/var/sadm/install/contents"), 1 << 20)?.unwrap_or_default();
            let saved = view.list(&at("/var/sadm/pkg/ACMEweb/save/100-01"))?;
            let readme = view.look(&at("/var/sadm/patch/100-01/README.100-01"))?;
            Ok::<_, ViewError>((pkginfo, contents, saved.is_some(), readme.is_some()))
        });
        let (pkginfo, contents, is_saved, has_readme) = found.unwrap();
        let (pkginfo, contents) = (String::from_utf8(pkginfo).unwrap(), String::from_utf8(contents).unwrap());
        let is_applied = pkginfo.contains("PATCHLIST=100-01\n");
        let lines = |size: usize| {
            contents.lines().filter(|line| line.split(' ').nth(6) == Some(&size.to_string())).count()
        };
        let sizes = [lines("first of 63\n".len()), lines(100 * "the second of 63\n".len())];
        let expected = if is_applied { [0, FILES - 10] } else { [FILES - 10, 0] };
        assert_eq!((sizes, is_saved, has_readme), (expected, is_applied, is_applied));
        let listed = applied_patches(root).unwrap();
        self.asked.fetch_add(2, Relaxed);
        assert!(listed.len() <= 1);
        is_applied
    }

    /// Lets readers ask until `write` is done. Returns whether any answer was the one before the patch, and whether any
    /// was the one after it.
    fn beside(&self, write: impl FnOnce()) -> [bool; 2] {
        let (done, seen) = (AtomicBool::new(false), [AtomicBool::new(false), AtomicBool::new(false)]);
        let root = Root::open(&self.scenario.root()).unwrap();
        let sees = |is_after: bool| seen[usize::from(is_after)].store(true, Relaxed);
        thread::scope(|scope| {
            for reader in 0..2 {
                let (done, sees) = (&done, &sees);
                scope.spawn(move || {
                    let mut from = reader * 3;
                    while !done.load(Relaxed) {
                        self.ask(from).into_iter().for_each(sees);
                        from += 1;
                    }
                });
            }
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    sees(self.ask_in_process(&root));
                    thread::sleep(Duration::from_millis(1));
                }
            });
            // Set even if it panics; otherwise the readers would never end.
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
            done.store(true, Relaxed);
            if let Err(panic) = written {
                std::panic::resume_unwind(panic);
            }
        });
        seen.map(|seen| seen.load(Relaxed))
    }

    fn is_applied(&self) -> bool {
        let answers = self.ask(0);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        answers[0]
    }

    fn journal(&self) -> Option<(String, bool)> {
        journal(&self.scenario.at("/var/sadm/patchadm/journal"))
    }

    /// Starts a command and waits until its journal is published, or it ends.
    fn starts_switching(&self, line: &str) -> Child {
        let last = self.journal().map(|(run, _)| run);
        let mut child = self.starts(line);
        while child.try_wait().unwrap().is_none()
            && !self.journal().is_some_and(|(run, open)| open && Some(run) != last)
        {
            thread::sleep(Duration::from_micros(100));
        }
        child
    }
}

#[test]
fn readers_beside_every_kind_of_run_see_before_or_after() {
    let stage = Stage::new();
    let rounds = sample_or_whole(2, 60);
    let seen = stage.beside(|| {
        for _ in 0..rounds {
            stage.writes(ADD);
            stage.writes(REMOVE);
        }
    });
    assert_eq!(seen, [true, true]);

    // Readers never see a run that fails.
    let seen = stage.beside(|| {
        for _ in 0..rounds / 2 {
            let code = stage.starts(FAIL).wait().unwrap().code();
            assert_eq!(code, Some(5));
        }
    });
    assert_eq!(seen, [true, false]);

    let mut rolled_back = 0;
    stage.beside(|| {
        for round in 0..rounds * 2 {
            let was = stage.is_applied();
            let mut child = stage.starts_switching(if was { REMOVE } else { ADD });
            thread::sleep(Duration::from_micros(round % 8 * 700));
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            if child.try_wait().unwrap().is_none() {
                kill_process(pid, if round % 2 == 0 { Signal::TERM } else { Signal::INT }).unwrap();
            }
            let is_done = child.wait().unwrap().success();
            assert_eq!(stage.is_applied() != was, is_done, "the exit code says what was done");
            rolled_back += u64::from(!is_done);
        }
    });

    let mut dead = 0;
    for round in 0..rounds * 2 {
        let was = stage.is_applied();
        let mut child = stage.starts_switching(if was { REMOVE } else { ADD });
        thread::sleep(Duration::from_micros(round % 8 * 500));
        child.kill().unwrap();
        let is_killed = child.wait().unwrap().signal().is_some();
        let is_open = stage.journal().is_some_and(|(_, open)| open);
        dead += u64::from(is_open);
        // Nothing has recovered the root yet: the answers are already those that recovery will lead to.
        let said = stage.is_applied();
        let root = Root::open(&stage.scenario.root()).unwrap();
        assert_eq!(stage.ask_in_process(&root), said);
        assert!(is_killed || said != was);
        assert!(!is_open || said == was);
        // The recovery may be over before a reader has asked.
        let seen = stage.beside(|| stage.writes("recover -R @ROOT@"));
        assert!(!seen[usize::from(!said)], "recovery changes nothing for readers");
    }
    figures(
        "readers",
        &[
            ("answers beside runs", stage.asked.load(Relaxed)),
            ("runs rolled back beside them", rolled_back + rounds / 2),
            ("interrupted runs read before recovery", dead),
            ("mixtures", 0),
            ("errors", 0),
        ],
    );
}

#[test]
fn every_command_that_changes_a_root_waits_as_its_policy_says_and_names_who_it_waits_for() {
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
    stage.install(&Package::new("ACMEold").file("bin/old", 0o755, "one\n"));
    Package::new("ACMEnew").file("bin/new", 0o755, "one\n").write(&stage.beside("spool"));
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    stage.file("/etc/patchadm/policy", "wait=60\n");
    stage.file("/opt/ACMEweb/made", "made\n");
    let root = Root::open(&stage.root()).unwrap();
    for line in [
        "patchadd -R @ROOT@ delivered/100-01",
        "patchrm -R @ROOT@ 100-01",
        "add -R @ROOT@ delivered/100-01",
        "remove -R @ROOT@ 100-01",
        "pkgadd -n -R @ROOT@ -d spool ACMEnew",
        "pkgrm -n -R @ROOT@ ACMEold",
        "installf -R @ROOT@ ACMEweb /opt/ACMEweb/made f 0644 root root",
        "removef -R @ROOT@ ACMEweb /opt/ACMEweb/made",
        "pkgchk -f -R @ROOT@ ACMEnew",
        "recover -R @ROOT@",
    ] {
        let lock = Lock::take(&root, "pkgadd", |_| false).unwrap();
        let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        let waiting = format!(": waiting for process {} (pkgadd) to finish\n", std::process::id());
        assert!(said.ends_with(&waiting), "{line}: {said}");
        drop(lock);
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line}: {said}");
    }
    stage.file("/etc/patchadm/policy", "wait=0\n");
    let _lock = Lock::take(&root, "pkgadd", |_| false).unwrap();
    for (line, code) in [
        ("patchadd -R @ROOT@ delivered/100-01", 64),
        ("patchrm -R @ROOT@ 100-01", 19),
        ("installf -R @ROOT@ ACMEweb /opt/ACMEweb/made f 0644 root root", 64),
        ("removef -R @ROOT@ ACMEweb /opt/ACMEweb/bin/httpd", 64),
        ("pkgchk -f -R @ROOT@ ACMEnew", 64),
        ("recover -R @ROOT@", 6),
        ("add --wait 1 -R @ROOT@ delivered/100-01", 6),
    ] {
        let said = stage.run(line).fails(code);
        let holder = format!("is locked by process {} (pkgadd)", std::process::id());
        assert!(said.contains(&holder), "{line}: {said}");
    }
}

#[test]
fn who_is_told_to_end_while_it_waits_ends_by_the_signal() {
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    stage.file("/etc/patchadm/policy", "wait=18446744073709551615\n");
    let _lock = Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    for (line, code) in [
        ("add -R @ROOT@ delivered/100-01", 143),
        ("patchadd -R @ROOT@ delivered/100-01", 143),
        ("patchrm -R @ROOT@ 100-01", 143),
        ("pkgrm -n -R @ROOT@ ACMEweb", 3),
    ] {
        let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut String::new()).unwrap();
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}: {said}");
    }
}

#[test]
fn who_removes_the_lock_file_of_a_run_lets_no_second_writer_in() {
    let stage = Stage::new();
    let lockfile = stage.scenario.at("/var/sadm/install/.lockfile");
    let mut first = stage.starts_switching("patchadd --scripts run -R @ROOT@ delivered/200-01");
    fs::remove_file(&lockfile).unwrap();
    let mut second = as_ordinary_user(&stage.scenario, "recover -R @ROOT@", &[]);
    let output = second.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("is locked by another process"), "{said}");
    assert_eq!(first.wait().unwrap().code(), Some(5), "it was not disturbed");
    stage.writes(ADD);
}

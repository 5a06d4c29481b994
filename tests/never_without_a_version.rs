//! While a release goes live and comes back, one of its programs is started without pause, with its own libraries. It
//! always starts, and a new program never meets an old library, except if the switch of a backout cuts its start.
//!
//! The program prints its version and that of its library. For comparison, two passes of rsync(1) are measured in the
//! same way if it is installed: first the new files, then with `--delete`. The whole suite, 100 switches, takes some
//! minutes:
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration never_without -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::cases::installed;
use crate::reliability::killed::journal;
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::scenario::Scenario;

/// The release, and where its program and libraries are.
const CASE: (&str, &str) = ("openssl", "300001-01");
const PROGRAM: &str = "usr/bin/openssl";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The outcome of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// Program and library are of one release.
    Agreed,
    /// An old program, a new library.
    NewLibrary,
    /// A new program, an old library.
    OldLibrary,
    /// It did not start, or found neither.
    Failed,
}

/// One start: the number of the switch, true if that switch was in progress, and the outcome.
struct Start {
    switch: usize,
    overlaps: bool,
    said: Said,
}

/// A live root whose program is started without pause.
struct Watched {
    live: Scenario,
    versions: [String; 2],
    /// The switches that have begun.
    switches: AtomicUsize,
    /// True while a command without a journal runs.
    is_copying: AtomicBool,
    has_ended: AtomicBool,
    starts: Mutex<Vec<Start>>,
    /// Starts that have begun.
    begun: AtomicUsize,
}

/// The versions of program and library, as the program of this root prints them.
fn versions(root: &Path) -> Option<(String, String)> {
    let output = Command::new(root.join(PROGRAM))
        .arg("version")
        .env_clear()
        .env("LD_LIBRARY_PATH", root.join(LIBRARIES))
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut found = text.split("OpenSSL ").skip(1).filter_map(|rest| rest.split(' ').next());
    let both = (found.next()?.to_owned(), found.next()?.to_owned());
    output.status.success().then_some(both)
}

impl Watched {
    /// Makes a root with the base, and a stage with the new release. Returns `None` if they are unavailable or cannot
    /// run here.
    fn new(test: &str) -> Option<Self> {
        let (live, from) = installed(test, CASE.0)?;
        let (new, _) = installed(test, CASE.0)?;
        new.run(&format!("patchadd -R @ROOT@ {}", from.join(CASE.1).display())).ok();
        let both = [live.root(), new.root()].map(|root| versions(&root));
        let [Some((old, _)), Some((later, _))] = both else {
            crate::skipped(&format!("{test}: programs of the case do not run here"));
            return None;
        };
        live.run("stage new site -R @ROOT@ --path usr").ok();
        let stage = live.beside("site");
        copy(&new.root().join("usr"), &stage.join("usr"));
        copy(&live.root().join("usr"), &live.beside("old/usr"));
        let versions = [old, later];
        Some(Self {
            live,
            versions,
            switches: AtomicUsize::new(0),
            is_copying: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            starts: Mutex::default(),
            begun: AtomicUsize::new(0),
        })
    }

    /// The state that shows that a switch is in progress, or that one happened in between.
    fn switching(&self) -> (Option<(String, bool)>, bool) {
        let run = journal(&self.live.at("/var/sadm/patchadm/journal"));
        (run, self.is_copying.load(Ordering::SeqCst))
    }

    fn start(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let before = self.switching();
        let found = versions(&self.live.root());
        let after = self.switching();
        let is_open = |run: &Option<(String, bool)>| run.as_ref().is_some_and(|(_, is_open)| *is_open);
        let overlaps = before != after || after.1 || is_open(&after.0);
        let [old, new] = &self.versions;
        let said = match &found {
            Some((program, library)) if program == library && (program == old || program == new) => {
                Said::Agreed
            }
            Some((program, library)) if program == old && library == new => Said::NewLibrary,
            Some((program, library)) if program == new && library == old => Said::OldLibrary,
            _ => Said::Failed,
        };
        let switch = self.switches.load(Ordering::SeqCst);
        self.starts.lock().unwrap().push(Start { switch, overlaps, said });
    }

    /// Waits for a whole start after the last action, so that no start spans two switches.
    fn settle(&self) {
        let begun = self.begun.load(Ordering::SeqCst);
        while self.starts.lock().unwrap().len() <= begun && !self.has_ended.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes a switch while the program is started.
    fn switch(&self, make: impl FnOnce()) {
        self.settle();
        self.switches.fetch_add(1, Ordering::SeqCst);
        make();
        self.settle();
    }

    /// Starts the program again and again while `switches` runs, and counts the outcomes.
    fn while_started(&self, switches: impl FnOnce()) -> Counted {
        thread::scope(|scope| {
            // Stops the loop even if a switch fails.
            let ended = Ended(&self.has_ended);
            let starting = scope.spawn(|| {
                while !self.has_ended.load(Ordering::SeqCst) {
                    self.start();
                }
            });
            switches();
            drop(ended);
            starting.join().unwrap();
        });
        Counted::of(&self.starts.lock().unwrap())
    }

    fn has_enough(&self) -> bool {
        let starts = self.starts.lock().unwrap();
        let overlapping = starts.iter().filter(|start| start.overlaps).count();
        !is_whole() || starts.len() >= 5000 && overlapping >= 200
    }
}

/// Sets the flag when it is dropped, even by a panic.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Replaces a tree with a copy of another one.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// The starts of all switches, by outcome.
#[derive(Debug)]
struct Counted {
    starts: u64,
    overlapping: u64,
    failed: u64,
    /// New programs with old libraries on the way there, of all switches.
    old_library_there: u64,
    /// The most such mixtures of one switch on the way back.
    old_library_back: u64,
    /// The most mixtures of either kind of one switch.
    most_of_a_switch: u64,
    mixtures: u64,
}

impl Counted {
    /// Counts them: odd switches lead there, even ones back.
    fn of(starts: &[Start]) -> Self {
        let count =
            |which: &dyn Fn(&Start) -> bool| starts.iter().filter(|start| which(start)).count() as u64;
        let is_there = |start: &Start| !start.switch.is_multiple_of(2);
        let is_mixed = |start: &Start| matches!(start.said, Said::NewLibrary | Said::OldLibrary);
        let most = |which: &dyn Fn(&Start) -> bool| {
            let mut of_switches: BTreeMap<usize, u64> = BTreeMap::new();
            for start in starts.iter().filter(|start| which(start)) {
                *of_switches.entry(start.switch).or_default() += 1;
            }
            of_switches.into_values().max().unwrap_or(0)
        };
        Self {
            starts: starts.len() as u64,
            overlapping: count(&|start| start.overlaps),
            failed: count(&|start| start.said == Said::Failed),
            old_library_there: count(&|start| is_there(start) && start.said == Said::OldLibrary),
            old_library_back: most(&|start| !is_there(start) && start.said == Said::OldLibrary),
            most_of_a_switch: most(&is_mixed),
            mixtures: count(&is_mixed),
        }
    }

    fn tell(&self, about: &str, switches: usize) {
        let told = [
            ("switches", switches as u64),
            ("starts", self.starts),
            ("starts during a switch", self.overlapping),
            ("failures", self.failed),
            ("mixtures", self.mixtures),
            ("mixtures of a switch at most", self.most_of_a_switch),
            ("new programs with old libraries on the way there", self.old_library_there),
            ("of a switch on the way back at most", self.old_library_back),
        ];
        figures(about, &told);
    }
}

/// Promotes and backs out by turns, with these options for both.
fn to_and_fro(watched: &Watched, options: &str) -> (Counted, usize) {
    let mut rounds = 0;
    let counted = watched.while_started(|| {
        while rounds < sample_or_whole(2, 50) || !watched.has_enough() {
            rounds += 1;
            let run = |line: String| {
                let run = watched.live.run(&line);
                assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
            };
            watched.switch(|| run(format!("stage promote site -R @ROOT@ --max-delete 100% {options}")));
            watched.switch(|| run(format!("remove -R @ROOT@ {options} site-{rounds:02}")));
        }
    });
    (counted, 2 * rounds)
}

#[test]
fn a_program_always_starts_and_never_meets_an_older_library() {
    let Some(watched) = Watched::new("a_program_always_starts…") else { return };
    let (counted, switches) = to_and_fro(&watched, "");
    counted.tell("never without a version, by renames", switches);
    assert_eq!((counted.failed, counted.old_library_there), (0, 0), "{counted:?}");
    assert!(counted.old_library_back <= 1, "{counted:?}");
    if is_whole() {
        assert!(counted.starts >= 5000 && counted.overlapping >= 200, "{counted:?}");
    }
}

#[test]
fn an_exchange_mixes_nothing_but_one_start() {
    let test = "an_exchange_mixes…";
    let Some(watched) = Watched::new(test) else { return };
    let (counted, switches) = to_and_fro(&watched, "--exchange usr");
    counted.tell("never without a version, by exchange", switches);
    assert_eq!(counted.failed, 0, "{counted:?}");
    assert!(counted.most_of_a_switch <= 1, "{counted:?}");
}

/// Reports the outcome of two passes of rsync, without requirements.
#[test]
fn two_passes_of_rsync_are_told_beside_it() {
    let test = "two_passes_of_rsync…";
    if Command::new("rsync").arg("--version").stdout(Stdio::null()).status().is_err() {
        crate::missing("rsync", test);
        return;
    }
    let Some(watched) = Watched::new(test) else { return };
    let from = [watched.live.beside("site"), watched.live.beside("old")];
    let pass = |from: &PathBuf, options: &[&str]| {
        let to = watched.live.root();
        let status = Command::new("rsync").arg("-a").args(options).arg(from.join("usr")).arg(to).status();
        assert!(status.unwrap().success());
    };
    let rounds = sample_or_whole(2, 50);
    let counted = watched.while_started(|| {
        for from in (0..rounds).flat_map(|_| &from) {
            watched.switch(|| {
                watched.is_copying.store(true, Ordering::SeqCst);
                pass(from, &[]);
                pass(from, &["--delete"]);
                watched.is_copying.store(false, Ordering::SeqCst);
            });
        }
    });
    counted.tell("never without a version, two passes of rsync", 2 * rounds);
}

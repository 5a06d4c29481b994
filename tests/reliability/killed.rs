//! Runs ended by a signal, at any moment: the root is as before or as after, and a mixture is never visible.
//!
//! A trial starts patchadd or patchrm, whichever the root is ready for, and kills it after a while. Half of the trials
//! wait for a random moment, half for the journal to be published, so that the switch, which is short, is hit as well.
//! The answers of the queries in between, the result of recovery, and the state afterwards must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use patchadm_changeset::format::journal::parse_head;
use rustix::process::{Pid, Signal, kill_process};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::scenario::Scenario;
use crate::tree::Tree;

const FILES: usize = 256;
const ID: &str = "100-01";
pub(crate) const ADD: &str = "patchadd -R @ROOT@ delivered/100-01";
pub(crate) const REMOVE: &str = "patchrm -R @ROOT@ 100-01";

/// A package of many files, and a patch that replaces, adds and deletes some hundreds of them.
fn stage() -> Scenario {
    let (mut package, mut patch) = (Package::new("ACMEweb"), Package::new("ACMEweb").directory("new"));
    let mut deleted = Vec::new();
    for number in 0..FILES {
        let path = format!("share/{number:04}");
        let text = |version: &str| format!("{version} of {number}\n").repeat(number % 64 + 1);
        package = package.file(&path, 0o644, text("first"));
        if number % 16 == 0 {
            deleted.push(path);
        } else {
            patch = patch.file(&path, 0o644, text("second"));
            patch = patch.file(&format!("new/{number:04}"), 0o644, text("new"));
        }
    }
    let large = |version: &str| version.repeat(1 << 18);
    package = package.file("lib/large", 0o755, large("one "));
    patch = patch.file("lib/large", 0o755, large("two "));
    let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
    let stage = Scenario::new();
    stage.install(&package);
    Patch::of(ID, patch.deletes(&deleted)).directory(&stage);
    stage
}

/// Everything that must change at once.
#[derive(Clone, PartialEq, Eq)]
struct State {
    software: Tree,
    contents: Vec<String>,
    patches: String,
    saved: Vec<String>,
}

impl State {
    fn of(stage: &Scenario) -> Self {
        let save = stage.at("/var/sadm/pkg/ACMEweb/save");
        let mut saved: Vec<_> = fs::read_dir(save)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        saved.sort();
        let pkginfo = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
        let patches = pkginfo.lines().find_map(|line| line.strip_prefix("PATCHLIST="));
        let patches = patches.unwrap_or_default().to_owned();
        let software = Tree::of(&stage.root(), &["var"]);
        Self { software, contents: stage.lines(), patches, saved }
    }
}

/// Answers of the queries about the patches of the root: once by package, once by root, once by each command.
fn asked(stage: &Scenario) -> [String; 4] {
    [
        "pkgparam -R @ROOT@ ACMEweb PATCHLIST",
        "showrev -p -R @ROOT@",
        "patchadd -p -R @ROOT@",
        "list -R @ROOT@",
    ]
    .map(|line| {
        let run = stage.run(line);
        assert!(run.stderr.is_empty() || run.stderr.contains("was interrupted"), "{}", run.stderr);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        run.stdout
    })
}

/// Pseudorandom numbers that are the same in every run of the tests (xorshift).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The run of the journal, and whether the journal is published and without an outcome.
pub(crate) fn journal(file: &Path) -> Option<(String, bool)> {
    let bytes = fs::read(file).ok()?;
    let head = parse_head(bytes.get(..4096)?).ok()?;
    Some((head.header.run.clone(), head.is_open()))
}

/// Waits until a command has an open journal, of another run than `last`, or has ended.
pub(crate) fn until_published(command: &mut Child, file: &Path, last: Option<&str>) {
    let is_published = || journal(file).is_some_and(|(run, is_open)| is_open && Some(&*run) != last);
    while command.try_wait().unwrap().is_none() && !is_published() {
        thread::sleep(Duration::from_micros(100));
    }
}

/// A root on which runs are killed, and its state before and after the patch.
pub(crate) struct Trials {
    pub(crate) stage: Scenario,
    before: (State, [String; 4]),
    after: (State, [String; 4]),
    dice: Dice,
    /// How long an undisturbed run takes.
    usual: Duration,
    /// How often each state was found after a kill.
    counts: BTreeMap<&'static str, usize>,
    pub(crate) applied: bool,
}

impl Trials {
    pub(crate) fn new(seed: u64) -> Self {
        let stage = stage();
        let before = (State::of(&stage), asked(&stage));
        let began = Instant::now();
        stage.run(ADD).ok();
        let usual = began.elapsed();
        let after = (State::of(&stage), asked(&stage));
        assert!(before.0 != after.0 && before.1 != after.1);
        stage.run(REMOVE).ok();
        assert!(State::of(&stage) == before.0);
        Self { stage, before, after, dice: Dice(seed), usual, counts: BTreeMap::new(), applied: false }
    }

    /// Starts the command that the root is ready for and waits for the moment of the signal.
    fn start(&mut self) -> Child {
        let line = if self.applied { REMOVE } else { ADD };
        let last = journal(&self.journal()).map(|(run, _)| run);
        let mut child = self.stage.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let micros = u64::try_from(self.usual.as_micros()).unwrap();
        if self.dice.below(2) == 0 {
            thread::sleep(Duration::from_micros(self.dice.below(micros)));
        } else {
            until_published(&mut child, &self.journal(), last.as_deref());
            thread::sleep(Duration::from_micros(self.dice.below(micros / 8)));
        }
        child
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.stage.at("/var/sadm/patchadm/journal")
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// True if the root is as after the patch; it must be that or as before.
    #[track_caller]
    pub(crate) fn is_applied(&self, when: &str) -> bool {
        let now = State::of(&self.stage);
        if now == self.before.0 {
            return false;
        }
        let [from_before, from_after] =
            [&self.before.0, &self.after.0].map(|state| state.software.difference(&now.software));
        assert!(
            now == self.after.0,
            "{when}: neither before nor after\n{from_before}\nor\n{from_after}\n{}",
            now.patches
        );
        true
    }

    /// Kills recovery at a random point; the next one begins again.
    fn kill_recovery(&mut self) {
        let mut command = self.stage.command("recover -R @ROOT@");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(self.dice.below(30_000)));
        child.kill().unwrap();
        let cut = child.wait().unwrap().signal().is_some();
        self.count(if cut { "recovery cut" } else { "recovery done" });
    }

    fn kill(&mut self, trial: u64) {
        let was = self.applied;
        let mut child = self.start();
        child.kill().unwrap();
        let ended_itself = child.wait().unwrap().signal().is_none();
        self.count(match (ended_itself, journal(&self.journal())) {
            (true, _) => "had ended",
            (false, Some((_, true))) => "while switching",
            (false, _) => "before the journal or after the commit",
        });
        if trial % 4 == 3 {
            self.kill_recovery();
        }
        let said = asked(&self.stage);
        let recovery = if trial.is_multiple_of(2) { "recover -R @ROOT@" } else { "patchrm -R @ROOT@ 999-01" };
        let run = self.stage.run(recovery);
        assert!([0, 2].contains(&run.code), "trial {trial}: {}{}", run.stdout, run.stderr);
        self.applied = self.is_applied(&format!("trial {trial}"));
        let expected = if self.applied { &self.after.1 } else { &self.before.1 };
        assert_eq!(normal(&said), normal(expected), "trial {trial}: what was said before recovery");
        assert_eq!(normal(&asked(&self.stage)), normal(expected), "trial {trial}: and after it");
        assert_eq!(strays(&self.stage), Vec::<String>::new(), "trial {trial}");
        self.count(if self.applied == was { "as before" } else { "as after" });
    }
}

/// Answers made comparable: a PATCHLIST may be empty instead of absent, and the size of compressed undo data varies by
/// some bytes, because it contains inode numbers.
fn normal(said: &[String; 4]) -> Vec<&str> {
    said.iter().map(|text| text.split("undo data").next().unwrap_or_default().trim()).collect()
}

/// Stages and other files that no finished run leaves.
pub(crate) fn strays(stage: &Scenario) -> Vec<String> {
    let own = stage.at("/var/sadm/patchadm");
    let mut found: Vec<String> = fs::read_dir(own.join("stage"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.extend(own.join("journal.new").exists().then(|| "journal.new".to_owned()));
    let ops = fs::read_dir(&own).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    let ops = ops.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("ops-"));
    let last = journal(&own.join("journal")).map(|(run, _)| format!("ops-{run}"));
    found.extend(ops.filter(|name| Some(name) != last.as_ref()));
    found
}

in_parts!(a_killed_run_leaves_the_root_as_before_or_as_after_and_no_query_sees_a_mixture, kill_runs, 3);

/// Kills a part of the runs. The last one of all parts goes on until everything was met.
fn kill_runs(part: usize, parts: usize) {
    static MET: Mutex<(usize, BTreeSet<&str>)> = Mutex::new((0, BTreeSet::new()));
    let mut trials = Trials::new(0x5eed_0001 + 16 * part as u64);
    let wanted = [
        "as before",
        "as after",
        "while switching",
        "before the journal or after the commit",
        "recovery cut",
    ];
    let enough = sample_or_whole(30, 300) / parts as u64;
    for trial in 0.. {
        trials.kill(trial);
        let mut met = MET.lock().unwrap();
        met.1.extend(trials.counts.keys());
        let is_last = is_whole() || met.0 + 1 == parts;
        if trial >= enough && (!is_last || wanted.iter().all(|outcome| met.1.contains(outcome))) {
            met.0 += 1;
            figures("killed", &[("runs killed at a random moment", trial + 1), ("third states", 0)]);
            break;
        }
        assert!(trial < 400 + enough, "one of {wanted:?} never happens: {:?}", trials.counts);
    }
}

#[test]
fn a_run_that_is_asked_to_end_rolls_back_or_completes() {
    let mut trials = Trials::new(0x5eed_0002);
    for trial in 0.. {
        if trial >= 16 && trials.counts.contains_key("rolled back") {
            break;
        }
        assert!(trial < 200, "none was rolled back: {:?}", trials.counts);
        let was = trials.applied;
        let mut child = trials.start();
        let signal = if trial % 2 == 0 { Signal::TERM } else { Signal::INT };
        // A process that has not been waited for keeps its number, even if it has ended.
        if child.try_wait().unwrap().is_none() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
        }
        let status = child.wait().unwrap();
        let ended = (status.code(), status.signal());
        trials.applied = trials.is_applied(&format!("trial {trial}"));
        let number = signal.as_raw();
        if trials.applied == was {
            // A signal that comes before the program handles signals ends it at once.
            assert!([(Some(128 + number), None), (None, Some(number))].contains(&ended), "{ended:?}");
            trials.count("rolled back");
        } else {
            assert_eq!(ended, (Some(0), None), "trial {trial}");
            trials.count("completed");
        }
        assert_eq!(strays(&trials.stage), Vec::<String>::new(), "trial {trial}");
        assert_eq!(trials.stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    }
}

#[test]
fn queries_beside_a_running_switch_see_before_or_after() {
    let trials = Trials::new(0x5eed_0003);
    let stage = &trials.stage;
    let applied = "100-01\nInstalled: Fri Nov 20 07:00:00 UTC 2026 From: ";
    let line = &trials.after.1[1];
    let said = "\nbacked out\n";
    let parameters = "pkgparam -R @ROOT@ ACMEweb PATCHLIST PATCH_INFO_100-01";
    let is_enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..200 {
                stage.run(ADD).ok();
                stage.run(REMOVE).ok();
                if round >= 3 && is_enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let [mut before, mut after] = [0, 0];
        while !writer.is_finished() {
            for query in [parameters, "showrev -p -R @ROOT@"] {
                let answer = stage.run(query).ok();
                if answer.starts_with(applied) || answer == *line {
                    after += 1;
                } else {
                    let is_before = answer == said || answer == trials.before.1[1];
                    // On failure the writer ends soon as well.
                    is_enough.fetch_or(!is_before, Ordering::Relaxed);
                    assert!(is_before, "{answer}");
                    before += 1;
                }
            }
            is_enough.store(before > 0 && after > 0, Ordering::Relaxed);
        }
        assert!(before > 0 && after > 0, "{before} before, {after} after");
    });
    assert_eq!(stage.run(parameters).ok(), said);
}

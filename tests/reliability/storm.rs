//! Fifty commands on one root at once, some of them killed in the middle: afterwards the records agree with the exit
//! codes.
//!
//! Every thread works on something of its own (a patch, a package, paths that it registers), so that it knows what has
//! to exist in the end, whatever the others did. The holder of the lock is killed from time to time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{figures, is_whole, sample_or_whole};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

/// Concurrent commands on one root, one for each thread.
struct Storm {
    stage: Scenario,
    /// Writers that may be killed.
    live: Mutex<Vec<u32>>,
    commands: AtomicU64,
    kills: AtomicU64,
    until: Instant,
    calm: AtomicBool,
}

/// Reads a pipe to its end.
fn reading(mut pipe: impl Read) -> impl FnOnce() -> String {
    move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    }
}

/// Results of the commands of one thread.
#[derive(Debug, Default)]
struct Tally {
    /// How often each kind of command succeeded, and how often it was killed.
    done: BTreeMap<&'static str, u64>,
    killed: u64,
    /// True if the object of the thread exists in the end.
    is_there: bool,
}

impl Storm {
    /// Runs a command to its end; none if it was killed.
    fn run(&self, line: &str, may_be_killed: bool) -> Option<String> {
        let mut child =
            self.stage.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.commands.fetch_add(1, Relaxed);
        let id = child.id();
        let stdout = thread::spawn(reading(child.stdout.take().unwrap()));
        let stderr = thread::spawn(reading(child.stderr.take().unwrap()));
        if may_be_killed {
            self.live.lock().unwrap().push(id);
        }
        let status = loop {
            // A process that was not waited for keeps its number, so only such a process is killed.
            let mut live = self.live.lock().unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                live.retain(|other| *other != id);
                break status;
            }
            drop(live);
            thread::sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().unwrap());
        if status.signal() == Some(9) {
            return None;
        }
        assert_eq!(status.code(), Some(0), "{line}: {stdout}{stderr}");
        Some(stdout)
    }

    /// Kills the holder of the lock, from time to time.
    fn kill(&self) {
        let lockfile = self.stage.at("/var/sadm/install/.lockfile");
        while !self.calm.load(Relaxed) {
            thread::sleep(Duration::from_millis(if is_whole() { 700 } else { 300 }));
            let text = String::from_utf8_lossy(&fs::read(&lockfile).unwrap_or_default()).into_owned();
            let holder = text.split_whitespace().next().and_then(|pid| pid.parse::<u32>().ok());
            let live = self.live.lock().unwrap();
            if let Some(pid) = holder.filter(|pid| live.contains(pid)) {
                let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                if kill_process(pid, Signal::KILL).is_ok() {
                    self.kills.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Adds something and removes it again, in turns; `is_there` tells the state after a kill.
    fn in_turns(
        &self,
        add: (&'static str, &str),
        remove: (&'static str, &str),
        is_there: &dyn Fn() -> bool,
    ) -> Tally {
        let mut tally = Tally { is_there: is_there(), ..Tally::default() };
        loop {
            let (kind, line) = if tally.is_there { remove } else { add };
            if self.run(line, true).is_some() {
                *tally.done.entry(kind).or_default() += 1;
                tally.is_there = !tally.is_there;
            } else {
                tally.killed += 1;
                self.run("recover -R @ROOT@", false);
                tally.is_there = is_there();
            }
            if Instant::now() >= self.until {
                return tally;
            }
        }
    }

    fn patchlist(&self, package: &str) -> Vec<String> {
        let list = self.run(&format!("pkgparam -R @ROOT@ {package} PATCHLIST"), false).unwrap();
        list.split_whitespace().map(str::to_owned).collect()
    }
}

const PACKAGES: usize = 5;
const PATCHES: usize = 25;
const NEW_PACKAGES: usize = 8;
const REGISTRARS: usize = 7;
const READERS: usize = 10;

fn package_of(number: usize) -> String {
    format!("ACMEp{}", number % PACKAGES)
}

fn storm() -> Storm {
    let stage = Scenario::new();
    let mut packages: Vec<Package> = (0..PACKAGES).map(|number| Package::new(&package_of(number))).collect();
    for number in 0..PATCHES {
        let path = format!("share/{number:02}");
        let package = &mut packages[number % PACKAGES];
        *package = package.clone().file(&path, 0o644, "first\n");
        let patch = Package::new(&package_of(number)).file(&path, 0o644, format!("second of {number}\n"));
        Patch::of(&format!("{}-01", 101 + number), patch).directory(&stage);
    }
    for package in &packages {
        stage.install(package);
    }
    for number in 0..NEW_PACKAGES {
        let name = format!("ACMEn{number}");
        Package::new(&name).file("bin/tool", 0o755, "tool\n").write(&stage.beside("spool"));
    }
    stage.file("/etc/patchadm/policy", "wait=600\n");
    Storm {
        stage,
        live: Mutex::default(),
        commands: AtomicU64::new(0),
        kills: AtomicU64::new(0),
        until: Instant::now() + Duration::from_secs(sample_or_whole(0, 60)),
        calm: AtomicBool::new(false),
    }
}

#[test]
fn fifty_commands_at_once_lose_no_record_even_if_some_are_killed() {
    let storm = &storm();
    let (patches, packages, registered) = thread::scope(|scope| {
        let killer = scope.spawn(|| storm.kill());
        let patches: Vec<_> =
            (0..PATCHES).map(|number| scope.spawn(move || patches_in_turns(storm, number))).collect();
        let packages: Vec<_> =
            (0..NEW_PACKAGES).map(|number| scope.spawn(move || packages_in_turns(storm, number))).collect();
        let registrars: Vec<_> =
            (0..REGISTRARS).map(|number| scope.spawn(move || registers(storm, number))).collect();
        for _ in 0..READERS {
            scope.spawn(|| reads(storm));
        }
        // Even if one fails; otherwise the others would never end.
        let patches: Vec<_> = patches.into_iter().map(ScopedJoinHandle::join).collect();
        let packages: Vec<_> = packages.into_iter().map(ScopedJoinHandle::join).collect();
        let registered: Vec<_> = registrars.into_iter().map(ScopedJoinHandle::join).collect();
        storm.calm.store(true, Relaxed);
        killer.join().unwrap();
        (patches, packages, registered)
    });
    let patches: Vec<Tally> = patches.into_iter().map(Result::unwrap).collect();
    let packages: Vec<Tally> = packages.into_iter().map(Result::unwrap).collect();
    let registered: Vec<String> = registered.into_iter().flat_map(Result::unwrap).collect();
    storm.run("recover -R @ROOT@", false);
    for number in 0..REGISTRARS {
        storm.run(&format!("installf -R @ROOT@ -f {}", package_of(number)), false);
    }
    let history = history(&storm.stage.at("/var/sadm/patchadm/history"));
    let recorded = |command: &str, about: &str| {
        let is_it = |entry: &&Value| {
            entry["command"] == command
                && entry["result"] == "done"
                && (entry["patches"][0] == about || entry["packages"][0] == about)
        };
        history.iter().filter(is_it).count() as u64
    };
    let counted = |tally: &Tally, commands: [&'static str; 2], about: &str| {
        let found = commands.map(|command| recorded(command, about));
        let known = commands.map(|command| tally.done.get(command).copied().unwrap_or_default());
        assert!(found[0] >= known[0] && found[1] >= known[1], "{about}: {found:?}, {tally:?}");
        // A killed command may have got past its commit.
        let more = found[0] + found[1] - known[0] - known[1];
        assert!(more <= tally.killed, "{about}: {found:?}, {tally:?}");
    };
    for (number, tally) in patches.iter().enumerate() {
        let (id, package) = (format!("{}-01", 101 + number), package_of(number));
        assert_eq!(storm.patchlist(&package).contains(&id), tally.is_there, "{id}");
        let text = storm.stage.text(&format!("/opt/{package}/share/{number:02}"));
        assert_eq!(text != "first\n", tally.is_there, "{id}: {text}");
        counted(tally, ["patchadd", "patchrm"], &id);
    }
    for (number, tally) in packages.iter().enumerate() {
        let name = format!("ACMEn{number}");
        assert_eq!(storm.stage.at(&format!("/opt/{name}/bin/tool")).exists(), tally.is_there);
        assert_eq!(storm.stage.lines().iter().any(|line| line.ends_with(&name)), tally.is_there);
        counted(tally, ["pkgadd", "pkgrm"], &name);
    }
    let lines = storm.stage.lines();
    for path in &registered {
        assert_eq!(lines.iter().filter(|line| line.split(' ').next() == Some(path)).count(), 1, "{path}");
    }
    assert_eq!(storm.stage.run("pkgchk -R @ROOT@").ok(), "", "files and records agree");
    let mut runs: Vec<u64> = history
        .iter()
        .map(|entry| entry["run"].as_str().unwrap().split('-').next().unwrap().parse().unwrap())
        .collect();
    let count = runs.len();
    assert!(runs.is_sorted(), "runs are told of in their order: {runs:?}");
    runs.dedup();
    assert_eq!(runs.len(), count, "no two runs have the same number");
    let kills = storm.kills.load(Relaxed);
    figures(
        "concurrency",
        &[
            ("commands, 50 at once", storm.commands.load(Relaxed)),
            ("of them killed", kills),
            ("lost records", 0),
        ],
    );
}

fn history(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn patches_in_turns(storm: &Storm, number: usize) -> Tally {
    let (id, package) = (format!("{}-01", 101 + number), package_of(number));
    let (add, remove) = (format!("patchadd -R @ROOT@ delivered/{id}"), format!("patchrm -R @ROOT@ {id}"));
    storm.in_turns(("patchadd", &add), ("patchrm", &remove), &|| storm.patchlist(&package).contains(&id))
}

fn packages_in_turns(storm: &Storm, number: usize) -> Tally {
    let name = format!("ACMEn{number}");
    let (add, remove) =
        (format!("pkgadd -n -R @ROOT@ -d spool {name}"), format!("pkgrm -n -R @ROOT@ {name}"));
    let is_there = || storm.stage.run(&format!("pkginfo -q -R @ROOT@ {name}")).code == 0;
    storm.in_turns(("pkgadd", &add), ("pkgrm", &remove), &is_there)
}

/// Registers one file after another. Returns those whose registration was reported.
fn registers(storm: &Storm, number: usize) -> Vec<String> {
    let (mut registered, package) = (Vec::new(), package_of(number));
    for next in 0.. {
        let path = format!("/opt/{package}/made-{number}-{next}");
        storm.stage.file(&path, "made\n");
        let line = format!("installf -R @ROOT@ {package} {path} f 0644 root root");
        if storm.run(&line, true).is_some() {
            registered.push(path);
        }
        if Instant::now() >= storm.until {
            break;
        }
    }
    registered
}

/// Asks again and again: every answer is about patches and packages that exist.
fn reads(storm: &Storm) {
    while !storm.calm.load(Relaxed) {
        let text = storm.run("showrev -p -R @ROOT@", false).unwrap();
        for line in text.lines().filter(|line| line.starts_with("Patch: ")) {
            let id = line.split_whitespace().nth(1).and_then(|id| id.strip_suffix("-01")).unwrap_or_default();
            let number = id.parse::<usize>().unwrap() - 101;
            assert!(
                number < PATCHES && line.ends_with(&format!(" Packages: {}", package_of(number))),
                "{line}"
            );
        }
        for number in 0..PACKAGES {
            let list = storm.patchlist(&package_of(number));
            assert!(list.iter().all(|id| id.ends_with("-01")), "{list:?}");
        }
        let said = storm.run("pkginfo -R @ROOT@", false).unwrap();
        let packages = said.lines().filter(|line| line.contains("ACMEp")).count();
        assert_eq!(packages, PACKAGES, "{said}");
        thread::sleep(Duration::from_millis(50));
    }
}

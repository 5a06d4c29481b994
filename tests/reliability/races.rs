//! Somebody else changes the tree while a command works on it: in a tight loop, directories, files and parents are
//! exchanged with symbolic links that lead to a canary outside, or with other directories. Nothing outside is ever
//! written or read, and the command ends by itself, with success or with an error. When the disturbance is over and the
//! tree is put right, recovery leaves everything that was not exchanged as before the command or as after it. A run
//! that was killed before, and is recovered while links come and go, is undone completely.
//!
//! The disturber has the rights of the owner of a directory above: to move its entries. A user who owns a part of a
//! tree can do that while root applies a patch to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use patchadm_rootfs::{ChangeCall, Door, FileType};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::canary::Canary;
use crate::reliability::hostile_roots::{can_trace, killed_at_rename};
use crate::reliability::killed::Dice;
use crate::reliability::stories::Command::BackOut;
use crate::reliability::stories::{Story, Trial};
use crate::reliability::{figures, part_of, sample_or_whole};
use crate::scenario::Scenario;
use crate::tree::Tree;

/// The paths that are exchanged, and their replacements: a link to the twin in the canary, or another directory with
/// the same names.
const DISTURBANCES: [(&str, With); 14] = [
    ("opt", With::Link),
    ("opt/ACMEweb", With::Link),
    ("opt/ACMEweb/bin", With::Link),
    ("opt/ACMEweb/share", With::Link),
    ("opt/ACMEweb/share/doc", With::Link),
    ("opt/ACMEweb/bin/httpd", With::Link),
    ("opt/ACMEweb/share/doc/01", With::Link),
    ("opt/ACMEweb/share", With::Directory),
    ("opt/ACMEweb", With::Directory),
    ("var", With::Link),
    ("var/sadm", With::Link),
    ("var/sadm/pkg/ACMEweb", With::Link),
    ("var/sadm/patchadm", With::Link),
    ("var/sadm/install/contents", With::Link),
];

/// The replacement in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// A symbolic link to the same path outside.
    Link,
    /// A copy of the directory.
    Directory,
}

/// The directory of the other object of an exchange: on the same file system, and in no package.
const ASIDE: &str = "aside";

/// Commands that change the root, each with the one that undoes it, if any.
const PAIRS: [[&str; 2]; 4] = [
    ["patchadd -R @ROOT@ delivered/100-01", "patchrm -R @ROOT@ 100-01"],
    ["pkgadd -n -R @ROOT@ -d spool ACMEnew", "pkgrm -n -R @ROOT@ ACMEnew"],
    ["installf -R @ROOT@ ACMEweb /opt/ACMEweb/share/made d 0755 root root", ""],
    ["removef -R @ROOT@ ACMEweb /opt/ACMEweb/share/doc/01", ""],
];

const FILES: usize = 24;

fn stage() -> Scenario {
    let stage = Scenario::new();
    let web = Package::new("ACMEweb").directory("bin").directory("share").directory("share/doc");
    let (mut first, mut patch) = (web.clone(), web);
    for number in 0..FILES {
        let path = format!("share/doc/{number:02}");
        first = first.file(&path, 0o644, format!("first {number}\n"));
        patch = patch.file(&path, 0o644, format!("second {number}\n"));
    }
    stage.install(&first.file("bin/httpd", 0o755, "one\n"));
    let patch = patch.file("bin/httpd", 0o755, "two\n").file("share/new", 0o644, "new\n");
    Patch::of("100-01", patch).directory(&stage);
    let new = Package::new("ACMEnew").param("BASEDIR", "/opt/ACMEweb").directory("share");
    let new =
        new.directory("share/of").file("share/of/new", 0o644, "of new\n").file("bin/tool", 0o755, "t\n");
    new.write(&stage.beside("spool"));
    stage
}

/// Everything that must change at once.
#[derive(Clone, PartialEq, Eq)]
struct State {
    software: Tree,
    contents: Vec<String>,
    parameters: Vec<String>,
}

impl State {
    fn of(stage: &Scenario) -> Self {
        let lists = |text: &str| {
            let lines = text.lines().filter(|line| line.starts_with("PATCHLIST=") && *line != "PATCHLIST=");
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let mut parameters = Vec::new();
        for package in ["ACMEweb", "ACMEnew"] {
            if let Ok(text) = fs::read_to_string(stage.at(&format!("/var/sadm/pkg/{package}/pkginfo"))) {
                parameters.push(package.to_owned());
                parameters.extend(lists(&text));
            }
        }
        Self { software: Tree::of(&stage.root(), &["var", ASIDE]), contents: stage.lines(), parameters }
    }

    /// True if two states agree in everything except at or below `path`.
    fn agrees(&self, other: &Self, path: &str) -> bool {
        // An object that stood in the place of a file at a bad moment is kept beside it.
        let below = [format!("{path}/"), format!("{path}.edited-")];
        let is_in = |name: &str| name == path || below.iter().any(|below| name.starts_with(below));
        let rest = |state: &Self| -> Vec<(String, Vec<String>)> {
            let objects = state.software.objects().iter().filter(|(name, _)| !is_in(name));
            objects.map(|(name, columns)| (name.clone(), columns.clone())).collect()
        };
        rest(self) == rest(other)
            && (&self.contents, &self.parameters) == (&other.contents, &other.parameters)
    }
}

/// An exchange that can go on while something else happens.
struct Disturbance {
    here: PathBuf,
    there: PathBuf,
    with: With,
    /// The inode of the original, if it is a directory.
    inode: u64,
}

impl Disturbance {
    /// Makes the replacement of `path`.
    fn new(stage: &Scenario, outside: &Path, path: &str, with: With) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let (here, there) = (stage.root().join(path), stage.root().join(ASIDE).join("other"));
        let aside = stage.root().join(ASIDE);
        let _ = fs::remove_dir_all(&aside);
        fs::create_dir(&aside).unwrap();
        match with {
            With::Link => symlink(outside.join(path), &there).unwrap(),
            With::Directory => {
                assert!(Command::new("cp").arg("-a").args([&here, &there]).status().unwrap().success());
            }
        }
        let inode = fs::symlink_metadata(&here).unwrap().ino();
        Self { here, there, with, inode }
    }

    fn exchange(&self) -> bool {
        renameat_with(CWD, &self.here, CWD, &self.there, RenameFlags::EXCHANGE).is_ok()
    }

    /// Exchanges again and again while `work` runs. Returns its result, and the number of exchanges.
    fn during<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    count += u64::from(self.exchange());
                    // Leaves time now and then for more than one call of the other side.
                    if count % 7 == 0 {
                        thread::sleep(Duration::from_micros(50));
                    }
                }
                count
            });
            let done = work();
            stop.store(true, Ordering::Relaxed);
            (done, swapping.join().unwrap())
        })
    }

    /// Puts the original back.
    fn set_right(&self) {
        use std::os::unix::fs::MetadataExt as _;
        let seen = |path: &Path| fs::symlink_metadata(path).ok();
        let is_wrong = match self.with {
            With::Link => seen(&self.here).is_some_and(|here| here.is_symlink()),
            With::Directory => seen(&self.here).is_none_or(|here| here.ino() != self.inode),
        };
        if is_wrong {
            assert!(self.exchange(), "{} cannot be set right", self.here.display());
        }
    }

    /// Gives back a file that was moved away at a bad moment, when another one was in its place; true if there was one.
    fn give_back(&self) -> bool {
        let holds_a_file = fs::symlink_metadata(&self.there).is_ok_and(|there| there.is_file());
        self.with == With::Link && holds_a_file && self.exchange()
    }
}

/// Runs a command to its end. Returns its code and output.
fn run(stage: &Scenario, line: &str) -> (i32, String) {
    let mut command = stage.command(line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{line} hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or_else(|| panic!("{line}: {:?}: {said}", output.status.signal()));
    assert!(!matches!(code, 70 | 101) && !said.contains("panicked"), "{line} ({code}): {said}");
    (code, said.into_owned())
}

/// The scene of the races.
struct Races {
    stage: Scenario,
    outside: PathBuf,
    canary: Canary,
    /// The two states of each pair of commands.
    states: Vec<[State; 2]>,
    counts: BTreeMap<&'static str, u64>,
    dice: Dice,
}

impl Races {
    fn new(seed: u64) -> Self {
        let stage = stage();
        let outside = stage.beside("outside");
        for copy in [&outside, &stage.beside("good")] {
            assert!(Command::new("cp").arg("-a").args([&stage.root(), copy]).status().unwrap().success());
        }
        let canary = Canary::watch(&outside);
        let (counts, dice) = (BTreeMap::new(), Dice(seed));
        let mut races = Self { stage, outside, canary, states: Vec::new(), counts, dice };
        for (pair, [_, back]) in PAIRS.into_iter().enumerate() {
            races.fresh(pair, false);
            let before = State::of(&races.stage);
            races.fresh(pair, true);
            let after = State::of(&races.stage);
            assert!(before != after);
            if !back.is_empty() {
                assert_eq!(run(&races.stage, back).0, 0, "{back}");
                assert!(before == State::of(&races.stage), "{back}");
            }
            races.states.push([before, after]);
        }
        races
    }

    fn count(&mut self, what: &'static str, number: u64) {
        *self.counts.entry(what).or_default() += number;
    }

    /// Makes an undisturbed root, on which the second state of a pair holds if `advanced`.
    fn fresh(&self, pair: usize, advanced: bool) {
        fs::remove_dir_all(self.stage.root()).unwrap();
        let copied =
            Command::new("cp").arg("-a").args([self.stage.beside("good"), self.stage.root()]).status();
        assert!(copied.unwrap().success());
        if advanced {
            assert_eq!(run(&self.stage, PAIRS[pair][0]).0, 0);
        }
    }

    /// Disturbs one command or, with `killed`, its recovery.
    fn trial(&mut self, (path, with): (&str, With), pair: usize, advanced: bool, killed: bool) {
        self.fresh(pair, advanced);
        let line = PAIRS[pair][usize::from(advanced)];
        let what = format!("{path} with a {with:?}: {line}{}", if killed { ", recovered" } else { "" });
        if killed {
            let rename = 3 + self.dice.below(4);
            if !killed_at_rename(&self.stage, line, rename) {
                return;
            }
        }
        let disturbance = Disturbance::new(&self.stage, &self.outside, path, with);
        let disturbed = if killed { "recover -R @ROOT@" } else { line };
        self.canary.events();
        let ((code, said), swaps) = disturbance.during(|| run(&self.stage, disturbed));
        let events = self.canary.events();
        assert!(events.is_empty(), "{what}: {events:?}");
        let changes = self.canary.changes();
        assert!(changes.is_empty(), "{what} changed {changes:?}");
        disturbance.set_right();
        let (mut recovered, mut told) = run(&self.stage, "recover -R @ROOT@");
        // Only the holder of the old object can give it back; until then recovery reports that it is nowhere.
        if recovered == 9 && told.contains("neither in its place nor in the stage") && disturbance.give_back()
        {
            (recovered, told) = run(&self.stage, "recover -R @ROOT@");
        }
        assert_eq!(recovered, 0, "{what} ({code}): {said}\nthen recover: {told}");
        // A command takes an exchanged object for what it happens to be; a run that was planned before is undone
        // exactly.
        let is_exact = killed && with == With::Link && self.outside.join(path).is_dir();
        let is_like =
            |known: &State, state: &State| if is_exact { known == state } else { known.agrees(state, path) };
        let is_one_of_both = |state: &State| self.states[pair].iter().any(|known| is_like(known, state));
        let mut state = State::of(&self.stage);
        // If the link was put aside as an edit, two files are exchanged, and either may be here at the end.
        if !is_one_of_both(&state) && disturbance.give_back() {
            state = State::of(&self.stage);
        }
        let is_one_of_both = is_one_of_both(&state);
        let difference = self.states[pair][0].software.difference(&state.software);
        let records = (&state.parameters, &state.contents);
        assert!(is_one_of_both, "{what} ({code}): {said}\nthen recover: {told}\n{difference}{records:?}");
        // A command that reports success has done its work. If the records were away when it looked, there was nothing
        // to do: removef prints nothing for a path that is not recorded.
        let saw_no_records = path.starts_with("var") && line.starts_with("removef");
        if code == 0 && !killed && !saw_no_records {
            assert!(
                is_like(&self.states[pair][usize::from(!advanced)], &state),
                "{what}: {said}\n{difference}"
            );
        }
        self.count("exchanges", swaps);
        self.count(if killed { "recoveries" } else { "commands" }, 1);
        self.count(if code == 0 { "successes" } else { "errors" }, 1);
    }
}

in_parts!(nothing_outside_is_touched_while_somebody_exchanges_what_is_inside, exchange_what_is_inside, 2);

fn exchange_what_is_inside(part: usize, parts: usize) {
    let mut races = Races::new(0x7ace + part as u64);
    let can_kill = can_trace();
    if !can_kill {
        crate::skipped("nothing_outside_is_touched…: no strace here, so no run is killed to be recovered");
    }
    let trials = sample_or_whole(40, 1500);
    for number in part_of(0..trials, part, parts) {
        let disturbance = DISTURBANCES[number % DISTURBANCES.len()];
        let pair = [0, 0, 0, 1, 1, 2, 3][usize::try_from(races.dice.below(7)).unwrap()];
        let advanced = pair < 2 && races.dice.below(2) == 1;
        let killed = can_kill && pair < 2 && races.dice.below(3) == 0;
        races.trial(disturbance, pair, advanced, killed);
    }
    let mut counts: Vec<(&str, u64)> = races.counts.into_iter().collect();
    counts.push(("escapes", 0));
    counts.push(("third states", 0));
    figures("races", &counts);
}

#[test]
fn pkgchk_repairs_nothing_outside_while_somebody_exchanges_what_is_inside() {
    let mut races = Races::new(1);
    let spoil = || {
        for path in ["/opt/ACMEweb/bin/httpd", "/opt/ACMEweb/share/doc/01", "/opt/ACMEweb/share/doc"] {
            races.stage.mode(path, 0o700);
        }
    };
    let rounds = sample_or_whole(1, 40);
    let mut swaps = 0;
    for _ in 0..rounds {
        for (path, with) in &DISTURBANCES[..9] {
            races.fresh(0, false);
            spoil();
            let disturbance = Disturbance::new(&races.stage, &races.outside, path, *with);
            races.canary.events();
            swaps += disturbance.during(|| run(&races.stage, "pkgchk -f -R @ROOT@ ACMEweb")).1;
            let (events, changes) = (races.canary.events(), races.canary.changes());
            assert!(events.is_empty() && changes.is_empty(), "{path}: {events:?} {changes:?}");
            disturbance.set_right();
            assert_eq!(run(&races.stage, "pkgchk -f -R @ROOT@ ACMEweb").0, 0, "{path}");
            assert!(State::of(&races.stage) == races.states[0][0], "{path}");
        }
    }
    figures("races-pkgchk", &[("commands", rounds * 9), ("exchanges", swaps), ("escapes", 0)]);
}

#[test]
fn a_source_that_changes_while_it_is_read_gives_the_patch_or_nothing_and_never_a_secret() {
    let races = Races::new(2);
    let secret = races.stage.beside("secret");
    fs::write(&secret, "nobody is to read this\n").unwrap();
    let package = races.stage.beside("delivered/100-01/ACMEweb");
    let spare = races.stage.beside("spare");
    let canary = Canary::watch(&secret);
    let rounds = sample_or_whole(1, 60);
    let [before, after] = &races.states[0];
    let mut counts = [0, 0, 0];
    for _ in 0..rounds {
        for inside in ["reloc/bin/httpd", "reloc/share/doc/07", "reloc/share", "reloc", "pkginfo", "pkgmap"] {
            for form in ["link", "longer", "empty"] {
                races.fresh(0, false);
                let _ = fs::remove_file(&spare);
                let here = package.join(inside);
                let is_directory = fs::metadata(&here).unwrap().is_dir();
                match form {
                    "link" => symlink(&secret, &spare).unwrap(),
                    _ if is_directory => continue,
                    "longer" => {
                        fs::write(&spare, [fs::read(&here).unwrap(), b"more\n".to_vec()].concat()).unwrap();
                    }
                    _ => fs::write(&spare, "").unwrap(),
                }
                let inode = std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(&here).unwrap());
                let disturbance = Disturbance { here, there: spare.clone(), with: With::Directory, inode };
                let ((code, said), swaps) = disturbance.during(|| run(&races.stage, PAIRS[0][0]));
                disturbance.set_right();
                assert!(canary.events().is_empty(), "{inside} {form}: the secret was opened: {said}");
                let expected = if code == 0 { after } else { before };
                let state = State::of(&races.stage);
                let difference = expected.software.difference(&state.software);
                assert!(state == *expected, "{inside} {form} ({code}): {said}\n{difference}");
                counts[0] += 1;
                counts[1] += u64::from(code != 0);
                counts[2] += swaps;
            }
        }
    }
    let [commands, errors, swaps] = counts;
    let told = [("commands", commands), ("refusals", errors), ("exchanges", swaps), ("secrets read", 0)];
    figures("races-sources", &told);
}

/// A held directory that is moved aside keeps the changes made in it: the opened object is the one that was checked.
#[test]
fn a_held_directory_is_the_one_that_was_opened_whatever_is_put_in_its_place() {
    use patchadm_rootfs::Root;
    use patchadm_svr4::package::ObjectPath;
    let stage = Scenario::new();
    stage.directory("/opt/web");
    fs::create_dir_all(stage.beside("outside")).unwrap();
    let root = Root::open(&stage.root()).unwrap();
    let held = root.dir(&ObjectPath::new(b"/opt/web").unwrap()).unwrap();
    fs::rename(stage.at("/opt/web"), stage.at("/opt/moved")).unwrap();
    symlink(stage.beside("outside"), stage.at("/opt/web")).unwrap();
    drop(held.create(b"file").unwrap());
    assert!(held.look(b"file").unwrap().is_some_and(|seen| seen.file_type == FileType::Regular));
    assert!(stage.at("/opt/moved/file").exists() && !stage.beside("outside/file").exists());
    assert!(root.dir(&ObjectPath::new(b"/opt/web").unwrap()).is_err(), "it is a link now");
}

/// The path comes from a file of the root, and the archive may lie in a directory of somebody else.
#[test]
fn an_archive_of_the_host_is_removed_after_a_backout_only_if_it_is_still_the_same_one() {
    let web = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    let stage = Scenario::with(&[web("one\n")]);
    let undo = stage.beside("elsewhere");
    fs::create_dir(&undo).unwrap();
    let applied = stage.patchadd(&format!("-B {}", undo.display()), &Patch::of("100-01", web("two\n")));
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    let (archive, saved) = (undo.join("100-01/ACMEweb/undo.gz"), stage.beside("saved"));
    fs::copy(&archive, &saved).unwrap();
    let act = BackOut(vec!["100-01".to_owned()]);
    let story = Story { name: "backout", stage, acts: vec![act.clone()], whole: act.clone() };
    let theirs = archive.clone();
    let exchanged = Door::watched(move |step| {
        // The journal is published; the archive has been read and is needed no more.
        if step.call == ChangeCall::Rename {
            fs::remove_file(&theirs).unwrap();
            fs::write(&theirs, "somebody else's\n").unwrap();
        }
        Ok(())
    });
    Trial::of(&story).run(&act, exchanged).unwrap();
    assert_eq!(fs::read_to_string(&archive).unwrap(), "somebody else's\n");
    fs::copy(&saved, &archive).unwrap();
    Trial::of(&story).run(&act, Door::default()).unwrap();
    assert!(!archive.exists(), "its own archive goes");
}

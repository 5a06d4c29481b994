//! One run whose power is cut, and its result.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use patchadm_changeset::format::journal::{JournalHead, RunOutcome, parse_head};

use super::disk::Switch;
use super::scene::{Act, Has, Layout, NOISE, Scene, succeeds};
use crate::reliability::killed::Dice;
use crate::tree::Tree;

/// The command that restores order everywhere, including the undo archives.
const RECOVER: &str = "recover -R @ROOT@ --undo-dir @ROOT@/opt/undo";

/// How often a cut hit each phase, and how often each result was found.
pub(super) type Counts = BTreeMap<&'static str, u64>;

/// A root whose power is cut again and again.
pub(super) struct Trials {
    name: String,
    scene: Scene,
    dice: Dice,
    has: Has,
    /// Durations of undisturbed commands: until the journal is published, from there to the end, and of a recovery.
    usual: [Duration; 3],
    pub(super) counts: Counts,
}

/// How a cut command ended: its code, unless it was killed, and its output.
struct End {
    /// True if it had ended with 0 before the cut, so that its change is acknowledged.
    acknowledged: bool,
    code: Option<i32>,
    said: String,
}

/// When the power goes.
#[derive(Clone, Copy)]
enum Moment {
    /// After a while.
    After(Duration),
    /// A while after the journal was published.
    Published(Duration),
    /// As soon as the outcome is written, which may be before it is durable.
    Outcome,
}

impl Trials {
    pub(super) fn new(layout: Layout, seed: u64) -> Self {
        let mut trials = Self {
            name: layout.name(),
            scene: Scene::new(layout),
            dice: Dice(seed),
            has: Has::default(),
            usual: [Duration::ZERO; 3],
            counts: Counts::new(),
        };
        trials.measure();
        trials
    }

    /// Measures a patch and its backout.
    fn measure(&mut self) {
        let mut has = self.has;
        for _ in 0..2 {
            let last = head(&self.scene).map(|head| head.header.run);
            let began = Instant::now();
            let mut child = self.spawn(&has.command(Act::Patch, ""));
            self.wait(&mut child, last.as_ref(), Moment::Published(Duration::ZERO));
            let published = began.elapsed();
            assert!(child.wait().unwrap().success());
            self.usual = [published, began.elapsed().saturating_sub(published), published / 2];
            has = has.with(Act::Patch);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn spawn(&self, line: &str) -> Child {
        let output = File::create(self.said()).unwrap();
        let mut command = self.scene.stage.command(line);
        command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
    }

    /// The file for the output of commands, outside the file systems that are cut.
    fn said(&self) -> PathBuf {
        self.scene.stage.beside("said")
    }

    fn draw_act(&mut self) -> Act {
        loop {
            let act = match self.dice.below(11) {
                0..4 => Act::Patch,
                4..6 => Act::Later,
                6..8 => Act::Package,
                _ => Act::Promotion,
            };
            if self.has.can(act) {
                break act;
            }
        }
    }

    fn draw_moment(&mut self) -> Moment {
        let [before, after, _] = self.usual;
        match self.dice.below(8) {
            0..4 => Moment::After(self.dice.below_duration(before + after)),
            4..7 => Moment::Published(self.dice.below_duration(after)),
            _ => Moment::Outcome,
        }
    }

    /// Waits for the moment, or for the end of the command.
    fn wait(&self, child: &mut Child, last: Option<&String>, moment: Moment) {
        let until = |reached: &dyn Fn(&JournalHead) -> bool, child: &mut Child| loop {
            let ours = head(&self.scene).filter(|head| Some(&head.header.run) != last);
            if ours.is_some_and(|head| reached(&head)) || child.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_micros(50));
        };
        match moment {
            Moment::After(pause) => thread::sleep(pause),
            Moment::Published(pause) => {
                until(&|_| true, child);
                thread::sleep(pause);
            }
            Moment::Outcome => until(&|head| head.outcome.is_some(), child),
        }
    }

    /// The file systems to cut, in order.
    fn victims(&mut self) -> Vec<usize> {
        match (self.scene.disks.len(), self.dice.below(4)) {
            (1, _) => vec![0],
            (_, 0) => vec![0, 1],
            (_, 1) => vec![1, 0],
            (_, only) => vec![usize::try_from(only).unwrap() - 2],
        }
    }

    /// Prepares to cut these file systems.
    fn switches(&self, victims: &[usize]) -> Vec<Switch> {
        victims.iter().map(|disk| self.scene.disks[*disk].switch()).collect()
    }

    /// Cuts file systems, one after the other.
    fn cut(&mut self, switches: Vec<Switch>) {
        let flush = self.dice.below(2) == 0;
        let between = Duration::from_micros(self.dice.below(3) * self.dice.below(1000));
        for (number, mut switch) in switches.into_iter().enumerate() {
            if number > 0 {
                thread::sleep(between);
            }
            switch.checked();
            switch.cut(flush);
        }
    }

    /// Cuts the power during a command, recovers and compares.
    pub(super) fn trial(&mut self, number: u64) {
        let act = self.draw_act();
        let line = self.has.command(act, &self.scene.promotion());
        let (before, after) = (self.has, self.has.with(act));
        let when = format!("{}, trial {number}, {line}", self.name);
        let last = head(&self.scene).map(|head| head.header.run);
        let victims = self.victims();
        let end = self.cut_command(&line, last.as_ref(), &victims);
        self.scene.unmount();
        self.scene.mount();
        self.count("power cuts");
        let is_mixed = self.look(&when, before, after);
        let ours = head(&self.scene).filter(|head| Some(&head.header.run) != last.as_ref());
        self.count(hit(&end, ours.as_ref()));
        if is_mixed {
            // Directories that became empty go after the commit, and may come back with the cut.
            let is_known = head(&self.scene).is_some_and(|head| !head.done);
            assert!(is_known, "{when}: mixed, and the journal does not know");
            self.count("trees mixed before recovery");
        }
        let promised = promised(&when, &end, before, after);
        let said = self.scene.stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok();
        let recovered = self.recover(&when);
        self.has = self.found(&format!("{when}: {recovered}"), before, after);
        if let Some(promised) = promised {
            assert_eq!(self.has, promised, "{when}: {}", end.said);
        }
        assert_eq!(said.trim(), self.has.listed(), "{when}: what was said before recovery");
        self.count(if self.has == after { "as after" } else { "as before" });
        if act == Act::Promotion {
            self.count("of promotions");
        }
    }

    /// Runs the command into the cut; in a third of the trials another program writes and syncs beside it.
    fn cut_command(&mut self, line: &str, last: Option<&String>, victims: &[usize]) -> End {
        let moment = self.draw_moment();
        let is_noisy = self.dice.below(3) == 0;
        let is_killed = self.dice.below(2) == 0 && victims.len() == self.scene.disks.len();
        let stop = AtomicBool::new(false);
        let places: Vec<PathBuf> = self.scene.disks.iter().map(|disk| disk.at().join(NOISE)).collect();
        let switches = self.switches(victims);
        let mut child = self.spawn(line);
        let mut acknowledged = false;
        thread::scope(|scope| {
            if is_noisy {
                places.iter().for_each(|place| drop(scope.spawn(|| write_and_sync(place, &stop))));
            }
            self.wait(&mut child, last, moment);
            acknowledged = child.try_wait().unwrap().is_some_and(|status| status.success());
            self.cut(switches);
            if is_killed {
                child.kill().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        let code = child.wait().unwrap().code();
        End { acknowledged, code, said: fs::read_to_string(self.said()).unwrap() }
    }

    /// Checks the root when the power is back, before recovery: each path is as before or as after, never torn. True if
    /// some are as before and some as after.
    fn look(&self, when: &str, before: Has, after: Has) -> bool {
        let now = self.scene.software();
        let [before, after] = [before, after].map(|has| &self.scene.expected(has).software);
        let of = |tree: &Tree, path: &String| tree.objects().get(path).cloned();
        for path in now.objects().keys().chain(before.objects().keys()).chain(after.objects().keys()) {
            let found = of(&now, path);
            assert!(
                found == of(before, path) || found == of(after, path),
                "{when}: before recovery {path} is neither as before nor as after: {found:?}"
            );
        }
        now != *before && now != *after
    }

    /// Recovers; in half of the trials the power goes in recovery, too, up to three times. Returns the output.
    fn recover(&mut self, when: &str) -> String {
        let cuts = if self.dice.below(2) == 0 { self.dice.below(4) } else { 0 };
        let victims: Vec<usize> = (0..self.scene.disks.len()).collect();
        for _ in 0..cuts {
            if head(&self.scene).is_none_or(|head| head.done) {
                break;
            }
            let pause = self.dice.below_duration(self.usual[2]);
            let switches = self.switches(&victims);
            let mut child = self.spawn(RECOVER);
            thread::sleep(pause);
            let ended = child.try_wait().unwrap();
            self.cut(switches);
            child.kill().unwrap();
            child.wait().unwrap();
            self.scene.unmount();
            self.scene.mount();
            self.count("power cuts");
            self.count(if ended.is_some() { "after a recovery" } else { "in recovery" });
            if ended.is_some_and(|status| status.success()) {
                assert!(head(&self.scene).is_some_and(|head| !head.is_open()), "{when}: a recovery is lost");
            }
        }
        let began = Instant::now();
        let said = succeeds(&self.scene.stage, RECOVER);
        self.usual[2] = (self.usual[2] * 7 + began.elapsed()) / 8;
        self.scene.sweep();
        said
    }

    /// The contents of the root after recovery: those before the command, or those after it.
    fn found(&self, when: &str, before: Has, after: Has) -> Has {
        assert_eq!(self.scene.stage.run(RECOVER).ok(), "No run was interrupted.\n", "{when}");
        assert_eq!(self.scene.strays(), Vec::<String>::new(), "{when}");
        let now = self.scene.state();
        let [was, becomes] = [before, after].map(|has| self.scene.expected(has));
        if now == *was {
            return before;
        }
        assert!(
            now == *becomes,
            "{when}: neither before nor after\n{}\nor\n{}",
            was.difference(&now),
            becomes.difference(&now)
        );
        after
    }
}

/// The head of the current journal.
fn head(scene: &Scene) -> Option<JournalHead> {
    parse_head(fs::read(scene.journal()).ok()?.get(..4096)?).ok()
}

/// The phase that the cut hit.
fn hit(end: &End, head: Option<&JournalHead>) -> &'static str {
    match head {
        _ if end.acknowledged => "after the end",
        _ if end.said.to_lowercase().contains("it is unknown whether the change is durable") => "in doubt",
        None => "before publication",
        Some(JournalHead { outcome: None, .. }) => "in the switch",
        Some(JournalHead { outcome: Some(RunOutcome::Commit), .. }) => "after the commit",
        Some(JournalHead { outcome: Some(RunOutcome::RolledBack), .. }) => "rolled back",
    }
}

/// The contents that a command promised by its code or in words, if it did.
fn promised(when: &str, end: &End, before: Has, after: Has) -> Option<Has> {
    let said = end.said.to_lowercase();
    let says = |words: &str| said.contains(words);
    match end.code {
        Some(0) => Some(after),
        None => None,
        Some(9 | 65) if says("it is unknown whether the change is durable") => None,
        Some(code) => {
            // A command that could not undo its changes, or cannot know, refers to recovery; otherwise nothing is left
            // to do.
            let is_sent = says("run `patchadm")
                && says(" recover`")
                && (says("nothing was changed") || says("no changes were made") || says("not everything"));
            assert!(
                (1..=65).contains(&code) && is_sent == matches!(code, 9 | 65),
                "{when}: {code} {}",
                end.said
            );
            Some(before)
        }
    }
}

/// Another program: writes and syncs until it is told to stop or cannot any more.
fn write_and_sync(place: &Path, stop: &AtomicBool) {
    let write = |number: u64| -> std::io::Result<()> {
        fs::create_dir_all(place)?;
        let mut file = File::create(place.join((number % 16).to_string()))?;
        file.write_all(&[0x5a; 1 << 14])?;
        file.sync_all()?;
        fs::rename(place.join((number % 16).to_string()), place.join("last"))
    };
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) && write(number).is_ok() {
        number += 1;
    }
}

impl Dice {
    fn below_duration(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap().max(1)))
    }
}

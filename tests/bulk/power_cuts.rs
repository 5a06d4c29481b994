//! Power cuts during a run: synced data is there, the rest is not, and the next run goes on as if nothing had
//! happened.
//!
//! The directory of the build, its pool and the places of its tasks are a file system of their own, ext4 or xfs, in
//! an image. At a random moment it is shut down, mounted again, which replays its log, and checked. Then the run is
//! continued; one of four such runs is cut off once more. `reliability::power_cuts` explains how this is done, and
//! why nothing else is ever cut.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::BulkBuild;
use super::cut_off::CutOffRun;
use crate::reliability::killed::Dice;
use crate::reliability::power_cuts::disk::{Disk, in_own_namespace, lacks};
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::Scenario;
use crate::workshop::eventually;

const FILE_SYSTEMS: [&str; 2] = ["ext4", "xfs"];

/// An event that a cut may wait for.
type Event = fn(&BulkBuild) -> bool;

const EVENTS: [Event; 8] = [
    |build| build.work().join("runs/2/journal").exists(),
    |build| has_private(build, "pool"),
    |build| is_noted(build, "\"done\""),
    |build| is_noted(build, "{\"package\":\"user-1.0\",\"state\":\"running\""),
    |build| is_noted(build, "{\"package\":\"user-1.0\",\"key\""),
    |build| has_private(build, "sets"),
    |build| build.work().join("sets/2").exists(),
    |build| build.work().join("runs/2/report.json").exists(),
];

/// True if the journal has this text, durable or not.
fn is_noted(build: &BulkBuild, text: &str) -> bool {
    fs::read_to_string(build.work().join("runs/2/journal")).is_ok_and(|journal| journal.contains(text))
}

/// True if something is being made in this directory.
fn has_private(build: &BulkBuild, directory: &str) -> bool {
    let mut names = fs::read_dir(build.work().join(directory)).into_iter().flatten().flatten();
    names.any(|entry| entry.file_name().to_string_lossy().starts_with(".bulk-"))
}

/// A build whose disk loses its power again and again.
struct Trials {
    disk: Disk,
    cut: CutOffRun,
    dice: Dice,
    counts: BTreeMap<&'static str, u64>,
}

impl Trials {
    fn new(test: &str, file_system: &str, seed: u64) -> Option<Self> {
        let mut disk = None;
        let slots = |_: &BulkBuild| "slot=local 2\n".to_owned();
        let mut cut = CutOffRun::new(test, false, slots, |build| {
            let made = Disk::new(file_system, &build.scenario.beside("image"), &build.work());
            made.mount();
            disk = Some(made);
        })?;
        cut.loses_power = true;
        Some(Self { disk: disk?, cut, dice: Dice(seed), counts: BTreeMap::new() })
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn trial(&mut self, number: u64) {
        self.cut.restore();
        let disk = File::open(self.disk.at()).unwrap();
        rustix::fs::syncfs(&disk).unwrap();
        drop(disk);
        let when = format!("trial {number}");
        let is_over = self.cut_power(&when);
        if number % 4 == 3 && !is_over {
            self.cut_power(&format!("{when}, continued"));
        }
        self.cut.continue_run(&when);
    }

    /// Starts a run, cuts the power, and checks what is left. Returns true if the run was over.
    fn cut_power(&mut self, when: &str) -> bool {
        let said = self.cut.build.scenario.beside("said");
        let mut running = self.cut.running(&[], "");
        running.stdout(Stdio::null()).stderr(File::create(&said).unwrap());
        let mut switch = self.disk.switch();
        let mut running = running.spawn().unwrap();
        self.wait(&mut running);
        switch.checked();
        let ended = running.try_wait().unwrap();
        let durable = self.cut.flushed();
        let is_flushed = self.dice.below(2) == 0;
        switch.cut(is_flushed);
        let code = end(&mut running);
        self.cut.assert_all_ended(when);
        drop(switch);
        self.disk.unmount_everywhere();
        self.disk.mount();
        let said = fs::read_to_string(said).unwrap();
        assert!(code != Some(101) && !said.contains("panicked"), "{when}: {code:?} {said}");
        self.count("power cuts");
        for key in durable {
            assert!(self.cut.build.result(&key).join("result.json").exists(), "{when}: {key} is lost");
        }
        self.look(&format!("{when}, flushed: {is_flushed}"), &said, ended.is_some_and(|end| end.success()))
    }

    fn wait(&mut self, running: &mut Child) {
        let took = u64::try_from(self.cut.undisturbed().took.as_micros()).unwrap();
        let kinds = EVENTS.len() as u64;
        match EVENTS.get(usize::try_from(self.dice.below(2 * kinds)).unwrap()) {
            None => thread::sleep(Duration::from_micros(self.dice.below(took / 4 * 3))),
            Some(has_come) => {
                while running.try_wait().unwrap().is_none() && !has_come(&self.cut.build) {
                    thread::sleep(Duration::from_micros(200));
                }
                thread::sleep(Duration::from_micros(self.dice.below(took / 128)));
            }
        }
    }

    /// Asserts that everything with a name is complete, and that the run reported the truth. Returns true if the run
    /// is over.
    fn look(&mut self, when: &str, said: &str, has_ended: bool) -> bool {
        let whole = self.cut.assert_whole_pool(when);
        self.cut.assert_whole_sets(when);
        let journal = journal(&self.cut.build, when);
        // A line of the journal can reach the disk before the files of the result that it names: the package is built again.
        let done = journal.iter().filter(|line| line["state"] == "done");
        for package in done.map(|line| line["package"].as_str().unwrap()) {
            if !whole.contains(package) {
                self.count("built again after its line");
            }
        }
        let is_over = journal.iter().any(|line| line["end"].is_string());
        let set = fs::read_link(self.cut.build.work().join("sets/current")).unwrap();
        assert!(is_over || !has_ended, "{when}: its end is lost: {said}");
        assert!(
            !is_over || whole.len() == 2,
            "{when}: a result of a run that is over is lost: {whole:?} {said}"
        );
        assert!(set.as_os_str() != "1" || !is_over, "{when}: its set is lost");
        self.count(match (journal.is_empty(), whole.len(), set.as_os_str() == "1") {
            _ if is_over => "after the end",
            (_, _, false) => "after the set",
            (_, 2, _) => "with all results",
            (_, 1, _) => "with a result",
            (false, _, _) => "in the journal",
            (true, _, _) => "before the journal",
        });
        is_over
    }
}

/// The lines of the journal of the second run; its last one may be torn.
fn journal(build: &BulkBuild, when: &str) -> Vec<Value> {
    let text = fs::read(build.work().join("runs/2/journal")).unwrap_or_default();
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap_or_else(|error| panic!("{when}: {error}"))).collect()
}

/// Waits for the end of a run whose disk is gone; kills it if it stays.
fn end(running: &mut Child) -> Option<i32> {
    let until = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(status) = running.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < until, "it does not end although its disk is gone");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_power_cut_leaves_pool_journal_and_set_as_before_or_as_after_and_the_run_goes_on() {
    let test = "a_power_cut_leaves_pool_journal_and_set_as_before_or_as_after_and_the_run_goes_on";
    let can = |file_system: &&str| match lacks(file_system) {
        None => true,
        Some(lack) => {
            crate::skipped(&format!("{test}: {lack}"));
            false
        }
    };
    let file_systems: Vec<&str> = FILE_SYSTEMS.into_iter().filter(can).collect();
    let play = |number: usize| {
        in_own_namespace(|| {
            let mut trials = Trials::new(test, file_systems[number], 0x5eed_4000 + number as u64)?;
            for trial in 0.. {
                trials.trial(trial);
                if trials.counts["power cuts"] >= sample_or_whole(2, 160) {
                    break;
                }
            }
            Some(trials.counts)
        })
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let played: Vec<_> =
            (0..file_systems.len()).map(|number| scope.spawn(move || play(number))).collect();
        for (what, count) in played.into_iter().filter_map(|played| played.join().unwrap()).flatten() {
            *counts.entry(what).or_default() += count;
        }
    });
    if counts.is_empty() {
        return;
    }
    let mut told: Vec<(&str, u64)> = counts.into_iter().collect();
    told.sort_by_key(|(what, _)| *what != "power cuts");
    told.extend([("third states", 0), ("results lost that had reached the disk", 0)]);
    figures("bulk-power-cuts", &told);
}

#[test]
fn a_power_cut_takes_no_result_that_has_reached_the_disk_while_the_run_goes_on() {
    let test = "a_power_cut_takes_no_result_that_has_reached_the_disk_while_the_run_goes_on";
    for file_system in FILE_SYSTEMS {
        if let Some(lack) = lacks(file_system) {
            crate::skipped(&format!("{test}: {lack}"));
            continue;
        }
        in_own_namespace(|| play_two_ages(test, file_system));
    }
}

/// One package is built and written to the disk while another one is being built. The power is cut once that one is
/// built, too.
fn play_two_ages(test: &str, file_system: &str) {
    let Some(build) = BulkBuild::of_recipes(test, false, "slot=local 2\ncheck=none\n") else { return };
    let mounted = build.scenario.beside("theirs/mounted");
    fs::create_dir(&mounted).unwrap();
    fs::set_permissions(&mounted, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    build.set(&format!("mount=rw:{}:/mounted\n", mounted.display()));
    let script = "echo $PKGNAME >> /mounted/starts; chmod 666 /mounted/starts 2>/dev/null\n\
                  until [ -e /mounted/$PKGNAME ]; do sleep 0.01; done\n\
                  mkdir $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\n";
    build.recipe("early", "", script);
    build.recipe("late", "", script);
    // It waits, and so keeps the run going.
    build.recipe("unfinished", "", script);
    let kept = build.scenario.beside("theirs/kept");
    fs::rename(build.work(), &kept).unwrap();
    fs::create_dir(build.work()).unwrap();
    let disk = Disk::new(file_system, &build.scenario.beside("image"), &build.work());
    disk.mount();
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(kept.join("."))
            .arg(build.work())
            .status()
            .unwrap()
            .success()
    );
    rustix::fs::syncfs(File::open(build.work()).unwrap()).unwrap();
    let mut running = build.running("");
    let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let done = |package: &str| {
        let journal = fs::read_to_string(build.work().join("runs/1/journal")).unwrap_or_default();
        let mut lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
        let done = lines.find(|line| line["package"] == package && line["state"] == "done");
        done.map(|line| build.result(line["key"].as_str().unwrap()))
    };
    let go = |package: &str| fs::write(mounted.join(package), "").unwrap();
    go("early-1.0");
    eventually("the early one has reached the disk", || {
        done("early-1.0").is_some_and(|result| !result.join(".unflushed").exists())
    });
    let early = done("early-1.0").unwrap();
    let before = whole_files(&early);
    let mut switch = disk.switch();
    go("late-1.0");
    eventually("the late one is built", || done("late-1.0").is_some());
    switch.checked();
    switch.cut(false);
    end(&mut running);
    drop(switch);
    disk.unmount_everywhere();
    disk.mount();
    assert_eq!(whole_files(&early), before, "{file_system}: the early result");
    let starts = || fs::read_to_string(mounted.join("starts")).unwrap();
    let was = starts();
    go("unfinished-1.0");
    let run = build.run("").ends(0);
    assert_eq!(run.states(), ["early-1.0 done", "late-1.0 done", "unfinished-1.0 done"]);
    assert!(!starts()[was.len()..].contains("early"), "{file_system}: the early one was built again");
    assert_eq!(whole_files(&early), before);
}

/// The files of a directory, without marks.
fn whole_files(directory: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let named =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    named.filter(|(name, _)| name != ".unflushed").collect()
}

#[test]
fn a_directory_that_was_made_is_there_after_a_power_cut() {
    let test = "a_directory_that_was_made_is_there_after_a_power_cut";
    for file_system in FILE_SYSTEMS {
        if let Some(lack) = lacks(file_system) {
            crate::skipped(&format!("{test}: {lack}"));
            continue;
        }
        in_own_namespace(|| {
            let scenario = Scenario::on_disk();
            let (at, tree) = (scenario.beside("disk"), scenario.beside("tree"));
            [&at, &tree].iter().for_each(|directory| fs::create_dir(directory).unwrap());
            let disk = Disk::new(file_system, &scenario.beside("image"), &at);
            disk.mount();
            let mut switch = disk.switch();
            let (work, tree) = (at.join("work").display().to_string(), tree.display().to_string());
            scenario.run(&format!("bulk init {work} --tree {tree} --driver recipes")).ok();
            switch.checked();
            switch.cut(false);
            drop(switch);
            disk.unmount_everywhere();
            disk.mount();
            // Its configuration and its driver are there, so the empty tree is scanned.
            let conf = fs::read_to_string(at.join("work/bulk.conf")).unwrap();
            fs::write(at.join("work/bulk.conf"), conf + "build_user=nobody\nbase_id=echo base\n").unwrap();
            let said = scenario.run(&format!("bulk scan {work}")).ok();
            assert!(said.starts_with("0 locations"), "{said}");
        });
    }
}

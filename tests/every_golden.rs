//! Every step of every scenario that was played with the classic tools and packages with procedure scripts, played
//! with our own commands: `pkgadd`, `pkgrm`, `installf`, `removef`, `pkgchk` and the rest.
//!
//! A step is reproduced, or each of its differences stands in the table of `differences` with the decision, the defect
//! or the impossibility that beats it. A line of the table that is about nothing any more is an error, and so is a step
//! that nobody played. What is compared of a step is said in `seen`; the scenarios are told in `stories`.
//!
//! Scripts of packages are run as root here: on a machine that they can read and not change.

mod compare;
mod differences;
mod envdump;
mod play;
mod real_root;
mod seen;
mod stories;
mod undo;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use compare::Difference;
use differences::{DIFFERENCES, Entry, Reason, explains};
use stories::STORIES;

use crate::sandbox::Sandbox;
use crate::scenario::{is_root, shared};

/// The number of tests that share the scenarios.
const PARTS: usize = 5;

/// What came of scenarios.
#[derive(Default)]
struct Outcome {
    driven: BTreeSet<(&'static str, String)>,
    differences: Vec<Difference>,
}

/// Plays every `PARTS`-th scenario, two at a time.
fn play(part: usize) -> Outcome {
    let next = Mutex::new(STORIES.iter().skip(part).step_by(PARTS));
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((name, story)) = next.lock().unwrap().next() else { break };
                    let plays = story(name);
                    let mut outcome = outcome.lock().unwrap();
                    for play in plays {
                        outcome.driven.extend(play.driven.into_iter().map(|step| (*name, step)));
                        outcome.differences.extend(play.differences);
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

/// All steps of a scenario: directories with the record of a command.
fn steps_below(directory: &Path, name: &str, steps: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let below = entry.file_name().into_string().unwrap();
        let step = if name.is_empty() { below } else { format!("{name}/{below}") };
        if entry.path().join("stdout").is_file() {
            steps.insert(step);
        } else if entry.file_name() == "envdump" {
            steps.insert("envdump".to_owned());
        } else {
            steps_below(&entry.path(), &step, steps);
        }
    }
}

/// The scenarios and their steps.
fn all_steps(goldens: &Path) -> BTreeSet<(&'static str, String)> {
    let told: BTreeSet<&str> = STORIES.iter().map(|(name, _)| *name).collect();
    let recorded: BTreeSet<String> = fs::read_dir(goldens)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().join("run.sh").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(recorded.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
    let mut all = BTreeSet::new();
    for (name, _) in STORIES {
        let results = goldens.join(name).join("out");
        let mut steps = BTreeSet::new();
        steps_below(&results, "", &mut steps);
        if steps.is_empty() {
            // All inside one shell: each line of the summary is a step.
            let summary = fs::read_to_string(results.join("summary")).unwrap();
            steps = summary.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        }
        all.extend(steps.into_iter().map(|step| (*name, step)));
    }
    all
}

#[test]
fn every_classic_step_is_reproduced_or_beaten_by_a_reason_1() {
    play_part(0);
}

#[test]
fn every_classic_step_is_reproduced_or_beaten_by_a_reason_2() {
    play_part(1);
}

#[test]
fn every_classic_step_is_reproduced_or_beaten_by_a_reason_3() {
    play_part(2);
}

#[test]
fn every_classic_step_is_reproduced_or_beaten_by_a_reason_4() {
    play_part(3);
}

#[test]
fn every_classic_step_is_reproduced_or_beaten_by_a_reason_5() {
    play_part(4);
}

/// Plays a part of the scenarios. Whoever comes last of all parts looks whether an entry of the table is about nothing any more.
fn play_part(part: usize) {
    static DONE: Mutex<BTreeMap<usize, Vec<Difference>>> = Mutex::new(BTreeMap::new());
    let Some(goldens) = shared("every classic step", "goldens") else { return };
    if !is_root() {
        // Owners are part of what is compared.
        return crate::skipped("every classic step: only root can play them");
    }
    if Sandbox::new(&std::env::temp_dir()).is_none() {
        return;
    }
    let all = all_steps(&goldens);
    let mine: BTreeSet<&str> = STORIES.iter().skip(part).step_by(PARTS).map(|(name, _)| *name).collect();
    let Outcome { driven, mut differences } = play(part);
    for (scenario, step) in all.difference(&driven).filter(|(scenario, _)| mine.contains(scenario)) {
        let [what, classic, ours] = ["not driven", "a step", "nothing"].map(str::to_owned);
        differences.push(Difference { scenario, step: step.clone(), what, classic, ours });
    }
    let unexplained: Vec<&Difference> = differences
        .iter()
        .filter(|difference| !DIFFERENCES.iter().any(|entry| explains(entry, difference)))
        .collect();
    let told: Vec<String> = unexplained
        .iter()
        .map(|one| {
            format!(
                "{} {} | {}\n  classic {}\n  ours    {}",
                one.scenario, one.step, one.what, one.classic, one.ours
            )
        })
        .collect();
    assert!(told.is_empty(), "{} differences:\n{}", told.len(), told.join("\n"));
    let mut done = DONE.lock().unwrap();
    done.insert(part, differences);
    if done.len() < PARTS {
        return;
    }
    let differences: Vec<Difference> = std::mem::take(&mut *done).into_values().flatten().collect();
    drop(done);
    let mended: Vec<String> = DIFFERENCES
        .iter()
        .filter(|entry| !matches!(entry.3, Reason::Impossible(_)))
        .filter(|entry| !differences.iter().any(|difference| explains(entry, difference)))
        .map(|entry| format!("{entry:?}"))
        .collect();
    assert!(mended.is_empty(), "no longer different:\n{}", mended.join("\n"));
    print_summary(&all, &differences);
}

/// How many steps are reproduced, and what stands against the others.
#[allow(clippy::print_stdout)] // with --nocapture, for whoever wants to know
fn print_summary(all: &BTreeSet<(&'static str, String)>, differences: &[Difference]) {
    let mut tabled: BTreeMap<(&str, &str), BTreeSet<&Entry>> = BTreeMap::new();
    for one in differences {
        let entries = DIFFERENCES.iter().filter(|entry| explains(entry, one));
        tabled.entry((one.scenario, &one.step)).or_default().extend(entries);
    }
    let (common, own): (Vec<_>, Vec<_>) =
        tabled.values().partition(|entries| entries.iter().all(|entry| entry.0 == "*"));
    println!(
        "{} steps: {} reproduced to the letter, {} but for what every step has, {} with differences of their own:",
        all.len(),
        all.len() - tabled.len(),
        common.len(),
        own.len()
    );
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for entries in tabled.values() {
        for reason in entries.iter().map(|entry| entry.3).collect::<BTreeSet<_>>() {
            *counts.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in counts {
        println!("{count:5} steps: {reason:?}");
    }
}

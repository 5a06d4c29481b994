//! Plays every step of every scenario that was recorded with the classic tools and packages with procedure scripts,
//! with our own commands: `pkgadd`, `pkgrm`, `installf`, `removef`, `pkgchk` and the rest.
//!
//! A step is reproduced, or each of its differences is in the table of `differences` with its reason, for example a
//! decision, a defect of the classic tools or an impossibility. An entry that matches nothing is an error, unless it is
//! an impossibility, and so is a step that is not played. `seen` has the compared properties, `stories` the scenarios.
//!
//! Package scripts run as root here, in a sandbox where they can read the machine but not change it.

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
    let told: BTreeSet<&str> = STORIES.iter().map(|(name, ..)| *name).collect();
    let recorded: BTreeSet<String> = fs::read_dir(goldens)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().join("run.sh").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(recorded.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
    let mut all = BTreeSet::new();
    for name in told {
        let results = goldens.join(name).join("out");
        let mut steps = BTreeSet::new();
        steps_below(&results, "", &mut steps);
        if steps.is_empty() {
            // The scenario ran inside one shell: each line of the summary is a step.
            let summary = fs::read_to_string(results.join("summary")).unwrap();
            steps = summary.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
        }
        all.extend(steps.into_iter().map(|step| (name, step)));
    }
    all
}

/// Makes a test of each scenario, or of its steps with this prefix: every step is reproduced, or its differences are
/// explained.
macro_rules! reproduced {
    ($($test:ident: $scenario:literal, $start:literal;)+) => {
        const TESTED: &[(&str, &str)] = &[$(($scenario, $start)),+];
        $(
            #[test]
            fn $test() {
                reproduce($scenario, $start);
            }
        )+
    };
}

reproduced! {
    base_install: "01-base-install", "";
    first_patch: "02-apply-01", "";
    same_patch_again: "03-reapply-01", "";
    later_revision: "04-apply-02", "";
    superseded_revision: "05-superseded", "";
    obsoleted_patches: "06-obsoletes", "";
    restricted_patches: "07-restricted", "";
    deleted_and_new_files: "08-deletes-newfiles", "";
    backout_of_two_revisions: "09-backout", "";
    backout_and_patch_again: "09b-backout-01", "";
    no_undo_data: "10-no-undo", "";
    undo_data_elsewhere: "11-undo-archive", "";
    build_directory: "11b-build-dir", "";
    version_not_installed: "12-version-not-installed", "";
    edited_and_volatile_files: "13-edited-ev", "";
    datastreams: "14-datastream", "";
    real_root: "15-real-root", "";
    checkinstall_that_fails: "16-script-fails", "fail-checkinstall-";
    preinstall_that_fails: "16-script-fails", "fail-preinstall-";
    class_script_that_fails: "16-script-fails", "fail-i.none-";
    postinstall_that_fails: "16-script-fails", "fail-postinstall-";
    dialects_of_awk: "17-awk-compat", "";
    removal_and_installf: "19-pkgrm-installf", "";
    shared_files: "21-shared-files", "";
    request_scripts: "25-request", "";
    messages: "26-messages", "";
    order_of_names: "27-order-names", "";
    variants_of_streams: "28-stream-variants", "";
}

#[test]
fn every_step_has_one_test() {
    let stories: Vec<(&str, &str)> = STORIES.iter().map(|(name, start, _)| (*name, *start)).collect();
    assert_eq!(stories, TESTED);
    let Some(goldens) = shared("every classic step", "goldens") else { return };
    for (scenario, step) in all_steps(&goldens) {
        let tests = TESTED.iter().filter(|(name, start)| *name == scenario && step.starts_with(start));
        assert_eq!(tests.count(), 1, "{scenario} {step}");
    }
}

/// Plays a scenario. The last one to finish checks that no entry of the table is obsolete.
fn reproduce(scenario: &'static str, start: &'static str) {
    static DONE: Mutex<BTreeMap<(&str, &str), Vec<Difference>>> = Mutex::new(BTreeMap::new());
    let Some(goldens) = shared("every classic step", "goldens") else { return };
    if !is_root() {
        // Owners are compared, too.
        return crate::skipped("every classic step: only root can play them");
    }
    if Sandbox::new(&std::env::temp_dir()).is_none() {
        return;
    }
    let all = all_steps(&goldens);
    let (_, _, story) = STORIES.iter().find(|(name, of, _)| (*name, *of) == (scenario, start)).unwrap();
    let (mut driven, mut differences) = (BTreeSet::new(), Vec::new());
    for play in story(scenario, start) {
        driven.extend(play.driven);
        differences.extend(play.differences);
    }
    let own = all.iter().filter(|(name, step)| *name == scenario && step.starts_with(start));
    for (_, step) in own.filter(|(_, step)| !driven.contains(step)) {
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
    done.insert((scenario, start), differences);
    if done.len() < STORIES.len() {
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

/// Prints how many steps are reproduced, and the reasons for the others.
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

//! Processes of a run that are killed at any time: the next run goes on, nothing is built twice, and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use patchadm_rootfs::random;
use rustix::process::{Pid, Signal, kill_process};

use super::{BulkBuild, assert_same_results, everybody, mark, processes_with};
use crate::reliability::{figures, sample_or_whole};
use crate::workshop::{eventually, runs};

/// The tree of this story: a chain, a diamond, and one that nobody needs.
const RECIPES: [(&str, &str); 7] = [
    ("one", ""),
    ("two", "one-[0-9]*"),
    ("three", "two-[0-9]*"),
    ("left", "one-[0-9]*"),
    ("right", "one-[0-9]*"),
    ("both", "left-[0-9]* right-[0-9]*"),
    ("alone", ""),
];

/// Script of each package: it takes a moment, leaves a process, and records what it is made of.
const SCRIPT: &str = "setsid sleep 1000 &\nsleep 0.0@MOMENT@; mkdir $DESTDIR/opt\n\
    cat /opt/* > $DESTDIR/opt/$PKGNAME 2>/dev/null || :; echo $PKGNAME >> $DESTDIR/opt/$PKGNAME\n";

fn kill(number: u32) {
    let number = i32::try_from(number).ok().and_then(Pid::from_raw).unwrap();
    // It may have ended by itself.
    let _ = kill_process(number, Signal::KILL);
}

/// The descendants of a process, the nearest first.
fn below(number: u32) -> Vec<u32> {
    let mut found = vec![number];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for thread in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
    }
    found.split_off(1)
}

/// The keys of all results in the pool.
fn keys(build: &BulkBuild) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for shelf in fs::read_dir(build.work().join("pool")).into_iter().flatten().flatten() {
        let shelf_name = shelf.file_name().into_string().unwrap();
        if shelf_name.len() == 2 {
            keys.extend(
                fs::read_dir(shelf.path())
                    .unwrap()
                    .map(|key| key.unwrap().file_name().into_string().unwrap()),
            );
        }
    }
    keys
}

/// True if a process is one of the two that set up a sandbox, and not a child that is about to become the command.
fn makes_sandbox(process: u32) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
    let is_outside_or_first = numbers.len() == 1 || numbers.last() == Some(&"1");
    is_outside_or_first && words.split(|&byte| byte == 0).any(|word| word.starts_with(b"__enclose"))
}

/// Kills a part of a running build: the master, the process of a task, one of the two that set up a sandbox, or
/// everything.
fn kill_something(running: &Child, round: u64) {
    let master = running.id();
    let all = below(master);
    let makers: Vec<u32> = all.iter().copied().filter(|process| makes_sandbox(*process)).collect();
    match round % 4 {
        0 => kill(master),
        1 => kill(all.first().copied().unwrap_or(master)),
        2 => kill(
            makers.get(usize::try_from(round / 4).unwrap() % makers.len().max(1)).copied().unwrap_or(master),
        ),
        _ => all.iter().chain([&master]).for_each(|process| kill(*process)),
    }
}

#[test]
fn the_next_run_goes_on_whatever_was_killed_and_comes_to_the_same() {
    let (mut rounds, mut killed, mut built) = (0, 0, 0);
    let users = everybody();
    // A sample kills each kind once, split between the users.
    let share = 4 / u64::try_from(users.len()).unwrap();
    for (number, is_ordinary) in (0..).zip(users) {
        let first = number * share;
        let mark = mark();
        let settings = format!("slot=local 2\nenv=MARK={mark}\n");
        let Some(build) = BulkBuild::of_recipes("the_next_run…", is_ordinary, &settings) else { continue };
        let mounted = build.scenario.beside("theirs/mounted");
        fs::create_dir(&mounted).unwrap();
        fs::set_permissions(&mounted, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        build.set(&format!("mount=rw:{}:/mounted\n", mounted.display()));
        for canary in [mounted.join("canary"), build.tree().join("canary")] {
            fs::write(canary, "alive\n").unwrap();
        }
        for (number, (name, needs)) in RECIPES.iter().enumerate() {
            let script = SCRIPT.replace("@MOMENT@", &(number % 4 * 2).to_string());
            build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), &script);
        }
        let names = RECIPES.map(|(name, _)| name).join(" ");
        let run = format!("run {} {names}", build.work().display());
        let undisturbed = build.run(&names).ends(0);
        let results = build.results(&undisturbed);
        assert_eq!(results.len(), RECIPES.len());
        for round in sample_or_whole(first..first + share, 0..100) {
            // Starts over once everything is built.
            if keys(&build).len() == RECIPES.len() {
                fs::remove_dir_all(build.work().join("pool")).unwrap();
                fs::remove_dir_all(build.work().join("runs")).unwrap();
            }
            let before = keys(&build);
            let begun = last_journal(&build).len();
            let said = build.scenario.beside("said");
            let errors = fs::File::create(&said).unwrap();
            let mut running =
                build.command(&run).env("MARK", &mark).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(20_000 + random().unwrap() % 600_000));
            let is_running = running.try_wait().unwrap().is_none();
            kill_something(&running, round);
            let ended = running.wait().unwrap();
            // If a scan was cut off, nothing has begun.
            if ended.code().is_some() && last_journal(&build).len() > begun {
                let text = fs::read_to_string(&said).unwrap();
                assert_eq!(ended.code(), Some(0), "a run whose master lives ends well: {text}");
            }
            assert_built_once(&build, &before, begun);
            eventually(&format!("round {round}: everything of it has ended"), || {
                processes_with(&mark).is_empty() && !is_held(&build)
            });
            build.assert_nothing_runs(&mark);
            (rounds, killed) = (rounds + 1, killed + u64::from(is_running));
        }
        let before = keys(&build);
        let begun = last_journal(&build).len();
        let last = build.run(&names).ends(0);
        assert_built_once(&build, &before, begun);
        built += build.results(&last).len() as u64;
        assert_same_results(&build.results(&last), &results);
        build.assert_nothing_left(&mark);
        for canary in [mounted.join("canary"), build.tree().join("canary")] {
            assert_eq!(fs::read_to_string(canary).unwrap(), "alive\n");
        }
        assert_eq!(fs::read_dir(&mounted).unwrap().count(), 1);
    }
    if rounds == 0 {
        return; // skipped
    }
    assert!(killed > 0 && built > 0, "{rounds} rounds, {killed} killed, {built} results");
    figures(
        "bulk-killed",
        &[
            ("runs killed at a random moment", killed),
            ("results compared", built),
            ("other results", 0),
            ("results built twice", 0),
        ],
    );
}

/// The lines of the journal of the last run.
fn last_journal(build: &BulkBuild) -> Vec<serde_json::Value> {
    let runs = fs::read_dir(build.work().join("runs")).into_iter().flatten().flatten();
    let last = runs.filter_map(|run| run.file_name().to_str()?.parse::<u64>().ok()).max().unwrap_or_default();
    let text = fs::read_to_string(build.work().join(format!("runs/{last}/journal"))).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// True if a process still holds the directory of a task.
fn is_held(build: &BulkBuild) -> bool {
    let path = build.work().display().to_string();
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = numbers.filter_map(|entry| entry.file_name().into_string().ok());
    numbers.any(|number| {
        number.bytes().all(|byte| byte.is_ascii_digit())
            && fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|at| at.starts_with(&path))
            && runs(&number)
    })
}

/// Asserts that no package began whose result was in the pool before, or that this run had already completed.
fn assert_built_once(build: &BulkBuild, before: &BTreeSet<String>, begun: usize) {
    let mut done = BTreeSet::new();
    let known: BTreeSet<String> = before
        .iter()
        .map(|key| {
            let text = fs::read(build.result(key).join("result.json")).unwrap();
            let result: serde_json::Value = serde_json::from_slice(&text).unwrap();
            result["pkgname"].as_str().unwrap().to_owned()
        })
        .collect();
    for line in last_journal(build).iter().skip(begun) {
        let Some(package) = line["package"].as_str() else { continue };
        match line["state"].as_str() {
            Some("running") => {
                assert!(!known.contains(package), "{package} is built, and its result was there");
                assert!(!done.contains(package), "{package} is built twice");
            }
            Some("done" | "up-to-date") => {
                done.insert(package.to_owned());
            }
            _ => {}
        }
    }
}

//! Random packages, libraries and programs, patched and backed out in random order. Each state and each report is
//! compared with a simple model, which knows the rules of kept libraries but not how they are planned.
//!
//! The whole test, 10,000 cases, takes half an hour:
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration kept_model -- --nocapture
//! ```

/// The expected output and result of a command.
mod rules;
/// Random worlds and patches.
mod worlds;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;

use rules::{Outcome, World};
use serde_json::Value;
use worlds::{base_packages, draw_change, draw_own};

use crate::random::Random;
use crate::records::Before;
use crate::reliability::crash::in_parallel;
use crate::reliability::{Sampled, figures, is_whole};
use crate::scenario::Scenario;
use crate::whole_contents::faults_of_contents;

/// The number of occurrences of each outcome and reason.
type Counts = BTreeMap<String, u64>;

/// The outcome for libraries that a document reports.
fn told(document: &str, story: &str) -> Outcome {
    let document: Value = serde_json::from_str(document).unwrap_or_else(|_| panic!("{story}\n{document}"));
    let mut outcome = Outcome::default();
    let Some(shlibs) = document["patches"][0].get("shlibs") else { return outcome };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let paths = |what: &str| -> BTreeSet<(String, String)> {
        let all = list(&shlibs[what]).into_iter();
        all.flat_map(|one| {
            let package = text(&one["package"]);
            list(&one["paths"]).into_iter().map(move |path| (text(&path), package.clone()))
        })
        .collect()
    };
    outcome.kept = paths("kept");
    outcome.dropped = paths("dropped");
    outcome.returned = paths("returned");
    for lost in list(&shlibs["lost"]) {
        outcome.lost.insert((text(&lost["path"]), text(&lost["reason"])));
    }
    outcome
}

/// Compares the root with the model.
#[track_caller]
fn check(stage: &Scenario, world: &World) {
    let story = world.story.join("\n");
    let mut expected: BTreeMap<String, (Vec<u8>, Option<String>)> = BTreeMap::new();
    for (path, (package, object)) in world.delivered() {
        expected.insert(path, (object.bytes(), Some(package)));
    }
    for (path, object) in &world.own {
        expected.insert(path.clone(), (object.bytes(), None));
    }
    for (path, kept) in &world.kept {
        let is_new =
            expected.insert(path.clone(), (kept.object.bytes(), Some(kept.package.clone()))).is_none();
        assert!(is_new, "{story}\n{path}");
    }
    let mut owners = BTreeMap::new();
    for line in stage.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[1] == "f" {
            owners.insert(words[0].to_owned(), words[9..].join(" "));
        }
    }
    let mut found = BTreeMap::new();
    for directory in ["/lib", "/usr/lib", "/usr/bin", "/opt"] {
        for entry in fs::read_dir(stage.at(directory)).into_iter().flatten() {
            let name = entry.unwrap().file_name();
            let path = format!("{directory}/{}", name.to_str().unwrap());
            let bytes = fs::read(stage.at(&path)).unwrap();
            found.insert(path.clone(), (bytes, owners.remove(&path)));
        }
    }
    let faults = faults_of_contents(&stage.root(), &BTreeSet::new());
    assert!(faults.is_empty(), "{story}\n{faults:#?}");
    let names = |all: &BTreeMap<String, (Vec<u8>, Option<String>)>| -> Vec<String> {
        all.iter().map(|(path, (_, owner))| format!("{path} {owner:?}")).collect()
    };
    assert_eq!(names(&found), names(&expected), "{story}");
    assert!(found == expected, "{story}\nother bytes");
    assert!(owners.is_empty(), "{story}\n{owners:?}");
    let packages = fs::read_dir(stage.at("/var/sadm/pkg")).unwrap();
    let packages: BTreeSet<String> =
        packages.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    let kept = world.kept.values().map(|kept| kept.package.clone());
    assert_eq!(packages, world.packages.iter().cloned().chain(kept).collect(), "{story}");
}

/// Compares the report of a command with the model, and the root, too.
#[track_caller]
fn compare(stage: &Scenario, world: &World, (told, expected): (Outcome, Outcome), counts: &mut Counts) {
    assert_eq!(told, expected, "{}", world.story.join("\n"));
    check(stage, world);
    for (what, number) in
        [("kept", &expected.kept), ("dropped", &expected.dropped), ("returned", &expected.returned)]
            .map(|(what, paths)| (what.to_owned(), paths.len() as u64))
            .into_iter()
            .chain(expected.lost.iter().map(|(_, reason)| (reason.clone(), 1)))
    {
        *counts.entry(what).or_default() += number;
    }
}

/// Adds or removes programs that belong to no package.
fn meddle(stage: &Scenario, world: &mut World, random: &mut Random) {
    if random.once_in(3) {
        let (path, object) = draw_own(world, random);
        world.say(format!("somebody builds {path}: {object}"));
        stage.file(&path, object.bytes());
        world.own.insert(path, object);
    } else if let Some(path) = world.own.keys().next().cloned().filter(|_| random.once_in(4)) {
        world.say(format!("somebody removes {path}"));
        fs::remove_file(stage.at(&path)).unwrap();
        world.own.remove(&path);
    }
}

/// Plays one case.
fn play(seed: u64, counts: &mut Counts) {
    let mut random = Random(seed);
    let mut world = World::draw(&mut random);
    world.say(format!("seed {seed}"));
    for (path, (package, object)) in world.base.clone() {
        world.say(format!("{package} has {path}: {object}"));
    }
    let stage = Scenario::new();
    stage.directory("/opt");
    base_packages(&world).iter().for_each(|package| stage.install(package));
    check(&stage, &world);
    let before = Before::of(&stage);
    for number in 1..=2 + random.below(4) {
        let change = draw_change(&world, number, &mut random);
        let words = *random.one(&["report", "keep", "keep", "keep"]);
        world.say(format!("add --libs {words}: {change}"));
        let at = change.patch().directory(&stage);
        let run = stage.run(&format!("add --json --libs {words} -R @ROOT@ {}", at.display()));
        assert_eq!(run.code, 0, "{}\n{}{}", world.story.join("\n"), run.stdout, run.stderr);
        let said = told(&run.stdout, &world.story.join("\n"));
        let expected = world.apply(change, words == "keep");
        compare(&stage, &world, (said, expected), counts);
        *counts.entry("patches".to_owned()).or_default() += 1;
        meddle(&stage, &mut world, &mut random);
    }
    while !world.applied.is_empty() {
        let words = *random.one(&["report", "keep", "keep"]);
        let mut number = random.below(world.applied.len());
        loop {
            let id = world.applied[number].id.clone();
            world.say(format!("remove --libs {words} {id}"));
            let everything = stage.everything();
            let run = stage.run(&format!("remove --json --libs {words} -R @ROOT@ {id}"));
            if run.code == 0 {
                let said = told(&run.stdout, &world.story.join("\n"));
                let expected = world.back_out(number, words == "keep");
                compare(&stage, &world, (said, expected), counts);
                *counts.entry("backouts".to_owned()).or_default() += 1;
                break;
            }
            let story = world.story.join("\n");
            assert!(number + 1 < world.applied.len(), "{story}\n{}{}", run.stdout, run.stderr);
            assert_eq!(everything.difference(&stage.everything()), "", "{story}");
            *counts.entry("refused".to_owned()).or_default() += 1;
            world.say("refused".to_owned());
            number = world.applied.len() - 1;
        }
        meddle(&stage, &mut world, &mut random);
    }
    for path in std::mem::take(&mut world.own).into_keys() {
        fs::remove_file(stage.at(&path)).unwrap();
    }
    stage.run("libs prune -R @ROOT@").ok();
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{}", world.story.join("\n"));
    before.assert_again(&stage, &world.story.join("\n"));
}

#[test]
fn random_updates_keep_what_is_needed_and_nothing_else_and_every_way_back_ends_at_the_first_tree() {
    let cases = Sampled::of(6, 5_000);
    let counts = Mutex::new(Counts::new());
    let processors: Vec<usize> = (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
    in_parallel(&processors, |_| {
        while let Some(case) = cases.next() {
            let mut own = Counts::new();
            play(case * 7919 + 1, &mut own);
            let mut counts = counts.lock().unwrap();
            for (what, number) in own {
                *counts.entry(what).or_default() += number;
            }
        }
    });
    let counts = counts.into_inner().unwrap();
    let numbers: Vec<(&str, u64)> = counts.iter().map(|(what, number)| (&what[..], *number)).collect();
    let found = [("cases", cases.played()), ("other outcomes", 0), ("trees that did not come back", 0)];
    figures("kept-model", &[&found[..], &numbers[..]].concat());
    if is_whole() {
        for what in ["kept", "dropped", "returned", "not-asked", "forbidden", "path-taken", "shadows"] {
            assert!(counts.get(what).is_some_and(|number| *number >= 100), "{what}: {counts:?}");
        }
    }
}

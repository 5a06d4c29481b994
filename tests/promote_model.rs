//! Random changes of a stage and of the live tree, each path held against the table of the three-way rule, which is read
//! from its file; both trees are read by the test itself.
//!
//! The whole of it, 20,000 paths, takes some minutes:
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --release --test integration promote_model -- --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::random::Random;
use crate::reliability::is_whole;
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

/// The state of a path: its columns without the time, with all names of its file.
type State = Option<(Vec<String>, BTreeSet<String>)>;

/// The states of the paths of a tree.
struct Read(BTreeMap<String, (Vec<String>, BTreeSet<String>)>);

impl Read {
    fn of(top: &Path) -> Self {
        let tree = Tree::of(top, &[]);
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, columns) in tree.objects().iter().filter(|(_, columns)| columns[7].starts_with('=')) {
            names.entry(columns[7].clone()).or_default().insert(path.clone());
        }
        let state = |(path, columns): (&String, &Vec<String>)| {
            let mut state = columns.clone();
            let partners = names.get(&columns[7]).cloned().unwrap_or_default();
            state[6].clear();
            state[7].clear();
            (path.clone(), (state, partners))
        };
        Self(tree.objects().iter().map(state).collect())
    }

    fn state(&self, path: &str) -> State {
        self.0.get(path).cloned()
    }

    fn is_directory(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|(columns, _)| columns[0] == "40000")
    }
}

/// The table: the letters of base, stage and live tree, and the outcome.
fn table(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let with_base = fields.filter(|fields| fields.get(3) == Some(&"no"));
    with_base.map(|fields| (fields[..3].concat(), fields[4].to_owned())).collect()
}

/// The letters of three states, by first occurrence; `-` where nothing is.
fn letters(states: [&State; 3]) -> String {
    let mut known: Vec<&State> = Vec::new();
    let letter = |state: &'_ State, known: &mut Vec<&State>| -> usize {
        known.iter().position(|one| *one == state).unwrap_or(known.len())
    };
    let mut text = String::new();
    for state in states {
        if state.is_none() {
            text.push('-');
            continue;
        }
        let place = letter(state, &mut known);
        if place == known.len() {
            known.push(state);
        }
        text.push(char::from(b'A' + u8::try_from(place).unwrap()));
    }
    text
}

/// Changes a tree at one path.
fn change(top: &Path, name: &str, random: &mut Random) {
    let path = top.join(name);
    let seen = fs::symlink_metadata(&path).ok();
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(seen) if seen.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    };
    let above = path.parent().unwrap().to_owned();
    if !fs::symlink_metadata(&above).is_ok_and(|seen| seen.is_dir()) {
        return;
    }
    let file = |text: &str| {
        remove(&path);
        fs::write(&path, text).unwrap();
    };
    match random.below(12) {
        0..=3 => file(["one\n", "two\n", "three\n"][random.below(3)]),
        4 | 5 => remove(&path),
        6 => {
            remove(&path);
            symlink(*random.one(&["a", "b"]), &path).unwrap();
        }
        7 if seen.as_ref().is_some_and(|seen| !seen.is_symlink()) => {
            let mode = *random.one(&[0o700, 0o750, 0o755]);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        8 if seen.as_ref().is_some_and(fs::Metadata::is_file) => {
            let moment = SystemTime::UNIX_EPOCH + Duration::new(random.below(1_000_000) as u64, 7);
            fs::File::open(&path).unwrap().set_modified(moment).unwrap();
        }
        9 => {
            remove(&path);
            fs::create_dir(&path).unwrap();
        }
        10 => {
            let other = top.join(format!("file{}", random.below(FILES)));
            if other != path && fs::symlink_metadata(&other).is_ok_and(|seen| seen.is_file()) {
                remove(&path);
                fs::hard_link(&other, &path).unwrap();
            }
        }
        11 => {
            remove(&path);
            assert!(Command::new("mkfifo").args(["-m", "640"]).arg(&path).status().unwrap().success());
        }
        _ => {}
    }
}

/// The names that there may be.
const FILES: usize = 24;

fn names() -> Vec<String> {
    let files = (0..FILES).map(|number| format!("file{number}"));
    let below = (0..4).flat_map(|number| {
        let directory = format!("dir{number}");
        let inside = (0..4).map(move |inner| format!("dir{number}/in{inner}"));
        std::iter::once(directory).chain(inside)
    });
    files.chain(below).collect()
}

fn first_tree(top: &Path, random: &mut Random) {
    fs::create_dir_all(top).unwrap();
    for name in names() {
        let path = top.join(&name);
        if name.starts_with("dir") && !name.contains('/') {
            fs::create_dir(&path).unwrap();
        } else if random.below(4) > 0 {
            fs::write(&path, random.one(&["one\n", "two\n"])).unwrap();
        }
    }
    for _ in 0..3 {
        change(top, &format!("file{}", random.below(FILES)), random);
    }
}

/// What the live tree has to be.
enum Expected {
    /// It stops because of this path.
    Stops(String),
    /// Each path with its state.
    Becomes(BTreeMap<String, State>),
}

struct Sides<'a> {
    base: &'a Read,
    stage: &'a Read,
    live: &'a Read,
}

impl Sides<'_> {
    fn paths(&self) -> BTreeSet<String> {
        [self.base, self.stage, self.live].into_iter().flat_map(|side| side.0.keys().cloned()).collect()
    }

    fn of_path(&self, path: &str) -> [State; 3] {
        [self.base.state(path), self.stage.state(path), self.live.state(path)]
    }

    /// The outcomes by the table, under the policy `keep` or `replace`, and which lines of it were used.
    fn expected(
        &self,
        table: &BTreeMap<String, String>,
        policy: &str,
        used: &mut BTreeMap<String, usize>,
    ) -> Expected {
        let mut outcomes: BTreeMap<String, String> = BTreeMap::new();
        for path in self.paths() {
            let states = self.of_path(&path);
            let line = letters([&states[0], &states[1], &states[2]]);
            *used.entry(line.clone()).or_default() += 1;
            let outcome = match table[&line].as_str() {
                "conflict" if policy == "keep" => "keep",
                "conflict" if states[1].is_none() => "delete",
                "conflict" => "take",
                plain => plain,
            };
            outcomes.insert(path, outcome.to_owned());
        }
        if let Some(path) = self.settle(&mut outcomes) {
            return Expected::Stops(path);
        }
        let becomes = outcomes.iter().map(|(path, outcome)| {
            let [_, stage, live] = self.of_path(path);
            (path.clone(), if matches!(outcome.as_str(), "take" | "delete") { stage } else { live })
        });
        Expected::Becomes(becomes.collect())
    }

    /// What paths mean for those above and below them; the path that stops everything, if there is one.
    fn settle(&self, outcomes: &mut BTreeMap<String, String>) -> Option<String> {
        let is_taken = |outcomes: &BTreeMap<String, String>, path: &str| {
            outcomes.get(path).is_some_and(|outcome| outcome == "take")
        };
        for path in self.paths() {
            let Some((above, _)) = path.rsplit_once('/') else { continue };
            if !is_taken(outcomes, &path) || is_taken(outcomes, above) {
                continue;
            }
            if self.live.state(above).is_none() {
                outcomes.insert(above.to_owned(), "take".to_owned());
            } else if !self.live.is_directory(above) {
                return Some(path);
            }
        }
        for path in self.paths().iter().rev().filter(|path| self.live.is_directory(path)) {
            let inside = format!("{path}/");
            let is_full = self.paths().iter().filter(|other| other.starts_with(&inside)).any(|other| {
                let goes = outcomes[other.as_str()] == "delete";
                self.live.state(other).is_some() && !goes || is_taken(outcomes, other)
            });
            let outcome = outcomes[path.as_str()].clone();
            if outcome == "delete" && is_full {
                outcomes.insert(path.clone(), "keep".to_owned());
            }
            if outcome == "take" && !self.stage.is_directory(path) && is_full {
                return Some(path.clone());
            }
        }
        None
    }
}

/// Whether every name of a file is taken, or none, so that its names can be what they are in the stage.
fn without_mixed_names(becomes: &BTreeMap<String, State>, path: &str) -> Vec<String> {
    becomes[path].as_ref().map(|(columns, _)| columns.clone()).unwrap_or_default()
}

/// One round: a stage, changes on both sides, a promotion held against the table, and its backout. The lines of the table
/// that were used are counted.
fn round(seed: u64, table: &BTreeMap<String, String>, used: &mut BTreeMap<String, usize>) {
    let mut random = Random(seed);
    let live = Scenario::in_memory();
    live.directory("/usr/pkg");
    fs::remove_dir(live.at("/usr/pkg")).unwrap();
    first_tree(&live.at("/usr/pkg"), &mut random);
    let base = Read::of(&live.at("/usr/pkg"));
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let stage: PathBuf = live.beside("web").join("usr/pkg");
    let names = names();
    for _ in 0..12 {
        let [one, other] = [&names, &names].map(|names| names[random.below(names.len())].clone());
        change(&stage, &one, &mut random);
        change(&live.at("/usr/pkg"), &other, &mut random);
    }
    for _ in 0..4 {
        // The same on both sides.
        let (name, twin) = (names[random.below(names.len())].clone(), random.0);
        change(&stage, &name, &mut Random(twin));
        change(&live.at("/usr/pkg"), &name, &mut Random(twin));
    }
    let own = live.at("/usr/pkg/made-live");
    fs::write(&own, "live\n").unwrap();
    let sides = Sides { base: &base, stage: &Read::of(&stage), live: &Read::of(&live.at("/usr/pkg")) };
    let policy = *random.one(&["keep", "replace"]);
    let expected = sides.expected(table, policy, used);
    let before = Tree::of(&live.at("/usr/pkg"), &[]);
    let run = live.run(&format!("promote web -R @ROOT@ --edited {policy} --max-delete 100%"));
    let becomes = match expected {
        Expected::Stops(path) => {
            assert_eq!(
                run.code,
                10,
                "seed {seed}, because of {path}: {:?} {} {}",
                sides.of_path(&path),
                run.stdout,
                run.stderr
            );
            assert_same(&Tree::of(&live.at("/usr/pkg"), &[]), &before);
            return;
        }
        Expected::Becomes(becomes) => becomes,
    };
    assert_eq!(run.code, 0, "seed {seed}: {} {}", run.stdout, run.stderr);
    let after = Read::of(&live.at("/usr/pkg"));
    for path in becomes.keys() {
        let found = after.state(path).map(|(columns, _)| columns).unwrap_or_default();
        assert_eq!(found, without_mixed_names(&becomes, path), "seed {seed}, {policy}: {path}");
    }
    let all = |read: &Read| read.0.keys().cloned().collect::<BTreeSet<_>>();
    let expected: BTreeSet<String> =
        becomes.iter().filter(|(_, state)| state.is_some()).map(|(path, _)| path.clone()).collect();
    assert_eq!(all(&after), expected, "seed {seed}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "live\n");
    for (path, (_, partners)) in &after.0 {
        let in_stage = sides.stage.state(path).map(|(_, partners)| partners).unwrap_or_default();
        let is_whole_file = |names: &BTreeSet<String>| {
            names.iter().all(|name| becomes.get(name).is_some_and(|state| *state == sides.stage.state(name)))
        };
        if becomes[path] == sides.stage.state(path) && is_whole_file(&in_stage) && !in_stage.is_empty() {
            let states: Vec<_> = in_stage.iter().map(|name| sides.of_path(name)).collect();
            assert_eq!(*partners, in_stage, "seed {seed}: the names of {path}: {states:?}");
        }
    }
    if run.stdout.starts_with("nothing") {
        return;
    }
    let back = live.run("patchrm -R @ROOT@ web-01");
    assert_eq!(back.code, 0, "seed {seed}, {policy}: {}", back.stderr);
    let difference = before.difference(&Tree::of(&live.at("/usr/pkg"), &[]));
    assert_eq!(difference, "", "seed {seed}, {policy}, by the backout");
}

#[test]
fn every_path_becomes_what_the_table_says() {
    let Some(file) = shared("the table of the three-way rule", "cases/promote/threeway.tsv") else { return };
    let table = table(&fs::read_to_string(file).unwrap());
    let rounds = if is_whole() { 450 } else { 12 };
    let mut used = BTreeMap::new();
    for seed in 0..rounds {
        round(seed * 7919 + 1, &table, &mut used);
    }
    if is_whole() {
        eprintln!("{} paths: {used:?}", used.values().sum::<usize>());
        assert!(used.values().sum::<usize>() >= 20_000);
        let seldom: Vec<&String> = table
            .keys()
            .filter(|line| *line != "---" && used.get(*line).copied().unwrap_or(0) < 100)
            .collect();
        assert!(seldom.is_empty(), "{seldom:?}");
    }
}

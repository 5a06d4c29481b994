//! Both trees as the test itself reads them, and the outcome for each path by the table of the three-way rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tree::Tree;

/// The state of a path: its columns without the time, with all names of its file.
pub(super) type State = Option<(Vec<String>, BTreeSet<String>)>;

/// The columns of the paths of a tree; names of one file have the same word in the column of links.
pub(super) type Columns = BTreeMap<String, Vec<String>>;

/// The states of the paths of a tree.
pub(super) struct Read(pub(super) BTreeMap<String, (Vec<String>, BTreeSet<String>)>);

impl Read {
    pub(super) fn of(top: &Path) -> Self {
        Self::of_columns(Tree::of(top, &[]).objects())
    }

    pub(super) fn of_columns(objects: &Columns) -> Self {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, columns) in objects.iter().filter(|(_, columns)| columns[7].starts_with('=')) {
            names.entry(columns[7].clone()).or_default().insert(path.clone());
        }
        names.retain(|_, names| names.len() > 1);
        let state = |(path, columns): (&String, &Vec<String>)| {
            let mut state = columns.clone();
            let partners = names.get(&columns[7]).cloned().unwrap_or_default();
            state[6].clear();
            state[7].clear();
            (path.clone(), (state, partners))
        };
        Self(objects.iter().map(state).collect())
    }

    pub(super) fn state(&self, path: &str) -> State {
        self.0.get(path).cloned()
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|(columns, _)| columns[0] == "40000")
    }
}

/// The table: the letters of base, stage and live tree, and the outcome.
pub(super) fn table(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let with_base = fields.filter(|fields| fields.get(3) == Some(&"no"));
    with_base.map(|fields| (fields[..3].concat(), fields[4].to_owned())).collect()
}

/// The letters of three states, by first occurrence; `-` if there is no object.
pub(super) fn letters(states: [&State; 3]) -> String {
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

/// The number of uses of each line of the table: in total, for directories, and for names of a file with several
/// names.
#[derive(Default)]
pub(super) struct Used {
    pub(super) all: BTreeMap<String, usize>,
    pub(super) directories: BTreeMap<String, usize>,
    pub(super) names: BTreeMap<String, usize>,
}

impl Used {
    fn count(&mut self, line: &str, states: &[State; 3]) {
        let states = || states.iter().flatten();
        let is_directory = states().any(|(columns, _)| columns[0] == "40000");
        let is_name = states().any(|(_, partners)| !partners.is_empty());
        for (counts, counted) in
            [(&mut self.all, true), (&mut self.directories, is_directory), (&mut self.names, is_name)]
        {
            *counts.entry(line.to_owned()).or_default() += usize::from(counted);
        }
    }
}

/// The expected state of the live tree.
pub(super) enum Expected {
    /// The run stops because of this path.
    Stops(String),
    /// Each path with its state.
    Becomes(BTreeMap<String, State>),
}

pub(super) struct Sides<'a> {
    pub(super) base: &'a Read,
    pub(super) stage: &'a Read,
    pub(super) live: &'a Read,
}

impl Sides<'_> {
    pub(super) fn paths(&self) -> BTreeSet<String> {
        [self.base, self.stage, self.live].into_iter().flat_map(|side| side.0.keys().cloned()).collect()
    }

    pub(super) fn of_path(&self, path: &str) -> [State; 3] {
        [self.base.state(path), self.stage.state(path), self.live.state(path)]
    }

    /// The outcomes by the table, under the policy `keep` or `replace`; counts the lines of it that were used.
    pub(super) fn expected(
        &self,
        table: &BTreeMap<String, String>,
        policy: &str,
        used: &mut Used,
    ) -> Expected {
        let mut outcomes: BTreeMap<String, String> = BTreeMap::new();
        for path in self.paths() {
            let states = self.of_path(&path);
            let line = letters([&states[0], &states[1], &states[2]]);
            used.count(&line, &states);
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

    /// Applies the effects of paths on those above and below them; returns the path that stops everything, if there
    /// is one.
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

/// Compares a tree with its expected state. If all names of a file were taken, they must be those of the tree that
/// they were taken from.
pub(super) fn check(becomes: &BTreeMap<String, State>, after: &Read, from: &Read, when: &str) {
    for (path, state) in becomes {
        let columns = |state: State| state.map(|(columns, _)| columns).unwrap_or_default();
        assert_eq!(columns(after.state(path)), columns(state.clone()), "{when}: {path}");
    }
    let expected: BTreeSet<&String> =
        becomes.iter().filter(|(_, state)| state.is_some()).map(|(path, _)| path).collect();
    assert_eq!(after.0.keys().collect::<BTreeSet<_>>(), expected, "{when}");
    for (path, (_, partners)) in &after.0 {
        let there = from.state(path).map(|(_, partners)| partners).unwrap_or_default();
        let is_whole_file =
            there.iter().all(|name| becomes.get(name).is_some_and(|state| *state == from.state(name)));
        if becomes[path] == from.state(path) && is_whole_file && !there.is_empty() {
            assert_eq!(*partners, there, "{when}: the names of {path}");
        }
    }
}

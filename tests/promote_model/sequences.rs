//! Edits on both sides, promotions of all or of one path, backouts and refreshes, in random order: after each
//! promotion and each refresh, every path is as the table says, from the base that the model itself keeps.
//!
//! The base in force is that of the newest promotion that is still applied: the stage at that time, and outside the
//! promoted paths the base before it. A refresh brings states of the live tree into it, and into every other base
//! with the same state of the path. A file that is created in the live tree, and not brought into the stage, survives
//! everything that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::changing::{change, draw_name, first_tree};
use super::reading::{Columns, Expected, Read, Sides, State, Used, check, table};
use crate::random::Random;
use crate::reliability::{Sampled, figures};
use crate::scenario::{Run, Scenario, code_of, shared};
use crate::tree::{Tree, assert_same};
use crate::undo_forms::UndoForms;
use crate::whole_contents::{faults_of_contents, missing_objects};

/// The staged paths: a tree and its database.
const PATHS: [&str; 2] = ["usr/pkg", "var/db/pkg"];

/// The state of each path in the stage.
type Bases = [Columns; 2];

/// A promotion that is applied.
struct Applied {
    id: String,
    base: Bases,
    before: [Tree; 2],
    /// The trees after it.
    after: [Tree; 2],
}

/// The number of actions, by kind.
type Counts = BTreeMap<&'static str, u64>;

/// A root with its stage, and the model of both.
struct Sequence<'t> {
    table: &'t BTreeMap<String, String>,
    when: String,
    random: Random,
    live: Scenario,
    base_of_new: Bases,
    applied: Vec<Applied>,
    /// True if the last run of the root is the newest promotion.
    can_undo: bool,
    /// Files that were created in the live tree.
    created: BTreeSet<PathBuf>,
    used: Used,
    counts: Counts,
    /// The forms of undo data, chosen by the seed.
    forms: UndoForms,
}

fn columns(top: &Path) -> Columns {
    Tree::of(top, &[]).objects().clone()
}

/// The expected states of both staged paths, or the reason why nothing happens.
type Outcome = Result<[BTreeMap<String, State>; 2], String>;

impl<'t> Sequence<'t> {
    fn new(seed: u64, table: &'t BTreeMap<String, String>) -> Self {
        let mut random = Random(seed);
        let live = Scenario::new();
        for path in PATHS {
            first_tree(&live.at(path), &mut random);
        }
        live.run("stage new web -R @ROOT@ --path usr/pkg --path var/db/pkg").ok();
        let base_of_new = PATHS.map(|path| columns(&live.at(path)));
        Self {
            table,
            when: format!("seed {seed}"),
            random,
            live,
            base_of_new,
            applied: Vec::new(),
            can_undo: false,
            created: BTreeSet::new(),
            used: Used::default(),
            counts: Counts::new(),
            forms: UndoForms::of(seed),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn staged(&self, path: &str) -> PathBuf {
        self.live.beside("web").join(path)
    }

    fn trees(&self) -> [Tree; 2] {
        PATHS.map(|path| Tree::of(&self.live.at(path), &[]))
    }

    fn in_force(&self) -> &Bases {
        self.applied.last().map_or(&self.base_of_new, |applied| &applied.base)
    }

    /// Changes one side, or both in the same way.
    fn edit(&mut self) {
        for _ in 0..=self.random.below(5) {
            let name = draw_name(&mut self.random);
            let at = *self.random.one(&PATHS);
            let sides = [self.staged(at), self.live.at(at)];
            match self.random.below(5) {
                0 | 1 => change(&sides[0], &name, &mut self.random),
                2 | 3 => change(&sides[1], &name, &mut self.random),
                _ => {
                    let twin = self.random.0;
                    sides.iter().for_each(|side| change(side, &name, &mut Random(twin)));
                }
            }
        }
        self.created.retain(|path| path.exists());
    }

    /// Creates a file in the live tree, at its top or in one of its directories.
    fn create(&mut self) {
        let at = *self.random.one(&PATHS);
        let directory = self.live.at(at).join(format!("dir{}", self.random.below(4)));
        let is_there = fs::symlink_metadata(&directory).is_ok_and(|seen| seen.is_dir());
        let directory = if is_there { directory } else { self.live.at(at) };
        let file = directory.join(format!("created{}", self.random.below(1_000_000)));
        fs::write(&file, "created\n").unwrap();
        self.created.insert(file);
    }

    /// The expected states of both trees on the side that changes; paths that are not promoted stay as they are.
    fn expected(&mut self, promoted: &[&str], policy: &str, refreshes: bool) -> Outcome {
        let mut becomes = [BTreeMap::new(), BTreeMap::new()];
        for (at, path) in PATHS.iter().enumerate() {
            let base = Read::of_columns(&self.in_force()[at]);
            let (stage, live) = (Read::of(&self.staged(path)), Read::of(&self.live.at(path)));
            let (from, to) = if refreshes { (&live, &stage) } else { (&stage, &live) };
            if !promoted.contains(path) {
                becomes[at] = to.0.keys().map(|path| (path.clone(), to.state(path))).collect();
                continue;
            }
            let sides = Sides { base: &base, stage: from, live: to };
            match sides.expected(self.table, policy, &mut self.used) {
                Expected::Stops(path) => return Err(path),
                Expected::Becomes(states) => becomes[at] = states,
            }
        }
        Ok(becomes)
    }

    /// Asserts that nothing happened, because of a conflict that no policy decides.
    fn must_have_stopped(&self, run: &Run, because: &str, before: &[Tree; 2]) {
        assert_eq!(run.code, 3, "{}, because of {because}: {} {}", self.when, run.stdout, run.stderr);
        before.iter().zip(&self.trees()).for_each(|(before, now)| assert_same(now, before));
    }

    fn promote(&mut self) {
        let promoted: &[&str] = match self.random.below(3) {
            0 => &PATHS[..1],
            1 => &PATHS[1..],
            _ => &PATHS,
        };
        let policy = *self.random.one(&["keep", "replace"]);
        let expected = self.expected(promoted, policy, false);
        let base = [0, 1].map(|at| {
            let is_promoted = promoted.contains(&PATHS[at]);
            if is_promoted { columns(&self.staged(PATHS[at])) } else { self.in_force()[at].clone() }
        });
        let before = self.trees();
        let options: String = promoted.iter().map(|path| format!(" --path {path}")).collect();
        let form = self.forms.option();
        self.when += &format!(" {form}");
        let line = format!("stage promote web -R @ROOT@ --max-delete 100% --edited {policy}{options} {form}");
        let run = self.live.run(&line);
        let becomes = match expected {
            Err(because) => return self.must_have_stopped(&run, &because, &before),
            Ok(becomes) => becomes,
        };
        assert_eq!(run.code, 0, "{}, {policy}: {} {}", self.when, run.stdout, run.stderr);
        for (at, path) in PATHS.iter().enumerate() {
            let (after, stage) = (Read::of(&self.live.at(path)), Read::of(&self.staged(path)));
            check(&becomes[at], &after, &stage, &format!("{}, promoted, {policy}", self.when));
        }
        if run.stdout.starts_with("nothing") {
            self.count("with nothing to promote");
            return;
        }
        let id = run.stdout.split(':').next().unwrap().to_owned();
        self.count(if promoted.len() == 1 { "promotions of one path" } else { "promotions" });
        let after = self.trees();
        self.applied.push(Applied { id, base, before, after });
        self.can_undo = true;
    }

    /// Backs out the newest promotion. Returns false if it is not backed out because an object on the way was put in
    /// the place of a directory since.
    fn back_out(&mut self) -> bool {
        let ids: Vec<String> = self.applied.iter().map(|applied| applied.id.clone()).collect();
        if let Some(line) = self.forms.repack(&ids) {
            self.live.run(&line).ok();
            self.when += &format!(" after {line}");
            // The repacking is the last run now, and not an application.
            self.can_undo = false;
        }
        let Some(applied) = self.applied.pop() else { return false };
        let line = if self.can_undo && self.random.below(2) == 0 {
            "undo -R @ROOT@".to_owned()
        } else {
            format!("patchrm -R @ROOT@ {}", applied.id)
        };
        let there = self.trees();
        let is_untouched = there == applied.after;
        let run = self.live.run(&line);
        if !is_untouched && run.code == code_of(&line, 5, 3) {
            there.iter().zip(&self.trees()).for_each(|(there, now)| assert_same(now, there));
            self.applied.push(applied);
            self.count("backouts refused after edits");
            return false;
        }
        assert_eq!(run.code, 0, "{}, {line}: {} {}", self.when, run.stdout, run.stderr);
        if is_untouched {
            let now = self.trees();
            let difference: String =
                applied.before.iter().zip(&now).map(|(before, now)| before.difference(now)).collect();
            assert_eq!(difference, "", "{}, {line}", self.when);
            self.count("backouts to the last attribute");
        } else {
            self.count("backouts after edits");
        }
        self.can_undo = false;
        true
    }

    fn refresh(&mut self) {
        let policy = *self.random.one(&["keep", "replace"]);
        let before = self.trees();
        let stage = PATHS.map(|path| Read::of(&self.staged(path)));
        let expected = self.expected(&PATHS, policy, true);
        let run = self.live.run(&format!("stage refresh web -R @ROOT@ --edited {policy}"));
        before.iter().zip(&self.trees()).for_each(|(before, now)| assert_same(now, before));
        let becomes = match expected {
            Err(because) => return self.must_have_stopped(&run, &because, &before),
            Ok(becomes) => becomes,
        };
        assert_eq!(run.code, 0, "{}, {policy}: {} {}", self.when, run.stdout, run.stderr);
        for (at, path) in PATHS.iter().enumerate() {
            let (after, live) = (Read::of(&self.staged(path)), Read::of(&self.live.at(path)));
            check(&becomes[at], &after, &live, &format!("{}, refreshed, {policy}", self.when));
            let other = |path: &&String| stage[at].state(path) != becomes[at][*path];
            let brought: Vec<String> = becomes[at].keys().filter(other).cloned().collect();
            self.bring(at, &brought);
        }
        // The stage knows the files that it has, so their deletion in the stage may go live.
        let (root, stage) = (self.live.root(), self.live.beside("web"));
        let is_known = |path: &PathBuf| path.strip_prefix(&root).is_ok_and(|path| stage.join(path).exists());
        self.created.retain(|path| !is_known(path));
        self.count("refreshes");
    }

    /// Records in the bases that both sides have these paths as in the live tree.
    fn bring(&mut self, at: usize, brought: &[String]) {
        let live = columns(&self.live.at(PATHS[at]));
        let known = Read::of_columns(&self.in_force()[at]);
        let number = self.counts.values().sum::<u64>();
        let bases = self.applied.iter_mut().map(|applied| &mut applied.base);
        for base in bases.chain([&mut self.base_of_new]) {
            let before = Read::of_columns(&base[at]);
            for path in brought.iter().filter(|path| before.state(path) == known.state(path)) {
                let Some(columns) = live.get(path) else {
                    base[at].remove(path);
                    continue;
                };
                let mut columns = columns.clone();
                if columns[7].starts_with('=') {
                    columns[7] = format!("{} of {number}", columns[7]);
                }
                base[at].insert(path.clone(), columns);
            }
        }
    }

    fn play(&mut self, steps: usize) {
        for step in 0..steps {
            let what = self.random.below(9);
            let name =
                ["edit", "create", "promote", "back out", "refresh"][[0, 0, 0, 1, 2, 2, 3, 3, 4][what]];
            self.when = format!("{}, step {step}, {name}", self.when.split(',').next().unwrap());
            let missing = missing_objects(&self.live.root());
            match what {
                0..=2 => self.edit(),
                3 => self.create(),
                4 | 5 => self.promote(),
                6 | 7 => drop(self.back_out()),
                _ => self.refresh(),
            }
            // Edits of the live tree delete anything; a run leaves no line without an object.
            let missing = if what < 3 { missing_objects(&self.live.root()) } else { missing };
            let faults = faults_of_contents(&self.live.root(), &missing);
            assert!(faults.is_empty(), "{}: {faults:#?}", self.when);
            for file in &self.created {
                let text = fs::read_to_string(file).unwrap_or_default();
                assert_eq!(text, "created\n", "{}: {}", self.when, file.display());
            }
        }
        // All promotions are backed out.
        let missing = missing_objects(&self.live.root());
        while self.back_out() {}
        let faults = faults_of_contents(&self.live.root(), &missing);
        assert!(faults.is_empty(), "{}, in the end: {faults:#?}", self.when);
    }
}

#[test]
fn sequences_of_promotions_edits_backouts_and_refreshes_keep_to_the_table() {
    let Some(file) = shared("the table of the three-way rule", "cases/promote/threeway.tsv") else { return };
    let table = table(&fs::read_to_string(file).unwrap());
    let mut counts = Counts::new();
    let sequences = Sampled::of(4, 300);
    while let Some(seed) = sequences.next() {
        let mut sequence = Sequence::new(seed * 6_364_136 + 11, &table);
        sequence.play(18);
        let paths = sequence.used.all.values().sum::<usize>() as u64;
        *counts.entry("paths").or_default() += paths;
        for (what, count) in sequence.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    let mut told: Vec<(&str, u64)> =
        vec![("sequences", sequences.played()), ("other outcomes", 0), ("lost files", 0)];
    told.extend(counts);
    figures("promote-sequences", &told);
}

//! Random changes of a stage and of the live tree. Each path must match the table of the three-way rule, which is
//! read from its file; the test reads both trees itself.
//!
//! The whole of it, more than 20,000 paths in single rounds and some hundred sequences, takes some minutes:
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration promote_model -- --nocapture
//! ```

/// Random trees and changes.
mod changing;
/// The model.
mod reading;
/// Promotions, backouts and refreshes one after another.
mod sequences;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use changing::{change, change_pairs, draw_name, first_tree};
use reading::{Expected, Read, Sides, Used, check, table};

use crate::random::Random;
use crate::reliability::{Sampled, figures, is_whole};
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};
use crate::undo_forms::UndoForms;
use crate::whole_contents::faults_of_contents;

/// Plays one round: a stage, changes on both sides, a promotion compared with the table, and its backout. Counts the
/// lines of the table that were used.
fn round(seed: u64, table: &BTreeMap<String, String>, used: &mut Used) {
    let mut random = Random(seed);
    let live = Scenario::new();
    live.directory("/usr/pkg");
    fs::remove_dir(live.at("/usr/pkg")).unwrap();
    first_tree(&live.at("/usr/pkg"), &mut random);
    let base = Read::of(&live.at("/usr/pkg"));
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let stage: PathBuf = live.beside("web").join("usr/pkg");
    for _ in 0..12 {
        let [one, other] = [(); 2].map(|()| draw_name(&mut random));
        change(&stage, &one, &mut random);
        change(&live.at("/usr/pkg"), &other, &mut random);
    }
    for _ in 0..4 {
        // The same change on both sides.
        let (name, twin) = (draw_name(&mut random), random.0);
        change(&stage, &name, &mut Random(twin));
        change(&live.at("/usr/pkg"), &name, &mut Random(twin));
    }
    for side in [stage.clone(), live.at("/usr/pkg")] {
        change_pairs(&side, &mut random);
    }
    if random.once_in(3) {
        // Random changes would seldom produce this.
        for side in [stage.clone(), live.at("/usr/pkg")] {
            fs::create_dir(side.join("new")).unwrap();
            let mode = *random.one(&[0o750, 0o755]);
            fs::set_permissions(side.join("new"), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let own = live.at("/usr/pkg/made-live");
    fs::write(&own, "live\n").unwrap();
    let sides = Sides { base: &base, stage: &Read::of(&stage), live: &Read::of(&live.at("/usr/pkg")) };
    let policy = *random.one(&["keep", "replace"]);
    let expected = sides.expected(table, policy, used);
    let before = Tree::of(&live.at("/usr/pkg"), &[]);
    let mut forms = UndoForms::of(seed);
    let form = forms.option();
    let old = Inodes::of(&live.at("/usr/pkg"));
    let run = live.run(&format!("stage promote web -R @ROOT@ --edited {policy} --max-delete 100% {form}"));
    let becomes = match expected {
        Expected::Stops(path) => {
            let states = sides.of_path(&path);
            let said = (run.stdout, run.stderr);
            assert_eq!(run.code, 3, "seed {seed}, because of {path}: {states:?} {said:?}");
            assert_same(&Tree::of(&live.at("/usr/pkg"), &[]), &before);
            return;
        }
        Expected::Becomes(becomes) => becomes,
    };
    assert_eq!(run.code, 0, "seed {seed}: {} {}", run.stdout, run.stderr);
    let after = Read::of(&live.at("/usr/pkg"));
    check(&becomes, &after, sides.stage, &format!("seed {seed}, {policy}"));
    let faults = faults_of_contents(&live.root(), &BTreeSet::new());
    assert!(faults.is_empty(), "seed {seed}, {policy}, promoted: {faults:#?}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "live\n");
    if run.stdout.starts_with("nothing") {
        return;
    }
    let gone = old.gone(&Inodes::of(&live.at("/usr/pkg"))).without_retyped(&live.at("/usr/pkg"));
    let repacked = forms.repack(&["web-01".to_owned()]).map(|line| live.run(&line).ok());
    let back = live.run("patchrm -R @ROOT@ web-01");
    assert_eq!(back.code, 0, "seed {seed}, {policy}, {form}: {}", back.stderr);
    let difference = before.difference(&Tree::of(&live.at("/usr/pkg"), &[]));
    assert_eq!(difference, "", "seed {seed}, {policy}, {form}, {repacked:?}, by the backout");
    let faults = faults_of_contents(&live.root(), &BTreeSet::new());
    assert!(faults.is_empty(), "seed {seed}, {policy}, backed out: {faults:#?}");
    if form.ends_with("files") && repacked.is_none() {
        let others = gone.others(&Inodes::of(&live.at("/usr/pkg")));
        assert!(others.is_empty(), "seed {seed}, {policy}: other files came back at {others:?}");
    }
}

/// The files of a tree: inode number and link count, by path.
struct Inodes(BTreeMap<String, (u64, u64)>);

impl Inodes {
    fn of(top: &Path) -> Self {
        let mut found = BTreeMap::new();
        for (path, columns) in Tree::of(top, &[]).objects() {
            if columns[0] == "100000" {
                let seen = fs::symlink_metadata(top.join(path)).unwrap();
                found.insert(path.clone(), (seen.ino(), seen.nlink()));
            }
        }
        Self(found)
    }

    /// The files that have lost all their names, so that nobody else can write to them through a name.
    fn gone(&self, now: &Self) -> Self {
        let is_gone = |path: &String, inode: u64| now.0.get(path).is_none_or(|(other, _)| *other != inode);
        let mut names: BTreeMap<u64, u64> = BTreeMap::new();
        for (path, (inode, _)) in &self.0 {
            *names.entry(*inode).or_default() += u64::from(is_gone(path, *inode));
        }
        let whole = self.0.iter().filter(|(_, (inode, links))| names[inode] == *links);
        Self(whole.map(|(path, file)| (path.clone(), *file)).collect())
    }

    /// Leaves out the files with a name in a directory that is none below `top` any more: such a directory is kept as
    /// a whole, and its files are copied with all of their names.
    fn without_retyped(mut self, top: &Path) -> Self {
        let is_retyped =
            |above: &Path| fs::symlink_metadata(top.join(above)).is_ok_and(|seen| !seen.file_type().is_dir());
        let copied = self.0.iter().filter(|(path, _)| Path::new(path).ancestors().skip(1).any(is_retyped));
        let copied: BTreeSet<u64> = copied.map(|(_, (inode, _))| *inode).collect();
        self.0.retain(|_, (inode, _)| !copied.contains(inode));
        self
    }

    /// The paths that have other files now.
    fn others(&self, now: &Self) -> Vec<&String> {
        let is_other = |path: &&String| now.0.get(*path).map(|file| file.0) != Some(self.0[*path].0);
        self.0.keys().filter(is_other).collect()
    }
}

#[test]
fn every_path_becomes_what_the_table_says() {
    let Some(file) = shared("the table of the three-way rule", "cases/promote/threeway.tsv") else { return };
    let table = table(&fs::read_to_string(file).unwrap());
    let mut used = Used::default();
    let rounds = Sampled::of(10, 1300);
    while let Some(seed) = rounds.next() {
        round(seed * 7919 + 1, &table, &mut used);
    }
    if is_whole() {
        let sum = |lines: &BTreeMap<String, usize>| lines.values().sum::<usize>() as u64;
        let kinds = [("paths", &used.all), ("directories", &used.directories), ("names", &used.names)];
        let mut told = kinds.map(|(what, lines)| (what, sum(lines))).to_vec();
        told.push(("other outcomes", 0));
        figures("promote-model", &told);
        assert!(sum(&used.all) >= 20_000);
        for (what, lines) in kinds {
            let is_seldom = |line: &&String| lines.get(*line).is_none_or(|count| *count < 100);
            let seldom: Vec<&String> = table.keys().filter(|line| *line != "---").filter(is_seldom).collect();
            assert!(seldom.is_empty(), "{what}: {seldom:?} of {lines:?}");
        }
    }
}

//! Decisions that examine only the programs that a change can concern, compared with those that examine all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Root, at};
use crate::LibraryFile;
use crate::decision::{
    CandidateNode, CandidateOrigin, LibraryCandidate, LibraryChange, Obstacle, OtherConsumer, OtherSource,
    SymbolSource,
};
use crate::elf::{DlopenNote, ElfFacts, ElfSymbols, NeededVersion};
use crate::needs::{Comparisons, Thoroughness};
use patchadm_svr4::package::ObjectPath;

const DIRECTORIES: [&str; 5] = ["/lib", "/usr/lib", "/opt/a", "/opt/b", "/usr/lib/x86_64-linux-gnu"];

const NAMES: [&str; 8] =
    ["liba.so.1", "liba.so.2", "libb.so.1", "libb.so.2", "libc.so.1", "libd.so.1", "libe.so.1", "plugin.so"];

const SEARCHED: [&str; 5] = ["/opt/a", "/opt/b:/lib", "$ORIGIN", "$ORIGIN/../a", "/nowhere"];

/// Pseudo-random numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'s>(&mut self, words: &[&'s str]) -> &'s str {
        words[self.below(words.len())]
    }

    fn facts(&mut self, soname: Option<&str>) -> ElfFacts {
        let count = self.below(4);
        let needed: Vec<String> = (0..count).map(|_| self.of(&NAMES).to_owned()).collect();
        let versions = needed.iter().filter_map(|library| {
            let version = format!("V{}", self.below(3));
            let (is_wanted, is_weak) = (self.one_in(4), self.one_in(5));
            is_wanted.then(|| NeededVersion { library: library.clone(), version, is_weak })
        });
        let needs = versions.collect();
        let path = |random: &mut Self| random.one_in(5).then(|| random.of(&SEARCHED).to_owned());
        let (rpath, runpath) = (path(self), path(self));
        let note = |random: &mut Self| DlopenNote {
            soname: vec![random.of(&NAMES).to_owned(), random.of(&NAMES).to_owned()],
            priority: String::new(),
        };
        ElfFacts {
            soname: soname.map(str::to_owned),
            needed,
            needs,
            rpath: rpath.filter(|_| runpath.is_none()),
            runpath,
            defines: (0..3).filter(|_| !self.one_in(3)).map(|number| format!("V{number}")).collect(),
            dlopen: if self.one_in(6) { vec![note(self)] } else { Vec::new() },
            flags: if self.one_in(12) { 0x800 } else { self.0 & 1 },
            ..ElfFacts::default()
        }
    }

    fn library(&mut self, name: &str) -> ElfFacts {
        let other = self.of(&NAMES);
        let soname = match self.below(8) {
            0 => None,
            1 => Some(other),
            _ => Some(name),
        };
        self.facts(soname)
    }

    fn program(&mut self) -> ElfFacts {
        let interpreter = match self.below(5) {
            0 => Some("/lib/libe.so.1".to_owned()),
            1 => Some("/lib/ld-musl-x86_64.so.1".to_owned()),
            _ => None,
        };
        ElfFacts { file_type: 2, interpreter, ..self.facts(None) }
    }

    fn put(&mut self, root: &mut Root) {
        let (directory, name) = (self.of(&DIRECTORIES), self.of(&NAMES));
        let path = format!("{directory}/{name}");
        match self.below(6) {
            0 => drop(root.link(&path, self.of(&NAMES))),
            1 => {
                let target = format!("../{}/{}", self.of(&["a", "b", "lib"]), self.of(&NAMES));
                root.link(&path, &target);
            }
            _ => drop(root.file(&path, self.library(name))),
        }
    }

    fn root(&mut self) -> Root {
        let mut root = Root::default();
        for _ in 0..self.below(24) {
            self.put(&mut root);
        }
        for number in 0..=self.below(5) {
            root.file(&format!("/bin/p{number}"), self.program());
        }
        if self.one_in(4) {
            root.link("/opt/b", "a");
        }
        if self.one_in(4) {
            root.link("/lib", "usr/lib");
        }
        if self.one_in(2) {
            root.settings.directories = vec![self.of(&DIRECTORIES).to_owned(), "/usr/lib".to_owned()];
        }
        if self.one_in(5) {
            root.settings.preload = vec![self.of(&NAMES).to_owned()];
        }
        root
    }
}

/// Every file exports `s0`, and `s1` if its lowest flag is set. It wants both of others.
struct Symbols;

impl SymbolSource for Symbols {
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>> {
        let second = if file.facts.flags & 1 == 0 { "s0" } else { "s1" };
        let undefined = ["s0", "s1"].into_iter().collect();
        Some(Arc::new(ElfSymbols { exported: ["s0", second].into_iter().collect(), undefined }))
    }
}

/// A change with all that belongs to it.
struct Case {
    before: Root,
    after: Root,
    candidates: BTreeMap<ObjectPath, LibraryCandidate>,
    brought: BTreeSet<ObjectPath>,
    others: BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
}

impl Case {
    fn of(random: &mut Random) -> Self {
        let before = random.root();
        let mut after = Root { tree: before.tree.clone(), ..Root::default() };
        let mut case_candidates = BTreeMap::new();
        let mut paths: Vec<ObjectPath> = before.tree.files().map(|(path, _)| path.clone()).collect();
        paths.extend(before.links.keys().cloned());
        paths.sort();
        for path in paths {
            let origin = match random.below(9) {
                0 => CandidateOrigin::TakenAway,
                1 => CandidateOrigin::Kept,
                _ => continue,
            };
            after.tree.remove(&path);
            let node = match before.tree.file_at(&path) {
                Some(file) => CandidateNode::File(file.clone()),
                None => CandidateNode::Link(before.target(&path)),
            };
            let obstacle = random.one_in(5).then_some(Obstacle::Forbidden);
            if !random.one_in(4) {
                case_candidates.insert(path, LibraryCandidate { node, origin, obstacle });
            }
        }
        let archived = random.root();
        for (path, file) in archived.tree.files().filter(|(path, _)| path.name().starts_with(b"lib")) {
            if before.tree.file_at(path).is_none() && random.one_in(6) {
                let (node, origin) = (CandidateNode::File(file.clone()), CandidateOrigin::Archived);
                case_candidates.insert(path.clone(), LibraryCandidate { node, origin, obstacle: None });
            }
        }
        let mut brought = BTreeSet::new();
        for _ in 0..random.below(4) {
            let mut new = Root::default();
            if random.one_in(3) {
                new.file(&format!("/bin/p{}", random.below(6)), random.program());
            } else {
                random.put(&mut new);
            }
            for (path, target) in &new.links {
                after.tree.put_link(path.clone(), target);
            }
            for (path, file) in new.tree.files() {
                after.tree.put_file(path.clone(), file.clone());
                brought.insert(path.clone());
            }
        }
        let mut others: BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> = BTreeMap::new();
        for path in case_candidates.keys() {
            if random.one_in(6) {
                let consumer = OtherConsumer { path: path.clone(), source: OtherSource::Policy };
                others.entry(path.clone()).or_default().insert(consumer);
            }
        }
        Self { before, after, candidates: case_candidates, brought, others }
    }

    fn change<'c>(&'c self, unserved: &'c BTreeSet<(ObjectPath, String)>) -> LibraryChange<'c> {
        LibraryChange {
            before: &self.before.tree,
            after: &self.after.tree,
            settings: &self.before.settings,
            candidates: &self.candidates,
            brought: &self.brought,
            unserved,
            others: &self.others,
            symbols: &Symbols,
            interrupt: &|| None,
        }
    }
}

#[test]
fn what_is_decided_does_not_depend_on_whom_is_looked_at() {
    let unserved = BTreeSet::from([(at("/bin/p0"), "libd.so.1".to_owned())]);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 1..=4000 {
        let case = Case::of(&mut Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)));
        let change = case.change(&unserved);
        let (fast, plain) = (change.decide(), change.decide_plainly());
        assert_eq!(fast, plain, "seed {seed}");
        let comparisons = Comparisons::new(&Symbols);
        let looked_at = |thoroughness| change.changed_needs(thoroughness, &comparisons).starts.len();
        let is_fewer = looked_at(Thoroughness::AsNeeded) < looked_at(Thoroughness::Everything);
        let is_shadowing = plain.lost.iter().any(|lost| lost.obstacle == Some(Obstacle::Shadows));
        for (what, is_so) in [
            ("kept", !plain.kept.is_empty()),
            ("lost", !plain.lost.is_empty()),
            ("dropped", !plain.dropped.is_empty()),
            ("unneeded", !plain.unneeded.is_empty()),
            ("served", !plain.served.is_empty()),
            ("symbols", plain.lost.iter().any(|lost| !lost.symbols.is_empty())),
            ("shadowing", is_shadowing),
            ("fewer", is_fewer),
        ] {
            *counts.entry(what).or_default() += u32::from(is_so);
        }
    }
    assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
}

//! Which libraries stay for those that still need them when a change takes them away.
//!
//! The change has been planned as if nothing were kept. What it leaves is one tree; what it takes away, what is kept
//! already and what an archive brings back are candidates. A need that was met before and is not met after is looked for
//! among the candidates; what is found stays, and what that needs in turn. Nothing stays that another program would find in
//! the place of a newer one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::loading::{Loader, Loading, Need, NeedSource};
use super::settings::LoaderSettings;
use super::tree::{LibraryFile, LibraryTree};
use crate::elf::ElfSymbols;
use patchadm_svr4::package::ObjectPath;

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateOrigin {
    /// The change takes it away.
    TakenAway,
    /// It is kept already.
    Kept,
    /// An undo archive that is being restored has it.
    Archived,
}

/// What a candidate is.
#[derive(Clone, Debug)]
pub enum CandidateNode {
    /// A library.
    File(Arc<LibraryFile>),
    /// A link with its target.
    Link(Vec<u8>),
}

/// An object that may stay.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is.
    pub node: CandidateNode,
    /// Where it comes from.
    pub origin: CandidateOrigin,
    /// Why it cannot stay, where that is known.
    pub obstacle: Option<Obstacle>,
}

/// The reason a library cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Something else is at its path after the change, or on the way to it.
    PathTaken,
    /// Somebody who does not need it would find it before the one that he needs.
    Shadows,
    /// A script of the change takes it away.
    ByScript,
    /// The patch forbids it.
    Forbidden,
    /// Nobody has asked that libraries are kept.
    NotAsked,
}

impl Obstacle {
    /// The word that reports have for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PathTaken => "path-taken",
            Self::Shadows => "shadows",
            Self::ByScript => "by-script",
            Self::Forbidden => "forbidden",
            Self::NotAsked => "not-asked",
        }
    }
}

/// Why somebody counts as one who needs a library, beside what files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherSource {
    /// A process has it mapped.
    Mapped(u32),
    /// The policy names it.
    Policy,
}

/// Somebody who needs a library, beside what files say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherConsumer {
    /// The program, or the library itself where the policy names it.
    pub path: ObjectPath,
    /// Why it counts.
    pub source: OtherSource,
}

/// How a consumer needs a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsumerSource {
    /// By what its file says, or the loader's settings.
    File(NeedSource),
    /// Otherwise.
    Other(OtherSource),
}

/// An object that needs a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    /// Its path.
    pub path: ObjectPath,
    /// How it needs it.
    pub source: ConsumerSource,
}

/// A need that is not met any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostNeed {
    /// The name that is needed.
    pub name: String,
    /// Who needs it.
    pub consumer: Consumer,
    /// The candidate that served it, or the library that lacks something, where there is one.
    pub library: Option<ObjectPath>,
    /// Why it does not stay.
    pub obstacle: Option<Obstacle>,
    /// The versions that the new library lacks.
    pub versions: Vec<String>,
    /// The symbols that no new object has.
    pub symbols: Vec<String>,
}

/// What is decided about the candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryDecision {
    /// The candidates that stay, each with those who need it: directly, or through others that stay.
    pub kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    /// The needs that are lost.
    pub lost: Vec<LostNeed>,
    /// What was kept for somebody and is needed no more.
    pub dropped: BTreeSet<ObjectPath>,
    /// What was kept and nobody needed before either: it stays until it is pruned.
    pub unneeded: BTreeSet<ObjectPath>,
}

/// Where symbols are read, on demand.
pub trait SymbolSource {
    /// Returns the symbols of a program or library, or `None` if they cannot be read: then nothing is known to be missing.
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>>;
}

/// A change as the decision sees it.
#[derive(Clone, Copy)]
pub struct LibraryChange<'a> {
    /// The tree as it is, with what is kept.
    pub before: &'a LibraryTree,
    /// The tree as the change leaves it, without any candidate.
    pub after: &'a LibraryTree,
    /// The settings as the change leaves them.
    pub settings: &'a LoaderSettings,
    /// What may stay.
    pub candidates: &'a BTreeMap<ObjectPath, Candidate>,
    /// The objects that the change brings: their needs count whether or not they were met before.
    pub brought: &'a BTreeSet<ObjectPath>,
    /// Needs that were not met when the patch went in that is backed out: consumer and name.
    pub unserved: &'a BTreeSet<(ObjectPath, String)>,
    /// Who needs a candidate beside what files say.
    pub others: &'a BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
    /// Where symbols are read.
    pub symbols: &'a dyn SymbolSource,
}

impl LibraryChange<'_> {
    /// Decides what stays.
    pub fn decide(&self) -> LibraryDecision {
        let starts = starting_points(self.after, self.settings);
        let lost = self.lost_needs(&starts);
        let mut obstacles: BTreeMap<ObjectPath, Obstacle> = self
            .candidates
            .iter()
            .filter_map(|(path, candidate)| Some((path.clone(), candidate.obstacle?)))
            .collect();
        let kept = loop {
            let kept = self.reachable(&lost, &obstacles);
            let shadows = self.shadowing(&starts, &kept);
            if shadows.is_empty() {
                break kept;
            }
            obstacles.extend(shadows.into_iter().map(|path| (path, Obstacle::Shadows)));
        };
        self.finished(&lost, kept, &obstacles)
    }

    /// The needs that the change leaves unmet, and that count.
    fn lost_needs(&self, starts: &BTreeSet<ObjectPath>) -> BTreeSet<CountedNeed> {
        let (mut before, mut after) =
            (Loader::new(self.before, self.settings), Loader::new(self.after, self.settings));
        let mut lost = BTreeSet::new();
        for path in starts {
            let Some(now) = after.load(path) else { continue };
            let was = self.same_file(path).then(|| before.load(path)).flatten();
            lost.extend(self.lost_by(path, &now, was.as_ref()));
        }
        lost
    }

    /// Tells whether the file at a path is the same before and after.
    fn same_file(&self, path: &ObjectPath) -> bool {
        let files = (self.before.file_at(path), self.after.file_at(path));
        matches!(files, (Some(was), Some(now)) if Arc::ptr_eq(was, now))
    }

    /// The needs of one program that count.
    fn lost_by(&self, start: &ObjectPath, now: &Loading, was: Option<&Loading>) -> Vec<CountedNeed> {
        let mut lost = Vec::new();
        for (index, object) in now.objects.iter().enumerate() {
            let path = &object.way.path;
            for need in &object.needs {
                let served = was.and_then(|was| served(was, path, need));
                let lack = self.lack(now, index, need, served.as_ref());
                let is_counted = served.as_ref().is_some_and(|served| served.lack.is_nothing())
                    || self.brought.contains(path);
                let is_known = self.unserved.contains(&(path.clone(), need.name.clone()));
                if !lack.is_nothing() && is_counted && !is_known {
                    let consumer = Consumer { path: path.clone(), source: ConsumerSource::File(need.source) };
                    let served = served.map(|served| served.path);
                    lost.push(CountedNeed {
                        start: start.clone(),
                        consumer,
                        name: need.name.clone(),
                        served,
                        lack,
                    });
                }
            }
        }
        lost
    }

    /// What is missing for a need: the library, versions of it, or symbols that the old one had.
    fn lack(&self, now: &Loading, index: usize, need: &Need, served: Option<&Served>) -> Lack {
        let Some(found) = need.found else { return Lack { is_missing: true, ..Lack::default() } };
        let (Some(object), Some(library)) = (now.objects.get(index), now.objects.get(found)) else {
            return Lack::default();
        };
        let versions = missing_versions(object.way.file.as_ref(), &need.name, library.way.file.as_ref());
        let is_other = served.is_some_and(|served| !Arc::ptr_eq(&served.file, &library.way.file));
        let symbols = match served.filter(|_| is_other && versions.is_empty()) {
            Some(served) => self.missing_symbols(now, &object.way.file, &served.file),
            None => Vec::new(),
        };
        Lack { is_missing: false, versions, symbols }
    }

    /// The symbols that the old library gave a consumer and that nothing in its new closure has.
    fn missing_symbols(
        &self,
        now: &Loading,
        consumer: &Arc<LibraryFile>,
        old: &Arc<LibraryFile>,
    ) -> Vec<String> {
        let (Some(wanted), Some(given)) = (self.symbols.symbols(consumer), self.symbols.symbols(old)) else {
            return Vec::new();
        };
        let mut missing: BTreeSet<&String> = wanted.undefined.intersection(&given.exported).collect();
        for object in &now.objects {
            if missing.is_empty() {
                break;
            }
            match self.symbols.symbols(&object.way.file) {
                Some(symbols) => missing.retain(|name| !symbols.exported.contains(*name)),
                None => return Vec::new(),
            }
        }
        missing.into_iter().cloned().collect()
    }

    /// The tree with some of the candidates.
    fn with(&self, chosen: impl Fn(&ObjectPath) -> bool) -> LibraryTree {
        let mut tree = self.after.clone();
        for (path, candidate) in self.candidates.iter().filter(|(path, _)| chosen(path)) {
            match &candidate.node {
                CandidateNode::File(file) => tree.put_file(path.clone(), file.clone()),
                CandidateNode::Link(target) => tree.put_link(path.clone(), target),
            }
        }
        tree
    }

    /// The candidates that are reached from needs, each with who needs it.
    fn reachable(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
    ) -> BTreeMap<ObjectPath, BTreeSet<Consumer>> {
        let tree = self.with(|path| !obstacles.contains_key(path));
        let mut loader = Loader::new(&tree, self.settings);
        let mut kept: BTreeMap<ObjectPath, BTreeSet<Consumer>> = BTreeMap::new();
        for need in lost {
            let Some(loading) = loader.load(&need.start) else { continue };
            let found =
                loading.objects.iter().enumerate().find(|(_, object)| object.way.path == need.consumer.path);
            let index = found
                .and_then(|(_, object)| object.needs.iter().find(|other| other.name == need.name)?.found);
            let serves = |index: &usize| {
                let library = loading.objects.get(*index).map(|library| library.way.file.as_ref());
                let consumer = found.map(|(_, object)| object.way.file.as_ref());
                let both = consumer.zip(library);
                both.is_some_and(|(consumer, library)| {
                    missing_versions(consumer, &need.name, library).is_empty()
                })
            };
            if let Some(index) = index.filter(serves) {
                self.keep_with_needs(&loading, index, &need.consumer, &mut kept);
            }
        }
        for (path, consumers) in self.others.iter().filter(|(path, _)| tree.file_at(path).is_some()) {
            let Some(loading) = loader.load(path) else { continue };
            for other in consumers {
                let source = ConsumerSource::Other(other.source);
                self.keep_with_needs(&loading, 0, &Consumer { path: other.path.clone(), source }, &mut kept);
            }
        }
        kept
    }

    /// Keeps a candidate that was found, the links on the way to it, and the candidates that it needs in turn.
    fn keep_with_needs(
        &self,
        loading: &Loading,
        index: usize,
        consumer: &Consumer,
        kept: &mut BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    ) {
        let (mut next, mut seen) = (vec![index], HashSet::new());
        while let Some(index) = next.pop() {
            let Some(object) = loading.objects.get(index).filter(|_| seen.insert(index)) else { continue };
            let way = object.way.links.iter().chain([&object.way.path]);
            let own: Vec<&ObjectPath> = way.filter(|path| self.candidates.contains_key(*path)).collect();
            if own.is_empty() {
                continue;
            }
            for path in own {
                kept.entry(path.clone()).or_default().insert(consumer.clone());
            }
            next.extend(object.needs.iter().filter_map(|need| need.found));
        }
    }

    /// The candidates that somebody would find, if they stayed, in the place of what serves him after the change.
    fn shadowing(
        &self,
        starts: &BTreeSet<ObjectPath>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    ) -> BTreeSet<ObjectPath> {
        let mut shadows = BTreeSet::new();
        if kept.is_empty() {
            return shadows;
        }
        let tree = self.with(|path| kept.contains_key(path));
        let (mut with, mut without) =
            (Loader::new(&tree, self.settings), Loader::new(self.after, self.settings));
        for path in starts {
            let (Some(with), Some(without)) = (with.load(path), without.load(path)) else { continue };
            for (index, object) in without.objects.iter().enumerate() {
                for need in &object.needs {
                    if !self.lack(&without, index, need, None).is_nothing() {
                        continue;
                    }
                    let other = served(&with, &object.way.path, need);
                    let found = other.and_then(|other| with.objects.get(other.index)).map(|found| &found.way);
                    let found = found.filter(|way| kept.contains_key(&way.path));
                    shadows.extend(found.map(|way| way.path.clone()));
                }
            }
        }
        shadows
    }

    fn finished(
        &self,
        lost: &BTreeSet<CountedNeed>,
        kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
    ) -> LibraryDecision {
        let is_kept = |need: &&CountedNeed| need.served.as_ref().is_some_and(|path| kept.contains_key(path));
        let told = lost.iter().filter(|need| !is_kept(need)).map(|need| LostNeed {
            name: need.name.clone(),
            consumer: need.consumer.clone(),
            library: need.served.clone(),
            obstacle: need.served.as_ref().and_then(|path| obstacles.get(path).copied()),
            versions: need.lack.versions.clone(),
            symbols: need.lack.symbols.clone(),
        });
        let told: BTreeSet<LostNeed> = told.collect();
        let needed_before = self.needed_before();
        let is_left = |(path, candidate): &(&ObjectPath, &Candidate)| {
            candidate.origin == CandidateOrigin::Kept && !kept.contains_key(*path)
        };
        let left = self.candidates.iter().filter(is_left).map(|(path, _)| path.clone());
        let (dropped, unneeded) = left.partition(|path| needed_before.contains(path));
        LibraryDecision { lost: told.into_iter().collect(), dropped, unneeded, kept }
    }

    /// What was kept before the change and reached from somebody who is not kept himself.
    fn needed_before(&self) -> BTreeSet<ObjectPath> {
        let is_kept = |path: &ObjectPath| {
            self.candidates.get(path).is_some_and(|candidate| candidate.origin == CandidateOrigin::Kept)
        };
        let mut needed = BTreeSet::new();
        if !self.candidates.keys().any(is_kept) {
            return needed;
        }
        let mut loader = Loader::new(self.before, self.settings);
        for path in starting_points(self.before, self.settings).into_iter().filter(|path| !is_kept(path)) {
            let Some(loading) = loader.load(&path) else { continue };
            for way in loading.objects.iter().map(|object| &object.way) {
                needed.extend(way.links.iter().chain([&way.path]).filter(|path| is_kept(path)).cloned());
            }
        }
        needed.extend(self.others.keys().filter(|path| is_kept(path)).cloned());
        needed
    }
}

/// What is missing for a need.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Lack {
    is_missing: bool,
    versions: Vec<String>,
    symbols: Vec<String>,
}

impl Lack {
    fn is_nothing(&self) -> bool {
        !self.is_missing && self.versions.is_empty() && self.symbols.is_empty()
    }
}

/// A need that is not met and counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CountedNeed {
    /// The program that is loaded.
    start: ObjectPath,
    consumer: Consumer,
    name: String,
    /// What served it before.
    served: Option<ObjectPath>,
    lack: Lack,
}

/// What serves a need of a loading.
struct Served {
    index: usize,
    path: ObjectPath,
    file: Arc<LibraryFile>,
    lack: Lack,
}

/// Finds what serves the same need of the same object in another loading.
fn served(loading: &Loading, consumer: &ObjectPath, need: &Need) -> Option<Served> {
    let object = loading.objects.iter().find(|object| object.way.path == *consumer)?;
    let same = object.needs.iter().find(|other| other.name == need.name && other.source == need.source)?;
    let index = same.found?;
    let library = loading.objects.get(index)?;
    let versions = missing_versions(object.way.file.as_ref(), &need.name, library.way.file.as_ref());
    let lack = Lack { versions, ..Lack::default() };
    Some(Served { index, path: library.way.path.clone(), file: library.way.file.clone(), lack })
}

/// The versions that a file needs of a library and that it does not define.
fn missing_versions(consumer: &LibraryFile, name: &str, library: &LibraryFile) -> Vec<String> {
    let needed = consumer.facts.needs.iter().filter(|need| need.library == name && !need.is_weak);
    let missing = needed.filter(|need| !library.facts.defines.contains(&need.version));
    missing.map(|need| need.version.clone()).collect()
}

/// The programs of a tree, and the libraries that none of them loads, sorted.
fn starting_points(tree: &LibraryTree, settings: &LoaderSettings) -> BTreeSet<ObjectPath> {
    let mut loader = Loader::new(tree, settings);
    let mut points: BTreeSet<ObjectPath> =
        tree.files().filter(|(_, file)| file.facts.is_program()).map(|(path, _)| path.clone()).collect();
    let mut loaded: HashSet<*const LibraryFile> = HashSet::new();
    for loading in points.iter().filter_map(|path| loader.load(path)) {
        loaded.extend(loading.objects.iter().map(|object| Arc::as_ptr(&object.way.file)));
    }
    let rest = tree.files().filter(|(_, file)| !loaded.contains(&Arc::as_ptr(file)));
    points.extend(rest.map(|(path, _)| path.clone()));
    points
}

//! Decides which removed libraries stay for programs that still need them (patchadm-shlibs(7), "What stays").
//! Candidates are removed libraries, kept ones, and those that an archive brings back. A candidate that serves a lost
//! need stays, with the candidates that it needs, unless another program would find it instead of a newer library.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

use crate::loading::{LibraryNeed, LoadedObject, Loader, Loading, starting_points};
use crate::needs::{
    ChangedNeeds, Comparisons, CountedNeed, Served, Thoroughness, VersionComparisons, counterpart, is_served,
    lack, served,
};
use crate::settings::LoaderSettings;
use crate::tree::{LibraryFile, LibraryTree, ResolvedPath};

pub use crate::change::{
    CandidateNode, CandidateOrigin, Consumer, ConsumerSource, LibraryCandidate, LibraryChange, Obstacle,
    OtherConsumer, OtherSource, SymbolSource,
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostNeed {
    pub name: String,
    pub consumer: Consumer,
    /// The candidate that served it, or the library that lacks something.
    pub library: Option<ObjectPath>,
    /// The reason why the library does not stay.
    pub obstacle: Option<Obstacle>,
    /// Missing in the new library.
    pub versions: Vec<String>,
    /// Missing in all new objects.
    pub symbols: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryDecision {
    /// With direct and indirect consumers.
    pub kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    pub lost: Vec<LostNeed>,
    /// Kept for a consumer, and no longer needed.
    pub dropped: BTreeSet<ObjectPath>,
    /// Kept although nothing needed them before either. They stay until they are pruned.
    pub unneeded: BTreeSet<ObjectPath>,
    /// Consumer and name of needs that only the change meets.
    pub served: BTreeSet<(ObjectPath, String)>,
}

struct Staying {
    kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    obstacles: BTreeMap<ObjectPath, Obstacle>,
}

impl LibraryChange<'_> {
    pub fn decide(&self) -> LibraryDecision {
        self.decide_with(Thoroughness::AsNeeded)
    }

    #[cfg(test)]
    pub(super) fn decide_plainly(&self) -> LibraryDecision {
        self.decide_with(Thoroughness::Everything)
    }

    fn decide_with(&self, thoroughness: Thoroughness) -> LibraryDecision {
        let comparisons = Comparisons::new(self.symbols);
        let needed_before = self.needed_before(thoroughness, &comparisons);
        let ChangedNeeds { starts, lost, served } = self.changed_needs(thoroughness, &comparisons);
        let obstacles = self.candidates.iter();
        let obstacles: BTreeMap<ObjectPath, Obstacle> =
            obstacles.filter_map(|(path, candidate)| Some((path.clone(), candidate.obstacle?))).collect();
        let staying = self.staying(&lost, &starts, obstacles, &comparisons.versions);
        let is_kept = |path: &ObjectPath| staying.kept.contains_key(path);
        let is_met = |need: &CountedNeed| {
            need.served.as_ref().is_some_and(is_kept) || self.is_met_by(need, &staying.kept)
        };
        let unmet = lost.iter().filter(|need| !is_met(need));
        let unmet = unmet.cloned().chain(self.lost_by_staying(&lost, &staying.kept, &comparisons)).collect();
        let mut unmet = self.with_candidates(unmet, &comparisons);
        unmet.retain(|need| !need.served.as_ref().is_some_and(is_kept));
        let (dropped, unneeded) = self.left_over(&staying, &needed_before);
        let lost = self.lost_needs(&unmet, (&lost, &starts), &staying, &comparisons.versions);
        LibraryDecision { kept: staying.kept, lost, dropped, unneeded, served }
    }

    /// Returns true if a library with the needed name stays for the consumer, even if another one served it before.
    fn is_met_by(&self, need: &CountedNeed, kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>) -> bool {
        kept.iter().filter(|(_, consumers)| consumers.contains(&need.consumer)).any(|(path, _)| {
            match self.candidates.get(path).map(|candidate| &candidate.node) {
                Some(CandidateNode::File(file)) => file.facts.soname.as_ref() == Some(&need.name),
                _ => false,
            }
        })
    }

    /// Finds the candidates that stay and, in addition to `obstacles`, what prevents the others.
    fn staying(
        &self,
        lost: &BTreeSet<CountedNeed>,
        starts: &BTreeSet<ObjectPath>,
        mut obstacles: BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> Staying {
        loop {
            let kept = self.reachable(lost, &obstacles, versions);
            let shadows = self.shadowing(starts, &kept, versions);
            if shadows.is_empty() {
                return Staying { kept, obstacles };
            }
            obstacles.extend(shadows.into_iter().map(|path| (path, Obstacle::Shadows)));
        }
    }

    /// Returns the unneeded kept libraries: those to drop, because they were needed before or would be in the way, and
    /// those that stay until they are pruned.
    fn left_over(
        &self,
        staying: &Staying,
        needed_before: &BTreeSet<ObjectPath>,
    ) -> (BTreeSet<ObjectPath>, BTreeSet<ObjectPath>) {
        let is_left = |path: &&ObjectPath| self.is_kept_already(path) && !staying.kept.contains_key(*path);
        let goes = |path: &ObjectPath| needed_before.contains(path) || staying.obstacles.contains_key(path);
        self.candidates.keys().filter(is_left).cloned().partition(goes)
    }

    fn lost_needs(
        &self,
        unmet: &BTreeSet<CountedNeed>,
        (lost, starts): (&BTreeSet<CountedNeed>, &BTreeSet<ObjectPath>),
        staying: &Staying,
        versions: &VersionComparisons,
    ) -> Vec<LostNeed> {
        let of_files = unmet.iter().map(|need| LostNeed {
            name: need.name.clone(),
            consumer: need.consumer.clone(),
            library: need.served.clone(),
            obstacle: need.served.as_ref().and_then(|path| staying.obstacles.get(path).copied()),
            versions: need.lack.versions.clone(),
            symbols: need.lack.symbols.clone(),
        });
        let mut lost_needs: BTreeSet<LostNeed> = of_files.chain(self.lost_to_others(staying)).collect();
        if lost_needs.iter().any(|need| need.obstacle.is_some_and(Obstacle::is_choice)) {
            lost_needs = self.with_next_obstacles(lost_needs, (lost, starts), staying, versions);
        }
        lost_needs.into_iter().collect()
    }

    /// Replaces an obstacle that the user could lift by the next one, if any, so that the user does not ask in vain.
    fn with_next_obstacles(
        &self,
        lost_needs: BTreeSet<LostNeed>,
        (lost, starts): (&BTreeSet<CountedNeed>, &BTreeSet<ObjectPath>),
        staying: &Staying,
        versions: &VersionComparisons,
    ) -> BTreeSet<LostNeed> {
        let mut remaining = staying.obstacles.clone();
        remaining.retain(|_, obstacle| !obstacle.is_choice());
        let on_request = self.staying(lost, starts, remaining, versions);
        let reason = |need: LostNeed| {
            let library = need.library.as_ref().filter(|path| !on_request.kept.contains_key(*path));
            let is_choice = need.obstacle.is_some_and(Obstacle::is_choice);
            match library.filter(|_| is_choice) {
                Some(path) => {
                    let obstacle = on_request.obstacles.get(path).copied().unwrap_or(Obstacle::PathTaken);
                    LostNeed { obstacle: Some(obstacle), ..need }
                }
                None => need,
            }
        };
        lost_needs.into_iter().map(reason).collect()
    }

    /// Returns the lost needs of processes and of the policy.
    fn lost_to_others(&self, staying: &Staying) -> Vec<LostNeed> {
        let gone = self.others.iter().filter(|(path, _)| {
            let origin = self.candidates.get(*path).map(|candidate| candidate.origin);
            origin == Some(CandidateOrigin::TakenAway) && !staying.kept.contains_key(*path)
        });
        let lost = gone.flat_map(|(path, consumers)| {
            let soname = self.before.file_at(path).and_then(|file| file.facts.soname.clone());
            let name = soname.unwrap_or_else(|| String::from_utf8_lossy(path.name()).into_owned());
            consumers.iter().map(move |other| LostNeed {
                name: name.clone(),
                consumer: Consumer { path: other.path.clone(), source: ConsumerSource::Other(other.source) },
                library: Some(path.clone()),
                obstacle: staying.obstacles.get(path).copied(),
                versions: Vec::new(),
                symbols: Vec::new(),
            })
        });
        lost.collect()
    }

    /// Returns the kept libraries that a consumer needed before the change that is not itself kept.
    fn needed_before(
        &self,
        thoroughness: Thoroughness,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<ObjectPath> {
        let candidates: BTreeMap<ObjectPath, LibraryCandidate> = self
            .candidates
            .iter()
            .filter(|(path, _)| self.is_kept_already(path))
            .map(|(path, candidate)| (path.clone(), LibraryCandidate { obstacle: None, ..candidate.clone() }))
            .collect();
        if candidates.is_empty() {
            return BTreeSet::new();
        }
        let mut without = self.before.clone();
        for path in candidates.keys() {
            without.remove(path);
        }
        let is_candidate = |path: &&ObjectPath| candidates.contains_key(*path);
        let others = self.others.iter().filter(|(path, _)| is_candidate(path));
        let nothing = LibraryChange {
            after: &without,
            candidates: &candidates,
            brought: &BTreeSet::new(),
            unserved: &BTreeSet::new(),
            others: &others.map(|(path, consumers)| (path.clone(), consumers.clone())).collect(),
            ..*self
        };
        let ChangedNeeds { lost, .. } = nothing.changed_needs(thoroughness, comparisons);
        nothing.reachable(&lost, &BTreeMap::new(), &comparisons.versions).into_keys().collect()
    }
}

impl LibraryChange<'_> {
    /// Returns the candidates that serve lost needs, directly or through others, with their consumers.
    fn reachable(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeMap<ObjectPath, BTreeSet<Consumer>> {
        let needed = self.needed_candidates(lost, obstacles, versions);
        let tree = self.with(|path| needed.contains(path));
        let mut loader = Loader::naming(&tree, self.settings, versions.names()).ended_by(self.interrupt);
        let mut kept: BTreeMap<ObjectPath, BTreeSet<Consumer>> = BTreeMap::new();
        let mut loaded: Option<(&ObjectPath, Loading)> = None;
        for need in lost {
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| **start != need.start) {
                loaded = loader.load(&need.start).map(|loading| (&need.start, loading));
            }
            let Some((_, loading)) = &loaded else { continue };
            // If a candidate hides a library from the program, another consumer may still open it.
            let is_hidden = need.in_loading(loading).is_none();
            let alone = is_hidden.then(|| loader.load(&need.consumer.path)).flatten();
            let loading = alone.as_ref().unwrap_or(loading);
            let Some((_, object, other)) = need.in_loading(loading) else { continue };
            let serves = |index: &usize| {
                let library = loading.objects.get(*index).map(|library| library.way.file.as_ref());
                library.is_some_and(|library| {
                    object.way.file.versions_missing_in(library, &need.name).is_empty()
                })
            };
            if let Some(index) = other.found.filter(serves) {
                self.keep_with_needs((loading, index), &need.consumer, obstacles, &mut kept);
            }
        }
        for (path, consumers) in self.others.iter().filter(|(path, _)| tree.file_at(path).is_some()) {
            let Some(loading) = loader.load(path) else { continue };
            for other in consumers {
                let source = ConsumerSource::Other(other.source);
                let consumer = Consumer { path: other.path.clone(), source };
                self.keep_with_needs((&loading, 0), &consumer, obstacles, &mut kept);
            }
        }
        kept
    }

    /// Returns the candidates that meet a need, and those that they need, over the resulting tree. Also finds
    /// candidates that another, unneeded candidate hides.
    fn needed_candidates(
        &self,
        lost: &BTreeSet<CountedNeed>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        versions: &VersionComparisons,
    ) -> BTreeSet<ObjectPath> {
        let may_stay =
            |path: &ObjectPath| self.candidates.contains_key(path) && !obstacles.contains_key(path);
        let offered = self.with(may_stay);
        let mut finder = Loader::naming(&offered, self.settings, versions.names()).ended_by(self.interrupt);
        let mut starts: BTreeMap<&ObjectPath, Vec<&CountedNeed>> = BTreeMap::new();
        for path in self.others.keys().filter(|path| may_stay(path)) {
            starts.insert(path, Vec::new());
        }
        let mut needed: BTreeSet<ObjectPath> = starts.keys().copied().cloned().collect();
        for need in lost {
            starts.entry(&need.start).or_default().push(need);
        }
        loop {
            let tree = self.with(|path| needed.contains(path));
            let mut loader = Loader::naming(&tree, self.settings, versions.names()).ended_by(self.interrupt);
            let mut more = BTreeSet::new();
            for (start, lost) in &starts {
                let Some(now) = loader.load(start) else { continue };
                for (index, need) in open_needs(&now, lost, &needed, versions) {
                    let way = finder.find_serving(&now, index, need).map(|(_, way)| way);
                    let all = way.iter().flat_map(|way| way.links.iter().chain([&way.path]));
                    more.extend(all.filter(|path| may_stay(path) && !needed.contains(*path)).cloned());
                }
            }
            if more.is_empty() {
                return needed;
            }
            needed.append(&mut more);
        }
    }

    /// Keeps a candidate, the links on the way to it, and the candidates that it needs in turn.
    fn keep_with_needs(
        &self,
        (loading, index): (&Loading, usize),
        consumer: &Consumer,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
        kept: &mut BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    ) {
        let (mut next, mut seen) = (vec![index], HashSet::new());
        while let Some(index) = next.pop() {
            let Some(object) = loading.objects.get(index).filter(|_| seen.insert(index)) else { continue };
            let way = object.way.links.iter().chain([&object.way.path]);
            let may_stay =
                |path: &&ObjectPath| self.candidates.contains_key(*path) && !obstacles.contains_key(*path);
            let own: Vec<&ObjectPath> = way.filter(may_stay).collect();
            if own.is_empty() {
                continue;
            }
            for path in own {
                kept.entry(path.clone()).or_default().insert(consumer.clone());
            }
            next.extend(loading.needs_of(object).filter_map(|need| need.found));
        }
    }

    /// Returns the candidates that some consumer would find instead of the library that serves it after the change.
    pub(super) fn shadowing(
        &self,
        starts: &BTreeSet<ObjectPath>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        versions: &VersionComparisons,
    ) -> BTreeSet<ObjectPath> {
        if kept.is_empty() {
            return BTreeSet::new();
        }
        let tree = self.with(|path| kept.contains_key(path));
        let is_kept = |path: &ObjectPath| kept.contains_key(path);
        let how = (self.settings, versions, self.interrupt);
        misled_from(starts, (&tree, self.after), how, is_kept).into_keys().collect()
    }
}

/// Returns the lost needs, and unmet needs of libraries that stay.
fn open_needs<'l>(
    now: &'l Loading,
    lost: &[&CountedNeed],
    staying: &BTreeSet<ObjectPath>,
    versions: &VersionComparisons,
) -> Vec<(usize, &'l LibraryNeed)> {
    let open = now.all_needs().filter(|(_, object, need)| {
        staying.contains(&object.way.path) && !is_served(now, object, need, versions)
            || lost.iter().any(|lost| lost.is_of(now, object, need))
    });
    open.map(|(index, _, need)| (index, need)).collect()
}

/// Returns the kept libraries that some consumer finds instead of the library that serves it without them, each with
/// these consumers.
pub fn misled_by(
    with: &LibraryTree,
    without: &LibraryTree,
    (settings, interrupt): (&LoaderSettings, Interrupt<'_>),
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let versions = VersionComparisons::default();
    let starts = starting_points(without, settings, interrupt);
    misled_from(&starts, (with, without), (settings, &versions, interrupt), is_kept)
}

fn misled_from(
    starts: &BTreeSet<ObjectPath>,
    (with, without): (&LibraryTree, &LibraryTree),
    (settings, versions, interrupt): (&LoaderSettings, &VersionComparisons, Interrupt<'_>),
    is_kept: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<ObjectPath>> {
    let [mut with, mut without] =
        [with, without].map(|tree| Loader::naming(tree, settings, versions.names()).ended_by(interrupt));
    let mut misled: BTreeMap<ObjectPath, BTreeSet<ObjectPath>> = BTreeMap::new();
    let (mut next, mut known): (Vec<ObjectPath>, BTreeSet<ObjectPath>) =
        (starts.iter().cloned().collect(), starts.clone());
    while let Some(path) = next.pop() {
        let Some(with) = with.load(&path) else { continue };
        if !with.objects.iter().any(|object| is_kept(&object.way.path)) {
            continue;
        }
        let Some(without) = without.load(&path) else { continue };
        for (index, object) in without.objects.iter().enumerate() {
            let own = &object.way.path;
            // A program that finds a kept library instead does not load this object, but something else may open it.
            let is_left = !with.objects.iter().any(|other| other.way.path == *own);
            if is_left && known.insert(own.clone()) {
                next.push(own.clone());
            }
            for need in without.needs_of(object).filter(|need| is_served(&without, object, need, versions)) {
                let other = counterpart(&with, (index, own), need);
                let found = other.and_then(|(_, other)| with.found(other)).map(|found| &found.way);
                if let Some(way) = found.filter(|way| is_kept(&way.path)) {
                    misled.entry(way.path.clone()).or_default().insert(own.clone());
                }
            }
        }
    }
    misled
}

impl LibraryChange<'_> {
    /// Returns the unmet needs of libraries that stay, if a candidate served them or could serve them.
    fn lost_by_staying(
        &self,
        lost: &BTreeSet<CountedNeed>,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<CountedNeed> {
        if kept.is_empty() {
            return BTreeSet::new();
        }
        let is_kept = |path: &ObjectPath| kept.contains_key(path);
        let (with_kept, with_all) = (self.with(is_kept), self.with(|_| true));
        let names = comparisons.versions.names();
        let [mut now, mut before, mut all] = [&with_kept, self.before, &with_all]
            .map(|tree| Loader::naming(tree, self.settings, names).ended_by(self.interrupt));
        let others = self.others.keys().filter(|path| is_kept(path));
        let starts: BTreeSet<&ObjectPath> = lost.iter().map(|need| &need.start).chain(others).collect();
        let mut found = BTreeSet::new();
        for start in starts {
            let Some(now) = now.load(start) else { continue };
            let objects = now.objects.iter().enumerate();
            let staying: Vec<_> = objects.filter(|(_, object)| is_kept(&object.way.path)).collect();
            let was = if staying.is_empty() { None } else { before.load(start) };
            for (index, object) in staying {
                for need in now.needs_of(object) {
                    let consumer = (index, &object.way.path);
                    let served =
                        was.as_ref().and_then(|was| served(was, consumer, need, &comparisons.versions));
                    let served = served.filter(|served| served.is_whole);
                    let could_serve = || self.could_serve(&mut all, (&now, index), need, comparisons);
                    let Some(served) = served.or_else(could_serve) else { continue };
                    let lack = lack((&now, index), need, Some(&served), comparisons);
                    if !lack.is_nothing() {
                        let need = (object, need);
                        let versions = &comparisons.versions;
                        found.insert(CountedNeed::of((start, &now), need, Some(served), lack, versions));
                    }
                }
            }
        }
        found
    }

    /// Adds the candidate that could serve a need that nothing served.
    fn with_candidates(
        &self,
        lost: BTreeSet<CountedNeed>,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<CountedNeed> {
        if lost.iter().all(|need| need.served.is_some()) {
            return lost;
        }
        let with_all = self.with(|_| true);
        let names = comparisons.versions.names();
        let [mut now, mut all] = [self.after, &with_all]
            .map(|tree| Loader::naming(tree, self.settings, names).ended_by(self.interrupt));
        let mut loaded: Option<(ObjectPath, Option<Loading>)> = None;
        let mut named = |lost: CountedNeed| {
            if lost.served.is_some() {
                return lost;
            }
            // They are sorted by program.
            if loaded.as_ref().is_none_or(|(start, _)| *start != lost.start) {
                loaded = Some((lost.start.clone(), now.load(&lost.start)));
            }
            let loading = loaded.as_ref().and_then(|(_, loading)| loading.as_ref());
            let served = loading.and_then(|now| {
                let (index, _, need) = lost.in_loading(now)?;
                self.could_serve(&mut all, (now, index), need, comparisons)
            });
            match served {
                Some(Served { name, way, .. }) => {
                    let name = names.text(name).to_string();
                    CountedNeed { name, served: Some(way.path.clone()), ..lost }
                }
                None => lost,
            }
        };
        lost.into_iter().map(&mut named).collect()
    }

    /// Returns the candidate that would meet a need if all stayed, or one that something else hides.
    fn could_serve(
        &self,
        all: &mut Loader<'_>,
        (now, index): (&Loading, usize),
        need: &LibraryNeed,
        comparisons: &Comparisons<'_>,
    ) -> Option<Served> {
        let consumer = now.objects.get(index)?;
        let found = all.find_serving(now, index, need);
        let found = found.filter(|(_, way)| self.candidates.contains_key(&way.path));
        let (name, way) = match found {
            Some((name, way)) => (comparisons.versions.names().number(&name), way),
            None => (need.name, Rc::new(self.hidden(consumer, &now.name(need))?)),
        };
        Some(Served::by(consumer, name, &way, &comparisons.versions))
    }

    /// Returns a candidate that would serve the consumer if nothing were found before it.
    fn hidden(&self, consumer: &LoadedObject, name: &str) -> Option<ResolvedPath> {
        let serves = |file: &LibraryFile| {
            file.facts.machine == consumer.way.file.facts.machine
                && file.facts.soname.as_deref() == Some(name)
                && consumer.way.file.versions_missing_in(file, name).is_empty()
        };
        self.candidates.iter().find_map(|(path, candidate)| match &candidate.node {
            CandidateNode::File(file) if serves(file) => {
                Some(ResolvedPath { links: Vec::new(), path: path.clone(), file: file.clone() })
            }
            _ => None,
        })
    }
}

//! Which libraries stay for those that still need them when a change takes them away (patchadm-shlibs(7), "What stays").
//!
//! The change has been planned as if nothing were kept. What it leaves is one tree; what it takes away, what is kept
//! already and what an archive brings back are candidates. A need that was met before and is not met after is looked for
//! among the candidates; what is found stays, and what that needs in turn. Nothing stays that another program would find in
//! the place of a newer one.

use std::collections::{BTreeMap, BTreeSet};

use super::concerned::Concerned;
use super::loading::Loader;
use super::lost_needs::CountedNeed;
use patchadm_svr4::package::ObjectPath;

pub use super::staying::misled_by;

pub use super::change::{
    Candidate, CandidateNode, CandidateOrigin, Consumer, ConsumerSource, LibraryChange, Obstacle,
    OtherConsumer, OtherSource, SymbolSource,
};

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
    /// The needs that were not met before the change and are met after it: consumer and name.
    pub served: BTreeSet<(ObjectPath, String)>,
}

impl LibraryChange<'_> {
    /// Decides what stays.
    pub fn decide(&self) -> LibraryDecision {
        self.decide_for(&Concerned::of(self))
    }

    /// Decides by looking at every program, whether the change concerns it or not.
    #[cfg(test)]
    pub(super) fn decide_plainly(&self) -> LibraryDecision {
        self.decide_for(&Concerned::everybody(self))
    }

    fn decide_for(&self, concerned: &Concerned) -> LibraryDecision {
        let (lost, newly_served) = self.changed_needs(&concerned.after);
        let obstacles = self.candidates.iter();
        let mut obstacles: BTreeMap<ObjectPath, Obstacle> =
            obstacles.filter_map(|(path, candidate)| Some((path.clone(), candidate.obstacle?))).collect();
        let kept = loop {
            let kept = self.reachable(&lost, &obstacles);
            let shadows = self.shadowing(&concerned.after, &kept);
            if shadows.is_empty() {
                break kept;
            }
            obstacles.extend(shadows.into_iter().map(|path| (path, Obstacle::Shadows)));
        };
        let needed_before = self.needed_before(&concerned.before);
        let decision = self.finished(&lost, kept, (&obstacles, &needed_before));
        LibraryDecision { served: newly_served, ..decision }
    }

    fn finished(
        &self,
        lost: &BTreeSet<CountedNeed>,
        kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        (obstacles, needed_before): (&BTreeMap<ObjectPath, Obstacle>, &BTreeSet<ObjectPath>),
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
        let told: BTreeSet<LostNeed> = told.chain(self.lost_to_others(&kept, obstacles)).collect();
        let is_left = |(path, candidate): &(&ObjectPath, &Candidate)| {
            candidate.origin == CandidateOrigin::Kept && !kept.contains_key(*path)
        };
        let left = self.candidates.iter().filter(is_left).map(|(path, _)| path.clone());
        let (dropped, unneeded) = left.partition(|path| needed_before.contains(path));
        LibraryDecision { lost: told.into_iter().collect(), dropped, unneeded, kept, served: BTreeSet::new() }
    }

    /// The needs of others that do not stay: of processes, and those that the policy names.
    fn lost_to_others(
        &self,
        kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>,
        obstacles: &BTreeMap<ObjectPath, Obstacle>,
    ) -> Vec<LostNeed> {
        let gone = self.others.iter().filter(|(path, _)| {
            let origin = self.candidates.get(*path).map(|candidate| candidate.origin);
            origin == Some(CandidateOrigin::TakenAway) && !kept.contains_key(*path)
        });
        let lost = gone.flat_map(|(path, consumers)| {
            let soname = self.before.file_at(path).and_then(|file| file.facts.soname.clone());
            let name = soname.unwrap_or_else(|| String::from_utf8_lossy(path.name()).into_owned());
            consumers.iter().map(move |other| LostNeed {
                name: name.clone(),
                consumer: Consumer { path: other.path.clone(), source: ConsumerSource::Other(other.source) },
                library: Some(path.clone()),
                obstacle: obstacles.get(path).copied(),
                versions: Vec::new(),
                symbols: Vec::new(),
            })
        });
        lost.collect()
    }

    /// What was kept before the change and reached from somebody who is not kept himself.
    fn needed_before(&self, starts: &BTreeSet<ObjectPath>) -> BTreeSet<ObjectPath> {
        let mut needed = BTreeSet::new();
        let is_kept = |path: &ObjectPath| self.is_kept_already(path);
        if !self.candidates.keys().any(is_kept) {
            return needed;
        }
        let mut loader = Loader::new(self.before, self.settings);
        for path in starts.iter().filter(|path| !is_kept(path)) {
            let Some(loading) = loader.load(path) else { continue };
            for way in loading.objects.iter().map(|object| &object.way) {
                needed.extend(way.links.iter().chain([&way.path]).filter(|path| is_kept(path)).cloned());
            }
        }
        needed.extend(self.others.keys().filter(|path| is_kept(path)).cloned());
        needed
    }
}

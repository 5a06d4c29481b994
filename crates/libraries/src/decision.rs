//! The decision which libraries stay for programs that still need them when a change removes them (patchadm-shlibs(7),
//! "What stays").
//!
//! The change has been planned as if nothing were kept. Its result is one tree. The candidates are the libraries that
//! it removes, those that are kept already and those that an archive brings back. A need that was met before and is not
//! met afterwards is searched among the candidates. What is found stays, and so does what it needs in turn. A candidate
//! does not stay if another program would find it instead of a newer library.

use std::collections::{BTreeMap, BTreeSet};

use super::changed_needs::{ChangedNeeds, Thoroughness};
use super::comparisons::{Comparisons, VersionComparisons};
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
    /// Its consumer.
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

/// The decision about the candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryDecision {
    /// The candidates that stay, each with those who need it: directly, or through others that stay.
    pub kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    /// The needs that are lost.
    pub lost: Vec<LostNeed>,
    /// Libraries that were kept for a consumer and are no longer needed.
    pub dropped: BTreeSet<ObjectPath>,
    /// Libraries that were kept although nothing needed them before either. They stay until they are pruned.
    pub unneeded: BTreeSet<ObjectPath>,
    /// The needs that were not met before the change and are met after it: consumer and name.
    pub served: BTreeSet<(ObjectPath, String)>,
}

/// The candidates that stay, with their consumers, and the obstacles for the rest.
struct Staying {
    kept: BTreeMap<ObjectPath, BTreeSet<Consumer>>,
    obstacles: BTreeMap<ObjectPath, Obstacle>,
}

impl LibraryChange<'_> {
    /// Decides what stays.
    pub fn decide(&self) -> LibraryDecision {
        self.decide_with(Thoroughness::AsNeeded)
    }

    /// Decides by looking at every need of every program, whether the change concerns it or not.
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
        let lost = self.told(&unmet, (&lost, &starts), &staying, &comparisons.versions);
        LibraryDecision { kept: staying.kept, lost, dropped, unneeded, served }
    }

    /// Tells whether a library of the name that is needed stays for the one that needs it, be it another than before.
    fn is_met_by(&self, need: &CountedNeed, kept: &BTreeMap<ObjectPath, BTreeSet<Consumer>>) -> bool {
        kept.iter().filter(|(_, consumers)| consumers.contains(&need.consumer)).any(|(path, _)| {
            match self.candidates.get(path).map(|candidate| &candidate.node) {
                Some(CandidateNode::File(file)) => file.facts.soname.as_ref() == Some(&need.name),
                _ => false,
            }
        })
    }

    /// Finds the candidates that stay, and the obstacles for the others. Some obstacles are given, the rest are
    /// determined here.
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

    /// Returns the kept libraries that nothing needs: those that go, and those that stay until they are pruned. A
    /// library goes if it was needed before or if it would be in the way.
    fn left_over(
        &self,
        staying: &Staying,
        needed_before: &BTreeSet<ObjectPath>,
    ) -> (BTreeSet<ObjectPath>, BTreeSet<ObjectPath>) {
        let is_left = |path: &&ObjectPath| self.is_kept_already(path) && !staying.kept.contains_key(*path);
        let goes = |path: &ObjectPath| needed_before.contains(path) || staying.obstacles.contains_key(path);
        self.candidates.keys().filter(is_left).cloned().partition(goes)
    }

    /// Returns the needs that are lost, each with the reason.
    fn told(
        &self,
        unmet: &BTreeSet<CountedNeed>,
        whom: (&BTreeSet<CountedNeed>, &BTreeSet<ObjectPath>),
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
        let mut told: BTreeSet<LostNeed> = of_files.chain(self.lost_to_others(staying)).collect();
        if told.iter().any(|need| need.obstacle.is_some_and(Obstacle::is_wish)) {
            told = self.with_lasting_reasons(told, whom, staying, versions);
        }
        told.into_iter().collect()
    }

    /// Names the other obstacle of libraries that no one asked to keep or that the patch forbids to keep, so that a
    /// second request is not made in vain.
    fn with_lasting_reasons(
        &self,
        told: BTreeSet<LostNeed>,
        (lost, starts): (&BTreeSet<CountedNeed>, &BTreeSet<ObjectPath>),
        staying: &Staying,
        versions: &VersionComparisons,
    ) -> BTreeSet<LostNeed> {
        let mut lasting = staying.obstacles.clone();
        lasting.retain(|_, obstacle| !obstacle.is_wish());
        let asked = self.staying(lost, starts, lasting, versions);
        let reason = |need: LostNeed| {
            let library = need.library.as_ref().filter(|path| !asked.kept.contains_key(*path));
            let is_wish = need.obstacle.is_some_and(Obstacle::is_wish);
            match library.filter(|_| is_wish) {
                Some(path) => {
                    let obstacle = asked.obstacles.get(path).copied().unwrap_or(Obstacle::PathTaken);
                    LostNeed { obstacle: Some(obstacle), ..need }
                }
                None => need,
            }
        };
        told.into_iter().map(reason).collect()
    }

    /// Returns the needs of others that do not stay: of processes, and those that the policy names.
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

    /// Returns the kept libraries that, before the change, a consumer needed that is not kept itself.
    fn needed_before(
        &self,
        thoroughness: Thoroughness,
        comparisons: &Comparisons<'_>,
    ) -> BTreeSet<ObjectPath> {
        let candidates: BTreeMap<ObjectPath, Candidate> = self
            .candidates
            .iter()
            .filter(|(path, _)| self.is_kept_already(path))
            .map(|(path, candidate)| (path.clone(), Candidate { obstacle: None, ..candidate.clone() }))
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

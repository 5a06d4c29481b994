//! All packages with what they need.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::blockers::blockers;
use super::candidates::Candidates;
use super::components::Components;
use super::graph::{Graph, Lists};
use super::holders::NameHolders;
use super::state::{PackageState, PrefailReason};
use crate::pattern::Pattern;
use crate::records::{Dependency, Location, PkgName, Record, Records};

/// The most comparisons of patterns with packages for the needs of one location, in about a second: it keeps no others waiting.
const MOST_COMPARISONS: u64 = 100_000_000;

/// How many packages of a circle are told.
const TOLD_OF_CIRCLE: usize = 20;

/// The packages of records with what they need and whether they can be built. Packages have the indices of their records.
#[derive(Clone, Debug)]
pub struct Resolution {
    graph: Graph,
    /// The part of the needs that whoever installs a package needs.
    run_needs: Lists,
    states: Vec<PackageState>,
    /// For each entry of `ALL_DEPENDS` what was found.
    found: Vec<Box<[Option<u32>]>>,
}

impl Resolution {
    /// Returns the graph of `DEPENDS`. A package for one of whose needs nothing was found has none there, as in pbulk.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns `DEPENDS` of a package: what was found, in the order of `ALL_DEPENDS`, each once.
    pub fn depends(&self, index: u32) -> &[u32] {
        self.graph.needs(index)
    }

    /// Returns the state of a package; `None` if there is no such package.
    pub fn state(&self, index: u32) -> Option<&PackageState> {
        self.states.get(index as usize)
    }

    /// Returns the states of all packages in order of their indices.
    pub fn states(&self) -> &[PackageState] {
        &self.states
    }

    /// Returns what was found for each entry of `ALL_DEPENDS` of a package, in its order.
    pub fn found(&self, index: u32) -> &[Option<u32>] {
        self.found.get(index as usize).map(|found| &**found).unwrap_or_default()
    }

    /// Returns what is installed before a package is built: its `DEPENDS`, and of each of these the `RUN_DEPENDS`, to the
    /// end; what a package needs precedes it.
    pub fn to_install(&self, index: u32) -> Vec<u32> {
        let mut seen = HashSet::default();
        let mut order = Vec::new();
        for &first in self.graph.needs(index) {
            if !seen.insert(first) {
                continue;
            }
            // Packages on the way, each with the place of the need that is looked at next.
            let mut way = vec![(first, 0_usize)];
            while let Some((at, place)) = way.last_mut() {
                if let Some(&need) = self.run_needs.of(*at).get(*place) {
                    *place += 1;
                    if seen.insert(need) {
                        way.push((need, 0));
                    }
                } else {
                    order.push(*at);
                    way.pop();
                }
            }
        }
        order
    }
}

/// Finds for each record what it needs, and what cannot be built.
///
/// Where two packages that were found for one have one name without version, which could not be installed together, the
/// highest version that all patterns match that led to them takes their place, if there is one.
pub fn resolve(records: &Records, holders: &NameHolders) -> Resolution {
    let duplicates = duplicates(records, holders);
    let is_failed_scan = |index: u32| records.get(index).is_none_or(Record::is_failed_scan);
    let candidates =
        Candidates::new(records, |index| !duplicates.contains_key(&index) && !is_failed_scan(index));
    let mut chooser = Chooser { candidates, known: HashMap::default(), comparisons: HashMap::default() };
    let mut reasons: Vec<Option<PrefailReason>> = Vec::with_capacity(records.len());
    let mut found: Vec<Box<[Option<u32>]>> = Vec::with_capacity(records.len());
    for (index, record) in (0..).zip(records.iter()) {
        let (choices, fault) = chooser.choose_all(record, records);
        found.push(choices);
        reasons.push(duplicates.get(&index).cloned().or_else(|| own_reason(record)).or(fault));
    }
    let needs = |index: usize, is_taken: &dyn Fn(usize) -> bool| -> Vec<u32> {
        let choices: &[Option<u32>] = &found[index];
        if choices.contains(&None) {
            return Vec::new();
        }
        let taken = choices.iter().enumerate().filter(|(place, _)| is_taken(*place));
        taken.filter_map(|(_, choice)| *choice).collect()
    };
    let graph = Graph::new((0..records.len()).map(|index| needs(index, &|_| true)));
    let run_needs = Lists::new(
        records.iter().enumerate().map(|(index, record)| needs(index, &|place| record.is_run_depends(place))),
    );
    add_circles(&graph, records, &mut reasons);
    let failed: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let states = reasons.into_iter().zip(blockers(&graph, &failed)).map(|states| match states {
        (Some(reason), _) => PackageState::Prefailed(reason),
        (None, blockers) if blockers.is_empty() => PackageState::Open,
        (None, blockers) => PackageState::IndirectPrefailed(blockers),
    });
    let states = states.collect();
    Resolution { graph, run_needs, states, found }
}

/// Returns why a record says itself that its package cannot be built.
fn own_reason(record: &Record) -> Option<PrefailReason> {
    let fail = if record.is_failed_scan() { PrefailReason::Scan } else { PrefailReason::Fail };
    let skip = record.skip_reason().map(|reason| PrefailReason::Skip(reason.into()));
    skip.or_else(|| record.fail_reason().map(|reason| fail(reason.into())))
}

/// Returns the packages whose name another location has since the set before, and those that another one with the same
/// `PKGNAME` precedes: one of a location that had this `PKGNAME`, of an earlier location, in byte order, or an earlier one of
/// its location. A failed scan takes no name from a package.
fn duplicates(records: &Records, holders: &NameHolders) -> HashMap<u32, PrefailReason> {
    let claimants = holders.claimants(records);
    let mut keepers: HashMap<&PkgName, u32> = HashMap::default();
    let rank = |index: u32| {
        let record = records.get(index);
        let rank = record.map(|record| {
            let is_new = !holders.has(record.pkgname(), record.location());
            (record.is_failed_scan(), is_new, record.location())
        });
        (rank, index)
    };
    let indices = || (0..).zip(records.iter()).filter(|(index, _)| !claimants.contains_key(index));
    for (index, record) in indices() {
        let keeper = keepers.entry(record.pkgname()).or_insert(index);
        if rank(index) < rank(*keeper) {
            *keeper = index;
        }
    }
    let duplicates = indices().filter_map(|(index, record)| {
        let keeper = *keepers.get(record.pkgname())?;
        let reason = PrefailReason::Duplicate {
            pkgname: record.pkgname().clone(),
            location: record.location().clone(),
            keeper: records.get(keeper)?.location().clone(),
        };
        (keeper != index).then_some((index, reason))
    });
    let duplicates: HashMap<u32, PrefailReason> = duplicates.collect();
    claimants.into_iter().chain(duplicates).collect()
}

/// Gives the packages of each circle that have no other reason that one.
fn add_circles(graph: &Graph, records: &Records, reasons: &mut [Option<PrefailReason>]) {
    let components = Components::of(graph);
    for members in components.circles(graph) {
        let mut members = members.to_vec();
        members.sort_by_key(|&index| records.get(index).map(Record::pkgname));
        let circle = components.shortest_circle(graph, &members);
        let text: Arc<str> = circle_text(&circle, records).into();
        for member in members {
            if let Some(reason @ None) = reasons.get_mut(member as usize) {
                *reason = Some(PrefailReason::Circle(Arc::clone(&text)));
            }
        }
    }
}

/// Returns a circle as text: `a-1 → b-1 → a-1`.
fn circle_text(circle: &[u32], records: &Records) -> String {
    let name = |index: &u32| records.get(*index).map(|record| record.pkgname().as_str()).unwrap_or_default();
    let mut words: Vec<String> =
        circle.iter().take(TOLD_OF_CIRCLE).map(|index| name(index).to_owned()).collect();
    if circle.len() > TOLD_OF_CIRCLE {
        words.push(format!("… ({} more)", circle.len() - TOLD_OF_CIRCLE));
    }
    words.extend(circle.first().map(|first| name(first).to_owned()));
    words.join(" → ")
}

/// What a dependency means.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Package(u32),
    Nothing,
    NoPattern(&'static str),
    /// The location has too many patterns.
    TooMuch,
}

/// Finds what dependencies mean, each once.
struct Chooser<'a> {
    candidates: Candidates<'a>,
    known: HashMap<&'a Dependency, Choice>,
    /// How many comparisons the needs of each location have taken.
    comparisons: HashMap<&'a Location, u64>,
}

impl<'a> Chooser<'a> {
    /// Returns for each need of a record what was found, and the first fault.
    fn choose_all(
        &mut self,
        record: &'a Record,
        records: &'a Records,
    ) -> (Box<[Option<u32>]>, Option<PrefailReason>) {
        let mut fault = None;
        let mut choices = Vec::with_capacity(record.all_depends().len());
        for dependency in record.all_depends() {
            let pattern = &dependency.pattern;
            choices.push(match self.choose(dependency, record.location()) {
                Choice::Package(index) => Some(index),
                Choice::Nothing => {
                    fault.get_or_insert_with(|| PrefailReason::Unmatched(pattern.clone()));
                    None
                }
                Choice::NoPattern(reason) => {
                    fault.get_or_insert_with(|| PrefailReason::NoPattern(pattern.clone(), reason));
                    None
                }
                Choice::TooMuch => {
                    fault.get_or_insert(PrefailReason::TooManyPatterns);
                    None
                }
            });
        }
        if !self.settle_versions(record, records, &mut choices) {
            fault.get_or_insert(PrefailReason::TooManyPatterns);
        }
        (choices.into(), fault)
    }

    /// Counts comparisons for a location; tells whether they may be made.
    fn may_compare(&mut self, location: &'a Location, comparisons: u64) -> bool {
        let made = self.comparisons.entry(location).or_default();
        *made = made.saturating_add(comparisons);
        *made <= MOST_COMPARISONS
    }

    fn choose(&mut self, dependency: &'a Dependency, location: &'a Location) -> Choice {
        if let Some(known) = self.known.get(dependency) {
            return *known;
        }
        // Braces are replaced by all that they stand for.
        let of_text = dependency.pattern.len() as u64 * (1 + dependency.pattern.matches(',').count() as u64);
        if !self.may_compare(location, of_text) {
            return Choice::TooMuch;
        }
        let choice = match Pattern::parse(&dependency.pattern) {
            Ok(pattern) => {
                if !self.may_compare(location, self.candidates.cost(&pattern)) {
                    // Another location may still have it looked for.
                    return Choice::TooMuch;
                }
                self.candidates.choose(dependency, &pattern).map_or(Choice::Nothing, Choice::Package)
            }
            Err(error) => Choice::NoPattern(error.reason),
        };
        self.known.insert(dependency, choice);
        choice
    }

    /// Replaces packages of one name and several versions by one that all patterns match that led to them, if there is one. Tells
    /// whether that could be looked for.
    fn settle_versions(
        &mut self,
        record: &'a Record,
        records: &'a Records,
        choices: &mut [Option<u32>],
    ) -> bool {
        let mut places_of: HashMap<&str, Vec<usize>> = HashMap::default();
        for (place, choice) in choices.iter().enumerate() {
            if let Some(chosen) = choice.and_then(|index| records.get(index)) {
                places_of.entry(chosen.pkgname().name()).or_default().push(place);
            }
        }
        places_of.retain(|_, places| places.windows(2).any(|pair| choices[pair[0]] != choices[pair[1]]));
        for (name, places) in places_of {
            let led = places.iter().filter_map(|&place| record.all_depends().get(place));
            let led: HashSet<&Dependency> = led.map(|dependency| &**dependency).collect();
            let of_each = 64 + self.candidates.count_of(name).saturating_mul(64);
            if !self.may_compare(record.location(), of_each.saturating_mul(led.len() as u64)) {
                return false;
            }
            let needs: Vec<(&Dependency, Pattern)> = led
                .into_iter()
                .filter_map(|dependency| Some((dependency, Pattern::parse(&dependency.pattern).ok()?)))
                .collect();
            if let Some(common) = self.candidates.choose_for_all(name, &needs) {
                for place in places {
                    choices[place] = Some(common);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;

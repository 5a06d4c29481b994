//! Dependency resolution of records, and reasons why packages cannot be built.
//!
//! A fault never ends it: a package with a fault is `prefailed`, and its dependents are `indirect-prefailed`. Nothing
//! is recursive, and all but [`Graph::depths`] takes linear time.
//!
//! A PKGNAME belongs to its location in the previous set ([`NameHolders`]) until that is gone. A higher version of
//! another location is preferred, as in pbulk, because several locations of pkgsrc make packages of one name. The same
//! holds for the source of patches, which several locations may spell ([`RecipeLocation::source`]).

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use crate::journal::TreeFault;
use crate::pattern::{Pattern, Reach, Version};
use crate::records::{PkgName, RecipeDependency, RecipeLocation, RecipeRecord, Records};

use graph::{AdjacencyLists, StrongComponents};

pub use graph::{Blockers, Graph, MOST_BLOCKERS, blockers, waits_for};

/// Comparisons for the dependencies of one location, about a second, so that it does not delay the others.
const MOST_COMPARISONS: u64 = 100_000_000;

const TOLD_OF_CIRCLE: usize = 20;

/// Resolved dependencies, with the indices of records.
#[derive(Clone, Debug)]
pub struct DependencyResolution {
    graph: Graph,
    /// Needed at run time.
    run_needs: AdjacencyLists,
    states: Vec<ResolvedState>,
    found: Vec<Box<[Option<u32>]>>,
}

impl DependencyResolution {
    /// The graph of `DEPENDS`. A package with an unmatched dependency has none there, as in pbulk.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// `DEPENDS` of a package: the matches in the order of `ALL_DEPENDS`, each once.
    pub fn depends(&self, index: u32) -> &[u32] {
        self.graph.needs(index)
    }

    pub fn state(&self, index: u32) -> Option<&ResolvedState> {
        self.states.get(index as usize)
    }

    pub fn states(&self) -> &[ResolvedState] {
        &self.states
    }

    /// The match of each entry of `ALL_DEPENDS`, in order.
    pub fn found(&self, index: u32) -> &[Option<u32>] {
        self.found.get(index as usize).map(|found| &**found).unwrap_or_default()
    }

    /// Packages to install before a build: its `DEPENDS`, and their `RUN_DEPENDS` transitively, dependencies first.
    pub fn to_install(&self, index: u32) -> Vec<u32> {
        let mut seen = vec![false; self.found.len()];
        let mut is_new = |index: u32| {
            seen.get_mut(index as usize).is_some_and(|is_seen| !std::mem::replace(is_seen, true))
        };
        let mut order = Vec::new();
        for &first in self.graph.needs(index) {
            if !is_new(first) {
                continue;
            }
            // The path, with the position of the next dependency to visit.
            let mut way = vec![(first, 0_usize)];
            while let Some((at, place)) = way.last_mut() {
                if let Some(&need) = self.run_needs.of(*at).get(*place) {
                    *place += 1;
                    if is_new(need) {
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

/// Resolves the dependencies of all records.
///
/// If a package has two matches of one name in different versions, which cannot be installed together, the highest
/// version that matches all patterns replaces them.
pub fn resolve(records: &Records, holders: &NameHolders) -> DependencyResolution {
    let duplicates = duplicates(records, holders);
    let is_failed_scan = |index: u32| records.get(index).is_none_or(RecipeRecord::is_failed_scan);
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
    let run_needs = AdjacencyLists::new(
        records.iter().enumerate().map(|(index, record)| needs(index, &|place| record.is_run_depends(place))),
    );
    add_circles(&graph, records, &mut reasons);
    let failed: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let states = reasons.into_iter().zip(blockers(&graph, &failed)).map(|states| match states {
        (Some(reason), _) => ResolvedState::Prefailed(reason),
        (None, blockers) if blockers.is_empty() => ResolvedState::Open,
        (None, blockers) => ResolvedState::IndirectPrefailed(blockers),
    });
    let states = states.collect();
    DependencyResolution { graph, run_needs, states, found }
}

fn own_reason(record: &RecipeRecord) -> Option<PrefailReason> {
    let fail = if record.is_failed_scan() { PrefailReason::Scan } else { PrefailReason::Fail };
    let skip = record.skip_reason().map(|reason| PrefailReason::Skip(reason.into()));
    skip.or_else(|| record.fail_reason().map(|reason| fail(reason.into())))
}

/// Finds packages whose name belongs to another location since the previous set, or to another record: of a location
/// that had this `PKGNAME`, of an earlier location by bytes, or earlier in the same one. Failed scans take no name.
fn duplicates(records: &Records, holders: &NameHolders) -> HashMap<u32, PrefailReason> {
    let mut claimants = holders.source_claimants(records);
    claimants.extend(holders.claimants(records));
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

/// The cycle is the reason of members without another one.
fn add_circles(graph: &Graph, records: &Records, reasons: &mut [Option<PrefailReason>]) {
    let components = StrongComponents::of(graph);
    for members in components.circles(graph) {
        let mut members = members.to_vec();
        members.sort_by_key(|&index| records.get(index).map(RecipeRecord::pkgname));
        let circle = components.shortest_circle(graph, &members);
        let text: Arc<str> = circle_text(&circle, records).into();
        for member in members {
            if let Some(reason @ None) = reasons.get_mut(member as usize) {
                *reason = Some(PrefailReason::Circle(Arc::clone(&text)));
            }
        }
    }
}

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

#[derive(Clone, Copy, Debug)]
enum DependencyChoice {
    Package(u32),
    Nothing,
    NoPattern(&'static str),
    TooMuch,
}

struct Chooser<'a> {
    candidates: Candidates<'a>,
    known: HashMap<&'a RecipeDependency, DependencyChoice>,
    comparisons: HashMap<&'a RecipeLocation, u64>,
}

impl<'a> Chooser<'a> {
    fn choose_all(
        &mut self,
        record: &'a RecipeRecord,
        records: &'a Records,
    ) -> (Box<[Option<u32>]>, Option<PrefailReason>) {
        let mut fault = None;
        let mut choices = Vec::with_capacity(record.all_depends().len());
        for dependency in record.all_depends() {
            let pattern = &dependency.pattern;
            choices.push(match self.choose(dependency, record.location()) {
                DependencyChoice::Package(index) => Some(index),
                DependencyChoice::Nothing => {
                    fault.get_or_insert_with(|| PrefailReason::Unmatched(pattern.clone()));
                    None
                }
                DependencyChoice::NoPattern(reason) => {
                    fault.get_or_insert_with(|| PrefailReason::NoPattern(pattern.clone(), reason));
                    None
                }
                DependencyChoice::TooMuch => {
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

    fn may_compare(&mut self, location: &'a RecipeLocation, comparisons: u64) -> bool {
        let made = self.comparisons.entry(location).or_default();
        *made = made.saturating_add(comparisons);
        *made <= MOST_COMPARISONS
    }

    fn choose(&mut self, dependency: &'a RecipeDependency, location: &'a RecipeLocation) -> DependencyChoice {
        if let Some(known) = self.known.get(dependency) {
            return *known;
        }
        // Braces are replaced by all alternatives.
        let of_text = dependency.pattern.len() as u64 * (1 + dependency.pattern.matches(',').count() as u64);
        if !self.may_compare(location, of_text) {
            return DependencyChoice::TooMuch;
        }
        let choice = match Pattern::parse(&dependency.pattern) {
            Ok(pattern) => {
                if !self.may_compare(location, self.candidates.cost(&pattern)) {
                    // Another location may still search for it.
                    return DependencyChoice::TooMuch;
                }
                self.candidates
                    .choose(dependency, &pattern)
                    .map_or(DependencyChoice::Nothing, DependencyChoice::Package)
            }
            Err(error) => DependencyChoice::NoPattern(error.reason),
        };
        self.known.insert(dependency, choice);
        choice
    }

    /// Replaces versions of one name by one that matches all patterns, if possible; false at the comparison limit.
    fn settle_versions(
        &mut self,
        record: &'a RecipeRecord,
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
            let led: HashSet<&RecipeDependency> = led.map(|dependency| &**dependency).collect();
            let of_each = 64 + self.candidates.count_of(name).saturating_mul(64);
            if !self.may_compare(record.location(), of_each.saturating_mul(led.len() as u64)) {
                return false;
            }
            let needs: Vec<(&RecipeDependency, Pattern)> = led
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

/// The state after resolution, in pbulk's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedState {
    /// `open`: it can be built once its dependencies are.
    Open,
    /// `prefailed`: it cannot be built for a reason of its own.
    Prefailed(PrefailReason),
    /// `indirect-prefailed`: a dependency is `prefailed`. The nearest such packages.
    IndirectPrefailed(Blockers),
}

/// Why a package cannot be built before anything is tried; one line of text, if the record's is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefailReason {
    /// The scan of its location failed.
    Scan(Box<str>),
    Skip(Box<str>),
    Fail(Box<str>),
    /// Another location makes a package of this name, or has it since the previous set.
    Duplicate {
        pkgname: PkgName,
        location: RecipeLocation,
        /// Keeps the name.
        keeper: RecipeLocation,
    },
    /// Patches of another location have the same source.
    Source {
        location: RecipeLocation,
        /// Keeps the source.
        keeper: RecipeLocation,
    },
    /// A pattern without a match.
    Unmatched(Box<str>),
    /// A dependency that is no pattern, and why.
    NoPattern(Box<str>, &'static str),
    /// The many patterns of its location would take too long to compare.
    TooManyPatterns,
    Circle(Arc<str>),
}

impl PrefailReason {
    /// `None` for a reason that the recipe gives itself.
    pub fn fault(&self) -> Option<TreeFault> {
        match self {
            Self::Skip(_) | Self::Fail(_) => None,
            Self::Scan(_) => Some(TreeFault::Scan),
            Self::Duplicate { .. } | Self::Source { .. } => Some(TreeFault::Duplicate),
            Self::Unmatched(_) => Some(TreeFault::Unmatched),
            Self::NoPattern(..) | Self::TooManyPatterns => Some(TreeFault::Pattern),
            Self::Circle(_) => Some(TreeFault::Circle),
        }
    }
}

impl fmt::Display for PrefailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(reason) | Self::Skip(reason) | Self::Fail(reason) => f.write_str(reason),
            Self::Duplicate { pkgname, location, keeper } => {
                write!(f, "{pkgname} of {location} has the name of a package of {keeper}, which keeps it")
            }
            Self::Source { location, keeper } => {
                let source = location.source();
                write!(f, "patches of {location} would have the source {source} of {keeper}, which keeps it")
            }
            Self::Unmatched(pattern) => write!(f, "it needs {pattern}, which nothing matches"),
            Self::NoPattern(pattern, reason) => {
                write!(f, "it needs {pattern}, which is not a pattern: {reason}")
            }
            Self::TooManyPatterns => f.write_str(
                "the dependencies of its location have too many patterns to compare with all packages",
            ),
            Self::Circle(circle) => write!(f, "it needs itself: {circle}"),
        }
    }
}

/// Packages that can be chosen, indexed for patterns.
struct Candidates<'a> {
    records: &'a Records,
    /// Of all packages, including those that cannot be chosen.
    versions: Vec<Version>,
    by_pkgname: Vec<(&'a str, u32)>,
    by_name: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Candidates<'a> {
    fn new(records: &'a Records, is_candidate: impl Fn(u32) -> bool) -> Self {
        let versions = records.iter().map(|record| Version::parse(record.pkgname().version())).collect();
        let mut by_pkgname = Vec::new();
        let mut by_name: HashMap<&str, Vec<u32>> = HashMap::default();
        for (index, record) in (0..).zip(records.iter()).filter(|(index, _)| is_candidate(*index)) {
            by_pkgname.push((record.pkgname().as_str(), index));
            by_name.entry(record.pkgname().name()).or_default().push(index);
        }
        by_pkgname.sort_unstable();
        Self { records, versions, by_pkgname, by_name }
    }

    /// Returns the highest matching version; among equals the one from the named location, then the last, as in pbulk.
    fn choose(&self, dependency: &RecipeDependency, pattern: &Pattern) -> Option<u32> {
        let alternatives = pattern.alternatives().iter();
        let matching = alternatives.flat_map(|alternative| {
            self.within(alternative.reach())
                .filter(move |&(_, record, version)| alternative.matches(record.pkgname(), version))
        });
        best(matching, &[dependency])
    }

    /// Estimates comparisons.
    fn cost(&self, pattern: &Pattern) -> u64 {
        let of_each = pattern.alternatives().iter();
        of_each
            .map(|alternative| alternative.cost().saturating_mul(1 + self.count_within(alternative.reach())))
            .sum()
    }

    fn count_of(&self, name: &str) -> u64 {
        self.by_name.get(name).map_or(0, |indices| indices.len() as u64)
    }

    fn choose_for_all(&self, name: &str, needs: &[(&RecipeDependency, Pattern)]) -> Option<u32> {
        let matching = self.within(Reach::Name(name)).filter(|&(_, record, version)| {
            needs.iter().all(|(_, pattern)| pattern.matches_version(record.pkgname(), version))
        });
        let dependencies: Vec<&RecipeDependency> = needs.iter().map(|(dependency, _)| *dependency).collect();
        best(matching, &dependencies)
    }

    fn count_within(&self, reach: Reach<'_>) -> u64 {
        let (of_name, in_range) = self.reached(reach);
        (of_name.len() + in_range.len()) as u64
    }

    fn reached(&self, reach: Reach<'_>) -> (&[u32], &[(&'a str, u32)]) {
        match reach {
            Reach::Name(name) => (self.by_name.get(name).map(Vec::as_slice).unwrap_or_default(), &[]),
            Reach::Prefix(prefix) => {
                let begin = self.by_pkgname.partition_point(|(pkgname, _)| *pkgname < prefix);
                let rest = self.by_pkgname.get(begin..).unwrap_or_default();
                let count = rest.partition_point(|(pkgname, _)| pkgname.starts_with(prefix));
                (&[], rest.get(..count).unwrap_or_default())
            }
        }
    }

    fn within(&self, reach: Reach<'_>) -> impl Iterator<Item = (u32, &'a RecipeRecord, &Version)> {
        let (of_name, in_range) = self.reached(reach);
        let indices = of_name.iter().copied().chain(in_range.iter().map(|(_, index)| *index));
        indices
            .filter_map(|index| Some((index, self.records.get(index)?, self.versions.get(index as usize)?)))
    }
}

fn best<'a>(
    matching: impl Iterator<Item = (u32, &'a RecipeRecord, &'a Version)>,
    dependencies: &[&RecipeDependency],
) -> Option<u32> {
    let is_named = |record: &RecipeRecord| {
        dependencies.iter().any(|dependency| dependency.location.as_ref() == Some(record.location()))
    };
    let best = matching.max_by_key(|(_, record, version)| (*version, is_named(record), record.pkgname()));
    best.map(|(index, ..)| index)
}

/// Locations of each PKGNAME in the previous set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameHolders(BTreeMap<String, BTreeSet<String>>);

impl NameHolders {
    /// Takes PKGNAME and location of each package of a set.
    pub fn new<'p>(packages: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let mut holders = Self::default();
        for (pkgname, location) in packages {
            holders.0.entry(pkgname.to_owned()).or_default().insert(location.to_owned());
        }
        holders
    }

    /// True if a location had exactly this PKGNAME.
    fn has(&self, pkgname: &PkgName, location: &RecipeLocation) -> bool {
        self.0.get(pkgname.as_str()).is_some_and(|locations| locations.contains(location.as_str()))
    }

    /// Returns packages of locations whose source is that of another location: one of the previous set, or the first.
    fn source_claimants(&self, records: &Records) -> HashMap<u32, PrefailReason> {
        let before: HashSet<&str> = self.0.values().flatten().map(String::as_str).collect();
        let mut locations: HashMap<String, BTreeSet<(bool, &RecipeLocation)>> = HashMap::default();
        for record in records.iter() {
            let location = record.location();
            let is_new = !before.contains(location.as_str());
            if !(is_new && record.is_failed_scan()) {
                locations.entry(location.source()).or_default().insert((is_new, location));
            }
        }
        let claimants = (0..).zip(records.iter()).filter(|(_, record)| !record.is_failed_scan());
        let claimants = claimants.filter_map(|(index, record)| {
            let location = record.location();
            let (_, keeper) = *locations.get(&location.source())?.first()?;
            let reason = || PrefailReason::Source { location: location.clone(), keeper: keeper.clone() };
            (keeper != location).then(|| (index, reason()))
        });
        claimants.collect()
    }

    /// Returns packages whose PKGNAME belonged to another location that still claims it, by a record or a failed scan.
    fn claimants(&self, records: &Records) -> HashMap<u32, PrefailReason> {
        if self.0.is_empty() {
            return HashMap::default();
        }
        let failed: HashSet<&RecipeLocation> =
            records.iter().filter(|record| record.is_failed_scan()).map(RecipeRecord::location).collect();
        let mut holders_of: HashMap<&str, BTreeSet<&RecipeLocation>> = HashMap::default();
        let mut failed_of: HashMap<&str, &RecipeLocation> = HashMap::default();
        for record in records.iter().filter(|record| !record.is_failed_scan()) {
            let name = record.pkgname().as_str();
            let Some(locations) = self.0.get(name) else { continue };
            if locations.contains(record.location().as_str()) {
                holders_of.entry(name).or_default().insert(record.location());
            } else if !failed_of.contains_key(name)
                && let Some(location) = failed.iter().find(|location| locations.contains(location.as_str()))
            {
                failed_of.insert(name, location);
            }
        }
        let claimants = (0..).zip(records.iter()).filter(|(_, record)| !record.is_failed_scan());
        let claimants = claimants.filter_map(|(index, record)| {
            let name = record.pkgname().as_str();
            let holders = holders_of.get(name);
            if holders.is_some_and(|holders| holders.contains(record.location())) {
                return None;
            }
            let keeper = holders.and_then(|holders| holders.first()).or_else(|| failed_of.get(name))?;
            let reason = PrefailReason::Duplicate {
                pkgname: record.pkgname().clone(),
                location: record.location().clone(),
                keeper: (*keeper).clone(),
            };
            Some((index, reason))
        });
        claimants.collect()
    }
}

const MOST_ALIKE: usize = 3;

/// Minimum similarity of suggested names.
const ALIKE: f64 = 0.85;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no package has this PKGNAME, name or location: {}{}", name.escape_debug(), advice(alike))]
pub struct UnknownName {
    pub name: String,
    /// Possible locations, or the most similar names.
    pub alike: Vec<String>,
}

fn advice(alike: &[String]) -> String {
    if alike.is_empty() { String::new() } else { format!("; did you mean {}?", alike.join(" or ")) }
}

/// Accepts a `PKGNAME`, a name without version, a location, or the last part of a unique location.
pub fn select<'n>(
    records: &Records,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<u32>, UnknownName> {
    let mut meant: HashMap<&str, Vec<u32>> = HashMap::default();
    for (index, record) in (0..).zip(records.iter()) {
        let pkgname = record.pkgname();
        for name in [pkgname.as_str(), pkgname.name(), record.location().as_str()] {
            meant.entry(name).or_default().push(index);
        }
    }
    let mut selected = BTreeSet::new();
    for name in names {
        match meant.get(name) {
            Some(indices) => selected.extend(indices.iter().copied()),
            None => selected.extend(of_directory(records, name)?),
        }
    }
    Ok(selected.into_iter().collect())
}

/// Finds the only location with this last component, with or without version. The error suggests alternatives.
fn of_directory(records: &Records, name: &str) -> Result<Vec<u32>, UnknownName> {
    let without_version = name.rsplit_once('-').map(|(name, _)| name);
    for directory in [Some(name), without_version].into_iter().flatten() {
        let is_last = |record: &RecipeRecord| {
            let location = record.location().as_str();
            location.rsplit_once('/').map_or(location, |(_, last)| last) == directory
        };
        let found: Vec<(u32, &RecipeRecord)> =
            (0..).zip(records.iter()).filter(|(_, record)| is_last(record)).collect();
        let locations: BTreeSet<&str> = found.iter().map(|(_, record)| record.location().as_str()).collect();
        match locations.len() {
            0 => {}
            1 if directory == name => return Ok(found.into_iter().map(|(index, _)| index).collect()),
            _ => {
                let alike = locations.into_iter().map(str::to_owned).collect();
                return Err(UnknownName { name: name.to_owned(), alike });
            }
        }
    }
    Err(UnknownName { name: name.to_owned(), alike: most_alike(records, name) })
}

fn most_alike(records: &Records, wrong: &str) -> Vec<String> {
    let names: BTreeSet<&str> = records.iter().map(|record| record.pkgname().name()).collect();
    let alike = names.into_iter().map(|name| (strsim::jaro(wrong, name), name));
    let mut alike: Vec<(f64, &str)> = alike.filter(|(measure, _)| *measure > ALIKE).collect();
    alike.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    alike.into_iter().take(MOST_ALIKE).map(|(_, name)| name.to_owned()).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeededLocations {
    pub named: BTreeSet<RecipeLocation>,
    /// True if a dependency names no location, so that only a full list can find it.
    pub needs_listing: bool,
}

/// Returns the locations in these packages' dependencies.
pub fn needed_locations(records: &Records, indices: Range<u32>) -> NeededLocations {
    let mut needed = NeededLocations::default();
    for dependency in indices.filter_map(|index| records.get(index)).flat_map(RecipeRecord::all_depends) {
        match &dependency.location {
            Some(location) if needed.named.contains(location) => {}
            Some(location) => _ = needed.named.insert(location.clone()),
            None => needed.needs_listing = true,
        }
    }
    needed
}

#[cfg(test)]
mod tests;

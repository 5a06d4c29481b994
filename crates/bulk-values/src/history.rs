//! The history of builds, estimates from it, and the comparison of two runs.
//!
//! `history` has a JSON line per build, in order of their ends. Unreadable lines are skipped and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::journal::{BuildState, FailureCause};

/// Successful builds in an estimate.
const ESTIMATED_BY: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub run: u64,
    pub package: String,
    pub location: String,
    pub state: BuildState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// Milliseconds.
    pub ms: u64,
    /// Bytes; 0 if unknown.
    #[serde(default)]
    pub peak_memory: u64,
    pub slot: String,
}

impl BuildRecord {
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers: serialising these cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Accepts PKGNAME, the name without version, and the location.
    pub fn is_meant_by(&self, name: &str) -> bool {
        [self.package.as_str(), name_of(&self.package), self.location.as_str()].contains(&name)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Strips the version from PKGNAME.
pub fn name_of(package: &str) -> &str {
    package.rsplit_once('-').map_or(package, |(name, _)| name)
}

/// Returns builds in order, and the number of unreadable lines except an incomplete last one.
pub fn parse_builds(bytes: &[u8]) -> (Vec<BuildRecord>, usize) {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').and_then(|end| bytes.get(..end));
    let lines = whole.into_iter().flat_map(|whole| whole.split(|&byte| byte == b'\n'));
    let (mut builds, mut unreadable) = (Vec::new(), 0);
    for line in lines.filter(|line| !line.is_empty()) {
        match BuildRecord::parse(line) {
            Some(build) => builds.push(build),
            None => unreadable += 1,
        }
    }
    (builds, unreadable)
}

#[derive(Clone, Debug, Default)]
struct LastBuilds {
    durations: VecDeque<u64>,
    peak_memory: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct BuildEstimates {
    packages: HashMap<String, LastBuilds, RandomState>,
    median_of_all: Option<u64>,
}

impl BuildEstimates {
    /// The last build comes last.
    pub fn of<'a>(builds: impl IntoIterator<Item = &'a BuildRecord>) -> Self {
        let mut packages: HashMap<String, LastBuilds, RandomState> = HashMap::default();
        for build in builds {
            let last = packages.entry(name_of(&build.package).to_owned()).or_default();
            if build.peak_memory > 0 {
                last.peak_memory = Some(build.peak_memory);
            }
            if build.state == BuildState::Done {
                last.durations.push_back(build.ms);
                if last.durations.len() > ESTIMATED_BY {
                    last.durations.pop_front();
                }
            }
        }
        let medians = packages.values().filter_map(|last| median(last.durations.iter().copied()));
        let median_of_all = median(medians);
        Self { packages, median_of_all }
    }

    /// Returns the median milliseconds of the last 3 successes, including other versions of this PKGNAME.
    pub fn duration_of(&self, package: &str) -> Option<u64> {
        let last = self.packages.get(name_of(package))?;
        median(last.durations.iter().copied())
    }

    /// In milliseconds.
    pub fn median_of_all(&self) -> Option<u64> {
        self.median_of_all
    }

    /// Peak of the last build, in bytes.
    pub fn peak_memory_of(&self, package: &str) -> Option<u64> {
        self.packages.get(name_of(package))?.peak_memory
    }
}

/// Averages the two middle values of an even number, rounded down.
fn median(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let is_odd = !values.len().is_multiple_of(2);
    let lower = if is_odd { upper } else { *values.get(values.len() / 2 - 1)? };
    Some(lower.midpoint(upper))
}

const LEAST_SLOWER: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPackage<'a> {
    pub package: &'a str,
    pub location: &'a str,
    pub state: BuildState,
    /// Duration in milliseconds, if built in this run or before.
    pub ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowerBuild {
    /// In the later run.
    pub package: String,
    /// Milliseconds before.
    pub was_ms: u64,
    /// Milliseconds now.
    pub ms: u64,
}

/// Differences between two runs, by PKGNAME of the later run in byte order; `gone` is of the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDifference {
    /// They fail by themselves and did not before, including new ones.
    pub failed: Vec<String>,
    /// They have a result and had none before.
    pub repaired: Vec<String>,
    /// No earlier counterpart.
    pub new: Vec<String>,
    /// No later counterpart.
    pub gone: Vec<String>,
    /// More than 1.5 times as long, and more than 10 seconds longer.
    pub slower: Vec<SlowerBuild>,
}

impl RunDifference {
    /// Matches a package by PKGNAME, else the only one of its location and name: an update is no new package.
    pub fn between(earlier: &[RunPackage<'_>], later: &[RunPackage<'_>]) -> Self {
        let partners = partners(earlier, later);
        let met: BTreeSet<&str> = partners.values().map(|partner| partner.package).collect();
        let gone = earlier.iter().filter(|package| !met.contains(package.package));
        let mut difference =
            Self { gone: gone.map(|package| package.package.to_owned()).collect(), ..Self::default() };
        for now in later {
            difference.add(partners.get(now.package).copied(), *now);
        }
        for list in
            [&mut difference.failed, &mut difference.repaired, &mut difference.new, &mut difference.gone]
        {
            list.sort_unstable();
        }
        difference.slower.sort_by(|one, other| one.package.cmp(&other.package));
        difference
    }

    fn add(&mut self, before: Option<RunPackage<'_>>, now: RunPackage<'_>) {
        let package = now.package.to_owned();
        if fails_by_itself(now.state) && !before.is_some_and(|before| fails_by_itself(before.state)) {
            self.failed.push(package.clone());
        }
        let Some(before) = before else {
            self.new.push(package);
            return;
        };
        if now.state.has_result() && is_without_result(before.state) {
            self.repaired.push(package.clone());
        }
        // A package that was not rebuilt has the duration of an earlier run.
        let durations =
            before.ms.zip(now.ms).filter(|_| now.state == BuildState::Done && before.state.has_result());
        let is_slower = |was: u64, ms: u64| {
            ms.saturating_mul(2) > was.saturating_mul(3) && ms.saturating_sub(was) > LEAST_SLOWER
        };
        if let Some((was_ms, ms)) = durations.filter(|(was, ms)| is_slower(*was, *ms)) {
            self.slower.push(SlowerBuild { package, was_ms, ms });
        }
    }
}

fn fails_by_itself(state: BuildState) -> bool {
    matches!(state, BuildState::Failed | BuildState::Prefailed)
}

/// Open and deferred packages have not failed, so a build does not repair them.
fn is_without_result(state: BuildState) -> bool {
    fails_by_itself(state) || matches!(state, BuildState::IndirectFailed | BuildState::IndirectPrefailed)
}

/// Returns the earlier package for each PKGNAME of the later run.
fn partners<'a>(earlier: &[RunPackage<'a>], later: &[RunPackage<'a>]) -> BTreeMap<&'a str, RunPackage<'a>> {
    let by_pkgname: BTreeMap<&str, RunPackage<'a>> =
        earlier.iter().map(|package| (package.package, *package)).collect();
    let mut partners: BTreeMap<&str, RunPackage<'a>> = BTreeMap::new();
    for now in later {
        partners.extend(by_pkgname.get(now.package).map(|before| (now.package, *before)));
    }
    let met: BTreeSet<&str> = partners.keys().copied().collect();
    let is_alone = |package: &&RunPackage<'a>| !met.contains(package.package);
    let old = only_ones(earlier.iter().filter(is_alone));
    for (place, now) in only_ones(later.iter().filter(is_alone)) {
        if let (Some(now), Some(Some(before))) = (now, old.get(&place)) {
            partners.insert(now.package, *before);
        }
    }
    partners
}

fn only_ones<'a: 'b, 'b>(
    packages: impl Iterator<Item = &'b RunPackage<'a>>,
) -> BTreeMap<(&'a str, &'a str), Option<RunPackage<'a>>> {
    let mut found = BTreeMap::new();
    for package in packages {
        let place = (package.location, name_of(package.package));
        found.entry(place).and_modify(|only| *only = None).or_insert(Some(*package));
    }
    found
}

#[cfg(test)]
mod tests {
    use BuildState::{Deferred, Done, Failed, IndirectFailed, Prefailed, UpToDate};
    use proptest::prelude::*;

    use super::*;

    fn build(package: &str, state: BuildState, ms: u64) -> BuildRecord {
        BuildRecord {
            run: 1,
            package: package.to_owned(),
            location: "a/b".to_owned(),
            state,
            cause: (state == Failed).then_some(FailureCause::Exit),
            ms,
            peak_memory: ms * 2,
            slot: "local".to_owned(),
        }
    }

    #[test]
    fn an_estimate_is_the_median_of_the_last_three_successes_of_any_version() {
        let done = |package: &str, ms| build(package, Done, ms);
        let builds = [
            done("gcc-12", 900),
            done("gcc-13", 100),
            done("gcc-13", 700),
            build("gcc-14", Failed, 5),
            done("gcc-14", 300),
            done("zlib-1", 10),
            done("zlib-1", 21),
            build("new-1", Failed, 1),
        ];
        let estimates = BuildEstimates::of(&builds);
        assert_eq!(estimates.duration_of("gcc-15"), Some(300));
        assert_eq!(estimates.duration_of("zlib-2"), Some(15));
        assert_eq!(estimates.duration_of("new-1"), None, "it was never built");
        assert_eq!(estimates.median_of_all(), Some(157));
        assert_eq!(estimates.peak_memory_of("gcc-15"), Some(600));
        assert_eq!(estimates.peak_memory_of("new-2"), Some(2));
        assert_eq!(BuildEstimates::of([]).median_of_all(), None);
    }

    #[test]
    fn a_name_is_a_pkgname_a_name_without_version_or_a_location() {
        let build = build("php-fpm-8.1", Done, 1);
        for (name, is_meant) in [
            ("php-fpm-8.1", true),
            ("php-fpm", true),
            ("a/b", true),
            ("php", false),
            ("8.1", false),
            ("a", false),
        ] {
            assert_eq!(build.is_meant_by(name), is_meant, "{name}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_counted_and_a_torn_one_is_not() {
        let [one, two] = [build("a-1", Done, 1), build("b-1", Failed, 2)];
        let bytes =
            [one.to_bytes(), b"{\"run\":\n".to_vec(), two.to_bytes(), b"{\"run\":7".to_vec()].concat();
        assert_eq!(parse_builds(&bytes), (vec![one, two], 1));
        assert_eq!(parse_builds(b"{"), (vec![], 0));
        let line = build("a-1", Failed, 2).to_bytes();
        let expected = "{\"run\":1,\"package\":\"a-1\",\"location\":\"a/b\",\"state\":\"failed\",\"cause\":\"exit\",\
                        \"ms\":2,\"peak_memory\":4,\"slot\":\"local\"}\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn as_many_values_are_below_the_median_as_above(values in prop::collection::vec(any::<u64>(), 1..9)) {
            let median = median(values.iter().copied()).unwrap();
            let below = values.iter().filter(|value| **value < median).count();
            let above = values.iter().filter(|value| **value > median).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
        }
    }

    fn package(package: &str, state: BuildState) -> RunPackage<'_> {
        RunPackage { package, location: "x/y", state, ms: None }
    }

    fn built(package: &str, state: BuildState, seconds: u64) -> RunPackage<'_> {
        RunPackage { package, location: "x/y", state, ms: Some(seconds * 1000) }
    }

    #[test]
    fn what_fails_now_and_did_not_is_newly_failed_and_the_reverse_is_repaired() {
        let earlier = [
            package("a-1", Done),
            package("b-1", Failed),
            package("c-1", IndirectFailed),
            package("d-1", Failed),
            package("e-1", Deferred),
            package("f-1", Done),
        ];
        let later = [
            package("a-1", Failed),
            package("b-1", Failed),
            package("c-1", Done),
            package("d-1", UpToDate),
            package("e-1", Done),
            package("f-1", Prefailed),
            package("g-1", Failed),
        ];
        let difference = RunDifference::between(&earlier, &later);
        assert_eq!(difference.failed, ["a-1", "f-1", "g-1"]);
        assert_eq!(difference.repaired, ["c-1", "d-1"]);
        assert_eq!((difference.new, difference.gone), (vec!["g-1".to_owned()], vec![]));
    }

    #[test]
    fn an_update_stands_for_its_package_and_where_it_is_not_clear_they_are_new_and_gone() {
        let earlier = [
            package("curl-8.1", Failed),
            package("php-5", Done),
            package("php-7", Done),
            package("old-1", Done),
        ];
        let later = [
            package("php-8", Done),
            package("curl-8.2", Done),
            package("php-7", Done),
            package("php-9", Done),
        ];
        let difference = RunDifference::between(&earlier, &later);
        assert_eq!(difference.repaired, ["curl-8.2"]);
        assert_eq!(difference.new, ["php-8", "php-9"]);
        assert_eq!(difference.gone, ["old-1", "php-5"]);
    }

    #[test]
    fn slower_is_half_as_long_again_and_ten_seconds() {
        let earlier = [
            built("a-1", Done, 20),
            built("b-1", Done, 20),
            built("c-1", Done, 4),
            built("d-1", UpToDate, 30),
        ];
        let later =
            [built("a-1", Done, 31), built("b-1", Done, 30), built("c-1", Done, 14), built("d-1", Done, 46)];
        let slower = RunDifference::between(&earlier, &later).slower;
        assert_eq!(slower.iter().map(|build| build.package.as_str()).collect::<Vec<_>>(), ["a-1", "d-1"]);
        assert_eq!((slower[0].was_ms, slower[0].ms), (20_000, 31_000));
        let failed = [built("a-1", Failed, 90)];
        assert_eq!(RunDifference::between(&earlier, &failed).slower, []);
    }
}

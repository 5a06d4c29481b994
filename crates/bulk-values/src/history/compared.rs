//! Two runs compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::builds::name_of;
use crate::journal::PackageState;

/// The least milliseconds by which a build is called slower.
const LEAST_SLOWER: u64 = 10_000;

/// A package in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPackage<'a> {
    /// PKGNAME.
    pub package: &'a str,
    /// Its location.
    pub location: &'a str,
    /// Its state at the end.
    pub state: PackageState,
    /// The duration of its build in milliseconds, if it was built in that run or before.
    pub ms: Option<u64>,
}

/// A build that took longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowerBuild {
    /// PKGNAME in the later run.
    pub package: String,
    /// The duration before, in milliseconds.
    pub was_ms: u64,
    /// The duration now, in milliseconds.
    pub ms: u64,
}

/// What differs between two runs: PKGNAMEs of the later run in byte order, for those that are gone of the earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDifference {
    /// Those that fail by themselves and did not before, new ones too.
    pub failed: Vec<String>,
    /// Those that have a result and had none before.
    pub repaired: Vec<String>,
    /// Those that no package before stands for.
    pub new: Vec<String>,
    /// Those that no package now stands for.
    pub gone: Vec<String>,
    /// Those whose build took more than 1.5 times as long, and more than 10 seconds longer.
    pub slower: Vec<SlowerBuild>,
}

impl RunDifference {
    /// Compares a run with an earlier one. A package stands for the one of the same PKGNAME, else for the only one of its
    /// location and name without version: an update is no new package.
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
        // What was not built again has the duration of an earlier run.
        let durations =
            before.ms.zip(now.ms).filter(|_| now.state == PackageState::Done && before.state.has_result());
        let is_slower = |was: u64, ms: u64| {
            ms.saturating_mul(2) > was.saturating_mul(3) && ms.saturating_sub(was) > LEAST_SLOWER
        };
        if let Some((was_ms, ms)) = durations.filter(|(was, ms)| is_slower(*was, *ms)) {
            self.slower.push(SlowerBuild { package, was_ms, ms });
        }
    }
}

fn fails_by_itself(state: PackageState) -> bool {
    matches!(state, PackageState::Failed | PackageState::Prefailed)
}

/// What was open or deferred had not failed, so that it is not repaired when it is built.
fn is_without_result(state: PackageState) -> bool {
    fails_by_itself(state) || matches!(state, PackageState::IndirectFailed | PackageState::IndirectPrefailed)
}

/// Returns for PKGNAMEs of the later run the package of the earlier one that they stand for.
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

/// Returns packages by location and name; `None` where there are several.
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
    use super::*;
    use PackageState::{Deferred, Done, Failed, IndirectFailed, Prefailed, UpToDate};

    fn package(package: &str, state: PackageState) -> RunPackage<'_> {
        RunPackage { package, location: "x/y", state, ms: None }
    }

    fn built(package: &str, state: PackageState, seconds: u64) -> RunPackage<'_> {
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

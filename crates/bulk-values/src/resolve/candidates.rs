//! Which package an entry of `ALL_DEPENDS` means.

use foldhash::HashMap;

use crate::pattern::{Pattern, Reach, Version};
use crate::records::{Dependency, Record, Records};

/// The packages that can be chosen, as tables by which patterns find them.
pub(super) struct Candidates<'a> {
    records: &'a Records,
    /// The versions of all packages, those that cannot be chosen included.
    versions: Vec<Version>,
    /// In byte order of `PKGNAME`.
    by_pkgname: Vec<(&'a str, u32)>,
    by_name: HashMap<&'a str, Vec<u32>>,
}

impl<'a> Candidates<'a> {
    /// Takes the packages that may be chosen, by index.
    pub(super) fn new(records: &'a Records, is_candidate: impl Fn(u32) -> bool) -> Self {
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

    /// Returns the package that a dependency means: of all that match the one of the highest version, of several of that
    /// the one of the location that the dependency names, then the last in byte order, as in pbulk.
    pub(super) fn choose(&self, dependency: &Dependency, pattern: &Pattern) -> Option<u32> {
        let alternatives = pattern.alternatives().iter();
        let matching = alternatives.flat_map(|alternative| {
            self.within(alternative.reach())
                .filter(move |&(_, record, version)| alternative.matches(record.pkgname(), version))
        });
        best(matching, &[dependency])
    }

    /// Returns about how many comparisons it takes to choose by a pattern.
    pub(super) fn cost(&self, pattern: &Pattern) -> u64 {
        let of_each = pattern.alternatives().iter();
        of_each
            .map(|alternative| alternative.cost().saturating_mul(1 + self.count_within(alternative.reach())))
            .sum()
    }

    /// Returns how many packages have a name.
    pub(super) fn count_of(&self, name: &str) -> u64 {
        self.by_name.get(name).map_or(0, |indices| indices.len() as u64)
    }

    /// Returns the best package of a name that all of several patterns match.
    pub(super) fn choose_for_all(&self, name: &str, needs: &[(&Dependency, Pattern)]) -> Option<u32> {
        let matching = self.within(Reach::Name(name)).filter(|&(_, record, version)| {
            needs.iter().all(|(_, pattern)| pattern.matches_version(record.pkgname(), version))
        });
        let dependencies: Vec<&Dependency> = needs.iter().map(|(dependency, _)| *dependency).collect();
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

    /// Returns the packages that a pattern without braces can match.
    fn within(&self, reach: Reach<'_>) -> impl Iterator<Item = (u32, &'a Record, &Version)> {
        let (of_name, in_range) = self.reached(reach);
        let indices = of_name.iter().copied().chain(in_range.iter().map(|(_, index)| *index));
        indices
            .filter_map(|index| Some((index, self.records.get(index)?, self.versions.get(index as usize)?)))
    }
}

/// Returns the best of the packages that match.
fn best<'a>(
    matching: impl Iterator<Item = (u32, &'a Record, &'a Version)>,
    dependencies: &[&Dependency],
) -> Option<u32> {
    let is_named = |record: &Record| {
        dependencies.iter().any(|dependency| dependency.location.as_ref() == Some(record.location()))
    };
    let best = matching.max_by_key(|(_, record, version)| (*version, is_named(record), record.pkgname()));
    best.map(|(index, ..)| index)
}

//! The builds of all runs, in the order of their ends: how long they took, and how much memory they needed.
//!
//! The file `history` has a JSON line for each build. It estimates and informs, and decides nothing about results: lines
//! that cannot be read are passed over and counted.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::journal::{FailureCause, PackageState};

/// How many successful builds an estimate is made of.
const ESTIMATED_BY: usize = 3;

/// A build of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// The number of the run.
    pub run: u64,
    /// The package: PKGNAME.
    pub package: String,
    /// Its location.
    pub location: String,
    /// The state that it came to.
    pub state: PackageState,
    /// The cause of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The duration in milliseconds.
    pub ms: u64,
    /// The most memory that it used, in bytes; 0 if that is not known.
    #[serde(default)]
    pub peak_memory: u64,
    /// The slot where it ran.
    pub slot: String,
}

impl BuildRecord {
    /// Returns the line, with its newline.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers: serialising these cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Tells whether a name means the package that was built: its PKGNAME, its name without version, or its location.
    pub fn is_meant_by(&self, name: &str) -> bool {
        [self.package.as_str(), name_of(&self.package), self.location.as_str()].contains(&name)
    }

    /// Reads a line without its newline.
    fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Returns the name of a package, given by PKGNAME, without its version.
pub fn name_of(package: &str) -> &str {
    package.rsplit_once('-').map_or(package, |(name, _)| name)
}

/// Reads a history. Returns its builds in their order, and how many lines could not be read; what a power cut tore off the
/// last line is none of them.
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

/// The last builds of one package, whatever its versions were.
#[derive(Clone, Debug, Default)]
struct LastBuilds {
    /// The durations of the last successful ones, in milliseconds.
    durations: VecDeque<u64>,
    peak_memory: Option<u64>,
}

/// What the next build of a package is expected to need, from the builds before.
#[derive(Clone, Debug, Default)]
pub struct BuildEstimates {
    packages: HashMap<String, LastBuilds, RandomState>,
    median_of_all: Option<u64>,
}

impl BuildEstimates {
    /// Returns the estimates that follow from these builds, the last one last.
    pub fn of<'a>(builds: impl IntoIterator<Item = &'a BuildRecord>) -> Self {
        let mut packages: HashMap<String, LastBuilds, RandomState> = HashMap::default();
        for build in builds {
            let last = packages.entry(name_of(&build.package).to_owned()).or_default();
            if build.peak_memory > 0 {
                last.peak_memory = Some(build.peak_memory);
            }
            if build.state == PackageState::Done {
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

    /// Returns the median duration of the last 3 successful builds of a package, in milliseconds. The package is given by
    /// PKGNAME; its other versions count.
    pub fn duration_of(&self, package: &str) -> Option<u64> {
        let last = self.packages.get(name_of(package))?;
        median(last.durations.iter().copied())
    }

    /// Returns the median of the estimates of all packages, in milliseconds.
    pub fn median_of_all(&self) -> Option<u64> {
        self.median_of_all
    }

    /// Returns the most memory that the last build of a package used, in bytes.
    pub fn peak_memory_of(&self, package: &str) -> Option<u64> {
        self.packages.get(name_of(package))?.peak_memory
    }
}

/// Returns the middle value, of an even number of values the mean of the two in the middle, rounded down.
fn median(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let is_odd = !values.len().is_multiple_of(2);
    let lower = if is_odd { upper } else { *values.get(values.len() / 2 - 1)? };
    Some(lower.midpoint(upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(package: &str, state: PackageState, ms: u64) -> BuildRecord {
        BuildRecord {
            run: 1,
            package: package.to_owned(),
            location: "a/b".to_owned(),
            state,
            cause: (state == PackageState::Failed).then_some(FailureCause::Exit),
            ms,
            peak_memory: ms * 2,
            slot: "local".to_owned(),
        }
    }

    #[test]
    fn an_estimate_is_the_median_of_the_last_three_successes_of_any_version() {
        let done = |package: &str, ms| build(package, PackageState::Done, ms);
        let builds = [
            done("gcc-12", 900),
            done("gcc-13", 100),
            done("gcc-13", 700),
            build("gcc-14", PackageState::Failed, 5),
            done("gcc-14", 300),
            done("zlib-1", 10),
            done("zlib-1", 21),
            build("new-1", PackageState::Failed, 1),
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
        let build = build("php-fpm-8.1", PackageState::Done, 1);
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
        let [one, two] = [build("a-1", PackageState::Done, 1), build("b-1", PackageState::Failed, 2)];
        let bytes =
            [one.to_bytes(), b"{\"run\":\n".to_vec(), two.to_bytes(), b"{\"run\":7".to_vec()].concat();
        assert_eq!(parse_builds(&bytes), (vec![one, two], 1));
        assert_eq!(parse_builds(b"{"), (vec![], 0));
        let line = build("a-1", PackageState::Failed, 2).to_bytes();
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
}

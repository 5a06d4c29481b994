//! A root's memory of depots, `var/sadm/patchadm/depots`: the highest version that it saw of each. Without it, an
//! attacker between depot and root could show an old index with a good signature, and withhold a patch forever.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DepotIndex, is_digest, stamp};
use patchadm_changeset::format::escaped::is_hex;
use patchadm_svr4::package::rule;

/// 1 MiB.
pub const LARGEST_MEMORY: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDepot {
    pub depot: String,
    pub location: String,
    pub version: u64,
    /// Of the index of that version.
    pub sha256: String,
    /// RFC 3339 in UTC; `None` is forever.
    pub expires: Option<String>,
    /// RFC 3339 in UTC.
    pub seen: String,
}

/// In order of use; each location of each depot once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenDepots(Vec<SeenDepot>);

#[derive(Clone, Copy, Debug)]
pub struct IndexSight<'a> {
    /// Directory or address, as it is compared with later ones.
    pub location: &'a str,
    pub index: &'a DepotIndex,
    pub sha256: &'a str,
}

/// Reasons to refuse an index with a good signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleIndex {
    #[error("the index of {location} is version {found}, but this root has already seen version {seen}")]
    Older { location: String, found: u64, seen: u64 },
    #[error("the index of {location} differs from the version {version} that this root has seen")]
    Forked { location: String, version: u64 },
    #[error("{location} is depot {found} now, and was {seen} before")]
    Swapped { location: String, found: String, seen: String },
    #[error("the index of {location} expired at {at}")]
    Expired { location: String, at: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SeenDepotsError {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

impl SeenDepots {
    /// Parses the memory. An unreadable line is an error, because an older index could be accepted without it.
    pub fn parse(text: &[u8]) -> Result<Self, SeenDepotsError> {
        let lines = text.split(|&byte| byte == b'\n').enumerate();
        let (mut depots, mut known) = (Vec::new(), BTreeSet::new());
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let fault = |reason| SeenDepotsError { line: at + 1, reason };
            let seen = parse_line(line).map_err(fault)?;
            let is_new = known.insert((seen.depot.clone(), seen.location.clone()));
            if !rule::holds("depots.once", is_new) {
                return Err(fault("the depot is listed twice with this location".to_owned()));
            }
            depots.push(seen);
        }
        Ok(Self(depots))
    }

    /// Formats the memory, a depot a line.
    pub fn write(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for depot in &self.0 {
            // Strings and a number: serialising these cannot fail.
            text.append(&mut serde_json::to_vec(depot).unwrap_or_default());
            text.push(b'\n');
        }
        text
    }

    pub fn last_used(&self) -> Option<&SeenDepot> {
        self.0.iter().max_by(|one, other| one.seen.cmp(&other.seen))
    }

    pub fn depots(&self) -> std::slice::Iter<'_, SeenDepot> {
        self.0.iter()
    }

    /// Compares an index with the memory. Expiry is checked last, because a policy may tolerate it.
    pub fn judge(&self, sight: &IndexSight<'_>, now: DateTime<Utc>) -> Result<(), StaleIndex> {
        let location = || sight.location.to_owned();
        let index = sight.index;
        let mut at_place = self.0.iter().filter(|seen| seen.location == sight.location).peekable();
        if let Some(first) = at_place.peek().copied()
            && at_place.all(|seen| seen.depot != index.depot)
        {
            let (found, seen) = (index.depot.clone(), first.depot.clone());
            return Err(StaleIndex::Swapped { location: location(), found, seen });
        }
        for seen in self.0.iter().filter(|seen| seen.depot == index.depot) {
            if index.version < seen.version {
                let (found, seen) = (index.version, seen.version);
                return Err(StaleIndex::Older { location: location(), found, seen });
            }
            if index.version == seen.version && sight.sha256 != seen.sha256 {
                return Err(StaleIndex::Forked { location: location(), version: index.version });
            }
        }
        match &index.expires {
            Some(at) if index.is_expired(now) => {
                Err(StaleIndex::Expired { location: location(), at: stamp(at) })
            }
            _ => Ok(()),
        }
    }

    /// Returns true if anything but the time changed, or if another depot was used last.
    pub fn remember(&mut self, sight: &IndexSight<'_>, now: DateTime<Utc>) -> bool {
        let line = SeenDepot {
            depot: sight.index.depot.clone(),
            location: sight.location.to_owned(),
            version: sight.index.version,
            sha256: sight.sha256.to_owned(),
            expires: sight.index.expires.as_ref().map(stamp),
            seen: stamp(&now),
        };
        let is_known = |seen: &SeenDepot| *seen == SeenDepot { seen: seen.seen.clone(), ..line.clone() };
        if self.last_used().is_some_and(is_known) {
            return false;
        }
        // Of two in a second, the later line counts.
        self.0.retain(|seen| seen.depot != line.depot || seen.location != line.location);
        self.0.push(line);
        true
    }
}

fn parse_line(line: &[u8]) -> Result<SeenDepot, String> {
    let seen: SeenDepot = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let is_date = |text: &str| DateTime::parse_from_rfc3339(text).is_ok();
    let dates = seen.expires.iter().chain([&seen.seen]).all(|text| is_date(text));
    // A line with another name or digest would match no depot, and an older index would be accepted.
    if !rule::holds("depots.line", is_hex(&seen.depot, 32) && is_digest(&seen.sha256) && dates) {
        return Err("its depot, digest or date is not valid".to_owned());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "/srv/depot";

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_262_400 + day * 86_400, 0).unwrap()
    }

    fn index(depot: &str, version: u64) -> DepotIndex {
        let mut index = DepotIndex::new(depot.repeat(16), at(0));
        (index.version, index.expires) = (version, Some(at(30)));
        index
    }

    fn digest(two: &str) -> String {
        two.repeat(32)
    }

    /// Returns a root that saw version 7 of depot `aa` at [`HERE`].
    fn memory() -> SeenDepots {
        let mut memory = SeenDepots::default();
        let (index, sha256) = (index("aa", 7), digest("11"));
        assert!(memory.remember(&IndexSight { location: HERE, index: &index, sha256: &sha256 }, at(0)));
        memory
    }

    fn judged(location: &str, index: &DepotIndex, two: &str, day: i64) -> Result<(), StaleIndex> {
        let sha256 = digest(two);
        memory().judge(&IndexSight { location, index, sha256: &sha256 }, at(day))
    }

    #[test]
    fn the_same_and_a_later_version_are_believed() {
        assert_eq!(judged(HERE, &index("aa", 7), "11", 1), Ok(()));
        assert_eq!(judged(HERE, &index("aa", 8), "22", 1), Ok(()));
        assert_eq!(judged("/srv/mirror", &index("aa", 8), "22", 1), Ok(()));
        assert_eq!(judged("/srv/other", &index("bb", 1), "22", 1), Ok(()));
    }

    #[test]
    fn an_older_a_forked_a_swapped_and_an_expired_index_are_refused() {
        let refused = |location, index: DepotIndex, two, day| judged(location, &index, two, day).unwrap_err();
        assert!(matches!(
            refused(HERE, index("aa", 6), "22", 1),
            StaleIndex::Older { found: 6, seen: 7, .. }
        ));
        assert!(matches!(refused("/srv/mirror", index("aa", 6), "22", 1), StaleIndex::Older { .. }));
        assert!(matches!(refused(HERE, index("aa", 7), "22", 1), StaleIndex::Forked { version: 7, .. }));
        assert!(matches!(refused(HERE, index("bb", 9), "22", 1), StaleIndex::Swapped { .. }));
        assert!(matches!(refused(HERE, index("aa", 7), "11", 31), StaleIndex::Expired { .. }));
    }

    #[test]
    fn an_index_without_a_date_never_expires() {
        let mut index = index("aa", 8);
        index.expires = None;
        assert_eq!(judged(HERE, &index, "22", 100_000), Ok(()));
    }

    #[test]
    fn one_line_is_kept_for_each_location_of_a_depot_and_comes_back() {
        let mut memory = memory();
        let (first, second) = (index("aa", 8), index("bb", 1));
        for (location, index, two) in
            [(HERE, &first, "22"), ("/srv/mirror", &first, "22"), ("/srv/b", &second, "33")]
        {
            assert!(memory.remember(&IndexSight { location, index, sha256: &digest(two) }, at(1)));
        }
        let sight = IndexSight { location: "/srv/b", index: &second, sha256: &digest("33") };
        assert!(!memory.remember(&sight, at(2)), "only the time is another one");
        assert_eq!(memory.depots().map(|seen| seen.version).collect::<Vec<_>>(), [8, 8, 1]);
        assert_eq!(SeenDepots::parse(&memory.write()).unwrap(), memory);
    }

    #[test]
    fn a_depot_that_is_used_again_is_the_last_used_one() {
        let (mut memory, index) = (memory(), index("aa", 8));
        let two = digest("22");
        let sight = |location| IndexSight { location, index: &index, sha256: &two };
        for (day, location) in [(1, HERE), (2, "/srv/copy"), (3, HERE)] {
            assert!(memory.remember(&sight(location), at(day)));
            assert_eq!(memory.last_used().unwrap().location, location);
        }
        assert!(!memory.remember(&sight(HERE), at(4)));
    }

    #[test]
    fn a_depot_that_was_met_at_two_locations_is_exchanged_at_neither() {
        let mut memory = memory();
        let (index, other) = (index("aa", 8), index("bb", 1));
        assert!(
            memory.remember(
                &IndexSight { location: "/srv/mirror", index: &index, sha256: &digest("22") },
                at(1)
            )
        );
        for location in [HERE, "/srv/mirror"] {
            let swapped = memory.judge(&IndexSight { location, index: &other, sha256: &digest("33") }, at(1));
            assert!(matches!(swapped, Err(StaleIndex::Swapped { .. })), "{location}: {swapped:?}");
        }
    }

    #[test]
    fn a_damaged_line_is_named_and_not_passed_over() {
        let line = String::from_utf8(memory().write()).unwrap();
        let other = line.replace(HERE, "/srv/other");
        for (from, to) in [
            (&*"aa".repeat(16), ".."),
            (&*"11".repeat(32), "11"),
            ("2026-11-21T12:00:00Z", "yesterday"),
            ("\"version\":7", "\"version\":-7"),
        ] {
            let text = format!("{line}{}", other.replace(from, to));
            assert_ne!(text, format!("{line}{other}"), "{from}");
            assert_eq!(SeenDepots::parse(text.as_bytes()).map_err(|error| error.line), Err(2), "{to}");
        }
        assert!(SeenDepots::parse(format!("{line}{other}").as_bytes()).is_ok());
    }

    #[test]
    fn a_second_line_about_the_same_depot_and_location_is_damage() {
        let line = String::from_utf8(memory().write()).unwrap();
        let text = format!("{line}{}", line.replace("\"version\":7", "\"version\":1"));
        assert_eq!(SeenDepots::parse(text.as_bytes()).unwrap_err().line, 2);
    }
}

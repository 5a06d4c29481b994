//! Ranges of user and group ids for sandboxes.

use std::fmt;
use std::ops::Range;

use super::value;

/// Minimum size: ids of the sandbox's own users, and 1000 for the build.
const FEWEST: u32 = 2_000;

/// Default size: all ids that packages use.
const USUAL: u32 = 1 << 16;

const FIRST: u32 = 1_000;

const NOBODY: u32 = 65_534;

/// The range for containers: <https://systemd.io/UIDS-GIDS>.
const OF_CONTAINERS: Range<u32> = 0x0008_0000..0x6fff_0000;

/// Successive user ids, and group ids with the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub start: u32,
    pub count: u32,
}

impl IdRange {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (start, count) = match text.split_once(':') {
            Some((start, count)) => (start, Some(count)),
            None => (text, None),
        };
        if value::decimal(start).is_none() {
            return Err(format!(
                "`{text}` is not START[:COUNT]; the file with ids of patches is `patch_ids`"
            ));
        }
        let count = count.map_or(Ok(USUAL), |count| value::count(count, FEWEST, u32::MAX - 1))?;
        let start = value::count(start, FIRST, u32::MAX - 1)?;
        let range = Self { start, count };
        if start.checked_add(count).is_none_or(|end| end == u32::MAX) {
            return Err(format!("`{text}` ends after the last id"));
        }
        if range.has(NOBODY) {
            return Err(format!("`{text}` has {NOBODY}, which is not a valid id"));
        }
        Ok(range)
    }

    /// Returns the machine's id for an id inside.
    pub fn outside(self, inside: u32) -> u32 {
        self.start + inside.min(self.count - 1)
    }

    /// Takes an id of the machine.
    pub fn has(self, id: u32) -> bool {
        id.checked_sub(self.start).is_some_and(|offset| offset < self.count)
    }

    /// Returns an unused range near a random place of the range for containers. Lists hold pairs of first id and count.
    pub fn free(random: u64, available: &[(u32, u32)], taken: &[(u32, u32)]) -> Option<Self> {
        let places = u64::from((OF_CONTAINERS.end - OF_CONTAINERS.start) / USUAL);
        let place = u32::try_from(random % places).unwrap_or_default();
        let of_containers = (0..64).map(|next| {
            let place = (u64::from(place) + next) % places;
            let start = OF_CONTAINERS.start + u32::try_from(place).unwrap_or_default() * USUAL;
            Self { start, count: USUAL }
        });
        // A container itself has few ids.
        let few = [50_000, 40_000, 30_000, 20_000, 10_000].map(|start| Self { start, count: 8_000 });
        of_containers.chain(few).find(|range| {
            let is_available = |(first, count): &(u32, u32)| {
                range.start >= *first
                    && u64::from(range.start) + u64::from(range.count)
                        <= u64::from(*first) + u64::from(*count)
            };
            available.iter().any(is_available) && !taken.iter().any(|taken| range.overlaps(*taken))
        })
    }

    fn overlaps(self, (first, count): (u32, u32)) -> bool {
        let ends = |start: u32, count: u32| u64::from(start) + u64::from(count);
        u64::from(first) < ends(self.start, self.count) && u64::from(self.start) < ends(first, count)
    }

    /// Returns the first large enough range of a user in subuid(5) or subgid(5).
    pub fn of_user(text: &str, name: &str, uid: u32) -> Option<Self> {
        let uid = uid.to_string();
        subordinate(text).find_map(|(owner, start, count)| {
            let is_theirs = (owner == name || owner == uid) && count >= FEWEST;
            (is_theirs && start >= FIRST).then_some(Self { start, count })
        })
    }

    /// Returns the first other owner of some of these ids in subuid(5) or subgid(5), with its range.
    pub fn of_others<'t>(text: &'t str, range: Self, user: Option<&str>) -> Option<(&'t str, Self)> {
        subordinate(text).find_map(|(owner, start, count)| {
            let is_taken = Some(owner) != user && range.overlaps((start, count));
            is_taken.then_some((owner, Self { start, count }))
        })
    }

    /// Parses subuid(5) or subgid(5).
    pub fn all_of(text: &str) -> impl Iterator<Item = (u32, u32)> {
        subordinate(text).map(|(_, start, count)| (start, count))
    }
}

fn subordinate(text: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().filter(|owner| !owner.is_empty() && !owner.starts_with('#'))?;
        Some((owner, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

impl fmt::Display for IdRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.start, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_2000_ids_at_least_and_neither_accounts_of_the_system_nor_nobody() {
        assert_eq!(IdRange::parse("100000"), Ok(IdRange { start: 100_000, count: 65_536 }));
        assert_eq!(IdRange::parse("100000:2000"), Ok(IdRange { start: 100_000, count: 2_000 }));
        for wrong in
            ["", "ids", "100000:", "100000:1999", "0:65536", "999", "60000:10000", "4294967000", "-1"]
        {
            assert!(IdRange::parse(wrong).is_err(), "{wrong}");
        }
        assert!(IdRange::parse("patches.txt").unwrap_err().contains("`patch_ids`"));
    }

    #[test]
    fn a_free_range_is_none_that_somebody_has_and_one_that_there_is() {
        let all = [(0, u32::MAX)];
        let free = IdRange::free(7, &all, &[]).unwrap();
        let other = IdRange::free(7, &all, &[(free.start + 65_535, 1)]).unwrap();
        assert!(other.start >= free.start + 65_536 && OF_CONTAINERS.contains(&other.start), "{other}");
        let inside = IdRange::free(7, &[(0, 65_536)], &[(55_000, 1)]).unwrap();
        assert_eq!(inside.to_string(), "40000:8000");
        assert_eq!(IdRange::free(7, &[(0, 1)], &[]), None);
    }

    #[test]
    fn the_subordinate_ids_of_a_user_are_found_by_name_and_by_number_if_they_are_enough() {
        let text =
            "# ours\nbuilder:100000:100\nother:165536:65536\n1001:231072:65536\nbuilder:300000:65536\nbad\n";
        let of = |name, uid| IdRange::of_user(text, name, uid).map(|range| range.start);
        assert_eq!(of("builder", 7), Some(300_000));
        assert_eq!(of("somebody", 1001), Some(231_072));
        assert_eq!(of("somebody", 1002), None);
        assert_eq!(IdRange::all_of(text).count(), 4);
        let others = |start, user| {
            IdRange::of_others(text, IdRange { start, count: 2_000 }, user).map(|(owner, _)| owner)
        };
        assert_eq!(others(99_000, None), Some("builder"));
        assert_eq!(others(99_000, Some("builder")), None);
        assert_eq!(others(200_000, Some("builder")), Some("other"));
        assert_eq!(others(400_000, None), None);
    }
}

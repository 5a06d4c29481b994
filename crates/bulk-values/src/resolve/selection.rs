//! The packages and locations that a user's names mean.

use std::collections::BTreeSet;
use std::ops::Range;

use foldhash::HashMap;

use crate::records::{RecipeLocation, RecipeRecord, Records};

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
mod tests {
    use super::*;

    fn records() -> Records {
        let mut records = Records::new();
        for (location, output) in [
            ("net/curl", "PKGNAME=curl-8\nALL_DEPENDS=zlib>1:../../devel/zlib zlib>2:../../devel/zlib\n"),
            ("devel/x", "PKGNAME=py1-x-1\nALL_DEPENDS=curl>1\nPKGNAME=py2-x-1\n"),
        ] {
            records.read(&RecipeLocation::parse(location).unwrap(), output.as_bytes()).unwrap();
        }
        records
    }

    #[test]
    fn a_name_is_a_pkgname_a_name_without_version_or_a_location() {
        let records = records();
        assert_eq!(select(&records, ["devel/x"]).unwrap(), [1, 2]);
        assert_eq!(select(&records, ["py2-x", "curl-8", "net/curl"]).unwrap(), [0, 2]);
        let error = select(&records, ["curl", "wget\n"]).unwrap_err();
        assert_eq!(error.to_string(), "no package has this PKGNAME, name or location: wget\\n");
    }

    #[test]
    fn the_last_part_of_a_location_is_enough_where_one_has_it_and_what_may_be_meant_is_told() {
        let mut records = records();
        assert_eq!(select(&records, ["x"]).unwrap(), [1, 2]);
        let error_of = |records: &Records, name: &str| select(records, [name]).unwrap_err().to_string();
        let begin = "no package has this PKGNAME, name or location: ";
        assert_eq!(error_of(&records, "x-3"), format!("{begin}x-3; did you mean devel/x?"));
        assert_eq!(error_of(&records, "crul"), format!("{begin}crul; did you mean curl?"));
        records.read(&RecipeLocation::parse("net/x").unwrap(), b"PKGNAME=other-1\n").unwrap();
        assert_eq!(error_of(&records, "x"), format!("{begin}x; did you mean devel/x or net/x?"));
    }

    #[test]
    fn needs_tell_which_locations_are_to_be_scanned_next() {
        let records = records();
        let zlib = BTreeSet::from([RecipeLocation::parse("devel/zlib").unwrap()]);
        let expected = NeededLocations { named: zlib, needs_listing: false };
        assert_eq!(needed_locations(&records, 0..1), expected);
        assert_eq!(needed_locations(&records, 0..9), NeededLocations { needs_listing: true, ..expected });
    }
}

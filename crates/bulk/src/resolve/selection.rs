//! Which packages and locations are meant by what a user names.

use std::collections::BTreeSet;
use std::ops::Range;

use foldhash::HashMap;

use crate::records::{Location, Record, Records};

/// A name that no package has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no package has this PKGNAME, name or location: {}", .0.escape_debug())]
pub struct UnknownName(
    /// The name.
    pub String,
);

/// Returns the packages that these names mean, in order of the indices: each is a `PKGNAME`, a name without version, or a
/// location.
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
        selected.extend(meant.get(name).ok_or_else(|| UnknownName(name.to_owned()))?);
    }
    Ok(selected.into_iter().collect())
}

/// The locations that packages need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeededLocations {
    /// The locations that they name.
    pub named: BTreeSet<Location>,
    /// Whether some need names no location: only a list of all can tell where it is made.
    pub needs_listing: bool,
}

/// Returns the locations that these packages name in their needs.
pub fn needed_locations(records: &Records, indices: Range<u32>) -> NeededLocations {
    let mut needed = NeededLocations::default();
    for dependency in indices.filter_map(|index| records.get(index)).flat_map(Record::all_depends) {
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
            records.read(&Location::parse(location).unwrap(), output.as_bytes()).unwrap();
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
    fn needs_tell_which_locations_are_to_be_scanned_next() {
        let records = records();
        let zlib = BTreeSet::from([Location::parse("devel/zlib").unwrap()]);
        let expected = NeededLocations { named: zlib, needs_listing: false };
        assert_eq!(needed_locations(&records, 0..1), expected);
        assert_eq!(needed_locations(&records, 0..9), NeededLocations { needs_listing: true, ..expected });
    }
}

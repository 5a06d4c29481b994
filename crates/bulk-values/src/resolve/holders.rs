//! Names that locations have since an earlier set.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashSet};

use super::state::PrefailReason;
use crate::records::{Location, PkgName, Record, Records};

/// The location of each PKGNAME in the set before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameHolders(BTreeMap<String, BTreeSet<String>>);

impl NameHolders {
    /// Takes the packages of a set, each with its PKGNAME and location.
    pub fn new<'p>(packages: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let mut holders = Self::default();
        for (pkgname, location) in packages {
            holders.0.entry(pkgname.to_owned()).or_default().insert(location.to_owned());
        }
        holders
    }

    /// Tells whether a location had exactly this PKGNAME.
    pub(super) fn has(&self, pkgname: &PkgName, location: &Location) -> bool {
        self.0.get(pkgname.as_str()).is_some_and(|locations| locations.contains(location.as_str()))
    }

    /// Returns the packages whose PKGNAME another location had that still claims it: its record says so, or its scan failed.
    pub(super) fn claimants(&self, records: &Records) -> HashMap<u32, PrefailReason> {
        if self.0.is_empty() {
            return HashMap::default();
        }
        let failed: HashSet<&Location> =
            records.iter().filter(|record| record.is_failed_scan()).map(Record::location).collect();
        let mut holders_of: HashMap<&str, BTreeSet<&Location>> = HashMap::default();
        let mut failed_of: HashMap<&str, &Location> = HashMap::default();
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

use std::collections::BTreeMap;

use super::package::NativeOwner;

/// Names that packages replace or provide. A full system has about 100,000.
const MOST_NAMES: usize = 1_000_000;

/// Any of them serves as successor.
const MOST_OWNERS: usize = 100;

/// The installed packages that replace or provide others.
#[derive(Debug, Default)]
pub(super) struct Successors {
    owners: Vec<NativeOwner>,
    by_name: BTreeMap<String, Vec<usize>>,
    count: usize,
}

impl Successors {
    pub(super) fn begin(&mut self, owner: NativeOwner) {
        self.owners.push(owner);
    }

    /// Of the package that began last.
    pub(super) fn add(&mut self, name: &str) -> Result<(), String> {
        let Some(last) = self.owners.len().checked_sub(1) else { return Ok(()) };
        if self.owners.last().is_some_and(|owner| owner.origin.name == name) {
            return Ok(());
        }
        let owners = match self.by_name.get_mut(name) {
            Some(owners) => owners,
            None => self.by_name.entry(name.to_owned()).or_default(),
        };
        if owners.last() == Some(&last) || owners.len() == MOST_OWNERS {
            return Ok(());
        }
        owners.push(last);
        self.count += 1;
        if self.count > MOST_NAMES {
            return Err(format!("its packages replace or provide more than {MOST_NAMES} names"));
        }
        Ok(())
    }

    /// In the order of the records.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = &NativeOwner> {
        let owners = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        owners.iter().filter_map(|&at| self.owners.get(at))
    }
}

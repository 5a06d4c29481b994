//! The records of a tree.

use std::ops::Range;

use foldhash::HashSet;

use super::names::{Location, PkgName};
use super::read::{LONGEST_OUTPUT, RecordError, RecordFault, RecordReader, SharedNames};
use super::record::Record;

/// The most records that one location may print.
const MOST_RECORDS: usize = 10_000;

/// The records of a tree, in the order in which they were read, and the names that they share.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub(super) list: Vec<Record>,
    /// The records that were left out, since their location has one of this PKGNAME before: location and PKGNAME.
    repeated: Vec<(Location, PkgName)>,
    pub(super) shared: SharedNames,
}

impl Records {
    /// Returns no records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what the scan of a location printed, and adds its records; returns their indices. Records that cannot be read
    /// change nothing: the caller adds the location as failed.
    ///
    /// Fields that later steps write (`PKG_LOCATION`, `DEPENDS`, …) are left out. Bytes that are no UTF-8 are replaced. Of several
    /// records with one PKGNAME the first one counts, as with pbulk.
    pub fn read(&mut self, location: &Location, output: &[u8]) -> Result<Range<u32>, RecordError> {
        if output.len() > LONGEST_OUTPUT {
            return Err(RecordError { line: 1, fault: RecordFault::TooLong });
        }
        let mut reader = RecordReader::new(&mut self.shared, Some(location), MOST_RECORDS);
        for line in output.split(|&byte| byte == b'\n') {
            reader.read_line(line)?;
        }
        let records = reader.finish()?;
        let begin = self.next_index();
        self.add_first_ones(records);
        Ok(begin..self.next_index())
    }

    /// Adds records, of those of one location with one PKGNAME the first.
    pub(super) fn add_first_ones(&mut self, records: Vec<Record>) {
        let mut known: HashSet<(PkgName, Location)> = HashSet::default();
        for record in records {
            if known.insert((record.pkgname.clone(), record.location.clone())) {
                self.list.push(record);
            } else {
                self.repeated.push((record.location, record.pkgname));
            }
        }
    }

    /// Returns the records that were left out, since their location has one of this PKGNAME before.
    pub fn repeated(&self) -> &[(Location, PkgName)] {
        &self.repeated
    }

    /// Adds a record for a location whose scan failed, and returns its index: a package `net_curl-0` that cannot be built.
    pub fn add_failed_scan(&mut self, location: &Location, reason: &str) -> u32 {
        let reason = reason.replace(['\n', '\r', '\0'], " ");
        let index = self.next_index();
        self.list.push(Record {
            pkgname: PkgName::of_failed_scan(location),
            location: location.clone(),
            text: format!("PKG_FAIL_REASON={}\n", reason.trim_ascii()).into(),
            all_depends: Box::default(),
            run_depends: None,
            scan_depends: Box::default(),
            scan_depends_at: None,
            weight: 0,
            is_failed_scan: true,
            is_of_pbulk: false,
        });
        index
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Tells whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the record with an index; the first has 0.
    pub fn get(&self, index: u32) -> Option<&Record> {
        self.list.get(index as usize)
    }

    /// Returns PKGNAME of the record with an index; nothing where there is none.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map(|record| record.pkgname().to_string()).unwrap_or_default()
    }

    /// Returns all records in order of their indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> + DoubleEndedIterator {
        self.list.iter()
    }

    /// Returns the names of the files that were read for the scan of a record, as it printed them: absolute, or relative to
    /// the recipe.
    pub fn scan_depends(&self, record: &Record) -> impl Iterator<Item = &str> {
        record.scan_depends.iter().map(|&number| self.shared.files.name(number))
    }

    /// Returns how many different names of files the records name.
    pub fn scanned_files(&self) -> usize {
        self.shared.files.len()
    }

    /// Records are so few that an index is a `u32`: each has a line of text, and an import is limited.
    fn next_index(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;

//! The records of a tree, parsed from scan output or pbulk files.

use std::io;
use std::io::{BufRead, Read as _};
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::names::{Location, LocationError, PkgName, PkgNameError, shown};
use super::record;
use super::record::{Dependencies, Dependency, FieldError, FileNames, Record, base_of};

const MOST_RECORDS: usize = 10_000;

/// Records of a tree in the order of reading, with the names that they share.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub(super) list: Vec<Record>,
    /// Dropped because their location had printed the same PKGNAME.
    repeated: Vec<(Location, PkgName)>,
    pub(super) shared: SharedNames,
}

impl Records {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the scan output of a location and returns the indices. Invalid output changes nothing: the caller then adds
    /// a failed location.
    ///
    /// Drops fields that later steps write (`PKG_LOCATION`, `DEPENDS`, …), and replaces bytes that are not UTF-8. The
    /// first record of a PKGNAME counts, as in pbulk.
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

    /// Adds records; of several with one PKGNAME from one location only the first.
    fn add_first_ones(&mut self, records: Vec<Record>) {
        let mut known: HashSet<(PkgName, Location)> = HashSet::default();
        for record in records {
            if known.insert((record.pkgname.clone(), record.location.clone())) {
                self.list.push(record);
            } else {
                self.repeated.push((record.location, record.pkgname));
            }
        }
    }

    /// Records left out because their location already has this PKGNAME.
    pub fn repeated(&self) -> &[(Location, PkgName)] {
        &self.repeated
    }

    /// Adds a package such as `net_curl-0` that cannot be built, and returns its index.
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

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first index is 0.
    pub fn get(&self, index: u32) -> Option<&Record> {
        self.list.get(index as usize)
    }

    /// Empty without a record.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map(|record| record.pkgname().to_string()).unwrap_or_default()
    }

    /// In order of indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Record> + DoubleEndedIterator {
        self.list.iter()
    }

    /// Names of scanned files as printed: absolute, or relative to the recipe.
    pub fn scan_depends(&self, record: &Record) -> impl Iterator<Item = &str> {
        record.scan_depends.iter().map(|&number| self.shared.files.name(number))
    }

    pub fn scanned_files(&self) -> usize {
        self.shared.files.len()
    }

    /// Every record has a line of text and imports are limited, so an index fits into `u32`.
    fn next_index(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }
}

const LONGEST_OUTPUT: usize = 16 << 20;

/// Fields of later steps, ignored in input.
const LATER_FIELDS: [&str; 5] = ["PKG_LOCATION", "DEPENDS", "PKG_DEPTH", "BUILD_STATUS", "RESTRICTED_SUBSET"];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct RecordError {
    /// Counted from 1; for a known field, the line of its record.
    pub line: usize,
    pub fault: RecordFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    #[error("it contains a carriage return")]
    CarriageReturn,
    #[error("it contains a NUL")]
    Nul,
    #[error("<{0}> is not NAME=VALUE")]
    NotAField(String),
    #[error("<{0}> is not a valid field name: these are capital letters, digits and _")]
    FieldName(String),
    #[error("{0} stands before the first PKGNAME")]
    NoPkgName(String),
    #[error(transparent)]
    PkgName(#[from] PkgNameError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error("RUN_DEPENDS names <{0}>, and ALL_DEPENDS does not")]
    RunDepends(String),
    #[error("the record of {0} has no PKG_LOCATION")]
    NoLocation(PkgName),
    #[error("there are more than {LONGEST_OUTPUT} bytes")]
    TooLong,
    #[error("there are too many {0}")]
    TooMany(&'static str),
}

#[derive(Clone, Debug, Default)]
pub(super) struct SharedNames {
    pub(super) files: FileNames,
    pub(super) dependencies: Dependencies,
}

struct OpenRecord {
    line: usize,
    pkgname: PkgName,
    location: Option<Location>,
    text: String,
    scan_depends: Vec<u32>,
    scan_depends_at: Option<usize>,
}

pub(super) struct RecordReader<'a> {
    shared: &'a mut SharedNames,
    /// The recipe that printed the lines; `None` if each record names its own.
    recipe: Option<&'a Location>,
    most_records: usize,
    line: usize,
    open: Option<OpenRecord>,
    records: Vec<Record>,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(
        shared: &'a mut SharedNames,
        recipe: Option<&'a Location>,
        most_records: usize,
    ) -> Self {
        Self { shared, recipe, most_records, line: 0, open: None, records: Vec::new() }
    }

    fn read_line(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.line += 1;
        self.read_field(bytes).map_err(|fault| match fault {
            // A fault of the record that this line ended, or of this line.
            Ended::Record(error) => error,
            Ended::Line(fault) => RecordError { line: self.line, fault },
        })
    }

    fn finish(mut self) -> Result<Vec<Record>, RecordError> {
        self.end_record()?;
        Ok(self.records)
    }

    fn read_field(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        if bytes.contains(&b'\r') {
            return Err(RecordFault::CarriageReturn.into());
        }
        if bytes.contains(&0) {
            return Err(RecordFault::Nul.into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let line = String::from_utf8_lossy(bytes);
        let (name, value) = line.split_once('=').ok_or_else(|| RecordFault::NotAField(shown(&line)))?;
        let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_letter) {
            return Err(RecordFault::FieldName(shown(name)).into());
        }
        if name == "PKGNAME" {
            self.end_record()?;
            return Ok(self.begin_record(value)?);
        }
        Ok(self.add_field(name, value)?)
    }

    fn begin_record(&mut self, value: &str) -> Result<(), RecordFault> {
        if self.records.len() >= self.most_records {
            return Err(RecordFault::TooMany("records"));
        }
        self.open = Some(OpenRecord {
            line: self.line,
            pkgname: PkgName::parse(value.trim_ascii())?,
            location: self.recipe.cloned(),
            text: String::new(),
            scan_depends: Vec::new(),
            scan_depends_at: None,
        });
        Ok(())
    }

    fn add_field(&mut self, name: &str, value: &str) -> Result<(), RecordFault> {
        let open = self.open.as_mut().ok_or_else(|| RecordFault::NoPkgName(shown(name)))?;
        if name == "SCAN_DEPENDS" {
            open.scan_depends_at.get_or_insert(open.text.len());
            for file in value.split_ascii_whitespace() {
                let number = self.shared.files.number_of(file).ok_or(RecordFault::TooMany("files"))?;
                open.scan_depends.push(number);
            }
        } else if name == "PKG_LOCATION" && open.location.is_none() {
            open.location = Some(Location::parse(value.trim_ascii())?);
        } else if !LATER_FIELDS.contains(&name) {
            for part in [name, "=", value, "\n"] {
                open.text.push_str(part);
            }
        }
        Ok(())
    }

    fn end_record(&mut self) -> Result<(), RecordError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let line = open.line;
        let record = checked_record(open, self.recipe.is_none(), &mut self.shared.dependencies);
        self.records.push(record.map_err(|fault| RecordError { line, fault })?);
        Ok(())
    }
}

enum Ended {
    Record(RecordError),
    Line(RecordFault),
}

impl From<RecordError> for Ended {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<RecordFault> for Ended {
    fn from(fault: RecordFault) -> Self {
        Self::Line(fault)
    }
}

fn checked_record(
    open: OpenRecord,
    is_of_pbulk: bool,
    dependencies: &mut Dependencies,
) -> Result<Record, RecordFault> {
    let OpenRecord { pkgname, location, text, scan_depends, scan_depends_at, .. } = open;
    let Some(location) = location else { return Err(RecordFault::NoLocation(pkgname)) };
    let mut record = Record {
        pkgname,
        location,
        text: text.into(),
        all_depends: Box::default(),
        run_depends: None,
        scan_depends: scan_depends.into(),
        scan_depends_at,
        weight: 0,
        is_failed_scan: false,
        is_of_pbulk,
    };
    let mut all_depends = Vec::new();
    for entry in record.field("ALL_DEPENDS").split_ascii_whitespace() {
        all_depends.push(dependencies.of(entry, &base_of(entry, &record.location, is_of_pbulk))?);
    }
    record.run_depends = run_depends(&record, &all_depends)?;
    record.all_depends = all_depends.into();
    record.weight = record::weight(record.field("PBULK_WEIGHT"))?;
    record::distfiles(record.field("DISTFILES"), record.field("DISTURL"))?;
    for name in ["MULTI_VERSION", "LIMITS"] {
        record::pairs(name, record.field(name))?;
    }
    Ok(record)
}

/// Returns indices of `RUN_DEPENDS` in `ALL_DEPENDS`, in order. Without a location, an entry matches its pattern.
fn run_depends(record: &Record, all_depends: &[Arc<Dependency>]) -> Result<Option<Box<[u32]>>, RecordFault> {
    if record.fields().all(|(name, _)| name != "RUN_DEPENDS") {
        return Ok(None);
    }
    let mut places_of: HashMap<(&str, Option<&Location>), Vec<u32>> = HashMap::default();
    for (place, dependency) in (0..).zip(all_depends) {
        places_of.entry((&dependency.pattern, None)).or_default().push(place);
        if let Some(location) = &dependency.location {
            places_of.entry((&dependency.pattern, Some(location))).or_default().push(place);
        }
    }
    // Each entry once: a hostile record could repeat many dependencies.
    let entries: HashSet<&str> = record.field("RUN_DEPENDS").split_ascii_whitespace().collect();
    let mut places = Vec::new();
    for entry in entries {
        let named = Dependency::parse(entry, &base_of(entry, &record.location, record.is_of_pbulk))?;
        let found = places_of.get(&(&*named.pattern, named.location.as_ref()));
        places.extend(found.ok_or_else(|| RecordFault::RunDepends(shown(entry)))?);
    }
    places.sort_unstable();
    places.dedup();
    Ok(Some(places.into()))
}

const MOST_IMPORTED: usize = 10_000_000;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Records {
    /// Reads foreign records with their `PKG_LOCATION`. Does not trust results of later steps, such as `DEPENDS`.
    pub fn import(mut file: impl BufRead) -> Result<Self, ImportError> {
        let mut records = Self::new();
        let mut reader = RecordReader::new(&mut records.shared, None, MOST_IMPORTED);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            line.clear();
            let limit = LONGEST_OUTPUT as u64 + 1;
            if file.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() > LONGEST_OUTPUT {
                return Err(RecordError { line: number, fault: RecordFault::TooLong }.into());
            }
            reader.read_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        let read = reader.finish()?;
        records.add_first_ones(read);
        Ok(records)
    }
}

#[cfg(test)]
mod tests;

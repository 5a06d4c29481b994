//! Records of recipes, as printed by pkgsrc's `pbulk-index`: `NAME=VALUE` lines, the first of them `PKGNAME=`.
//!
//! Records are not trusted: names, locations and known fields are checked, and every length has a limit.
//!
//! A real tree has 29,022 packages whose records name 98,513 files 4.4 million times. Therefore names of files and
//! dependencies are stored once.

mod names;
mod record;

use std::io::{self, BufRead, Read as _, Write};
use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use patchadm_svr4::package::control::printable;

use names::shown;
use record::{Dependencies, RecordFileNames, base_of};

pub use names::{LocationError, PkgName, PkgNameError, RecipeLocation};
pub use record::{BY_DIGEST, Distfile, RecipeDependency, RecipeRecord, RecordFieldError, parse_sha256};

const MOST_RECORDS: usize = 10_000;

/// Records of a tree in the order of reading, with the names that they share.
#[derive(Clone, Debug, Default)]
pub struct Records {
    list: Vec<RecipeRecord>,
    /// Dropped because their location had printed the same PKGNAME.
    repeated: Vec<(RecipeLocation, PkgName)>,
    shared: SharedNames,
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
    pub fn read(
        &mut self,
        location: &RecipeLocation,
        output: &[u8],
    ) -> Result<Range<u32>, RecipeRecordError> {
        if output.len() > LONGEST_OUTPUT {
            return Err(RecipeRecordError { line: 1, fault: RecordFault::TooLong });
        }
        let mut reader = RecipeRecordReader::new(&mut self.shared, Some(location), MOST_RECORDS);
        for line in output.split(|&byte| byte == b'\n') {
            reader.read_line(line)?;
        }
        let records = reader.finish()?;
        let begin = self.next_index();
        self.add_first_ones(records);
        Ok(begin..self.next_index())
    }

    /// Adds records; of several with one PKGNAME from one location only the first.
    fn add_first_ones(&mut self, records: Vec<RecipeRecord>) {
        let mut known: HashSet<(PkgName, RecipeLocation)> = HashSet::default();
        for record in records {
            if known.insert((record.pkgname.clone(), record.location.clone())) {
                self.list.push(record);
            } else {
                self.repeated.push((record.location, record.pkgname));
            }
        }
    }

    /// Records left out because their location already has this PKGNAME.
    pub fn repeated(&self) -> &[(RecipeLocation, PkgName)] {
        &self.repeated
    }

    /// Adds a package such as `net_curl-0` that cannot be built, and returns its index.
    pub fn add_failed_scan(&mut self, location: &RecipeLocation, reason: &str) -> u32 {
        let reason = reason.replace(['\n', '\r', '\0'], " ");
        let index = self.next_index();
        self.list.push(RecipeRecord {
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
    pub fn get(&self, index: u32) -> Option<&RecipeRecord> {
        self.list.get(index as usize)
    }

    /// Empty without a record.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map(|record| record.pkgname().to_string()).unwrap_or_default()
    }

    /// In order of indices.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &RecipeRecord> + DoubleEndedIterator {
        self.list.iter()
    }

    /// Names of scanned files as printed: absolute, or relative to the recipe.
    pub fn scan_depends(&self, record: &RecipeRecord) -> impl Iterator<Item = &str> {
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
pub struct RecipeRecordError {
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
    #[error("{0} appears before the first PKGNAME")]
    NoPkgName(String),
    #[error(transparent)]
    PkgName(#[from] PkgNameError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error(transparent)]
    Field(#[from] RecordFieldError),
    #[error("RUN_DEPENDS names <{0}>, but ALL_DEPENDS does not")]
    RunDepends(String),
    #[error("the record of {0} has no PKG_LOCATION")]
    NoLocation(PkgName),
    #[error("there are more than {LONGEST_OUTPUT} bytes")]
    TooLong,
    #[error("there are too many {0}")]
    TooMany(&'static str),
}

#[derive(Clone, Debug, Default)]
struct SharedNames {
    files: RecordFileNames,
    dependencies: Dependencies,
}

struct OpenRecord {
    line: usize,
    pkgname: PkgName,
    location: Option<RecipeLocation>,
    text: String,
    scan_depends: Vec<u32>,
    scan_depends_at: Option<usize>,
}

struct RecipeRecordReader<'a> {
    shared: &'a mut SharedNames,
    /// The recipe that printed the lines; `None` if each record names its own.
    recipe: Option<&'a RecipeLocation>,
    most_records: usize,
    line: usize,
    open: Option<OpenRecord>,
    records: Vec<RecipeRecord>,
}

impl<'a> RecipeRecordReader<'a> {
    fn new(shared: &'a mut SharedNames, recipe: Option<&'a RecipeLocation>, most_records: usize) -> Self {
        Self { shared, recipe, most_records, line: 0, open: None, records: Vec::new() }
    }

    fn read_line(&mut self, bytes: &[u8]) -> Result<(), RecipeRecordError> {
        self.line += 1;
        self.read_field(bytes).map_err(|fault| match fault {
            // A fault of the record that this line ended, or of this line.
            Ended::Record(error) => error,
            Ended::Line(fault) => RecipeRecordError { line: self.line, fault },
        })
    }

    fn finish(mut self) -> Result<Vec<RecipeRecord>, RecipeRecordError> {
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
            open.location = Some(RecipeLocation::parse(value.trim_ascii())?);
        } else if !LATER_FIELDS.contains(&name) {
            for part in [name, "=", value, "\n"] {
                open.text.push_str(part);
            }
        }
        Ok(())
    }

    fn end_record(&mut self) -> Result<(), RecipeRecordError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let line = open.line;
        let record = checked_record(open, self.recipe.is_none(), &mut self.shared.dependencies);
        self.records.push(record.map_err(|fault| RecipeRecordError { line, fault })?);
        Ok(())
    }
}

enum Ended {
    Record(RecipeRecordError),
    Line(RecordFault),
}

impl From<RecipeRecordError> for Ended {
    fn from(error: RecipeRecordError) -> Self {
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
) -> Result<RecipeRecord, RecordFault> {
    let OpenRecord { pkgname, location, text, scan_depends, scan_depends_at, .. } = open;
    let Some(location) = location else { return Err(RecordFault::NoLocation(pkgname)) };
    let mut record = RecipeRecord {
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
    record::check_varies(record.field("VARIES"))?;
    for name in ["MULTI_VERSION", "LIMITS"] {
        record::pairs(name, record.field(name))?;
    }
    Ok(record)
}

/// Returns indices of `RUN_DEPENDS` in `ALL_DEPENDS`, in order. Without a location, an entry matches its pattern.
fn run_depends(
    record: &RecipeRecord,
    all_depends: &[Arc<RecipeDependency>],
) -> Result<Option<Box<[u32]>>, RecordFault> {
    if record.fields().all(|(name, _)| name != "RUN_DEPENDS") {
        return Ok(None);
    }
    let mut places_of: HashMap<(&str, Option<&RecipeLocation>), Vec<u32>> = HashMap::default();
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
        let named = RecipeDependency::parse(entry, &base_of(entry, &record.location, record.is_of_pbulk))?;
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
    Record(#[from] RecipeRecordError),
}

impl Records {
    /// Reads foreign records with their `PKG_LOCATION`. Does not trust results of later steps, such as `DEPENDS`.
    pub fn import(mut file: impl BufRead) -> Result<Self, ImportError> {
        let mut records = Self::new();
        let mut reader = RecipeRecordReader::new(&mut records.shared, None, MOST_IMPORTED);
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
                return Err(RecipeRecordError { line: number, fault: RecordFault::TooLong }.into());
            }
            reader.read_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        let read = reader.finish()?;
        records.add_first_ones(read);
        Ok(records)
    }
}

/// Additions of a pbulk file to a record.
#[derive(Clone, Debug, Default)]
pub struct PbulkFields<'a> {
    /// No line if empty.
    pub depends: Vec<&'a PkgName>,
    /// The match's location for each entry of `ALL_DEPENDS`.
    pub found: Vec<Option<&'a RecipeLocation>>,
    /// `PKG_FAIL_REASON`, if the recipe gives no reason.
    pub fail_reason: Option<String>,
}

/// pbulk's programs require these in every record.
const ALWAYS: [&str; 3] = ["ALL_DEPENDS", "PKG_SKIP_REASON", "PKG_FAIL_REASON"];

impl Records {
    /// In byte order of `PKGNAME`, followed by `PKG_LOCATION`.
    pub fn write_plain(&self, out: &mut impl Write) -> io::Result<()> {
        for (_, record) in self.in_order() {
            self.write_record(record, &[], out)?;
        }
        Ok(())
    }

    /// Writes `pscan` or `presolve` in the same order. `fields` returns additions, or `None` to leave a record out.
    pub fn write_pbulk<'a>(
        &'a self,
        out: &mut impl Write,
        fields: impl Fn(u32) -> Option<PbulkFields<'a>>,
    ) -> io::Result<()> {
        for (index, record) in self.in_order() {
            if let Some(fields) = fields(index) {
                self.write_pbulk_record(record, &fields, out)?;
            }
        }
        Ok(())
    }

    /// Writes a record with `DEPENDS` as its build gets it, one field per line.
    pub fn write_record(
        &self,
        record: &RecipeRecord,
        depends: &[&PkgName],
        out: &mut impl Write,
    ) -> io::Result<()> {
        writeln!(out, "PKGNAME={}\nPKG_LOCATION={}", record.pkgname, record.location)?;
        let (before, after) = around_scan_depends(record);
        out.write_all(before.as_bytes())?;
        if record.scan_depends_at.is_some() {
            write_words(out, "SCAN_DEPENDS", self.scan_depends(record))?;
        }
        out.write_all(after.as_bytes())?;
        write_depends(out, depends)
    }

    /// Writes a record for pbulk's programs: all required fields, and dependencies as `PATTERN:../../LOCATION`. Keeps
    /// text in this form, except for characters that a terminal interprets: no program of pbulk needs one.
    pub fn write_pbulk_record(
        &self,
        record: &RecipeRecord,
        fields: &PbulkFields<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        self.put_pbulk_record(record, fields, &mut text)?;
        out.write_all(&printable(&text))
    }

    fn put_pbulk_record(
        &self,
        record: &RecipeRecord,
        fields: &PbulkFields<'_>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        writeln!(out, "PKGNAME={}\nPKG_LOCATION={}", record.pkgname, record.location)?;
        let (before, after) = around_scan_depends(record);
        let mut open = ALWAYS.to_vec();
        for line in before.lines() {
            write_pbulk_line(record, line, fields, &mut open, out)?;
        }
        if record.scan_depends_at.is_some() {
            write_words(out, "SCAN_DEPENDS", self.scan_depends(record))?;
        }
        for line in after.lines() {
            write_pbulk_line(record, line, fields, &mut open, out)?;
        }
        for name in open.clone() {
            write_pbulk_line(record, &format!("{name}="), fields, &mut open, out)?;
        }
        write_depends(out, &fields.depends)
    }

    /// Sorted by `PKGNAME`, then location.
    fn in_order(&self) -> impl Iterator<Item = (u32, &RecipeRecord)> {
        let mut records: Vec<(u32, &RecipeRecord)> = (0..).zip(self.iter()).collect();
        records.sort_by_key(|(index, record)| (&record.pkgname, &record.location, *index));
        records.into_iter()
    }
}

fn around_scan_depends(record: &RecipeRecord) -> (&str, &str) {
    let at = record.scan_depends_at.unwrap_or(record.text.len());
    record.text.split_at_checked(at).unwrap_or((&record.text, ""))
}

/// Writes only the first required field of each name.
fn write_pbulk_line(
    record: &RecipeRecord,
    line: &str,
    fields: &PbulkFields<'_>,
    open: &mut Vec<&str>,
    out: &mut impl Write,
) -> io::Result<()> {
    let Some((name, value)) = line.split_once('=') else { return writeln!(out, "{line}") };
    if name == "RUN_DEPENDS" {
        return match run_depends_text(record, value) {
            Some(text) => writeln!(out, "{name}={text}"),
            None => writeln!(out, "{line}"),
        };
    }
    let Some(place) = open.iter().position(|always| *always == name) else { return writeln!(out, "{line}") };
    open.remove(place);
    match name {
        "ALL_DEPENDS" => match all_depends_text(record, value, &fields.found) {
            Some(text) => writeln!(out, "{name}={text}"),
            None => writeln!(out, "{line}"),
        },
        // A blank would be a reason for pbulk.
        _ if value.trim_ascii().is_empty() => {
            let reason = fields.fail_reason.as_deref().filter(|_| name == "PKG_FAIL_REASON");
            writeln!(out, "{name}={}", reason.unwrap_or_default())
        }
        _ => writeln!(out, "{line}"),
    }
}

/// Returns `ALL_DEPENDS` as pbulk reads it; `None` if the recipe wrote it so. An entry without a location gets that of
/// its match, or is left out.
fn all_depends_text(record: &RecipeRecord, value: &str, found: &[Option<&RecipeLocation>]) -> Option<String> {
    let found = found.iter().copied().chain(std::iter::repeat(None));
    let entries = record.all_depends().iter().zip(found).filter_map(|(dependency, found)| {
        let location = dependency.location.as_ref().or(found)?;
        Some(format!("{}:../../{location}", dependency.pattern))
    });
    let entries: Vec<String> = entries.collect();
    let is_so = value.split_ascii_whitespace().eq(entries.iter().map(String::as_str));
    (!is_so).then(|| entries.join(" "))
}

/// Uses the locations of `ALL_DEPENDS`; `None` if the recipe wrote it so.
fn run_depends_text(record: &RecipeRecord, value: &str) -> Option<String> {
    let entries = value.split_ascii_whitespace().map(|entry| {
        let read = RecipeDependency::parse(entry, &base_of(entry, &record.location, record.is_of_pbulk));
        match read.map(|read| (read.pattern, read.location)) {
            Ok((pattern, Some(location))) => format!("{pattern}:../../{location}"),
            _ => entry.to_owned(),
        }
    });
    let entries: Vec<String> = entries.collect();
    let is_so = value.split_ascii_whitespace().eq(entries.iter().map(String::as_str));
    (!is_so).then(|| entries.join(" "))
}

fn write_depends(out: &mut impl Write, depends: &[&PkgName]) -> io::Result<()> {
    if depends.is_empty() {
        return Ok(());
    }
    write_words(out, "DEPENDS", depends.iter().map(|name| name.as_str()))
}

fn write_words<'a>(out: &mut impl Write, name: &str, words: impl Iterator<Item = &'a str>) -> io::Result<()> {
    write!(out, "{name}=")?;
    for (place, word) in words.enumerate() {
        let blank = if place == 0 { "" } else { " " };
        write!(out, "{blank}{word}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests;

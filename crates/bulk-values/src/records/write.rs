//! Writing records: as read, and in the format of pbulk.

use std::io;
use std::io::Write;

use patchadm_svr4::package::control::printable;

use super::names::{PkgName, RecipeLocation};
use super::record::{RecipeDependency, RecipeRecord, base_of};
use super::table::Records;

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

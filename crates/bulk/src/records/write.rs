//! Records as pbulk writes them.

use std::io::{self, Write};

use super::names::PkgName;
use super::record::Record;
use super::table::Records;

impl Records {
    /// Writes all records as the file `pscan`: in byte order of their `PKGNAME`, with `PKG_LOCATION` after it.
    pub fn write_pscan(&self, out: &mut impl Write) -> io::Result<()> {
        for (_, record) in self.in_order() {
            self.write_record(record, &[], out)?;
        }
        Ok(())
    }

    /// Writes all records as the file `presolve`: as `pscan`, with `DEPENDS` last. `depends` returns what was found for the
    /// record with an index; nothing found is no line.
    pub fn write_presolve<'a>(
        &'a self,
        out: &mut impl Write,
        depends: impl Fn(u32) -> Vec<&'a PkgName>,
    ) -> io::Result<()> {
        for (index, record) in self.in_order() {
            self.write_record(record, &depends(index), out)?;
        }
        Ok(())
    }

    /// Writes one record as in `presolve`, a line each field.
    pub fn write_record(
        &self,
        record: &Record,
        depends: &[&PkgName],
        out: &mut impl Write,
    ) -> io::Result<()> {
        writeln!(out, "PKGNAME={}\nPKG_LOCATION={}", record.pkgname, record.location)?;
        let text = record.text.as_bytes();
        let (before, after) =
            text.split_at_checked(record.scan_depends_at.unwrap_or(text.len())).unwrap_or((text, b""));
        out.write_all(before)?;
        if record.scan_depends_at.is_some() {
            write_words(out, "SCAN_DEPENDS", self.scan_depends(record))?;
        }
        out.write_all(after)?;
        if depends.is_empty() {
            return Ok(());
        }
        write_words(out, "DEPENDS", depends.iter().map(|name| name.as_str()))
    }

    /// Returns all records in byte order of their `PKGNAME`, those with one name in order of their locations.
    fn in_order(&self) -> impl Iterator<Item = (u32, &Record)> {
        let mut records: Vec<(u32, &Record)> = (0..).zip(self.iter()).collect();
        records.sort_by_key(|(index, record)| (&record.pkgname, &record.location, *index));
        records.into_iter()
    }
}

fn write_words<'a>(out: &mut impl Write, name: &str, words: impl Iterator<Item = &'a str>) -> io::Result<()> {
    write!(out, "{name}=")?;
    for (place, word) in words.enumerate() {
        let blank = if place == 0 { "" } else { " " };
        write!(out, "{blank}{word}")?;
    }
    writeln!(out)
}

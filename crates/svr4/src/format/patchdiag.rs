//! `patchdiag.xref`, the cross-reference of patches: eleven fields between bars per patch revision, in byte order.
//!
//! Lines that do not start with six digits and a bar are skipped; any other line must be complete.

use std::fmt;

use crate::format::lines::{LONGEST_LINE, LineTooLong, numbered_lines};
use crate::patch::PatchId;

const HEADER: (&[u8], &str) = (b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF ", " ##");

/// A cross-reference file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patchdiag {
    /// The day of the file, if its header states it.
    pub as_of: Option<PatchdiagDate>,
    /// The lines, in the order of their bytes.
    pub lines: Vec<PatchdiagLine>,
}

impl Patchdiag {
    /// Parses a file.
    pub fn parse(text: &[u8]) -> Result<Self, PatchdiagError> {
        if text.len() > LARGEST_FILE {
            return Err(PatchdiagError::TooLarge);
        }
        let (mut lines, mut as_of, mut has_header) = (Vec::new(), None, false);
        for line in numbered_lines(text) {
            let (number, raw) = line?;
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            if is_about_patch(raw) {
                if lines.len() == MOST_LINES {
                    return Err(PatchdiagError::TooMany);
                }
                lines.push((raw, PatchdiagLine::parse(raw, number)?));
            } else if let Some(rest) = raw.strip_prefix(HEADER.0) {
                has_header = true;
                let date = std::str::from_utf8(rest).unwrap_or_default();
                as_of = as_of.or_else(|| PatchdiagDate::parse(date.trim_end_matches('#').trim()));
            }
        }
        if lines.is_empty() && !has_header {
            return Err(PatchdiagError::NotPatchdiag);
        }
        lines.sort_by_key(|(raw, _)| *raw);
        Ok(Self { as_of, lines: lines.into_iter().map(|(_, line)| line).collect() })
    }

    /// Formats the header and the lines in byte order. Synopses are cut to the length of a readable line.
    pub fn write(&self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = self.lines.iter().map(PatchdiagLine::write).collect();
        lines.sort();
        let date = self.as_of.map(|date| date.to_string()).unwrap_or_default();
        let mut text = [HEADER.0, date.as_bytes(), HEADER.1.as_bytes(), b"\n"].concat();
        for mut line in lines {
            line.truncate(LONGEST_LINE);
            text.append(&mut line);
            text.push(b'\n');
        }
        text
    }
}

const BASE_DIGITS: usize = 6;

/// A patch revision and what the file says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchdiagLine {
    /// The patch, of six digits and a revision.
    pub id: PatchId,
    /// The day of the patch, if known.
    pub date: Option<PatchdiagDate>,
    /// `R`: the patch is recommended.
    pub is_recommended: bool,
    /// `S`: the patch is about security.
    pub is_security: bool,
    /// `O`: another patch, or a later revision, contains it.
    pub is_obsolete: bool,
    /// `Y`: the patch is about the year 2000.
    pub is_year_2000: bool,
    /// `B`: the patch is bad, it was withdrawn.
    pub is_bad: bool,
    /// The release of the system, as `10` or `10_x86`, or `Unbundled`.
    pub os: String,
    /// The architectures of its packages: `sparc`, `sparc.sun4u`.
    pub archs: Vec<String>,
    /// The patches that it requires.
    pub requires: Vec<PatchId>,
    /// The packages that it patches.
    pub packages: Vec<PatchdiagPackage>,
    /// The patches that it excludes.
    pub incompatibles: Vec<PatchId>,
    /// One line about it, which need not be UTF-8.
    pub synopsis: Vec<u8>,
}

/// A package in the version that a patch is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchdiagPackage {
    /// The abbreviation of the package.
    pub name: String,
    /// The version, or `None` if the line does not state one.
    pub version: Option<String>,
}

/// True for a line about a patch: six digits and a bar.
fn is_about_patch(raw: &[u8]) -> bool {
    let (base, rest) = raw.split_at_checked(BASE_DIGITS).unwrap_or_default();
    rest.starts_with(b"|") && !base.is_empty() && base.iter().all(u8::is_ascii_digit)
}

impl PatchdiagLine {
    fn parse(raw: &[u8], line: u64) -> Result<Self, PatchdiagError> {
        let fields: Vec<&[u8]> = raw.splitn(FIELDS, |&byte| byte == b'|').collect();
        let [id, revision, date, recommended, security, obsolete, old_and_bad, os, archs, packages, synopsis] =
            fields[..]
        else {
            return Err(PatchdiagError::Fields { line, fields: fields.len() });
        };
        let read = FieldReader { line };
        let (year_2000, bad) = old_and_bad.split_at_checked(1).unwrap_or_default();
        let (archs, requires) = read.items("archs", archs)?;
        let (packages, incompatibles) = read.items("pkgs", packages)?;
        Ok(Self {
            id: read.id(id, revision)?,
            date: read.date(date)?,
            is_recommended: read.flag("R", recommended, b"R")?,
            is_security: read.flag("S", security, b"S")?,
            is_obsolete: read.flag("O", obsolete, b"O")?,
            is_year_2000: read.flag("YB", year_2000, b"Y")?,
            is_bad: read.flag("YB", bad, b"B")?,
            os: read.text("os", os)?.to_owned(),
            archs: archs.into_iter().map(str::to_owned).collect(),
            requires,
            packages: packages.into_iter().map(PatchdiagPackage::of).collect(),
            incompatibles,
            // It must not end the line when it is written again.
            synopsis: synopsis.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }).collect(),
        })
    }

    /// Formats the line, without a newline.
    pub fn write(&self) -> Vec<u8> {
        let flag = |is_set: bool, letter: char| if is_set { letter } else { ' ' };
        let date = self.date.map(|date| date.to_string()).unwrap_or_default();
        let items =
            |words: &mut dyn Iterator<Item = String>| words.map(|word| word + ";").collect::<String>();
        let ids = |ids: &[PatchId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut line = format!(
            "{}|{}|{date}|{}|{}|{}|{}{}|{}|{}|{}|",
            self.id.base(),
            self.id.revision(),
            flag(self.is_recommended, 'R'),
            flag(self.is_security, 'S'),
            flag(self.is_obsolete, 'O'),
            flag(self.is_year_2000, 'Y'),
            flag(self.is_bad, 'B'),
            self.os,
            items(&mut self.archs.iter().cloned().chain(ids(&self.requires))),
            items(&mut self.packages.iter().map(PatchdiagPackage::text).chain(ids(&self.incompatibles))),
        )
        .into_bytes();
        line.extend(
            self.synopsis.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
        );
        line
    }

    /// Returns the patch in the synopsis of an obsolete one: `Obsoleted by: ID-REV`, or `OBSOLETED by ID` (revision 1).
    pub fn obsoleted_by(&self) -> Option<PatchId> {
        let synopsis = self.is_obsolete.then(|| String::from_utf8_lossy(&self.synopsis))?;
        let named = behind(&synopsis, "Obsoleted by").find_map(|text| {
            let text = text.trim_start_matches([' ', ':']);
            let end =
                text.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(text.len());
            revision_of(text.get(..end)?)
        });
        named.or_else(|| {
            behind(&synopsis, "OBSOLETED by ").find_map(|text| {
                let base = text.get(..BASE_DIGITS)?;
                let is_base = base.bytes().all(|byte| byte.is_ascii_digit());
                PatchId::new(&format!("{base}-01")).ok().filter(|_| is_base)
            })
        })
    }
}

impl PatchdiagPackage {
    fn of(item: &str) -> Self {
        match item.split_once(':') {
            Some((name, version)) => Self { name: name.to_owned(), version: Some(version.to_owned()) },
            None => Self { name: item.to_owned(), version: None },
        }
    }

    fn text(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(":{version}")).unwrap_or_default();
        format!("{}{version}", self.name)
    }
}

fn behind<'t>(text: &'t str, words: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(words).filter_map(move |(at, _)| text.get(at + words.len()..))
}

/// Parses six digits, `-`, two digits at the start of a text.
fn revision_of(text: &str) -> Option<PatchId> {
    PatchId::new(text.get(..BASE_DIGITS + 3)?).ok().filter(|id| id.base().len() == BASE_DIGITS)
}

struct FieldReader {
    line: u64,
}

impl FieldReader {
    fn wrong(&self, field: &'static str, value: &[u8]) -> PatchdiagError {
        let value = String::from_utf8_lossy(value);
        let value = value.chars().take(80).flat_map(char::escape_debug).collect();
        PatchdiagError::Field { line: self.line, field, value }
    }

    fn text<'a>(&self, field: &'static str, value: &'a [u8]) -> Result<&'a str, PatchdiagError> {
        std::str::from_utf8(value).map_err(|_| self.wrong(field, value))
    }

    fn id(&self, base: &[u8], revision: &[u8]) -> Result<PatchId, PatchdiagError> {
        let text = format!("{}-{}", self.text("id", base)?, self.text("rev", revision)?);
        let id = PatchId::new(&text).ok().filter(|id| id.base().as_bytes() == base);
        id.ok_or_else(|| self.wrong("rev", revision))
    }

    fn date(&self, value: &[u8]) -> Result<Option<PatchdiagDate>, PatchdiagError> {
        match self.text("date", value)?.trim() {
            "" => Ok(None),
            text => PatchdiagDate::parse(text).map(Some).ok_or_else(|| self.wrong("date", value)),
        }
    }

    fn flag(&self, field: &'static str, value: &[u8], letter: &[u8]) -> Result<bool, PatchdiagError> {
        match value.trim_ascii() {
            [] => Ok(false),
            word if word == letter => Ok(true),
            _ => Err(self.wrong(field, value)),
        }
    }

    /// Splits a field into patches and other items, each ended by `;`.
    fn items<'a>(
        &self,
        field: &'static str,
        value: &'a [u8],
    ) -> Result<(Vec<&'a str>, Vec<PatchId>), PatchdiagError> {
        let (mut words, mut ids) = (Vec::new(), Vec::new());
        for item in self.text(field, value)?.split(';').map(str::trim).filter(|item| !item.is_empty()) {
            let is_id = item.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            match PatchId::new(item).ok().filter(|_| is_id) {
                Some(id) => ids.push(id),
                None => words.push(item),
            }
        }
        Ok((words, ids))
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// 51 is 1951, 50 is 2050.
const FIRST_YEAR: u16 = 51;

/// A day as the file writes it: `Jan/13/11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatchdiagDate {
    /// The year, 1951 to 2050.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

impl PatchdiagDate {
    /// Parses a day.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
        let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || !two_digits(day) || !two_digits(year) {
            return None;
        }
        let month = MONTHS.iter().zip(1..).find_map(|(name, number)| (*name == month).then_some(number))?;
        let (day, year): (u8, u16) = (day.parse().ok()?, year.parse().ok()?);
        let year = if year < FIRST_YEAR { 2000 + year } else { 1900 + year };
        (1..=31).contains(&day).then_some(Self { year, month, day })
    }
}

impl fmt::Display for PatchdiagDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).unwrap_or(&"Jan");
        write!(f, "{month}/{:02}/{:02}", self.day, self.year % 100)
    }
}

/// The largest file that is read, in bytes: 64 MiB.
pub const LARGEST_FILE: usize = 64 << 20;

const MOST_LINES: usize = 500_000;

const FIELDS: usize = 11;

/// The reason a cross-reference file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchdiagError {
    /// More than [`LARGEST_FILE`] bytes.
    #[error("the file is larger than {LARGEST_FILE} bytes")]
    TooLarge,
    /// More lines than any cross-reference has.
    #[error("more than {MOST_LINES} lines are about patches")]
    TooMany,
    /// Neither a header nor a line about a patch.
    #[error("it has neither the header of a cross-reference file nor a line about a patch")]
    NotPatchdiag,
    /// A line longer than [`LONGEST_LINE`].
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A line with fewer than eleven fields.
    #[error("line {line} has {fields} fields, not {FIELDS}")]
    Fields {
        /// The line number, counted from 1.
        line: u64,
        /// The number of fields found.
        fields: usize,
    },
    /// A field with an invalid value.
    #[error("line {line}: the field {field} is not valid: <{value}>")]
    Field {
        /// The line number, counted from 1.
        line: u64,
        /// The name of the field.
        field: &'static str,
        /// Its value, cut to a readable length.
        value: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Feb/10/11 ##\n\
        100393|01|Sep/02/94| | |O|  |Unbundled|||OBSOLETED by 100394\n\
        146336|01|Jan/13/11|R|S| |  |10|sparc;118833-36;|SUNWarc:11.10.0,REV=2005.01.21.15.53;103640-36;|SunOS 5.10: a|b\n";

    #[test]
    fn a_file_comes_back_as_it_was() {
        let file = Patchdiag::parse(FILE).unwrap();
        assert_eq!(file.as_of, Some(PatchdiagDate { year: 2011, month: 2, day: 10 }));
        assert_eq!(file.lines.len(), 2);
        assert_eq!(file.lines[1].synopsis, b"SunOS 5.10: a|b", "the last field may contain anything");
        assert_eq!(file.write(), FILE);
    }

    #[test]
    fn lines_come_in_the_order_of_their_bytes_and_with_any_line_ends() {
        let text = b"<PRE>\r\n200000|02|||||  ||||two\r\n\r\n# note\r\n200000|01|||||  ||||one\r\n</PRE>\r\n";
        let file = Patchdiag::parse(text).unwrap();
        let ids: Vec<String> = file.lines.iter().map(|line| line.id.to_string()).collect();
        assert_eq!(ids, ["200000-01", "200000-02"]);
        assert_eq!(file.lines[1].synopsis, b"two");
        assert_eq!(file.as_of, None);
    }

    #[test]
    fn a_page_that_is_no_such_file_is_refused() {
        for text in [&b""[..], b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", b"# nothing\n"]
        {
            assert_eq!(Patchdiag::parse(text), Err(PatchdiagError::NotPatchdiag));
        }
        assert_eq!(
            Patchdiag::parse(b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Feb/10/11 ##\n").unwrap().lines,
            []
        );
    }

    #[test]
    fn a_line_without_all_fields_is_named() {
        let text = b"#\n100393|01|Sep/02/94| | |O|  |Unbundled||OBSOLETED by 100394\n";
        let error = Patchdiag::parse(text).unwrap_err();
        assert_eq!(error, PatchdiagError::Fields { line: 2, fields: 10 });
        assert_eq!(error.to_string(), "line 2 has 10 fields, not 11");
    }
}

#[cfg(test)]
mod line_tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> Result<PatchdiagLine, PatchdiagError> {
        PatchdiagLine::parse(text.as_bytes(), 7)
    }

    fn obsoleted_by(synopsis: &str) -> Option<String> {
        let line = line(&format!("100001|01||||O|  |10|||{synopsis}")).unwrap();
        line.obsoleted_by().map(|id| id.to_string())
    }

    #[test]
    fn what_contains_an_obsolete_patch_is_told_in_words() {
        for (synopsis, by) in [
            ("Obsoleted by: 110258-01 VxVM", Some("110258-01")),
            ("Obsoleted by : 110258-01 VxVM", Some("110258-01")),
            ("Obsoleted by 110256-01: VxVM", Some("110256-01")),
            ("WITHDRAWN PATCH Obsoleted by: 103901-08 OpenWindows", Some("103901-08")),
            ("Obsoleted by: 109212-02 OBSOLETED by WITHDRAWN", Some("109212-02")),
            ("OBSOLETED by 108363 and 108289", Some("108363-01")),
            ("OBSOLETED by WITHDRAWN", None),
            ("WITHDRAWN PATCH Obsoleted by: <Integration> SunOS", None),
            ("Obsoleted by: 11025", None),
            ("Obsoleted by: 1102\u{e9}8-01", None),
            ("web server", None),
        ] {
            assert_eq!(obsoleted_by(synopsis).as_deref(), by, "{synopsis}");
        }
        let effective = line("100001|01||||||10|||Obsoleted by: 110258-01").unwrap();
        assert_eq!(effective.obsoleted_by(), None, "it does not say that it is obsolete");
    }

    #[test]
    fn architectures_and_packages_stand_among_patches() {
        let line =
            line("111433|02|Jun/04/01| |S|O|YB|8|sparc;108528-08;sparc.sun4d;|A:1,REV=2;108528-09;B|x")
                .unwrap();
        assert_eq!(line.archs, ["sparc", "sparc.sun4d"]);
        assert_eq!((line.requires[0].as_str(), line.incompatibles[0].as_str()), ("108528-08", "108528-09"));
        assert_eq!(line.packages[0].version.as_deref(), Some("1,REV=2"));
        assert_eq!((line.packages[1].name.as_str(), &line.packages[1].version), ("B", &None));
        assert!(
            line.is_bad && line.is_year_2000 && line.is_obsolete && line.is_security && !line.is_recommended
        );
    }

    #[test]
    fn a_field_that_cannot_be_is_named() {
        for (text, field) in [
            ("100001|x1||||||10|||s", "rev"),
            ("100001|1-1||||||10|||s", "rev"),
            ("100001|01|yesterday|||||10|||s", "date"),
            ("100001|01||X||||10|||s", "R"),
            ("100001|01|||R|||10|||s", "S"),
            ("100001|01|||||B |10|||s", "YB"),
        ] {
            let error = line(text).unwrap_err();
            assert!(
                matches!(&error, PatchdiagError::Field { line: 7, field: found, .. } if *found == field),
                "{error}"
            );
        }
        let raw = b"100001|01||||||10|\xff|||s";
        assert!(matches!(PatchdiagLine::parse(raw, 7), Err(PatchdiagError::Field { field: "archs", .. })));
        let raw = b"100001|01||||||10|||caf\xe9";
        assert_eq!(PatchdiagLine::parse(raw, 7).unwrap().write(), b"100001|01|| | | |  |10|||caf\xe9");
    }

    proptest! {
        #[test]
        fn any_line_comes_back(
            base in "[0-9]{6}", revision in "[0-9]{2}", flags in any::<[bool; 5]>(), os in "[0-9a-z_]{0,6}",
            archs in proptest::collection::vec("[a-z][a-z0-9.]{0,5}", 0..3),
            packages in proptest::collection::vec(("[A-Z][a-z]{0,5}", "[0-9.,=A-Z]{0,9}"), 0..3),
            requires in proptest::collection::vec("[0-9]{6}-[0-9]{2}", 0..3),
            synopsis in proptest::collection::vec(any::<u8>().prop_filter("no end of line", |byte| !b"\r\n".contains(byte)), 0..20),
        ) {
            let ids: Vec<PatchId> = requires.iter().map(|id| PatchId::new(id).unwrap()).collect();
            let package = |(name, version)| PatchdiagPackage { name, version: Some(version) };
            let line = PatchdiagLine {
                id: PatchId::new(&format!("{base}-{revision}")).unwrap(),
                date: PatchdiagDate::parse("Jan/13/11"),
                is_recommended: flags[0], is_security: flags[1], is_obsolete: flags[2], is_year_2000: flags[3],
                is_bad: flags[4], os, archs, requires: ids.clone(),
                packages: packages.into_iter().map(package).collect(), incompatibles: ids, synopsis,
            };
            prop_assert_eq!(PatchdiagLine::parse(&line.write(), 1), Ok(line));
        }

        #[test]
        fn no_bytes_break_the_reader(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = PatchdiagLine::parse(&raw, 1);
        }
    }
}

#[cfg(test)]
mod date_tests {
    use super::*;

    #[test]
    fn a_day_has_a_month_by_name_and_a_year_of_two_digits() {
        for (text, shown) in
            [("Jan/13/11", (2011, 1, 13)), ("Oct/31/91", (1991, 10, 31)), ("May/01/51", (1951, 5, 1))]
        {
            let date = PatchdiagDate::parse(text).unwrap();
            assert_eq!(((date.year, date.month, date.day), date.to_string().as_str()), (shown, text));
        }
        for text in
            ["", "jan/13/11", "Jan/13/2011", "Jan/00/11", "Jan/32/11", "Jan/1/11", "Jan/13/11/", "Jan/+1/11"]
        {
            assert_eq!(PatchdiagDate::parse(text), None, "{text}");
        }
    }
}

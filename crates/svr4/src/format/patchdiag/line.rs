//! One line of the cross-reference of patches: its fields, read and written.
//!
//! Relations between lines are not handled here.

use super::date::PatchdiagDate;
use super::error::{FIELDS, PatchdiagError};
use crate::patch::PatchId;

/// The number of digits of the base of an id.
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

/// Returns whether a line is about a patch: six digits and a bar.
pub(super) fn is_about_patch(raw: &[u8]) -> bool {
    let (base, rest) = raw.split_at_checked(BASE_DIGITS).unwrap_or_default();
    rest.starts_with(b"|") && !base.is_empty() && base.iter().all(u8::is_ascii_digit)
}

impl PatchdiagLine {
    /// Parses a line about a patch.
    pub(super) fn parse(raw: &[u8], line: u64) -> Result<Self, PatchdiagError> {
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

    /// Returns the patch that contains this one, if the synopsis of an obsolete patch names it: `Obsoleted by: ID-REV`,
    /// or `OBSOLETED by ID`, which means revision 01 or later.
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

/// Returns the text after each occurrence of some words.
fn behind<'t>(text: &'t str, words: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(words).filter_map(move |(at, _)| text.get(at + words.len()..))
}

/// Returns the patch that begins a text: six digits, `-`, two digits.
fn revision_of(text: &str) -> Option<PatchId> {
    PatchId::new(text.get(..BASE_DIGITS + 3)?).ok().filter(|id| id.base().len() == BASE_DIGITS)
}

/// Reads the fields of one line.
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

    /// Returns the items of a field, each ended by `;`: those that are patches separately from the others.
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

#[cfg(test)]
mod tests {
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

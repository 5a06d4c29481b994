//! The identity file of a stage: its random id, which never changes, and its name, the base of its promotions.

use std::fmt;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use patchadm_changeset::format::escaped::is_hex;
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_svr4::package::{ObjectPath, rule};

const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageIdentity {
    pub id: StageId,
    pub name: StageName,
    /// Of the root, on the host.
    pub root: ObjectPath,
    /// Of the root; `None` if it had none, and none could be made.
    pub marker: Option<String>,
    /// RFC 3339, UTC.
    pub created: String,
    /// The package database was copied.
    pub records: bool,
    /// The copies have all owners and attributes.
    pub owners: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIdentity {
    stage: u32,
    id: String,
    name: String,
    root: String,
    marker: Option<String>,
    created: String,
    records: bool,
    owners: bool,
}

impl StageIdentity {
    pub fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let fault = |reason: &str| StageFileError::at(1, reason);
        let line = text.strip_suffix(b"\n").ok_or_else(|| fault("its end is missing"))?;
        let written: WrittenIdentity =
            serde_json::from_slice(line).map_err(|error| fault(&error.to_string()))?;
        if !rule::holds("stage.identity.version", written.stage == VERSION) {
            return Err(fault("the version in `stage` is not 1"));
        }
        let id = StageId::parse(&written.id).ok_or_else(|| fault("`id` is not 16 hexadecimal digits"))?;
        let name = StageName::parse(&written.name).map_err(|error| fault(&error.to_string()))?;
        let root = ObjectPath::new(&decode(&written.root)).map_err(|error| fault(&error.to_string()))?;
        let marker = written.marker.as_deref();
        if !rule::holds("stage.identity.marker", marker.is_none_or(|marker| is_hex(marker, 16))) {
            return Err(fault("`marker` is not a marker of a root"));
        }
        if !rule::holds("stage.identity.created", is_time(&written.created)) {
            return Err(fault("`created` is not a time"));
        }
        if !rule::holds("stage.identity.records", marker.is_some() || !written.records) {
            return Err(fault("`records` needs the `marker` of the root"));
        }
        let WrittenIdentity { marker, created, records, owners, .. } = written;
        Ok(Self { id, name, root, marker, created, records, owners })
    }

    pub fn write(&self) -> Vec<u8> {
        let written = WrittenIdentity {
            stage: VERSION,
            id: self.id.to_string(),
            name: self.name.to_string(),
            root: encode(self.root.as_bytes()),
            marker: self.marker.clone(),
            created: self.created.clone(),
            records: self.records,
            owners: self.owners,
        };
        // Strings, a number and truth values: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// By the marker or the path of the root.
    pub fn is_of(&self, root: &ObjectPath, marker: Option<&str>) -> bool {
        self.root == *root || self.marker.is_some() && self.marker.as_deref() == marker
    }
}

pub(super) fn is_time(text: &str) -> bool {
    text.len() <= 40 && DateTime::parse_from_rfc3339(text).is_ok()
}

/// 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(u64);

/// A letter or digit, then up to 27 letters, digits, `_`, `+` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> cannot be the name of a stage: {reason}")]
pub struct StageNameError {
    /// Escaped and cut to a readable length.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl StageId {
    pub fn of(random: u64) -> Self {
        Self(random)
    }

    /// Parses 16 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if is_hex(text, 16) { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl StageName {
    const LONGEST: usize = 28;

    /// Parses a name by its form alone, as in files.
    pub fn parse(text: &str) -> Result<Self, StageNameError> {
        let is_first = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
        if !is_first {
            return Err(refused(text, "it does not begin with a letter or a digit"));
        }
        if text.len() > Self::LONGEST {
            return Err(refused(text, "it is longer than 28 bytes"));
        }
        if !text.bytes().all(is_letter) {
            return Err(refused(text, "it may contain only letters, digits, `_`, `+` and `-`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Parses a name for a new stage. The root must not restrict the base of its promotions.
    pub fn for_root(text: &str, is_restricted: impl Fn(&str) -> bool) -> Result<Self, StageNameError> {
        let name = Self::parse(text)?;
        if is_restricted(text) {
            return Err(refused(text, "patches with this base are restricted on the root (restricted=)"));
        }
        Ok(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refused(text: &str, reason: &'static str) -> StageNameError {
    StageNameError { text: text.chars().take(100).flat_map(char::escape_debug).collect(), reason }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct StageFileError {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

impl StageFileError {
    pub fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const LINE: &str = "{\"stage\":1,\"id\":\"5f0c2a9be1d47788\",\"name\":\"web\",\"root\":\"/\",\
        \"marker\":\"9c1d6f20aa31b7e4\",\"created\":\"2026-11-20T23:10:05Z\",\"records\":false,\"owners\":true}\n";

    fn with(old: &str, new: &str) -> Result<StageIdentity, StageFileError> {
        assert!(LINE.contains(old), "{old}");
        StageIdentity::parse(LINE.replace(old, new).as_bytes())
    }

    #[test]
    fn the_line_of_the_contract_is_read_and_written_again() {
        let identity = StageIdentity::parse(LINE.as_bytes()).unwrap();
        assert_eq!(identity.name.as_str(), "web");
        assert_eq!(String::from_utf8(identity.write()).unwrap(), LINE);
        let without = with("\"9c1d6f20aa31b7e4\"", "null").unwrap();
        assert_eq!(without.marker, None);
        assert!(String::from_utf8(without.write()).unwrap().contains("\"marker\":null"));
    }

    #[test]
    fn a_stage_is_of_the_root_with_its_marker_or_its_path() {
        let identity = StageIdentity::parse(LINE.as_bytes()).unwrap();
        let (here, there) = (ObjectPath::root(), ObjectPath::new(b"/mnt").unwrap());
        assert!(identity.is_of(&there, Some("9c1d6f20aa31b7e4")), "the root was moved");
        assert!(identity.is_of(&here, Some("0000000000000000")), "the root got another marker");
        assert!(!identity.is_of(&there, Some("0000000000000000")) && !identity.is_of(&there, None));
        let without = StageIdentity { marker: None, ..identity };
        assert!(without.is_of(&here, None) && without.is_of(&here, Some("0000000000000000")));
        assert!(!without.is_of(&there, None));
    }

    #[test]
    fn what_no_stage_new_writes_into_an_identity_is_refused() {
        for (old, new) in [
            ("\"stage\":1", "\"stage\":2"),
            ("5f0c2a9be1d47788", "5f0c"),
            ("\"web\"", "\"../web\""),
            ("\"root\":\"/\"", "\"root\":\"mnt\""),
            ("\"root\":\"/\"", "\"root\":\"/../x\""),
            ("9c1d6f20aa31b7e4", "../../../etc"),
            ("2026-11-20T23:10:05Z", "yesterday"),
            ("\"owners\":true", "\"owners\":true,\"more\":1"),
            ("\"owners\":true", "\"owners\":1"),
        ] {
            assert!(with(old, new).is_err(), "{new}");
        }
        let records = LINE.replace("\"records\":false", "\"records\":true");
        assert!(StageIdentity::parse(records.as_bytes()).is_ok());
        let lost = records.replace("\"9c1d6f20aa31b7e4\"", "null");
        assert!(StageIdentity::parse(lost.as_bytes()).is_err());
        for cut in [0, 1, LINE.len() / 2, LINE.len() - 1] {
            assert!(StageIdentity::parse(&LINE.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = StageIdentity::parse(&bytes);
        }
    }

    #[test]
    fn a_name_is_short_and_of_few_letters() {
        let longest = "w".repeat(28);
        for good in ["web", "9", "pkg_jail", "a+b-c", &longest] {
            assert_eq!(StageName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "w".repeat(29);
        for bad in ["", "-web", ".web", "_web", "we b", "we.b", "wéb", "a/b", "web\n", &too_long] {
            assert!(StageName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_the_root_restricts_is_refused_for_a_new_stage_only() {
        let is_restricted = |base: &str| base.starts_with('T');
        assert!(StageName::for_root("T1", is_restricted).is_err());
        assert!(StageName::for_root("web", is_restricted).is_ok());
        assert!(StageName::parse("T1").is_ok());
    }

    #[test]
    fn an_id_is_sixteen_digits() {
        let id = StageId::of(0x5f0c_2a9b_e1d4_7788);
        assert_eq!(id.to_string(), "5f0c2a9be1d47788");
        assert_eq!(StageId::parse("5f0c2a9be1d47788"), Some(id));
        for bad in ["", "5f0c2a9be1d4778", "5F0C2A9BE1D47788", "5f0c2a9be1d477880", "+f0c2a9be1d47788"] {
            assert_eq!(StageId::parse(bad), None, "{bad:?}");
        }
    }
}

//! The identity of a stage, `identity`: one line that says which stage it is, and of which root.

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::error::StageFileError;
use super::name::{StageId, StageName};
use patchadm_changeset::format::escaped::is_hex;
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_svr4::package::{ObjectPath, rule};

/// The version of the format.
const VERSION: u32 = 1;

/// A stage's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageIdentity {
    /// Its id.
    pub id: StageId,
    /// Its name.
    pub name: StageName,
    /// The physical path of its root on the host.
    pub root: ObjectPath,
    /// The marker of its root, or `None` if the root had none and the creator of the stage could not make one.
    pub marker: Option<String>,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
    /// Whether the package database came along.
    pub records: bool,
    /// Whether the copies could be given all owners and attributes.
    pub owners: bool,
}

/// The line as it is written.
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
    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let fault = |reason: &str| StageFileError::at(1, reason);
        let line = text.strip_suffix(b"\n").ok_or_else(|| fault("its end is missing"))?;
        let written: WrittenIdentity =
            serde_json::from_slice(line).map_err(|error| fault(&error.to_string()))?;
        if !rule::holds("stage.identity.version", written.stage == VERSION) {
            return Err(fault("`stage` is another version than 1"));
        }
        let id = StageId::parse(&written.id).ok_or_else(|| fault("`id` is not 16 hexadecimal digits"))?;
        let name = StageName::parse(&written.name).map_err(|error| fault(&error.to_string()))?;
        let root = ObjectPath::new(&decode(&written.root)).map_err(|error| fault(&error.to_string()))?;
        let marker = written.marker.as_deref();
        if !rule::holds("stage.identity.marker", marker.is_none_or(|marker| is_hex(marker, 16))) {
            return Err(fault("`marker` is no marker of a root"));
        }
        if !rule::holds("stage.identity.created", is_time(&written.created)) {
            return Err(fault("`created` is no time"));
        }
        if !rule::holds("stage.identity.records", marker.is_some() || !written.records) {
            return Err(fault("`records` needs the `marker` of the root"));
        }
        let WrittenIdentity { marker, created, records, owners, .. } = written;
        Ok(Self { id, name, root, marker, created, records, owners })
    }

    /// Formats the file.
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

    /// Tells whether it is a stage of this root: it has the marker of the root, or its path.
    pub fn is_of(&self, root: &ObjectPath, marker: Option<&str>) -> bool {
        self.root == *root || self.marker.is_some() && self.marker.as_deref() == marker
    }
}

/// Tells whether a text is a time as records have it.
pub(super) fn is_time(text: &str) -> bool {
    text.len() <= 40 && DateTime::parse_from_rfc3339(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}

//! `handed-down` in a save directory: what patches that are gone had found of what this one has set or written, too
//! (patchadm-undo(5)).
//!
//! JSON lines, one for each parameter and each record file of the package. It counts instead of what the archive says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{ObjectRecord, decode, encode};
use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::Mode;

/// The name of the file.
pub const HANDED_DOWN: &str = "handed-down";

/// The file, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandedDown {
    /// Values by the names of parameters; none for one that was not there.
    pub parameters: BTreeMap<String, Option<Vec<u8>>>,
    /// Record files by their names in the directory of the package; none for one that was not there, and for a directory,
    /// which has a `/` at the end.
    pub records: BTreeMap<Vec<u8>, Option<RecordFile>>,
    /// Directories that a patch which is gone made on its way, and that have objects of this one: as its manifest had
    /// them.
    pub directories: Vec<ObjectRecord>,
}

/// Why bytes are no such file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HandedDownError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A line: of a parameter or of a record.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<ObjectRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl HandedDown {
    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, HandedDownError> {
        let mut read = Self::default();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let wrong = |reason: String| HandedDownError { line: at + 1, reason };
            let written: WrittenEntry =
                serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            if let Some(directory) = written.directory {
                read.directories.push(directory);
                continue;
            }
            let decoded = |text: &str| decode(text).into_owned();
            let value = written.value.as_deref().map(decoded);
            match (written.parameter, written.record, value, written.mode, written.mtime) {
                (Some(name), None, value, None, None) => drop(read.parameters.insert(name, value)),
                (None, Some(name), None, None, None) => drop(read.records.insert(decoded(&name), None)),
                (None, Some(name), Some(bytes), Some(mode), Some(mtime)) => {
                    let file = RecordFile { bytes, mode: Mode::of(mode), mtime };
                    read.records.insert(decoded(&name), Some(file));
                }
                _ => return Err(wrong("it is neither a parameter nor a record".to_owned())),
            }
        }
        Ok(read)
    }

    /// The bytes of the file.
    pub fn write(&self) -> Vec<u8> {
        let parameters = self.parameters.iter().map(|(name, value)| WrittenEntry {
            parameter: Some(name.clone()),
            value: value.as_deref().map(encode),
            ..WrittenEntry::default()
        });
        let records = self.records.iter().map(|(name, file)| WrittenEntry {
            record: Some(encode(name)),
            mode: file.as_ref().map(|file| file.mode.bits()),
            mtime: file.as_ref().map(|file| file.mtime),
            value: file.as_ref().map(|file| encode(&file.bytes)),
            ..WrittenEntry::default()
        });
        let directories = self
            .directories
            .iter()
            .map(|directory| WrittenEntry { directory: Some(directory.clone()), ..WrittenEntry::default() });
        let lines = parameters.chain(records).chain(directories).map(|written| {
            // Strings and numbers: serialising these cannot fail.
            let mut line = serde_json::to_vec(&written).unwrap_or_default();
            line.push(b'\n');
            line
        });
        lines.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = RecordFile> {
        (any::<Vec<u8>>(), 0u32..0o10_000, any::<i64>(), 0u32..1_000_000_000).prop_map(
            |(bytes, mode, seconds, nanoseconds)| {
                let mtime = Timestamp { seconds, nanoseconds };
                RecordFile { bytes, mode: Mode::of(mode), mtime }
            },
        )
    }

    #[test]
    fn a_line_of_neither_kind_or_of_both_is_refused_by_its_number() {
        let good = "{\"parameter\":\"WORD\"}\n";
        for bad in [
            "{}",
            "{\"parameter\":\"A\",\"record\":\"b\"}",
            "{\"record\":\"b\",\"value\":\"c\"}",
            "{\"parameter\":\"A\",\"mode\":1}",
            "{\"parameter\":\"A\",\"other\":1}",
            "garbage",
        ] {
            let error = HandedDown::parse(format!("{good}{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(error.line, 2, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_handed_down_is_read_as_it_was_written(
            parameters in prop::collection::btree_map("[A-Z_]{1,8}", any::<Option<Vec<u8>>>(), 0..4),
            records in prop::collection::btree_map(any::<Vec<u8>>(), prop::option::of(record()), 0..4),
        ) {
            let handed = HandedDown { parameters, records, directories: Vec::new() };
            prop_assert_eq!(HandedDown::parse(&handed.write()), Ok(handed));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = HandedDown::parse(&bytes);
        }
    }
}

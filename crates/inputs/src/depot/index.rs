//! The index of a depot: one JSON document, a patch a line.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use patchadm_changeset::format::escaped::is_hex;
use patchadm_svr4::patch::PatchId;

use super::{DepotPatch, is_digest};

/// The schema of an index.
pub const SCHEMA: &str = "patchadm-depot/1";

/// The largest index that is read, in bytes: 64 MiB.
pub const LARGEST_INDEX: usize = 64 << 20;

/// The index of a depot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotIndex {
    /// The name of the depot for ever: 32 random hexadecimal digits.
    pub depot: String,
    /// The version; each publication adds 1.
    pub version: u64,
    /// The date of this version.
    pub date: DateTime<Utc>,
    /// The last moment at which this version is believed; `None` for ever.
    pub expires: Option<DateTime<Utc>>,
    /// The SHA-256 of the index before this one; `None` in the first.
    pub previous: Option<String>,
    /// The patches by id; no two spellings of one id.
    patches: BTreeMap<PatchId, DepotPatch>,
}

/// The reason an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// More than [`LARGEST_INDEX`] bytes.
    #[error("the index is larger than {LARGEST_INDEX} bytes")]
    TooLarge,
    /// Not JSON of this form.
    #[error("the index is not one of {SCHEMA}: {0}")]
    Form(#[from] serde_json::Error),
    /// Another schema.
    #[error("the schema of the index is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    /// A field that cannot be as it is.
    #[error("the {field} of the index is not valid: <{value}>")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A patch that cannot be as it is.
    #[error("the entry of patch <{id}> is not valid: {reason}")]
    Patch {
        /// The id in the entry.
        id: String,
        /// The fault.
        reason: &'static str,
    },
    /// Two entries of one patch with different bytes.
    #[error("patch {id} comes twice with different content: {first} and {second}")]
    Twice {
        /// The patch.
        id: PatchId,
        /// The SHA-256 of its first entry.
        first: String,
        /// The SHA-256 of the other one.
        second: String,
    },
}

/// The document as it is read.
#[derive(Deserialize)]
struct Document {
    schema: String,
    depot: String,
    version: u64,
    date: String,
    expires: Option<String>,
    previous: Option<String>,
    patches: Vec<DepotPatch>,
}

/// The first line, without the bracket that ends it.
#[derive(Serialize)]
struct Head<'a> {
    schema: &'a str,
    depot: &'a str,
    version: u64,
    date: String,
    expires: Option<String>,
    previous: Option<&'a str>,
}

impl DepotIndex {
    /// Creates the index of a new depot, without patches, as version 0: what is published first is version 1.
    pub fn new(depot: String, date: DateTime<Utc>) -> Self {
        Self { depot, version: 0, date, expires: None, previous: None, patches: BTreeMap::new() }
    }

    /// Reads an index. Everything in it is checked: a path leads nowhere but to the object of its digest.
    pub fn parse(text: &[u8]) -> Result<Self, IndexError> {
        if text.len() > LARGEST_INDEX {
            return Err(IndexError::TooLarge);
        }
        let document: Document = serde_json::from_slice(text)?;
        if document.schema != SCHEMA {
            return Err(IndexError::Schema(document.schema));
        }
        let mut index = Self {
            date: date("date", &document.date)?,
            expires: document.expires.as_deref().map(|text| date("expires", text)).transpose()?,
            depot: checked("depot", document.depot, |text| is_hex(text, 32))?,
            version: document.version,
            previous: document.previous.map(|text| checked("previous", text, is_digest)).transpose()?,
            patches: BTreeMap::new(),
        };
        for patch in document.patches {
            index.read_patch(patch)?;
        }
        Ok(index)
    }

    /// Takes an entry of a document: valid, and after all others in the order of ids.
    fn read_patch(&mut self, patch: DepotPatch) -> Result<(), IndexError> {
        let fault = |reason, patch: DepotPatch| IndexError::Patch { id: patch.id, reason };
        if let Some(reason) = patch.fault() {
            return Err(fault(reason, patch));
        }
        let Ok(id) = PatchId::new(&patch.id) else { return Err(fault("its id is not a patch id", patch)) };
        if let Some(first) = self.patches.get(&id).filter(|first| first.sha256 != patch.sha256) {
            return Err(IndexError::Twice { id, first: first.sha256.clone(), second: patch.sha256 });
        }
        if self.patches.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(fault("the entries are not in the order of their ids, each once", patch));
        }
        self.patches.insert(id, patch);
        Ok(())
    }

    /// Formats the index: the head on the first line, then a patch a line, in the order of ids.
    pub fn write(&self) -> Vec<u8> {
        let head = Head {
            schema: SCHEMA,
            depot: &self.depot,
            version: self.version,
            date: stamp(&self.date),
            expires: self.expires.as_ref().map(stamp),
            previous: self.previous.as_deref(),
        };
        // Strings and numbers: serialising these cannot fail.
        let mut text = serde_json::to_vec(&head).unwrap_or_default();
        text.pop();
        text.extend_from_slice(b",\"patches\":[");
        for (at, patch) in self.patches.values().enumerate() {
            text.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
            text.append(&mut serde_json::to_vec(patch).unwrap_or_default());
        }
        text.extend_from_slice(b"\n]}\n");
        text
    }

    /// Returns the patches in the order of their ids.
    pub fn patches(&self) -> impl ExactSizeIterator<Item = &DepotPatch> {
        self.patches.values()
    }

    /// Returns the entry of a patch, in any spelling of its id.
    pub fn patch(&self, id: &PatchId) -> Option<&DepotPatch> {
        self.patches.get(id)
    }

    /// Enters a patch in the place of the one with this id.
    pub fn enter(&mut self, id: PatchId, patch: DepotPatch) {
        self.patches.insert(id, patch);
    }

    /// Tells whether the index is past its date.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }
}

/// Formats a moment as all our files do.
pub fn stamp(moment: &DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn date(field: &'static str, text: &str) -> Result<DateTime<Utc>, IndexError> {
    // One spelling only, so that an index that is read and written again keeps its bytes.
    let parsed = DateTime::parse_from_rfc3339(text).ok().map(|date| date.to_utc());
    let parsed = parsed.filter(|date| stamp(date) == text);
    parsed.ok_or_else(|| IndexError::Field { field, value: shown(text) })
}

fn checked(field: &'static str, text: String, is_valid: impl Fn(&str) -> bool) -> Result<String, IndexError> {
    if is_valid(&text) { Ok(text) } else { Err(IndexError::Field { field, value: shown(&text) }) }
}

/// Returns a value of a stranger, cut to a readable length.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depot::DepotFile;

    fn patch(id: &str) -> DepotPatch {
        DepotPatch {
            size: 51_200,
            manifest: Some(DepotFile::new(&"cd".repeat(32), 120)),
            keywords: vec!["security".to_owned()],
            requires: vec!["1-01 | 2-01".to_owned()],
            files: 198,
            ..DepotPatch::plain(id)
        }
    }

    fn index(ids: &[&str]) -> DepotIndex {
        let date = DateTime::from_timestamp(1_795_262_400, 0).unwrap();
        let mut index = DepotIndex::new("0f".repeat(16), date);
        index.version = 42;
        for id in ids {
            index.enter(PatchId::new(id).unwrap(), patch(id));
        }
        index
    }

    #[test]
    fn an_index_has_its_keys_in_order_and_a_patch_a_line() {
        let text = String::from_utf8(index(&["300001-03", "300001-02"]).write()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "{\"schema\":\"patchadm-depot/1\",\"depot\":\"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\",\"version\":42,\
             \"date\":\"2026-11-21T12:00:00Z\",\"expires\":null,\"previous\":null,\"patches\":["
        );
        assert!(lines[1].starts_with("{\"id\":\"300001-02\",\"path\":\"objects/ab/abab"), "{}", lines[1]);
        assert!(lines[1].ends_with("\"incompat\":[],\"files\":198},"), "{}", lines[1]);
        assert!(lines[2].starts_with("{\"id\":\"300001-03\""), "{}", lines[2]);
        assert_eq!(lines[3..], ["]}"]);
    }

    #[test]
    fn what_was_written_is_read() {
        for ids in [&[][..], &["1-01"], &["1-01", "1-02", "ACME-1"]] {
            let index = index(ids);
            assert_eq!(DepotIndex::parse(&index.write()).unwrap(), index);
        }
    }

    #[test]
    fn a_path_that_is_not_that_of_its_digest_is_refused() {
        for path in
            ["../../etc/passwd", "/etc/passwd", "objects/ab/abcd", "objects/cd/../ab/x", "..", "", ".index"]
        {
            let mut index = index(&[]);
            index.enter(PatchId::new("1-01").unwrap(), DepotPatch { path: path.to_owned(), ..patch("1-01") });
            let error = DepotIndex::parse(&index.write()).unwrap_err().to_string();
            assert!(error.contains("neither that of its digest nor a plain name"), "{error}");
        }
    }

    #[test]
    fn what_only_some_patches_have_stands_behind_the_number_of_files() {
        let mut index = index(&[]);
        let flags = vec!["security".to_owned(), "withdrawn".to_owned()];
        let path = "1-01.tar.gz".to_owned();
        let patch = DepotPatch { path, flags, scripts: true, unpacked: 4711, ..patch("1-01") };
        index.enter(PatchId::new("1-01").unwrap(), patch);
        let text = String::from_utf8(index.write()).unwrap();
        let tail =
            ",\"files\":198,\"flags\":[\"security\",\"withdrawn\"],\"scripts\":true,\"unpacked\":4711}";
        assert!(text.lines().nth(1).unwrap().ends_with(tail), "{text}");
        assert_eq!(DepotIndex::parse(text.as_bytes()).unwrap(), index);
    }

    #[test]
    fn relations_are_ids_and_lists_have_an_end() {
        for (many, reason) in [(10_001, "more than 10000"), (1, "not a patch id")] {
            let mut index = index(&[]);
            let obsoletes = vec![if many > 1 { "2-01" } else { "../x" }.to_owned(); many];
            index.enter(PatchId::new("1-01").unwrap(), DepotPatch { obsoletes, ..patch("1-01") });
            let error = DepotIndex::parse(&index.write()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_index_that_is_nested_without_end_is_refused() {
        let text = format!("{{\"schema\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(DepotIndex::parse(text.as_bytes()), Err(IndexError::Form(_))));
    }

    #[test]
    fn two_spellings_of_one_id_and_a_wrong_order_are_refused() {
        for ids in [["1-01", "1-1"], ["2-01", "1-01"]] {
            let lines: Vec<String> =
                ids.iter().map(|id| serde_json::to_string(&patch(id)).unwrap()).collect();
            let text = String::from_utf8(index(&[]).write()).unwrap();
            let text = text.replace("[\n]", &format!("[{}]", lines.join(",")));
            let error = DepotIndex::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("each once"), "{error}");
        }
    }

    #[test]
    fn fields_that_cannot_be_are_named() {
        let text = String::from_utf8(index(&[]).write()).unwrap();
        for (from, to, field) in [
            ("0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "..", "depot"),
            ("2026-11-21T12:00:00Z", "yesterday", "date"),
            ("\"previous\":null", "\"previous\":\"x\"", "previous"),
            ("\"expires\":null", "\"expires\":\"2026-11-21T12:00:00+01:00\"", "expires"),
        ] {
            let error = DepotIndex::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert!(matches!(error, IndexError::Field { field: found, .. } if found == field), "{error}");
        }
        let other = text.replace("patchadm-depot/1", "patchadm-depot/2");
        assert!(matches!(DepotIndex::parse(other.as_bytes()), Err(IndexError::Schema(_))));
        assert!(matches!(DepotIndex::parse(b"{"), Err(IndexError::Form(_))));
    }
}

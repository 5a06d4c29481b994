//! Records in a working directory: `state.json` and `bases`.
//!
//! A complete patch is entered by a rename of the file. After a killed run, only recorded digests are trusted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::build::PatchForm;
use patchadm_svr4::patch::PatchId;

const SCHEMA: &str = "patchadm-delta/1";
const PATCHES: &str = "patches/";

pub(super) const FORMS: [PatchForm; 4] =
    [PatchForm::TarGz, PatchForm::Tar, PatchForm::Zip, PatchForm::Datastream];

pub(super) const LARGEST: u64 = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeltaState(Vec<BuiltRecord>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BuiltRecord {
    /// The source package it was built for.
    pub source: String,
    pub id: String,
    /// Digest of everything it was built from.
    pub key: String,
    /// Below the working directory.
    pub path: String,
    /// Of the file.
    pub sha256: String,
    /// Missing in records of 0.1.
    #[serde(rename = "told", default, skip_serializing_if = "Option::is_none")]
    pub news: Option<BuiltNews>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltNews {
    pub reason: String,
    /// Packages in the patch.
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Scripts that the patch leaves out.
    pub scripts_left_out: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StateDocument {
    schema: String,
    sources: Vec<BuiltRecord>,
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("state.json does not conform to {SCHEMA}: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the schema of state.json is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    /// A record that no run writes.
    #[error("state.json: the record of <{0}> is not valid")]
    Record(String),
    #[error("state.json has two records of <{0}>")]
    Duplicate(String),
    /// The record's base is another source's, or not its own.
    #[error("state.json: <{id}> is listed for source {source_name}, but the base of that source is {base}")]
    OtherBase {
        id: String,
        source_name: String,
        /// The base of that source.
        base: String,
    },
    #[error("line {line}: it is not SOURCE BASE, two words; BASE must be able to begin a patch id")]
    Bases {
        /// Counted from 1.
        line: usize,
    },
    #[error("line {line}: <{source_name}> is already listed")]
    Twice { line: usize, source_name: String },
}

impl DeltaState {
    /// Rejects invalid ids and paths that lead out of `patches`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, StateError> {
        let document: StateDocument = serde_json::from_slice(text)?;
        if document.schema != SCHEMA {
            return Err(StateError::Schema(document.schema));
        }
        let mut seen = BTreeSet::new();
        for record in &document.sources {
            let Some(id) = record.valid_id() else {
                return Err(StateError::Record(record.id.chars().take(80).collect()));
            };
            if !seen.insert(id) {
                return Err(StateError::Duplicate(record.id.clone()));
            }
        }
        Ok(Self(document.sources))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let document = StateDocument { schema: SCHEMA.to_owned(), sources: self.0.clone() };
        // Strings: serializing these cannot fail.
        let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
        text.push(b'\n');
        text
    }

    pub(super) fn of_source(&self, source: &str) -> Vec<BuiltRecord> {
        let mut records: Vec<_> = self.0.iter().filter(|record| record.source == source).cloned().collect();
        records.sort_by_cached_key(|record| PatchId::new(&record.id).ok());
        records
    }

    pub(super) fn records(&self) -> &[BuiltRecord] {
        &self.0
    }

    /// Adds the patches' bases, which must agree with the list.
    pub(super) fn complete(&self, bases: &mut BTreeMap<String, String>) -> Result<(), StateError> {
        for record in &self.0 {
            let Ok(id) = PatchId::new(&record.id) else { continue };
            let base = bases.entry(record.source.clone()).or_insert_with(|| id.base().to_owned());
            if base != id.base() {
                let (source_name, base) = (record.source.clone(), base.clone());
                return Err(StateError::OtherBase { id: record.id.clone(), source_name, base });
            }
        }
        Ok(())
    }

    pub(super) fn withdraw(&mut self, id: &str) {
        self.0.retain(|record| record.id != id);
    }

    pub(super) fn enter(&mut self, record: BuiltRecord) {
        self.0.retain(|other| other.id != record.id);
        self.0.push(record);
        self.0.sort_by(|one, other| (&one.source, &one.id).cmp(&(&other.source, &other.id)));
    }
}

impl BuiltRecord {
    /// `None` unless everything is written as this program writes it.
    fn valid_id(&self) -> Option<PatchId> {
        let form = self.file().strip_prefix(self.id.as_str())?.strip_prefix('.')?;
        let is_form = FORMS.iter().any(|known| known.word() == form);
        let is_sum = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_valid = is_form && is_sum(&self.key) && is_sum(&self.sha256) && is_word(&self.source);
        PatchId::new(&self.id).ok().filter(|_| is_valid)
    }

    pub(super) fn file(&self) -> &str {
        self.path.strip_prefix(PATCHES).unwrap_or_default()
    }

    pub(super) fn of(source: &str, id: &PatchId, key: String, form: PatchForm, sha256: String) -> Self {
        let path = format!("{PATCHES}{}", file_name(id, form));
        Self { source: source.to_owned(), id: id.to_string(), key, path, sha256, news: None }
    }
}

pub(super) fn is_word(name: &str) -> bool {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !name.is_empty() && !name.starts_with('#') && !name.chars().any(is_odd)
}

pub(super) fn file_name(id: &PatchId, form: PatchForm) -> String {
    format!("{id}.{}", form.word())
}

/// Parses `SOURCE BASE` lines; ignores blank lines and comments with `#`.
pub fn parse_bases(text: &str) -> Result<BTreeMap<String, String>, StateError> {
    let mut bases = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [source, base] if PatchId::new(&format!("{base}-01")).is_ok() => {
                if bases.insert(source.to_owned(), base.to_owned()).is_some() {
                    return Err(StateError::Twice { line: line_number, source_name: source.to_owned() });
                }
            }
            _ => return Err(StateError::Bases { line: line_number }),
        }
    }
    Ok(bases)
}

pub(super) fn write_bases(bases: &BTreeMap<String, String>) -> Vec<u8> {
    bases.iter().flat_map(|(source, base)| format!("{source} {base}\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(source: &str, id: &str) -> BuiltRecord {
        BuiltRecord {
            source: source.to_owned(),
            id: id.to_owned(),
            key: "ab".repeat(32),
            path: format!("patches/{id}.tar.gz"),
            sha256: "cd".repeat(32),
            news: None,
        }
    }

    #[test]
    fn the_highest_revision_of_a_source_is_the_last_whatever_its_digits() {
        let mut state = DeltaState::default();
        for id in ["curl-9", "curl-10", "nginx-01"] {
            state.enter(record(id.split('-').next().unwrap(), id));
        }
        let ids: Vec<_> = state.of_source("curl").into_iter().map(|record| record.id).collect();
        assert_eq!(ids, ["curl-9", "curl-10"]);
        assert_eq!(DeltaState::parse(&state.write()).unwrap(), state);
    }

    #[test]
    fn a_patch_that_is_built_again_takes_the_place_of_the_one_before() {
        let mut state = DeltaState::default();
        state.enter(record("curl", "curl-01"));
        state.enter(BuiltRecord { key: "ef".repeat(32), ..record("curl", "curl-01") });
        assert_eq!(state.of_source("curl").len(), 1);
        assert_eq!(state.of_source("curl")[0].key, "ef".repeat(32));
    }

    #[test]
    fn a_record_that_leads_out_of_the_patches_is_refused() {
        let paths =
            ["../x-01.zip", "patches/../x-01.zip", "patches/y-01.zip", "/x-01.zip", "patches/x-01./y"];
        for path in
            paths.into_iter().chain(["patches/x-01.zip.manifest", "patches/x-01.dir", "patches/x-01."])
        {
            let mut state = DeltaState::default();
            state.enter(BuiltRecord { path: path.to_owned(), ..record("x", "x-01") });
            assert!(matches!(DeltaState::parse(&state.write()), Err(StateError::Record(_))), "{path}");
        }
        assert!(matches!(DeltaState::parse(b"[]"), Err(StateError::Form(_))));
        let other = br#"{"schema":"patchadm-delta/2","sources":[]}"#;
        assert!(matches!(DeltaState::parse(other), Err(StateError::Schema(_))));
    }

    #[test]
    fn two_records_of_one_patch_and_a_base_of_another_source_are_refused() {
        let twice = DeltaState(vec![record("x", "x-1"), record("x", "x-01")]);
        assert!(matches!(DeltaState::parse(&twice.write()), Err(StateError::Duplicate(_))));
        let mut state = DeltaState::default();
        state.enter(record("curl", "300001-01"));
        let mut bases = BTreeMap::new();
        state.complete(&mut bases).unwrap();
        assert_eq!(write_bases(&bases), b"curl 300001\n", "what was lost comes back");
        bases.insert("curl".to_owned(), "300002".to_owned());
        assert!(matches!(state.complete(&mut bases), Err(StateError::OtherBase { .. })));
    }

    #[test]
    fn bases_are_lines_of_two_words() {
        let bases = parse_bases("# ours\nopenssl 300001\n\n curl  ACME-curl\n").unwrap();
        assert_eq!(bases["openssl"], "300001");
        assert_eq!(write_bases(&bases), b"curl ACME-curl\nopenssl 300001\n");
        assert!(matches!(parse_bases("openssl"), Err(StateError::Bases { line: 1 })));
        assert!(matches!(parse_bases("a b c"), Err(StateError::Bases { line: 1 })));
        assert!(matches!(parse_bases("a ../b"), Err(StateError::Bases { line: 1 })));
        assert!(matches!(parse_bases("a 1\na 2"), Err(StateError::Twice { line: 2, .. })));
    }
}

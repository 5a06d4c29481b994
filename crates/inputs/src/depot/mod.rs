//! Depots: directories of signed patches, and a root's memory of them. The index names every object by digest and size,
//! so one signature covers a depot. Its version only grows and it expires; a root refuses older or forked indexes than
//! it has seen. `patchadm depot index` also indexes a directory of patches in place.
//!
//! ```text
//! DEPOT/index.json             the index; put in place by one rename
//! DEPOT/index/<sha256>.json    a copy under its own digest, with its signature .minisig beside it
//! DEPOT/objects/ab/<sha256>    patches, manifests, signatures, READMEs; never changed, never removed
//! DEPOT/keys/*.pub             shown to people, trusted by nobody
//! DEPOT/flags                  the maintainer's flags for single patches
//! ```

mod seen;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use patchadm_changeset::format::escaped::is_hex;
use patchadm_svr4::patch::{FixId, PatchId};
pub use seen::{IndexSight, LARGEST_MEMORY, SeenDepot, SeenDepots, SeenDepotsError, StaleIndex};

fn is_digest(text: &str) -> bool {
    is_hex(text, 64)
}

pub fn object_path(sha256: &str) -> String {
    format!("objects/{}/{sha256}", sha256.get(..2).unwrap_or_default())
}

pub const SCHEMA: &str = "patchadm-depot/1";

/// 64 MiB.
pub const LARGEST_INDEX: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotIndex {
    /// The permanent name: 32 random hexadecimal digits.
    pub depot: String,
    /// Incremented by each publication.
    pub version: u64,
    pub date: DateTime<Utc>,
    /// `None` is forever.
    pub expires: Option<DateTime<Utc>>,
    pub previous: Option<String>,
    /// At most one spelling of each id.
    patches: BTreeMap<PatchId, DepotPatch>,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the index is larger than {LARGEST_INDEX} bytes")]
    TooLarge,
    #[error("the index does not conform to {SCHEMA}: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the schema of the index is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    #[error("the {field} of the index is not valid: <{value}>")]
    Field { field: &'static str, value: String },
    #[error("the entry of patch <{id}> is not valid: {reason}")]
    Patch { id: String, reason: &'static str },
    #[error("patch {id} occurs twice with different content: {first} and {second}")]
    Twice { id: PatchId, first: String, second: String },
}

#[derive(Deserialize)]
struct IndexDocument {
    schema: String,
    depot: String,
    version: u64,
    date: String,
    expires: Option<String>,
    previous: Option<String>,
    patches: Vec<DepotPatch>,
}

#[derive(Serialize)]
struct IndexHead<'a> {
    schema: &'a str,
    depot: &'a str,
    version: u64,
    date: String,
    expires: Option<String>,
    previous: Option<&'a str>,
}

impl DepotIndex {
    /// Creates the index of a new depot without patches, as version 0.
    pub fn new(depot: String, date: DateTime<Utc>) -> Self {
        Self { depot, version: 0, date, expires: None, previous: None, patches: BTreeMap::new() }
    }

    /// Parses and checks an index. Paths lead only to objects of their digests.
    pub fn parse(text: &[u8]) -> Result<Self, IndexError> {
        if text.len() > LARGEST_INDEX {
            return Err(IndexError::TooLarge);
        }
        let document: IndexDocument = serde_json::from_slice(text)?;
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

    /// The entry must be valid and after all others by id.
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

    /// Formats the index: the head on the first line, then a patch a line, by id.
    pub fn write(&self) -> Vec<u8> {
        let head = IndexHead {
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

    /// Returns the earlier revisions of a patch.
    pub fn revisions_before(&self, id: &PatchId) -> impl Iterator<Item = (&PatchId, &DepotPatch)> {
        self.patches.iter().filter(move |(other, _)| id.is_later_than(other))
    }

    /// Replaces the patch with this id.
    pub fn enter(&mut self, id: PatchId, patch: DepotPatch) {
        self.patches.insert(id, patch);
    }

    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }
}

pub fn stamp(moment: &DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn date(field: &'static str, text: &str) -> Result<DateTime<Utc>, IndexError> {
    // Only one spelling is valid: rewriting an index keeps its bytes.
    let parsed = DateTime::parse_from_rfc3339(text).ok().map(|date| date.to_utc());
    let parsed = parsed.filter(|date| stamp(date) == text);
    parsed.ok_or_else(|| IndexError::Field { field, value: shown(text) })
}

fn checked(field: &'static str, text: String, is_valid: impl Fn(&str) -> bool) -> Result<String, IndexError> {
    if is_valid(&text) { Ok(text) } else { Err(IndexError::Field { field, value: shown(&text) }) }
}

/// Cuts untrusted text to a readable length.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

const LONGEST_LIST: usize = 10_000;
const LONGEST_NAME: usize = 255;

/// Everything that a reader needs to know before fetching the patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotPatch {
    pub id: String,
    /// The object path of its digest, or a plain name in a depot that was indexed in place.
    pub path: String,
    /// Of the file; for a directory, of its sorted list of files.
    pub sha256: String,
    /// Of the file, or of all files of a directory.
    pub size: u64,
    /// `zip`, `tar`, `tar.gz`, `datastream` and others; only a local reader can use `dir`.
    pub format: String,
    /// `None` for an unsigned patch.
    #[serde(default)]
    pub manifest: Option<DepotFile>,
    /// Of the manifest; `None` for an unsigned patch.
    #[serde(default)]
    pub signature: Option<DepotFile>,
    /// `README.<id>`.
    #[serde(default)]
    pub readme: Option<DepotFile>,
    /// RFC 3339 in UTC.
    pub date: String,
    pub synopsis: String,
    pub keywords: Vec<String>,
    /// The words of `SUNW_PATCH_PROPERTIES`.
    pub properties: Vec<String>,
    pub packages: Vec<DepotPackage>,
    /// One patch, or alternatives (`1-01 | 2-01`), an entry.
    pub requires: Vec<String>,
    pub obsoletes: Vec<String>,
    pub incompat: Vec<String>,
    /// Delivered and deleted objects.
    pub files: u64,
    /// `recommended`, `security`, `withdrawn`; by the maintainer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub scripts: bool,
    /// Bytes of all delivered files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpacked: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotFile {
    /// Below the top of the depot.
    pub path: String,
    pub sha256: String,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotPackage {
    pub pkg: String,
    pub arch: String,
    pub version: String,
}

impl DepotFile {
    pub fn new(sha256: &str, size: u64) -> Self {
        Self { path: object_path(sha256), sha256: sha256.to_owned(), size }
    }

    fn fault(&self) -> Option<&'static str> {
        path_fault(&self.path, &self.sha256)
    }
}

impl DepotPatch {
    #[cfg(test)]
    pub(crate) fn plain(id: &str) -> Self {
        let sha256 = "ab".repeat(32);
        let (arch, version) = ("all".to_owned(), "2.0".to_owned());
        Self {
            id: id.to_owned(),
            path: object_path(&sha256),
            sha256,
            size: 7,
            format: "tar.gz".to_owned(),
            manifest: None,
            signature: None,
            readme: None,
            date: "2026-11-20T12:00:00Z".to_owned(),
            synopsis: "web server".to_owned(),
            keywords: Vec::new(),
            properties: Vec::new(),
            packages: vec![DepotPackage { pkg: "ACMEweb".to_owned(), arch, version }],
            requires: Vec::new(),
            obsoletes: Vec::new(),
            incompat: Vec::new(),
            files: 1,
            flags: Vec::new(),
            scripts: false,
            unpacked: 0,
            fixes: Vec::new(),
        }
    }

    /// Finds an invalid id, an object path that leads elsewhere, or a list that is too long.
    fn fault(&self) -> Option<&'static str> {
        if PatchId::new(&self.id).is_err() {
            return Some("its id is not a patch id");
        }
        let beside = [&self.manifest, &self.signature, &self.readme];
        path_fault(&self.path, &self.sha256)
            .or_else(|| beside.into_iter().flatten().find_map(DepotFile::fault))
            .or_else(|| self.relation_fault())
            .or_else(|| {
                (self.is_directory() && !is_plain_name(&self.path)).then_some("a directory has no plain name")
            })
    }

    fn relation_fault(&self) -> Option<&'static str> {
        let relations = [&self.requires, &self.obsoletes, &self.incompat];
        let words = [&self.keywords, &self.properties, &self.flags, &self.fixes];
        let mut lists = relations.into_iter().chain(words);
        if self.packages.len() > LONGEST_LIST || lists.any(|list| list.len() > LONGEST_LIST) {
            return Some("a list of it has more than 10000 entries");
        }
        if self.fixes.iter().any(|id| FixId::new(id).is_err()) {
            return Some("one of its fixes is not the id of a fix");
        }
        let required = self.requires.iter().flat_map(|entry| entry.split('|').map(str::trim));
        let named = self.obsoletes.iter().chain(&self.incompat).map(String::as_str);
        required
            .chain(named)
            .any(|id| PatchId::new(id).is_err())
            .then_some("it requires, obsoletes or excludes something that is not a patch id")
    }

    /// It cannot be fetched from another machine.
    pub fn is_directory(&self) -> bool {
        self.format == "dir"
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    pub fn objects(&self) -> impl Iterator<Item = (&str, u64)> {
        let beside = [&self.manifest, &self.signature, &self.readme];
        let beside = beside.into_iter().flatten().map(|file| (file.sha256.as_str(), file.size));
        std::iter::once((self.sha256.as_str(), self.size)).chain(beside)
    }
}

fn path_fault(path: &str, sha256: &str) -> Option<&'static str> {
    if !is_digest(sha256) {
        return Some("a digest is not 64 hexadecimal digits");
    }
    (path != object_path(sha256) && !is_plain_name(path))
        .then_some("the path of an object is neither derived from its digest nor a plain name")
}

/// In the directory of the depot, and not one of its own files.
pub fn is_plain_name(path: &str) -> bool {
    let is_harmless = |letter: char| letter != '/' && !letter.is_control();
    !path.is_empty() && path.len() <= LONGEST_NAME && !path.starts_with('.') && path.chars().all(is_harmless)
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// 4 MiB.
pub const LARGEST_FLAGS: u64 = 4 << 20;

const WORDS: [&str; 3] = ["recommended", "security", "withdrawn"];

/// By id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepotFlags(BTreeMap<PatchId, Vec<String>>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DepotFlagsError {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

impl DepotFlags {
    /// Ignores empty lines and text after `#`. Several lines of a patch add up.
    pub fn parse(text: &[u8]) -> Result<Self, DepotFlagsError> {
        let mut flags: BTreeMap<PatchId, Vec<String>> = BTreeMap::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let fault = |reason| DepotFlagsError { line: at + 1, reason };
            let line = str::from_utf8(line).map_err(|_| fault("it is not UTF-8".to_owned()))?;
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(id) = words.next() else { continue };
            let id = PatchId::new(id).map_err(|error| fault(error.to_string()))?;
            let given = flags.entry(id).or_default();
            for word in words {
                if !WORDS.contains(&word) {
                    let shown: String = word.chars().take(80).flat_map(char::escape_debug).collect();
                    return Err(fault(format!("<{shown}> is not one of {}", WORDS.join(", "))));
                }
                given.push(word.to_owned());
            }
            given.sort();
            given.dedup();
        }
        Ok(Self(flags))
    }

    /// Returns the flags of a patch, sorted.
    pub fn of(&self, id: &PatchId) -> &[String] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(error.contains("neither derived from its digest nor a plain name"), "{error}");
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

    #[test]
    fn a_line_is_an_id_and_its_words() {
        let text = b"# ours\n105181-05 security recommended # bad one\n\n1-1 withdrawn\n105181-05 security\n";
        let flags = DepotFlags::parse(text).unwrap();
        assert_eq!(flags.of(&PatchId::new("105181-05").unwrap()), ["recommended", "security"]);
        assert_eq!(flags.of(&PatchId::new("1-01").unwrap()), ["withdrawn"]);
        assert!(flags.of(&PatchId::new("1-02").unwrap()).is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, reason) in [
            ("1-01 urgent\n", "line 1: <urgent> is not one of recommended, security, withdrawn"),
            ("\n../x security\n", "line 2: "),
            ("1-01 \u{1b}\n", "line 1: <\\u{1b}> is not one of"),
        ] {
            let error = DepotFlags::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        assert_eq!(DepotFlags::parse(b"\xff").unwrap_err().line, 1);
    }
}

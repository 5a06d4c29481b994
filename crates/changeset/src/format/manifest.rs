//! `install/patchadm.manifest` of an undo archive (patchadm-undo(5)): facts that SVR4 packages cannot express. JSON
//! lines: a [`ManifestHeader`], then [`ObjectRecord`]s; `%XX` for `%` and bytes other than printable ASCII.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::io::Read;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::FileType;
use patchadm_svr4::package::{ObjectPath, rule};

pub use super::escaped::{decode, encode, encoded, unhex};
pub use super::recorded_state::{RecordedState, recorded_xattrs};
pub use super::undo_files::{StoredName, UndoFiles};
pub use crate::format::recorded_state::StateDifferences;

/// Readers refuse higher versions. Version 1 lacks objects that a patch found as it delivers them, and
/// [`delivered`](ObjectRecord::delivered).
pub const VERSION: u32 = 2;

/// In [`ManifestHeader::features`]: BLAKE3 digests. Earlier forms had SHA-256.
pub const B3: &str = "b3";

/// In [`ManifestHeader::features`]: the patch made the package, so a backout removes it.
pub const MADE_PACKAGE: &str = "made-package";

/// In [`ManifestHeader::features`]: facts of kept libraries ([`UndoManifest::shlibs`], [`ManifestHeader::unserved`]).
pub const SHLIBS: &str = "shlibs";

/// In [`ManifestHeader::features`]: contents are in undo directories ([`ManifestHeader::files`]).
pub const FILES: &str = "files";

const FEATURES: &[&str] = &[B3, MADE_PACKAGE, SHLIBS, FILES];

/// Information file of an undo archive.
pub const MANIFEST: &str = "patchadm.manifest";

/// In the save directory of a patch without undo data; gzip.
pub const KEPT_MANIFEST: &str = "manifest.gz";

/// Information file: a cpio archive of old files of the package's directory in the database (`pkginfo`, `install/…`,
/// `save/pspool/…`).
pub const RECORDS: &str = "patchadm.records";

/// Information file: a cpio archive of records of kept libraries' packages, by package and file.
pub const KEPT_RECORDS: &str = "patchadm.kept";

const LONGEST_LINE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoManifest {
    pub header: ManifestHeader,
    /// Delivered, deleted or changed; sorted by path.
    pub objects: Vec<ObjectRecord>,
    /// Libraries, with links to them, that replaced objects need; sorted by path. They are not objects of the patch.
    pub shlibs: Vec<ObjectRecord>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHeader {
    /// [`VERSION`].
    pub manifest: u32,
    pub patch: String,
    pub package: String,
    /// The root's marker (patchadm-journal(5)): archives of other roots are refused.
    pub root: String,
    /// In this package.
    pub obsoletes: Vec<String>,
    /// Set by the patch in pkginfo.
    pub parameters: Vec<String>,
    /// New files and directories in the package's database directory, relative; directories end in `/`.
    pub made_records: Vec<String>,
    /// Existing files there that the patch wrote, changed or not, relative; `None` if not stated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub records: Option<Vec<String>>,
    /// CLASSES as delivered; `None` if not stated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classes: Option<String>,
    /// Escaped `PATCH_INFO` by id, if neither the saved pkginfo nor earlier undo data has it. For a lost pkginfo; a
    /// backout computes these lines.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub patch_info: BTreeMap<String, String>,
    /// Features beyond the version; always [`B3`]. Readers refuse unknown words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub features: Vec<String>,
    /// Entries of `parameters` that an earlier patch set and this one does not mention.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub silent: Vec<String>,
    /// Nanoseconds of old records' times by escaped name (0 if missing): [`RECORDS`] has whole seconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub record_times: BTreeMap<String, u32>,
    /// Scripts ran at the application.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub scripts: bool,
    /// Attributes left open (`?`) and taken from the existing object, by escaped path: `m` (mode), `u` (owner), `g`
    /// (group), `x` (capabilities and access control list), `s` (set-id bits kept by dpkg-statoverride(1)). `None` if
    /// not stated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open_attributes: Option<BTreeMap<String, String>>,
    /// Packages of kept libraries in the archive.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub kept: Vec<String>,
    /// Needs that this patch was the first to meet, so a backout keeps nothing for them: path, needed name, and digest
    /// with `b3:`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unserved: Vec<(String, String, String)>,
    /// For undo data as files; `None` if the archive has the objects.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<UndoFiles>,
}

impl ManifestHeader {
    pub fn of(patch: &str, package: &str, root: &str) -> Self {
        Self {
            manifest: VERSION,
            patch: patch.to_owned(),
            package: package.to_owned(),
            root: root.to_owned(),
            features: vec![B3.to_owned()],
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Inside the root, escaped.
    pub path: String,
    /// Absent if the path was free.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<RecordedState>,
    /// The old line of `contents`, escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<Box<str>>,
    /// Absent if the patch deleted or kept the object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub became: Option<RecordedState>,
    /// The new line of `contents`, escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_line: Option<Box<str>>,
    /// The edited file stayed; the patch's version is `PATH.patch-<id>`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub kept: bool,
    /// Delivered, changed or not; false for deleted objects, and other names of a changed file.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub delivered: bool,
    /// The archive member with the content, as in its pkgmap; escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<Box<str>>,
    /// For a kept library.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shlib: Option<Box<str>>,
    /// For undo data as files ([`StoredName`]).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoManifestError {
    #[error("the undo manifest is empty")]
    Empty,
    #[error("undo manifest, line {line}: {reason}")]
    Line {
        /// Counts from 1.
        line: usize,
        reason: String,
    },
    #[error("an earlier version of this program made it, with digests that this version does not read")]
    Earlier,
    #[error("undo manifest of version {0}: this program reads version {VERSION}")]
    Version(u32),
    #[error("the undo manifest needs `{0}`, which this program does not know")]
    Feature(String),
}

impl UndoManifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, UndoManifestError> {
        let mut lines = bytes.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let (_, first) = lines.next().ok_or(UndoManifestError::Empty)?;
        let header: ManifestHeader = parse_line(1, first)?;
        if header.manifest > VERSION {
            return Err(UndoManifestError::Version(header.manifest));
        }
        let is_known =
            |word: &String| rule::holds("manifest.header.features", FEATURES.contains(&word.as_str()));
        if let Some(word) = header.features.iter().find(|word| !is_known(word)) {
            return Err(UndoManifestError::Feature(encode(word.as_bytes())));
        }
        if !header.features.iter().any(|word| word == B3) {
            return Err(UndoManifestError::Earlier);
        }
        let (mut objects, mut shlibs) = (Vec::new(), Vec::new());
        for (index, line) in lines {
            let record: ObjectRecord = parse_line(index + 1, line)?;
            if record.shlib.is_some() { shlibs.push(record) } else { objects.push(record) }
        }
        Ok(Self { header, objects, shlibs })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Reading from memory cannot fail.
        let _ =
            ManifestText::new(&self.header, self.all_objects().map(Cow::Borrowed)).read_to_end(&mut bytes);
        bytes
    }

    /// Bytes in undo directories; `None` if the archive has the objects.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.header.files.as_ref()?;
        let stored = self.all_objects().filter(|object| object.file.is_some());
        let sizes = stored.filter_map(|object| object.was.as_ref()?.size);
        Some(sizes.fold(0, u64::saturating_add))
    }

    /// Objects of the patch come first.
    pub fn all_objects(&self) -> impl Iterator<Item = &ObjectRecord> {
        self.objects.iter().chain(&self.shlibs)
    }
}

/// Makes one line at a time.
pub struct ManifestText<I> {
    objects: I,
    line: Vec<u8>,
    at: usize,
}

impl<'o, I: Iterator<Item = Cow<'o, ObjectRecord>>> ManifestText<I> {
    pub fn new(header: &ManifestHeader, objects: I) -> Self {
        let mut line = Vec::new();
        put_json_line(&mut line, header);
        Self { objects, line, at: 0 }
    }
}

impl<'o, I: Iterator<Item = Cow<'o, ObjectRecord>>> Read for ManifestText<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len()
            && let Some(object) = self.objects.next()
        {
            self.line.clear();
            self.at = 0;
            put_json_line(&mut self.line, &*object);
        }
        let count = self.line.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[derive(Clone, Debug)]
pub enum ArchivedPaths {
    Manifest(Box<UndoManifest>),
    /// From an archive without manifest.
    Paths(Vec<ObjectPath>),
}

impl ArchivedPaths {
    pub fn manifest(&self) -> Option<&UndoManifest> {
        match self {
            Self::Manifest(manifest) => Some(manifest),
            Self::Paths(_) => None,
        }
    }

    /// Paths that the patch changed or delivers, if the archive states them.
    pub fn paths(&self) -> Vec<ObjectPath> {
        match self {
            Self::Manifest(manifest) => {
                let listed = manifest.objects.iter().filter(|record| record.is_listed());
                listed.filter_map(ObjectRecord::object_path).collect()
            }
            Self::Paths(paths) => paths.clone(),
        }
    }
}

impl ManifestHeader {
    pub fn made_package(&self) -> bool {
        self.features.iter().any(|word| word == MADE_PACKAGE)
    }

    /// An override kept set-id bits that the patch removes. `path` is escaped.
    pub fn keeps_set_id(&self, path: &str) -> bool {
        let open = self.open_attributes.as_ref().and_then(|open| open.get(path));
        open.is_some_and(|letters| letters.contains('s'))
    }
}

impl ObjectRecord {
    /// An unchanged directory may be recorded.
    pub fn is_changed(&self) -> bool {
        match (&self.was, &self.became) {
            (Some(was), Some(became))
                if was.kind == FileType::Directory && became.kind == FileType::Directory =>
            {
                (was.mode, was.uid, was.gid, &was.xattrs)
                    != (became.mode, became.uid, became.gid, &became.xattrs)
            }
            _ => true,
        }
    }

    /// For undo data as files.
    pub fn stored_name(&self) -> Option<StoredName> {
        self.file.as_deref().and_then(StoredName::parse)
    }

    /// Lists of paths have objects that the patch changed or delivers.
    pub fn is_listed(&self) -> bool {
        self.delivered || self.is_changed()
    }

    /// True if an earlier patch's object must not return here. False for a kept edited file, and another name of a
    /// changed file.
    pub fn has_path(&self) -> bool {
        !self.kept && (self.delivered || self.became.is_none() || self.was != self.became)
    }

    /// Only attributes changed, so the content is not saved.
    pub fn is_in_place(&self) -> bool {
        let (Some(was), Some(became)) = (&self.was, &self.became) else { return false };
        let differ = StateDifferences::between(was, became);
        was.kind != FileType::Directory
            && self.member.is_none()
            && !(differ.is_of_content() || differ.names)
            && !self.is_untouched()
    }

    pub fn is_untouched(&self) -> bool {
        self.kept || self.was == self.became
    }

    /// A backout need not touch it: object and line are unchanged, and it is not another name of a changed file.
    pub fn is_as_found(&self) -> bool {
        self.is_untouched()
            && self.line == self.new_line
            && !self.kept
            && self.was.as_ref().is_none_or(|was| was.group.is_none())
    }

    /// `None` if invalid.
    pub fn object_path(&self) -> Option<ObjectPath> {
        ObjectPath::new(&decode(&self.path)).ok()
    }
}

fn put_json_line(out: &mut Vec<u8>, value: &impl Serialize) {
    // Serializing strings, numbers and maps with string keys into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

fn parse_line<'a, T: Deserialize<'a>>(number: usize, line: &'a [u8]) -> Result<T, UndoManifestError> {
    if line.len() > LONGEST_LINE {
        return Err(UndoManifestError::Line { line: number, reason: "it is longer than 1 MiB".to_owned() });
    }
    serde_json::from_slice(line).map_err(|e| UndoManifestError::Line { line: number, reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Timestamp;
    use proptest::prelude::*;

    fn header() -> ManifestHeader {
        ManifestHeader {
            obsoletes: vec!["105100-02".to_owned()],
            parameters: vec!["SUNW_PATCHID".to_owned()],
            record_times: BTreeMap::from([(encode(b"save/pspool/SUNWcsr/pkgmap"), 999_999_999)]),
            scripts: true,
            open_attributes: Some(BTreeMap::from([("/opt/x".to_owned(), "mug".to_owned())])),
            ..ManifestHeader::of("105181-05", "SUNWcsr", "0123456789abcdef")
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let link =
            RecordedState { kind: FileType::Symlink, target: Some(encode(b"a\xff%b").into()), ..file() };
        let objects = vec![
            ObjectRecord { was: Some(file()), became: Some(link), ..record("/bin/x") },
            ObjectRecord { kept: true, line: Some("/etc/y e none".into()), ..record("/etc/y") },
        ];
        let manifest = UndoManifest { header: header(), objects, shlibs: vec![] };
        assert_eq!(UndoManifest::parse(&manifest.to_bytes()), Ok(manifest));
    }

    fn file() -> RecordedState {
        RecordedState {
            kind: FileType::Regular,
            mode: 0o4755,
            uid: 0,
            gid: 2,
            mtime: Timestamp { seconds: -1, nanoseconds: 999_999_999 },
            size: Some(3),
            b3: Some(Box::new("00".repeat(32).into())),
            target: None,
            device: None,
            xattrs: BTreeMap::from([("user.a".to_owned(), "00ff".to_owned())]),
            group: Some(1),
        }
    }

    fn record(path: &str) -> ObjectRecord {
        ObjectRecord {
            path: path.to_owned(),
            was: None,
            line: None,
            became: None,
            new_line: None,
            kept: false,
            delivered: false,
            member: None,
            shlib: None,
            file: None,
        }
    }

    #[test]
    fn a_manifest_that_needs_an_unknown_word_is_refused_by_that_word() {
        let features = vec![B3.to_owned(), "of-tomorrow".to_owned()];
        let needing =
            UndoManifest { header: ManifestHeader { features, ..header() }, objects: vec![], shlibs: vec![] };
        let refused = UndoManifest::parse(&needing.to_bytes()).unwrap_err();
        assert_eq!(refused, UndoManifestError::Feature("of-tomorrow".to_owned()));
        assert!(refused.to_string().contains("`of-tomorrow`"));
    }

    #[test]
    fn a_manifest_of_an_earlier_form_is_told_and_is_no_damage() {
        for version in ["1", "2"] {
            let text = format!(
                r#"{{"manifest":{version},"patch":"1-01","package":"X","root":"00","obsoletes":[],"parameters":[],"made_records":[]}}
{{"path":"/opt/a","was":{{"kind":"file","mode":420,"uid":0,"gid":0,"mtime":{{"seconds":1,"nanoseconds":0}},"sha256":"00"}}}}
"#
            );
            assert_eq!(UndoManifest::parse(text.as_bytes()), Err(UndoManifestError::Earlier));
        }
    }

    #[test]
    fn a_patch_has_what_it_delivers_deletes_or_changes() {
        let same = ObjectRecord { was: Some(file()), became: Some(file()), ..record("/a") };
        assert!(!same.has_path());
        assert!(ObjectRecord { delivered: true, ..same.clone() }.has_path());
        assert!(!ObjectRecord { delivered: true, kept: true, became: None, ..same.clone() }.has_path());
        assert!(ObjectRecord { became: None, ..same.clone() }.has_path());
        assert!(ObjectRecord { was: None, ..same }.has_path());
        assert!(record("/a").has_path() && record("/a").is_untouched());
    }

    #[test]
    fn a_manifest_of_a_later_version_or_with_a_broken_line_is_refused_by_its_line() {
        let later = UndoManifest {
            header: ManifestHeader { manifest: VERSION + 1, ..header() },
            objects: vec![],
            shlibs: vec![],
        };
        assert_eq!(UndoManifest::parse(&later.to_bytes()), Err(UndoManifestError::Version(VERSION + 1)));
        let mut broken = UndoManifest { header: header(), objects: vec![], shlibs: vec![] }.to_bytes();
        broken.extend_from_slice(b"{\"path\":3}\n");
        assert!(matches!(UndoManifest::parse(&broken), Err(UndoManifestError::Line { line: 2, .. })));
        assert_eq!(UndoManifest::parse(b""), Err(UndoManifestError::Empty));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = UndoManifest::parse(&bytes);
        }
    }
}

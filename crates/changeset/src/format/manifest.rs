//! The manifest of an undo archive, `install/patchadm.manifest`: the facts that a package in SVR4 form cannot
//! express.
//!
//! JSON lines (patchadm-undo(5)): the first is the [`ManifestHeader`], each other one an [`ObjectRecord`]. Bytes that
//! are not printable ASCII, and `%`, are written as `%XX`. Tools that do not know the file ignore it.

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

/// The version of the format written; a reader refuses a higher one. Version 1 lacks objects that a patch found
/// already as it delivers them, and lacks [`delivered`](ObjectRecord::delivered).
pub const VERSION: u32 = 2;

/// The word of [`ManifestHeader::features`] for BLAKE3 digests. Earlier forms had SHA-256.
pub const B3: &str = "b3";

/// The word of [`ManifestHeader::features`] for an archive whose patch made the package: a backout removes all of it.
pub const MADE_PACKAGE: &str = "made-package";

/// The word of [`ManifestHeader::features`] for an archive with facts about kept libraries ([`Manifest::shlibs`],
/// [`ManifestHeader::unserved`]).
pub const SHLIBS: &str = "shlibs";

/// The word of [`ManifestHeader::features`] for undo data as files: the content of the objects is in undo directories
/// ([`ManifestHeader::files`]).
pub const FILES: &str = "files";

const FEATURES: &[&str] = &[B3, MADE_PACKAGE, SHLIBS, FILES];

/// The information file of an undo archive that holds the manifest.
pub const MANIFEST: &str = "patchadm.manifest";

/// The manifest in the save directory of a patch that keeps no undo data, compressed by gzip.
pub const KEPT_MANIFEST: &str = "manifest.gz";

/// The information file of an undo archive that holds the old files of the package's directory in the database
/// (`pkginfo`, `install/…`, `save/pspool/…`): a cpio archive of them.
pub const RECORDS: &str = "patchadm.records";

/// The information file of an undo archive that holds the records of the packages of kept libraries, by name of
/// package and file: a cpio archive of them.
pub const KEPT_RECORDS: &str = "patchadm.kept";

const LONGEST_LINE: usize = 1 << 20;

/// A whole manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The header.
    pub header: ManifestHeader,
    /// The objects that the patch delivered, deleted or changed, sorted by path.
    pub objects: Vec<ObjectRecord>,
    /// The kept libraries needed by objects that the patch replaced, and the links on the way to them, sorted by
    /// path. They are not objects of the patch.
    pub shlibs: Vec<ObjectRecord>,
}

/// The first line: patch, package and root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHeader {
    /// [`VERSION`].
    pub manifest: u32,
    /// The patch.
    pub patch: String,
    /// The package instance.
    pub package: String,
    /// The marker of the root (patchadm-journal(5)): an archive of another root is refused.
    pub root: String,
    /// The patches that the patch obsoletes in this package.
    pub obsoletes: Vec<String>,
    /// Names of the parameters that the patch set in the package's pkginfo.
    pub parameters: Vec<String>,
    /// Files and directories that the patch made in the package's directory of the database, relative to it;
    /// directories end in `/`.
    pub made_records: Vec<String>,
    /// The files that the patch found in the package's directory of the database and wrote, changed or not, relative
    /// to it; `None` in an archive that does not state them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub records: Option<Vec<String>>,
    /// CLASSES as the patch delivered it; `None` in an archive that does not state it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classes: Option<String>,
    /// The escaped `PATCH_INFO` of applied patches, by id, if neither the saved pkginfo nor the undo data of an
    /// earlier patch has it. A backout computes these lines; they are for a pkginfo that was lost.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub patch_info: BTreeMap<String, String>,
    /// The features that a reader must know beyond the version; always [`B3`]. A manifest with an unknown word is
    /// refused.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub features: Vec<String>,
    /// The names among `parameters` that the patch set implicitly: an earlier patch had brought them, and this one
    /// does not mention them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub silent: Vec<String>,
    /// The nanoseconds in the modification times of the old records, by escaped name: [`RECORDS`] has whole seconds.
    /// A record that is not named has no nanoseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub record_times: BTreeMap<String, u32>,
    /// True if procedure scripts ran when the patch was applied.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub scripts: bool,
    /// The attributes that the patch left open (`?`) and took from the existing object, by escaped path: the letters
    /// `m` (mode), `u` (owner), `g` (group), `x` (file capabilities and access control list), `s` (set-id bits that
    /// an override of dpkg-statoverride(1) keeps). `None` in an archive that does not state them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open_attributes: Option<BTreeMap<String, String>>,
    /// The packages of kept libraries whose objects are in the archive.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub kept: Vec<String>,
    /// The library needs that the patch was the first to meet, so that a backout keeps nothing for them: the path of
    /// the object with the need, the name that it needs, and its digest with the prefix `b3:`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unserved: Vec<(String, String, String)>,
    /// The undo directories of undo data as files; `None` in an archive that holds the objects itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<UndoFiles>,
}

impl ManifestHeader {
    /// Returns the header of a manifest of this form that says no more than whose it is: of `patch` for `package`, in
    /// the root with this marker.
    pub fn of(patch: &str, package: &str, root: &str) -> Self {
        Self {
            manifest: VERSION,
            patch: patch.to_owned(),
            package: package.to_owned(),
            root: root.to_owned(),
            obsoletes: Vec::new(),
            parameters: Vec::new(),
            made_records: Vec::new(),
            records: None,
            classes: None,
            patch_info: BTreeMap::new(),
            features: vec![B3.to_owned()],
            silent: Vec::new(),
            record_times: BTreeMap::new(),
            scripts: false,
            open_attributes: None,
            kept: Vec::new(),
            unserved: Vec::new(),
            files: None,
        }
    }
}

/// One object, before and after the patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Absolute path inside the root, `%XX`-escaped.
    pub path: String,
    /// The object before; absent if the path was free.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub was: Option<RecordedState>,
    /// The line of `contents` before, escaped; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<Box<str>>,
    /// The object that the patch put there; absent if it deleted or kept the object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub became: Option<RecordedState>,
    /// The line of `contents` after, escaped; absent if the patch removed the line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_line: Option<Box<str>>,
    /// True if the edited file of the administrator stayed, with the patch's version beside it as `PATH.patch-<id>`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub kept: bool,
    /// True if the patch delivers it, changed or not; false for objects that it deletes, and for other names of a
    /// file that it changed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub delivered: bool,
    /// The path of the saved content among the members of the archive, as in its pkgmap, escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<Box<str>>,
    /// The package of a kept library; absent for an object of the patch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shlib: Option<Box<str>>,
    /// In undo data as files, the place of the saved content in the undo directories ([`StoredName`]).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<Box<str>>,
}

/// The reason why a manifest cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It has no first line.
    #[error("the undo manifest is empty")]
    Empty,
    /// A line is malformed.
    #[error("undo manifest, line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The fault.
        reason: String,
    },
    /// An earlier form of the program wrote it, with other digests.
    #[error("an earlier form of this program made it, with digests that this one does not read")]
    Earlier,
    /// A later version of the program wrote it.
    #[error("undo manifest of version {0}: this program reads version {VERSION}")]
    Version(u32),
    /// It needs a feature that this program does not know.
    #[error("the undo manifest needs `{0}`, which this program does not know")]
    Feature(String),
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut lines = bytes.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let (_, first) = lines.next().ok_or(ManifestError::Empty)?;
        let header: ManifestHeader = parse_line(1, first)?;
        if header.manifest > VERSION {
            return Err(ManifestError::Version(header.manifest));
        }
        let is_known =
            |word: &String| rule::holds("manifest.header.features", FEATURES.contains(&word.as_str()));
        if let Some(word) = header.features.iter().find(|word| !is_known(word)) {
            return Err(ManifestError::Feature(encode(word.as_bytes())));
        }
        if !header.features.iter().any(|word| word == B3) {
            return Err(ManifestError::Earlier);
        }
        let (mut objects, mut shlibs) = (Vec::new(), Vec::new());
        for (index, line) in lines {
            let record: ObjectRecord = parse_line(index + 1, line)?;
            if record.shlib.is_some() { shlibs.push(record) } else { objects.push(record) }
        }
        Ok(Self { header, objects, shlibs })
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // It is read from memory.
        let _ =
            ManifestText::new(&self.header, self.all_objects().map(Cow::Borrowed)).read_to_end(&mut bytes);
        bytes
    }

    /// Returns the bytes of the files in undo directories; `None` for an archive that holds its objects.
    pub fn stored_bytes(&self) -> Option<u64> {
        self.header.files.as_ref()?;
        let stored = self.all_objects().filter(|object| object.file.is_some());
        let sizes = stored.filter_map(|object| object.was.as_ref()?.size);
        Some(sizes.fold(0, u64::saturating_add))
    }

    /// Returns the objects of the patch, then those of kept libraries.
    pub fn all_objects(&self) -> impl Iterator<Item = &ObjectRecord> {
        self.objects.iter().chain(&self.shlibs)
    }
}

/// Reads a manifest as text; makes one line at a time.
pub struct ManifestText<I> {
    objects: I,
    line: Vec<u8>,
    at: usize,
}

impl<'o, I: Iterator<Item = Cow<'o, ObjectRecord>>> ManifestText<I> {
    /// Returns the text of these objects under a header.
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

/// The facts of an undo archive about the paths of its patch.
#[derive(Clone, Debug)]
pub enum PatchedPaths {
    /// Its manifest.
    Manifest(Box<Manifest>),
    /// The paths that an archive without manifest saves.
    Paths(Vec<ObjectPath>),
}

impl PatchedPaths {
    /// Returns the manifest, if there is one.
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Manifest(manifest) => Some(manifest),
            Self::Paths(_) => None,
        }
    }

    /// Returns the paths that the patch changed or delivers, as far as the archive states them.
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
    /// Returns true if the patch made the package.
    pub fn made_package(&self) -> bool {
        self.features.iter().any(|word| word == MADE_PACKAGE)
    }

    /// Returns true if an override kept set-id bits of an object, by its escaped path, that the patch takes away.
    pub fn keeps_set_id(&self, path: &str) -> bool {
        let open = self.open_attributes.as_ref().and_then(|open| open.get(path));
        open.is_some_and(|letters| letters.contains('s'))
    }
}

impl ObjectRecord {
    /// Returns true if the patch changed the object. A directory that stayed as it was is recorded but not changed.
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

    /// Returns the place of its content, in undo data as files.
    pub fn stored_name(&self) -> Option<StoredName> {
        self.file.as_deref().and_then(StoredName::parse)
    }

    /// Returns true if the list of paths beside the archive has it: the patch changed or delivers it.
    pub fn is_listed(&self) -> bool {
        self.delivered || self.is_changed()
    }

    /// Returns true if the patch has the path, so that the object of an earlier patch must not come back under it. An
    /// edited file that stayed is not the patch's, nor is another name of a file that it changed.
    pub fn has_path(&self) -> bool {
        !self.kept && (self.delivered || self.became.is_none() || self.was != self.became)
    }

    /// Returns true if the object stayed in place and only its attributes changed: its content is not saved.
    pub fn is_in_place(&self) -> bool {
        let (Some(was), Some(became)) = (&self.was, &self.became) else { return false };
        let differ = StateDifferences::between(was, became);
        was.kind != FileType::Directory
            && self.member.is_none()
            && !(differ.is_of_content() || differ.names)
            && !self.is_untouched()
    }

    /// Returns true if the patch left the object as it was.
    pub fn is_untouched(&self) -> bool {
        self.kept || self.was == self.became
    }

    /// Returns true if a backout need not touch it: neither object nor line changed, and it is not another name of a
    /// changed file.
    pub fn is_as_found(&self) -> bool {
        self.is_untouched()
            && self.line == self.new_line
            && !self.kept
            && self.was.as_ref().is_none_or(|was| was.group.is_none())
    }

    /// Returns its path, or `None` if the text is not a path.
    pub fn object_path(&self) -> Option<ObjectPath> {
        ObjectPath::new(&decode(&self.path)).ok()
    }
}

fn put_json_line(out: &mut Vec<u8>, value: &impl Serialize) {
    // Strings, numbers and maps with string keys: serialising these into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

fn parse_line<'a, T: Deserialize<'a>>(number: usize, line: &'a [u8]) -> Result<T, ManifestError> {
    if line.len() > LONGEST_LINE {
        return Err(ManifestError::Line { line: number, reason: "it is longer than 1 MiB".to_owned() });
    }
    serde_json::from_slice(line).map_err(|e| ManifestError::Line { line: number, reason: e.to_string() })
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
        let manifest = Manifest { header: header(), objects, shlibs: vec![] };
        assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
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
            Manifest { header: ManifestHeader { features, ..header() }, objects: vec![], shlibs: vec![] };
        let refused = Manifest::parse(&needing.to_bytes()).unwrap_err();
        assert_eq!(refused, ManifestError::Feature("of-tomorrow".to_owned()));
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
            assert_eq!(Manifest::parse(text.as_bytes()), Err(ManifestError::Earlier));
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
        let later = Manifest {
            header: ManifestHeader { manifest: VERSION + 1, ..header() },
            objects: vec![],
            shlibs: vec![],
        };
        assert_eq!(Manifest::parse(&later.to_bytes()), Err(ManifestError::Version(VERSION + 1)));
        let mut broken = Manifest { header: header(), objects: vec![], shlibs: vec![] }.to_bytes();
        broken.extend_from_slice(b"{\"path\":3}\n");
        assert!(matches!(Manifest::parse(&broken), Err(ManifestError::Line { line: 2, .. })));
        assert_eq!(Manifest::parse(b""), Err(ManifestError::Empty));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}

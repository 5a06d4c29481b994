//! The lines of a journal: domains, undo archives, the entries for history and logs, and the changes themselves.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::history::{Merge, RefreshRecord, SignatureRecord, TrialEnd, TrialStart};
use crate::format::undo_files::UndoFiles;
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// A domain: its stage, by a path and a marker file, never by a device number (those change at boot).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its topmost directory inside the root: the mount point.
    #[serde(with = "path_text")]
    pub top: ObjectPath,
    /// The stage directory of the run.
    #[serde(with = "path_text")]
    pub stage: ObjectPath,
    /// The calls that its file system lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
}

/// A call that a file system does not have (renameat2(2) answers EINVAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Two names cannot change places (`RENAME_EXCHANGE`). The old object of a replacement has a second name in the
    /// stage, or a copy, under the name of the new one with `.old`.
    Exchange,
    /// A rename cannot be kept from replacing an existing object (`RENAME_NOREPLACE`).
    NoReplace,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalEntry {
    /// A set of targets that can be renamed from one stage. These lines come first.
    Domain(Domain),
    /// An undo archive of the run.
    Archive(Box<JournalArchive>),
    /// The entries that `history` and `log` get once the outcome is known.
    #[serde(rename = "story")]
    RunRecord(Box<RunRecord>),
    /// A change of one name.
    Op(Box<Op>),
}

/// The place of an undo archive of the run, from which objects can be rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalArchive {
    /// Its path inside the root once it is published; `None` for one that is kept elsewhere.
    #[serde(with = "path_text::option", default)]
    pub path: Option<ObjectPath>,
    /// Its staged path.
    #[serde(with = "path_text::option", default)]
    pub staged: Option<ObjectPath>,
    /// For one outside the root (`-B`): its final path on the host, escaped. A rollback removes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outside: Option<String>,
    /// The inode of the archive outside the root or of the one to discard, so that no other object is removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inode: Option<Inode>,
    /// The escaped path of an archive outside the root that is useless after the commit, and removed then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub discard: Option<String>,
    /// BLAKE3 of the one outside the root: only a file with these bytes is removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub b3: Option<String>,
    /// The patch of the one outside the root.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patch: Option<String>,
    /// The package of the one outside the root.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// For undo data as files: the stored names of the objects that stay after the commit, each with the index of its
    /// domain ([`StoredName`](crate::format::undo_files::StoredName)).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<Vec<String>>,
    /// Stored objects of an earlier run that are useless after the commit, and removed then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drop: Option<StoredFiles>,
}

impl JournalArchive {
    /// Returns true if it is about what lies outside the stages of the run: an archive elsewhere, or undo data of
    /// earlier runs.
    pub fn is_of_others(&self) -> bool {
        self.outside.is_some() || self.discard.is_some() || self.drop.is_some()
    }
}

/// Stored objects of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFiles {
    /// Their undo directories.
    pub directories: UndoFiles,
    /// Their names, each with the index of its directory.
    pub names: Vec<String>,
}

/// The entries of a finished run for history and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its start time, RFC 3339.
    pub time: String,
    /// The user who ran it.
    pub user: String,
    /// The command.
    pub command: String,
    /// The patches it was about.
    pub patches: Vec<String>,
    /// The packages that it changed.
    pub packages: Vec<String>,
    /// The file that gets `text` when the run committed.
    #[serde(with = "path_text::option", default)]
    pub log: Option<ObjectPath>,
    /// The text for the log.
    pub text: String,
    /// True if a hook of a package manager runs it, for the history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    /// The known facts about the signature of the patch, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// The run that it undoes, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The registrations that it refreshes, for the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// The command line as it was typed, without secrets; for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// The caller's note, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The trial on which it puts its patches, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStart>,
    /// The effect on an earlier trial, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<TrialEnd>,
    /// For each patch that nobody named, the patch for which it was taken; for the history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub because: BTreeMap<String, String>,
    /// The edited files that it leaves in place, for the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
    /// In a run of several patches: the entries of all patches except the first. History and log list each patch
    /// separately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<PatchRecord>,
}

/// The entries of one patch of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRecord {
    /// The patch; as a list, like that of a [`RunRecord`].
    pub patches: Vec<String>,
    /// The packages that it changed.
    pub packages: Vec<String>,
    /// The file that gets `text` when the run committed.
    #[serde(with = "path_text::option", default)]
    pub log: Option<ObjectPath>,
    /// The text for the log.
    pub text: String,
    /// The known facts about the signature of the patch, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// The registrations that it refreshes, for the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// The edited files that it leaves in place, for the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
}

/// The change of one name. Paths are physical: no symbolic link among their parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The kind of change.
    pub kind: OpKind,
    /// The target.
    #[serde(with = "path_text")]
    pub path: ObjectPath,
    /// For `move`: the name it gets.
    #[serde(with = "path_text::option", default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ObjectPath>,
    /// The index of the domain, counted from 0.
    pub domain: usize,
    /// Its name in the stage, relative to it (`o/17`, `db/2`).
    pub stage: String,
    /// The directory of the target, if it existed before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Inode>,
    /// The object before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<Identity>>,
    /// The object after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Box<Identity>>,
    /// For `replace` if names cannot be exchanged: the copy of the old object staged beside the new one, if the old
    /// one could not be given a second name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<Identity>>,
    /// True if it is a record of the package database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub db: bool,
    /// For a new directory: it is staged with its contents, and goes back as a whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// The place of the old object in an undo archive of the run: number of the archive, escaped member name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Box<(usize, String)>>,
    /// For `held`: the status change time of the old object, which shows whether it has been touched since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Box<Timestamp>>,
    /// For `held`: whether it is a file that administrators edit (types `e` and `v`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub editable: bool,
    /// For `tree`: the digest of the list of all objects of both directories, which is a file in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Box<NotedDigest>>,
}

impl Op {
    /// Makes a change of one name, with nothing known about the objects before and after.
    pub fn new(kind: OpKind, path: ObjectPath, domain: usize, stage: String) -> Self {
        Self {
            kind,
            path,
            to: None,
            domain,
            stage,
            parent: None,
            old: None,
            new: None,
            copy: None,
            db: false,
            whole: false,
            undo: None,
            touched: None,
            editable: false,
            list: None,
        }
    }

    /// Returns the name in the stage of the list of a `tree`.
    pub fn list_name(&self) -> &str {
        self.stage.strip_prefix("o/").unwrap_or(&self.stage)
    }

    /// Returns the staged name of the old object of a replacement, on a file system that cannot exchange names.
    pub fn old_stage(&self) -> String {
        format!("{}.old", self.stage)
    }
}

/// The kinds of [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpKind {
    /// A free name gets the staged object.
    Add,
    /// The staged object and the live one are exchanged.
    Replace,
    /// The live object moves into the stage.
    Delete,
    /// The staged and the live directory are exchanged. The staged one holds everything below the live one as it is
    /// to become.
    Tree,
    /// A live name becomes another one.
    Move,
    /// An existing directory, or another object that stays, gets other attributes.
    Attr,
    /// A directory is removed after the commit, if it is empty.
    Rmdir,
    /// A name that procedure scripts may touch. `new` is the safety copy of the old object in the stage (`None` for a
    /// directory, whose attributes are all in `old`); without `old`, the name was free.
    #[serde(rename = "held")]
    Protect,
}

/// The facts that tell an object from any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// File type: the letter of find(1) `-type`.
    pub file_type: char,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Inode and birth time.
    pub inode: Inode,
    /// BLAKE3 of a regular file's bytes; decides if inodes cannot (a copied root, no birth time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b3: Option<NotedDigest>,
    /// Target of a symbolic link, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// Extended attributes of an object whose attributes change, escaped name to escaped value: all that a change may
    /// set, and the file capabilities of a file that gets another owner and keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xattrs: Option<Box<BTreeMap<String, String>>>,
}

/// The digest of an identity: 32 bytes, or the text that a journal has in its place, which the check refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum NotedDigest {
    /// 64 lower-case hexadecimal digits.
    Digest(Digest),
    /// Anything else.
    Other(Box<str>),
}

impl NotedDigest {
    /// Returns the digest, if it is one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Digest(digest) => Some(*digest),
            Self::Other(_) => None,
        }
    }
}

impl From<Digest> for NotedDigest {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<String> for NotedDigest {
    fn from(text: String) -> Self {
        let is_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        match Digest::from_hex(&text).filter(|_| !is_upper) {
            Some(digest) => Self::Digest(digest),
            None => Self::Other(text.into()),
        }
    }
}

impl From<NotedDigest> for String {
    fn from(noted: NotedDigest) -> Self {
        noted.to_string()
    }
}

impl fmt::Display for NotedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Paths as escaped text, for serde.
mod path_text {
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    use crate::format::manifest::{decode, encoded};
    use patchadm_svr4::package::ObjectPath;

    struct PathText(ObjectPath);

    impl<'de> Deserialize<'de> for PathText {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_str(PathVisitor)
        }
    }

    struct PathVisitor;

    impl Visitor<'_> for PathVisitor {
        type Value = PathText;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<PathText, E> {
            ObjectPath::new(&decode(text)).map(PathText).map_err(E::custom)
        }
    }

    pub(crate) fn serialize<S: Serializer>(path: &ObjectPath, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encoded(path.as_bytes()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectPath, D::Error> {
        PathText::deserialize(from).map(|PathText(path)| path)
    }

    pub(crate) mod option {
        use super::{Deserialize as _, Deserializer, ObjectPath, PathText, Serializer, encoded};

        // The signature is serde's.
        #[allow(clippy::ref_option)]
        pub(crate) fn serialize<S: Serializer>(path: &Option<ObjectPath>, to: S) -> Result<S::Ok, S::Error> {
            match path {
                Some(path) => to.serialize_some(&*encoded(path.as_bytes())),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<ObjectPath>, D::Error> {
            let read = Option::<PathText>::deserialize(from)?;
            Ok(read.map(|PathText(path)| path))
        }
    }
}

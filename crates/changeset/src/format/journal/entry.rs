use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::history::{Merge, RefreshRecord, SignatureRecord, TrialEnd, TrialStart};
use crate::format::undo_files::UndoFiles;
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// Identified by path and marker file: device numbers change at boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its mount point inside the root.
    #[serde(with = "path_text")]
    pub top: ObjectPath,
    #[serde(with = "path_text")]
    pub stage: ObjectPath,
    /// Calls that its file system lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<MissingRenameFlag>,
}

/// renameat2(2) answers EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingRenameFlag {
    /// `RENAME_EXCHANGE`. The old object of a replacement gets a second name or a copy in the stage, `.old`.
    Exchange,
    /// `RENAME_NOREPLACE`.
    NoReplace,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalEntry {
    /// These lines come first.
    Domain(Domain),
    Archive(Box<JournalArchive>),
    /// For `history` and `log` after the outcome.
    #[serde(rename = "story")]
    RunRecord(Box<RunRecord>),
    Op(Box<Op>),
}

/// Objects can be rebuilt from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalArchive {
    /// Inside the root after publication; `None` for an archive elsewhere.
    #[serde(with = "path_text::option", default)]
    pub path: Option<ObjectPath>,
    #[serde(with = "path_text::option", default)]
    pub staged: Option<ObjectPath>,
    /// Final host path of an archive outside the root (`-B`), escaped. A rollback removes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outside: Option<String>,
    /// Of the archive outside, or to discard: no other object may be removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inode: Option<Inode>,
    /// An archive outside the root that is useless after the commit, and removed then; escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub discard: Option<String>,
    /// BLAKE3 of the archive outside: only these bytes are removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub b3: Option<String>,
    /// Of the archive outside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub patch: Option<String>,
    /// Of the archive outside.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// For undo data as files: names of objects that stay, each with its domain's index
    /// ([`StoredName`](crate::format::undo_files::StoredName)).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<Vec<String>>,
    /// Of an earlier run; useless after the commit, and removed then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drop: Option<StoredFiles>,
}

impl JournalArchive {
    /// True for data outside the run's stages: an archive elsewhere, or undo data of earlier runs.
    pub fn is_of_others(&self) -> bool {
        self.outside.is_some() || self.discard.is_some() || self.drop.is_some()
    }
}

/// Of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFiles {
    pub directories: UndoFiles,
    /// Each with the index of its directory.
    pub names: Vec<String>,
}

/// For history and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// RFC 3339.
    pub time: String,
    pub user: String,
    pub command: String,
    pub patches: Vec<String>,
    pub packages: Vec<String>,
    /// Gets `text` after a commit.
    #[serde(with = "path_text::option", default)]
    pub log: Option<ObjectPath>,
    pub text: String,
    /// A package manager's hook runs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// The run that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// The command line as it was typed, without secrets; for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// The caller's note, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStart>,
    /// Its effect on an earlier trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<TrialEnd>,
    /// For each patch that nobody named: the patch that requires it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub because: BTreeMap<String, String>,
    /// Edited files that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
    /// All patches except the first: history and log list each patch separately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<PatchRecord>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRecord {
    /// A list, as in [`RunRecord`].
    pub patches: Vec<String>,
    pub packages: Vec<String>,
    /// Gets `text` after a commit.
    #[serde(with = "path_text::option", default)]
    pub log: Option<ObjectPath>,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// Edited files that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
}

/// Paths are physical: no parent is a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    pub kind: OpKind,
    #[serde(with = "path_text")]
    pub path: ObjectPath,
    /// For `move`.
    #[serde(with = "path_text::option", default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ObjectPath>,
    /// Counts from 0.
    pub domain: usize,
    /// Relative to the stage (`o/17`, `db/2`).
    pub stage: String,
    /// The target's directory, if it existed before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Inode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<Identity>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Box<Identity>>,
    /// For `replace` without exchange: a copy of the old object beside the new one, if a second name was impossible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<Identity>>,
    /// A record of the package database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub db: bool,
    /// A new directory, staged with its contents and undone as a whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// The old object in an undo archive: archive number, escaped member name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Box<(usize, String)>>,
    /// For `held`: the old status change time, which reveals later changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<Box<Timestamp>>,
    /// For `held`: a file that administrators edit (types `e` and `v`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub editable: bool,
    /// For `tree`: digest of the list of both directories' objects, a file in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Box<NotedDigest>>,
}

impl Op {
    /// The objects before and after are unknown.
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

    /// For `tree`.
    pub fn list_name(&self) -> &str {
        self.stage.strip_prefix("o/").unwrap_or(&self.stage)
    }

    /// For file systems that cannot exchange names.
    pub fn old_stage(&self) -> String {
        format!("{}.old", self.stage)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpKind {
    /// A free name gets the staged object.
    Add,
    /// Staged and live object are exchanged.
    Replace,
    /// The live object moves into the stage.
    Delete,
    /// Staged and live directory are exchanged. The staged one has everything below as it is to become.
    Tree,
    /// A live name becomes another one.
    Move,
    /// An object that stays gets other attributes.
    Attr,
    /// A directory is removed after the commit, if empty.
    Rmdir,
    /// Scripts may touch the name. `new` is the safety copy in the stage (`None` for a directory: `old` has all
    /// attributes); without `old`, the name was free.
    #[serde(rename = "held")]
    Protect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The letter of find(1) `-type`.
    pub file_type: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    pub mtime: Timestamp,
    /// Inode and birth time.
    pub inode: Inode,
    /// BLAKE3 of a file; decides if inodes cannot (a copied root, no birth time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b3: Option<NotedDigest>,
    /// Escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// For changes of attributes: all that may be set, and capabilities that a file keeps under a new owner; names and
    /// values escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xattrs: Option<Box<BTreeMap<String, String>>>,
}

/// 32 bytes, or another text, which the check refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum NotedDigest {
    /// 64 lower-case hexadecimal digits.
    Digest(Digest),
    Other(Box<str>),
}

impl NotedDigest {
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

        // serde prescribes the signature.
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

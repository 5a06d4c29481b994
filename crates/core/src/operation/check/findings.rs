//! What a check compares, and what it finds.

use std::collections::HashMap;

use crate::operation::failure::Failure;
use crate::operation::mend::MendedRecord;
use crate::operation::queries::packages::QueryError;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordError, ViewError};
use patchadm_rootfs::Digest;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{Mode, Object, ObjectPath};

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedAspects {
    /// Type, permissions, owner, group, device numbers, where links lead.
    pub attributes: bool,
    /// Size, sum and modification time of files.
    pub contents: bool,
    /// Also the contents of files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
    /// Also what is in exclusive directories and is nobody's.
    pub exclusive: bool,
}

/// What patches delivered, as their undo manifests say: the last one of each path.
pub(in crate::operation) type DeliveredFiles = HashMap<ObjectPath, DeliveredFile>;

/// A file that a patch delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct DeliveredFile {
    /// As it was recorded then; where the record is another one now, somebody else has put the file there since.
    pub(in crate::operation) object: Object,
    /// BLAKE3 of its bytes.
    pub(in crate::operation) b3: Digest,
    /// The patch.
    pub(in crate::operation) patch: String,
}

/// One way in which an object is not as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is there.
    Missing,
    /// Something of another type is there; the letters of pkgmap(4), `?` for what no package can deliver.
    Type(Difference<u8>),
    /// A device has other numbers, major and minor.
    Device(Difference<(u32, u32)>),
    /// Other permission bits.
    Mode(Difference<Mode>),
    /// Another group.
    Group(Difference<String>),
    /// Another owner.
    Owner(Difference<String>),
    /// The recorded group is none of this root.
    UnknownGroup(String),
    /// The recorded owner is none of this root.
    UnknownOwner(String),
    /// It is not the same object as the one that it should be a hard link to.
    NotLinked(Vec<u8>),
    /// It is no symbolic link with this target.
    NotSymlinked(Vec<u8>),
    /// Another modification time; seconds since 1970.
    Mtime(Difference<i64>),
    /// Another size in bytes.
    Size(Difference<u64>),
    /// Another sum.
    Cksum(Difference<u16>),
    /// Its bytes are not those that this patch put there, as the patch's undo manifest says (BLAKE3), although size and
    /// sum are.
    NotDelivered(String),
    /// It cannot be looked at or read; why.
    Unreadable(String),
    /// It is in an exclusive directory, and no package owns it.
    Hidden,
    /// A repair was tried and failed.
    Unfixed(UnfixedReason),
}

/// A repair that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfixedReason {
    /// Mode, owner or group are still others.
    Attributes,
    /// Mode, owner and group are left: the bytes are not those that they are recorded of.
    OtherBytes,
    /// The modification time is still another.
    Mtime,
    /// The directory is still not there.
    Directory,
    /// It is still no link to this.
    Link(Vec<u8>),
    /// What is nobody's is still there.
    Hidden,
}

/// What is recorded, and what is there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// What is recorded.
    pub expected: T,
    /// What is there.
    pub actual: T,
}

/// An object that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedObject {
    /// Where it is.
    pub path: ObjectPath,
    /// What is wrong with it, in the order of a report; nothing if all is well.
    pub findings: Vec<Finding>,
}

impl CheckedObject {
    /// Whether nothing is there.
    pub fn is_missing(&self) -> bool {
        self.findings.first() == Some(&Finding::Missing)
    }
}

/// The answer to a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Every object compared, in the order of their paths or of the pkgmap; behind them what is nobody's.
    pub checked: Vec<CheckedObject>,
    /// How many of them were not as they are recorded, and were repaired as far as that can be done.
    pub fixed: usize,
    /// What the scope names and the records do not have.
    pub unknown: UnmatchedOperands,
    /// What is wrong with records and stops no comparison.
    pub damage: Vec<RecordDamage>,
    /// Records that were damaged and are made anew; no object is compared then.
    pub mended: Vec<MendedRecord>,
    /// What became of an interrupted run before a repair.
    pub recovered: Recovered,
}

/// What a scope names and the records do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmatchedOperands {
    /// Words for packages of which none is installed.
    pub packages: Vec<String>,
    /// Words for packages that are installed and own nothing.
    pub empty: Vec<String>,
    /// Paths that no line is of.
    pub paths: Vec<ObjectPath>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The records cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Records are damaged, or disagree.
    #[error("{}", told(.0))]
    Damaged(Vec<RecordDamage>),
    /// A run is in progress, or was interrupted and waits for its recovery.
    #[error(
        "a change of {0} is not finished: nothing can be checked until it is; if it was interrupted, \
         `patchadm -R {0} recover` ends it"
    )]
    Unfinished(String),
    /// A pkgmap cannot be read, or cannot be understood without more parameters.
    #[error("{path}: {reason}")]
    Map {
        /// The pkgmap.
        path: String,
        /// What is wrong, with the line.
        reason: String,
    },
    /// No installed package is of these categories.
    #[error("no package of category <{0}> is installed")]
    NoCategory(String),
    /// A file with parameters cannot be read.
    #[error(transparent)]
    Parameters(#[from] QueryError),
    /// The root cannot be locked or recovered for a repair, or a package that is not installed cannot be read.
    #[error(transparent)]
    Operation(#[from] Failure),
}

/// What is wrong, a line for each.
fn told(damage: &[RecordDamage]) -> String {
    damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl From<RecordError> for CheckError {
    fn from(error: RecordError) -> Self {
        Self::Database(error.into())
    }
}

impl From<ViewError> for CheckError {
    fn from(error: ViewError) -> Self {
        Self::Database(error.into())
    }
}

impl From<RootError> for CheckError {
    fn from(error: RootError) -> Self {
        ViewError::from(error).into()
    }
}

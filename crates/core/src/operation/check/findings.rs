//! The aspects that a check compares, and its findings.

use std::collections::HashMap;

use crate::operation::failure::Failure;
use crate::operation::mend::MendedRecord;
use crate::operation::queries::packages::QueryError;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordError, ViewError};
use patchadm_inputs::native::NativeOwner;
use patchadm_rootfs::Digest;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{Mode, Object, ObjectPath};

/// The aspects that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedAspects {
    /// Type, permissions, owner, group, device numbers, and targets of links.
    pub attributes: bool,
    /// Size and modification time of files, which need no reading; part of `contents`.
    pub sizes: bool,
    /// Size, sum and modification time of files.
    pub contents: bool,
    /// Also the contents of files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
    /// Also objects in exclusive directories that no package owns.
    pub exclusive: bool,
}

/// The files that patches delivered, according to their undo manifests: the last one of each path.
pub(in crate::operation) type DeliveredFiles = HashMap<ObjectPath, DeliveredFile>;

/// A file that a patch delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct DeliveredFile {
    /// The object as it was recorded then. If the record differs now, the file was put there by someone else since.
    pub(in crate::operation) object: Object,
    /// BLAKE3 of its bytes.
    pub(in crate::operation) b3: Digest,
    pub(in crate::operation) patch: String,
}

/// One way in which an object differs from its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does not exist.
    Missing,
    /// It has another type; the letters of pkgmap(4), `?` for what no package can deliver.
    Type(Difference<u8>),
    /// A device has other numbers, major and minor.
    Device(Difference<(u32, u32)>),
    /// Other permission bits.
    Mode(Difference<Mode>),
    /// Another group.
    Group(Difference<String>),
    /// Another owner.
    Owner(Difference<String>),
    /// The root has no group of the recorded name.
    UnknownGroup(String),
    /// The root has no user of the recorded name.
    UnknownOwner(String),
    /// It is not the same object as its hard link source.
    NotLinked(Vec<u8>),
    /// It is not a symbolic link with this target.
    NotSymlinked(Vec<u8>),
    /// Another modification time; seconds since 1970.
    Mtime(Difference<i64>),
    /// Another size in bytes.
    Size(Difference<u64>),
    /// Another sum.
    Cksum(Difference<u16>),
    /// Its bytes are not those that this patch put there according to the undo manifest of the patch (BLAKE3), although size
    /// and sum are right.
    NotDelivered(String),
    /// It cannot be examined or read, for this reason.
    Unreadable(String),
    /// It is in an exclusive directory, and no package owns it.
    Hidden,
    /// A repair was tried and failed.
    Unfixed(UnfixedReason),
}

/// A repair that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfixedReason {
    /// Mode, owner or group still differ.
    Attributes,
    /// Mode, owner and group are left as they are: the bytes are not the recorded ones.
    OtherBytes,
    /// The modification time still differs.
    Mtime,
    /// The directory still does not exist.
    Directory,
    /// The pipe or device still does not exist.
    Node,
    /// It is still not a link to this.
    Link(Vec<u8>),
    /// The object without an owner still exists.
    Hidden,
    /// It is left as it is: it belongs to this package of dpkg or rpm, for which no package of its record stands.
    Native(NativeOwner),
}

/// A recorded value, and the actual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    /// The recorded value.
    pub expected: T,
    /// The actual value.
    pub actual: T,
}

/// An object that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedObject {
    /// The path of the object.
    pub path: ObjectPath,
    /// The findings, in the order of a report; empty if the object is as recorded.
    pub findings: Vec<Finding>,
}

impl CheckedObject {
    /// Returns whether the object does not exist.
    pub fn is_missing(&self) -> bool {
        self.findings.first() == Some(&Finding::Missing)
    }
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Every object compared, in the order of paths or of the pkgmap, followed by those that no package owns.
    pub checked: Vec<CheckedObject>,
    /// The number of objects that differed from their records and were repaired as far as possible.
    pub fixed: usize,
    /// The operands of the scope that the records lack.
    pub unknown: UnmatchedOperands,
    /// The damage of records that stops no comparison.
    pub damage: Vec<RecordDamage>,
    /// Records that were damaged and are made anew; no object is compared then.
    pub mended: Vec<MendedRecord>,
    /// The outcome of an interrupted run before a repair.
    pub recovered: Recovered,
}

/// The operands of a scope that the records lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmatchedOperands {
    /// Words that match no installed package.
    pub packages: Vec<String>,
    /// Words for packages that are installed and own nothing.
    pub empty: Vec<String>,
    /// Paths that no line is of.
    pub paths: Vec<ObjectPath>,
}

/// The reason why there is no result.
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
        /// The defect, with the line.
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

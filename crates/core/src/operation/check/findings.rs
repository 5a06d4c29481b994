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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedAspects {
    /// Type, permissions, owner, group, device numbers, and targets of links.
    pub attributes: bool,
    /// Size and modification time, without reading; part of `contents`.
    pub sizes: bool,
    /// Size, sum and modification time.
    pub contents: bool,
    /// Includes files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
    /// Finds objects without an owner in exclusive directories.
    pub exclusive: bool,
}

/// By undo manifests; the last one of each path.
pub(in crate::operation) type DeliveredFiles = HashMap<ObjectPath, DeliveredFile>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct DeliveredFile {
    /// As recorded then. If the record differs now, someone else has replaced the file.
    pub(in crate::operation) object: Object,
    /// BLAKE3.
    pub(in crate::operation) b3: Digest,
    pub(in crate::operation) patch: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Missing,
    /// Letters of pkgmap(4); `?` for types that no package can deliver.
    Type(Difference<u8>),
    /// Major and minor.
    Device(Difference<(u32, u32)>),
    Mode(Difference<Mode>),
    Group(Difference<String>),
    Owner(Difference<String>),
    /// The root has no such group.
    UnknownGroup(String),
    /// The root has no such user.
    UnknownOwner(String),
    /// Differs from this hard link source.
    NotLinked(Vec<u8>),
    /// Should be a symbolic link to this target.
    NotSymlinked(Vec<u8>),
    /// Seconds since 1970.
    Mtime(Difference<i64>),
    /// Bytes.
    Size(Difference<u64>),
    Cksum(Difference<u16>),
    /// Size and sum fit, but not the BLAKE3 in this patch's undo manifest.
    NotDelivered(String),
    Unreadable(String),
    /// In an exclusive directory, without an owner.
    Hidden,
    Unfixed(UnfixedReason),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfixedReason {
    Attributes,
    /// Left as they are: the bytes are not the recorded ones.
    OtherBytes,
    Mtime,
    Directory,
    Node,
    Link(Vec<u8>),
    Hidden,
    /// Left as it is: this native package owns it, and no package of its record stands for that.
    Native(NativeOwner),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<T> {
    pub expected: T,
    pub actual: T,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedObject {
    pub path: ObjectPath,
    /// In the order of a report; empty if all is as recorded.
    pub findings: Vec<Finding>,
}

impl CheckedObject {
    pub fn is_missing(&self) -> bool {
        self.findings.first() == Some(&Finding::Missing)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// In order of paths or of the pkgmap; objects without an owner last.
    pub checked: Vec<CheckedObject>,
    /// Objects repaired in part or whole.
    pub fixed: usize,
    pub unknown: UnmatchedOperands,
    /// Damage that stops no comparison.
    pub damage: Vec<RecordDamage>,
    /// Rebuilt records; no object is compared then.
    pub mended: Vec<MendedRecord>,
    pub recovered: Recovered,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmatchedOperands {
    pub packages: Vec<String>,
    /// Words for packages that own nothing.
    pub empty: Vec<String>,
    pub paths: Vec<ObjectPath>,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{}", told(.0))]
    Damaged(Vec<RecordDamage>),
    /// The run is active, or waits for its recovery.
    #[error(
        "a change of {0} is not finished: nothing can be checked until it is; if it was interrupted, run `patchadm -R {0} recover`"
    )]
    Unfinished(String),
    #[error("{path}: {reason}")]
    Map {
        path: String,
        /// With the line.
        reason: String,
    },
    #[error("no package of category <{0}> is installed")]
    NoCategory(String),
    #[error(transparent)]
    Parameters(#[from] QueryError),
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

//! An object as manifests and plan files record it: everything about it that a backout restores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::escaped::{decode, encode, hex, unhex};
use super::journal::NotedDigest;
use patchadm_rootfs::{Digest, FileType, Live, LiveKind, Timestamp, Xattrs};

/// Everything about an object that a backout restores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedState {
    /// File type.
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time; zero for a directory, whose time changes with every name in it and is not restored.
    pub mtime: Timestamp,
    /// Bytes, for a regular file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// BLAKE3 of the bytes, 64 hexadecimal digits, for a regular file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub b3: Option<Box<NotedDigest>>,
    /// Target of a symbolic link, escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Box<str>>,
    /// Major and minor number of a device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<(u32, u32)>,
    /// Extended attributes: escaped name to hexadecimal value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub xattrs: BTreeMap<String, String>,
    /// Objects of the manifest with the same number are names of one file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<u32>,
}

impl RecordedState {
    /// Returns the state that a backout needs from an object as it was seen.
    pub fn of(live: &Live) -> Self {
        let target = match &live.kind {
            LiveKind::Symlink(target) => Some(encode(target).into()),
            _ => None,
        };
        Self {
            kind: live.kind.file_type(),
            mode: live.mode.bits(),
            uid: live.uid,
            gid: live.gid,
            mtime: if live.is_directory() { Timestamp::default() } else { live.mtime },
            size: live.size(),
            b3: live.digest().map(|b3| Box::new(b3.into())),
            target,
            device: live.device(),
            xattrs: recorded_xattrs(&live.xattrs),
            group: None,
        }
    }

    /// Returns the digest of its bytes, if it has one.
    pub fn digest(&self) -> Option<Digest> {
        match self.b3.as_deref()? {
            NotedDigest::Digest(digest) => Some(*digest),
            NotedDigest::Other(text) => Digest::from_hex(text),
        }
    }

    /// Returns its extended attributes as bytes; a value that is not hexadecimal is left out.
    pub fn xattrs(&self) -> Xattrs {
        self.xattrs
            .iter()
            .filter_map(|(name, value)| Some((decode(name).into_owned(), unhex(value)?)))
            .collect()
    }
}

/// Returns extended attributes in the form of a [`RecordedState`].
pub fn recorded_xattrs(xattrs: &Xattrs) -> BTreeMap<String, String> {
    xattrs.iter().map(|(name, value)| (encode(name), hex(value))).collect()
}

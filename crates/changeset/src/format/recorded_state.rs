//! An object's state in manifests and plan files, and comparisons.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::escaped::{decode, encode, hex, unhex};
use crate::format::journal::NotedDigest;
use patchadm_rootfs::{Digest, FileType, Live, LiveKind, Timestamp, Xattrs};

/// Everything that a backout restores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedState {
    pub kind: FileType,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Zero for a directory: its time changes with its entries, and is not restored.
    pub mtime: Timestamp,
    /// Regular files only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// BLAKE3, 64 hexadecimal digits; regular files only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub b3: Option<Box<NotedDigest>>,
    /// Escaped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Box<str>>,
    /// Major and minor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<(u32, u32)>,
    /// Escaped name to hexadecimal value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub xattrs: BTreeMap<String, String>,
    /// Objects of a manifest with the same number are names of one file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<u32>,
}

impl RecordedState {
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

    pub fn digest(&self) -> Option<Digest> {
        match self.b3.as_deref()? {
            NotedDigest::Digest(digest) => Some(*digest),
            NotedDigest::Other(text) => Digest::from_hex(text),
        }
    }

    /// Skips values that are not hexadecimal.
    pub fn xattrs(&self) -> Xattrs {
        self.xattrs
            .iter()
            .filter_map(|(name, value)| Some((decode(name).into_owned(), unhex(value)?)))
            .collect()
    }
}

pub fn recorded_xattrs(xattrs: &Xattrs) -> BTreeMap<String, String> {
    xattrs.iter().map(|(name, value)| (encode(name), hex(value))).collect()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateDifferences {
    pub kind: bool,
    pub size: bool,
    /// Also set if only one digest is known.
    pub bytes: bool,
    pub target: bool,
    pub device: bool,
    /// Bits that only one side has.
    pub mode: u32,
    pub owner: bool,
    /// Not for directories.
    pub mtime: bool,
    pub xattrs: bool,
    /// By the numbers within one manifest.
    pub names: bool,
}

impl StateDifferences {
    pub fn between(one: &RecordedState, other: &RecordedState) -> Self {
        Self {
            kind: one.kind != other.kind,
            size: one.size != other.size,
            bytes: one.b3 != other.b3,
            target: one.target != other.target,
            device: one.device != other.device,
            mode: one.mode ^ other.mode,
            owner: (one.uid, one.gid) != (other.uid, other.gid),
            mtime: one.mtime != other.mtime,
            xattrs: one.xattrs != other.xattrs,
            names: one.group != other.group,
        }
    }

    /// Compares type, rights and content. Unrecorded bytes match any.
    pub fn is_found(recorded: Option<&RecordedState>, found: Option<&RecordedState>) -> bool {
        let (Some(recorded), Some(found)) = (recorded, found) else {
            return recorded.is_none() && found.is_none();
        };
        let differ = Self::between(recorded, found);
        let has_other_bytes = differ.bytes && recorded.b3.is_some();
        !(differ.kind
            || differ.target
            || differ.device
            || has_other_bytes
            || differ.mode != 0
            || differ.owner)
    }

    /// True for other types, bytes, targets or device numbers.
    pub fn is_of_content(self) -> bool {
        self.kind || self.size || self.bytes || self.target || self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Digest;
    use patchadm_rootfs::FileType;
    use patchadm_rootfs::Timestamp;

    fn file() -> RecordedState {
        RecordedState {
            kind: FileType::Regular,
            mode: 0o644,
            uid: 1,
            gid: 2,
            mtime: Timestamp::whole(3),
            size: Some(4),
            b3: Some(Box::new(Digest([5; 32]).into())),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            group: None,
        }
    }

    #[test]
    fn each_respect_is_told_alone() {
        let none = StateDifferences::default();
        assert_eq!(StateDifferences::between(&file(), &file()), none);
        let content = [
            (RecordedState { kind: FileType::Pipe, ..file() }, StateDifferences { kind: true, ..none }),
            (RecordedState { size: None, ..file() }, StateDifferences { size: true, ..none }),
            (RecordedState { b3: None, ..file() }, StateDifferences { bytes: true, ..none }),
            (RecordedState { target: Some("a".into()), ..file() }, StateDifferences { target: true, ..none }),
            (RecordedState { device: Some((1, 2)), ..file() }, StateDifferences { device: true, ..none }),
        ];
        let xattrs = [("user.a".to_owned(), "00".to_owned())].into();
        let attributes = [
            (RecordedState { mode: 0o755, ..file() }, StateDifferences { mode: 0o111, ..none }),
            (RecordedState { uid: 7, ..file() }, StateDifferences { owner: true, ..none }),
            (RecordedState { gid: 7, ..file() }, StateDifferences { owner: true, ..none }),
            (
                RecordedState { mtime: Timestamp::whole(7), ..file() },
                StateDifferences { mtime: true, ..none },
            ),
            (RecordedState { xattrs, ..file() }, StateDifferences { xattrs: true, ..none }),
            (RecordedState { group: Some(1), ..file() }, StateDifferences { names: true, ..none }),
        ];
        for (all, is_of_content) in [(&content[..], true), (&attributes[..], false)] {
            for (other, expected) in all {
                let found = StateDifferences::between(&file(), other);
                assert_eq!(found, *expected);
                assert_eq!(found.is_of_content(), is_of_content, "{found:?}");
            }
        }
    }
}

//! The comparison of two states of a path: each respect by one rule. Which respects count is up to the caller.

use super::recorded_state::RecordedState;

/// The respects in which two states of a path differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateDifferences {
    /// The file type.
    pub kind: bool,
    /// The size of a file.
    pub size: bool,
    /// The digest of the bytes of a file; also where only one of them is known.
    pub bytes: bool,
    /// The target of a symbolic link.
    pub target: bool,
    /// The numbers of a device.
    pub device: bool,
    /// The permission bits that only one of them has.
    pub mode: u32,
    /// The owner or the group.
    pub owner: bool,
    /// The modification time; that of a directory is not recorded.
    pub mtime: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// The other names of a file, by the numbers that one manifest gives them.
    pub names: bool,
}

impl StateDifferences {
    /// Compares two states in every respect.
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

    /// Returns whether the recorded object is the existing one: type, rights and content. Bytes that were not recorded
    /// are any.
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

    /// Returns whether the objects are of different types, or have other bytes, targets or numbers.
    pub fn is_of_content(self) -> bool {
        self.kind || self.size || self.bytes || self.target || self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::{Digest, FileType, Timestamp};

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
            xattrs: std::collections::BTreeMap::new(),
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

//! The state of a file when a scan read it, and whether it is still in that state.

use serde::{Deserialize, Serialize};

use crate::result::Digest;

/// The least age of a file's last change when it was noted, in nanoseconds. A change within it could have left the times
/// as they are: file systems keep them no finer than a tick of the kernel's clock, which is 10 ms at most.
const SETTLED: i64 = 20_000_000;

/// What the system tells of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// The number of its inode.
    pub inode: u64,
    /// Its bytes.
    pub size: u64,
    /// The time of its last modification, in nanoseconds since 1970.
    pub mtime: i64,
    /// The time of the last change of its inode, in nanoseconds since 1970.
    pub ctime: i64,
}

/// The state of a file when it was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There was none of this name.
    Absent,
    /// A file.
    File {
        /// What the system told of it.
        status: FileStatus,
        /// The digest of its bytes.
        digest: Digest,
        /// When it was noted, in nanoseconds since 1970: before it was read.
        noted: i64,
    },
}

impl Seen {
    /// Returns whether a file is as it was: by its status alone if that is the same and was settled when it was noted,
    /// else by the digest that `read` returns. `now` is its status today, `None` if there is no file.
    pub fn is_unchanged(&self, now: Option<&FileStatus>, read: impl FnOnce() -> Option<Digest>) -> bool {
        match (self, now) {
            (Self::Absent, None) => true,
            (Self::File { status, digest, noted }, Some(now)) => {
                let is_settled = status.ctime.checked_add(SETTLED).is_some_and(|settled| settled <= *noted);
                // Another size is another digest, so the file need not be read.
                now.size == status.size && (is_settled && now == status || read() == Some(*digest))
            }
            (Self::Absent, Some(_)) | (Self::File { .. }, None) => false,
        }
    }

    /// Returns whether two notes are of one state, whenever they were made.
    pub(super) fn is_same_state(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::File { status, digest, .. }, Self::File { status: other, digest: same, .. }) => {
                status == other && digest == same
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: FileStatus = FileStatus { inode: 7, size: 3, mtime: 1_000, ctime: 1_000 };

    fn seen(age: i64) -> Seen {
        Seen::File { status: STATUS, digest: Digest::of(b"abc"), noted: STATUS.ctime + age }
    }

    fn never() -> Option<Digest> {
        panic!("it is read")
    }

    #[test]
    fn a_settled_file_with_the_same_status_is_not_read() {
        assert!(seen(SETTLED).is_unchanged(Some(&STATUS), never));
    }

    #[test]
    fn a_file_that_changed_just_before_it_was_noted_is_read() {
        assert!(seen(SETTLED - 1).is_unchanged(Some(&STATUS), || Some(Digest::of(b"abc"))));
        assert!(!seen(SETTLED - 1).is_unchanged(Some(&STATUS), || Some(Digest::of(b"abd"))));
        assert!(!seen(SETTLED - 1).is_unchanged(Some(&STATUS), || None), "it cannot be read");
    }

    #[test]
    fn another_status_is_decided_by_the_digest_and_another_size_at_once() {
        let changes = [
            FileStatus { inode: 8, ..STATUS },
            FileStatus { mtime: 2_000, ..STATUS },
            FileStatus { ctime: 2_000, ..STATUS },
        ];
        for now in changes {
            assert!(seen(SETTLED).is_unchanged(Some(&now), || Some(Digest::of(b"abc"))));
            assert!(!seen(SETTLED).is_unchanged(Some(&now), || Some(Digest::of(b"abd"))));
        }
        assert!(!seen(SETTLED).is_unchanged(Some(&FileStatus { size: 4, ..STATUS }), never));
    }

    #[test]
    fn a_file_that_was_absent_has_to_stay_so() {
        assert!(Seen::Absent.is_unchanged(None, never));
        assert!(!Seen::Absent.is_unchanged(Some(&STATUS), never));
        assert!(!seen(SETTLED).is_unchanged(None, never));
    }
}

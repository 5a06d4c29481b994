//! `identities` in an undo directory: how the stored objects looked right before the commit, or, where they were copied or lost
//! set-id bits, when the directory was made (patchadm-undo(5)).
//!
//! An object that still looks so need not be read before it is restored. The file is a hint: it is not synced, has a digest
//! of its own, and is ignored where it is missing, damaged, or older than a change of the object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::{Digest, Inode, ObjectStatus, Timestamp};

/// The name of the file. The names of stored objects have no such letters alone.
pub const IDENTITIES: &[u8] = b"identities";

/// How a stored object looked: what changes with every change of its content or attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIdentity {
    inode: Inode,
    ctime: Timestamp,
    size: u64,
    mtime: Timestamp,
}

impl StoredIdentity {
    /// Returns the identity of an object with this status.
    pub fn of(seen: &ObjectStatus) -> Self {
        Self { inode: seen.inode, ctime: seen.ctime, size: seen.size, mtime: seen.mtime }
    }
}

/// Returns the text of the file: its digest, and one JSON object with all names.
pub fn write(identities: &BTreeMap<String, StoredIdentity>) -> Vec<u8> {
    // Names and numbers: serialising these cannot fail.
    let body = serde_json::to_vec(identities).unwrap_or_default();
    [Digest::of(&body).to_string().as_bytes(), b"\n", &body].concat()
}

/// Reads the file; nothing is known where it is damaged.
pub fn parse(text: &[u8]) -> BTreeMap<String, StoredIdentity> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (digest, body) = text.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    if digest != Digest::of(body).to_string().as_bytes() {
        return BTreeMap::new();
    }
    serde_json::from_slice(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_says_nothing() {
        let time = Timestamp { seconds: 7, nanoseconds: 8 };
        let identity = StoredIdentity {
            inode: Inode { number: 5, born: Some(time) },
            ctime: time,
            size: 3,
            mtime: time,
        };
        let all = BTreeMap::from([("17".to_owned(), identity)]);
        let text = write(&all);
        assert_eq!(parse(&text), all);
        let mut changed = text.clone();
        *changed.last_mut().unwrap() = b' ';
        assert!(parse(&changed).is_empty());
        assert!(parse(&text[..text.len() - 4]).is_empty());
        assert!(parse(b"").is_empty());
    }
}

//! `identities` in an undo directory: how the stored objects looked right before the commit, or, where they were copied or lost
//! set-id bits, when the directory was made (patchadm-undo(5)).
//!
//! An object that still looks so need not be read before it is restored. The file is a hint: it is not synced, has a digest
//! of its own, and is ignored where it is missing, damaged, that of another run, or older than a change of the object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::{Digest, Inode, ObjectStatus, Timestamp};
use patchadm_svr4::package::rule::holds;

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

/// How all stored objects of a run looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RunIdentities {
    /// The run: its objects may have the names of those of another one.
    run: String,
    /// The identities, by name.
    objects: BTreeMap<String, StoredIdentity>,
}

/// Returns the text of the file in the undo directory of a run: its digest, and one JSON object with the run and all names.
pub fn write(run: &str, objects: BTreeMap<String, StoredIdentity>) -> Vec<u8> {
    // Names and numbers: serialising these cannot fail.
    let body = serde_json::to_vec(&RunIdentities { run: run.to_owned(), objects }).unwrap_or_default();
    [Digest::of(&body).to_string().as_bytes(), b"\n", &body].concat()
}

/// Reads the file in the undo directory of a run; nothing is known where it is damaged, or that of another run.
pub fn parse(text: &[u8], run: &str) -> BTreeMap<String, StoredIdentity> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (digest, body) = text.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    if digest != Digest::of(body).to_string().as_bytes() {
        return BTreeMap::new();
    }
    let identities: RunIdentities = serde_json::from_slice(body).unwrap_or_default();
    if holds("identities.run", identities.run == run) { identities.objects } else { BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "17-00000000000000ab";

    #[test]
    fn what_is_damaged_or_of_another_run_says_nothing() {
        let time = Timestamp { seconds: 7, nanoseconds: 8 };
        let identity = StoredIdentity {
            inode: Inode { number: 5, born: Some(time) },
            ctime: time,
            size: 3,
            mtime: time,
        };
        let all = BTreeMap::from([("17".to_owned(), identity)]);
        let text = write(RUN, all.clone());
        assert_eq!(parse(&text, RUN), all);
        assert!(parse(&text, "18-00000000000000ab").is_empty());
        let mut changed = text.clone();
        *changed.last_mut().unwrap() = b' ';
        assert!(parse(&changed, RUN).is_empty());
        assert!(parse(&text[..text.len() - 4], RUN).is_empty());
        assert!(parse(b"", RUN).is_empty());
    }
}

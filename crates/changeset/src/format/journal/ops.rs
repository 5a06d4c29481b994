//! The second file of a journal, `ops-<run>`: what the run does to objects, and what is told of it.
//!
//! Names, owners, sizes and digests of objects that not everybody may read are nobody's business but the owner's. Readers
//! of the package database do not need them; so they are not in the journal, which everybody may read. A record that not
//! everybody may read stands in the journal with its place and its inode only, and here once more with all that is known
//! of it.

use std::collections::HashMap;

use super::{HEAD, Identity, Journal, JournalEntry, JournalError, JournalHeader, Op, SECTOR, VERSION};
use super::{blank, checked, line, sector, texts};
use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::rule::holds;

/// The bit of a mode that lets everybody read.
const EVERYBODY_READS: u32 = 0o004;

/// The bytes of the two files of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFiles {
    /// The journal, for everybody.
    pub journal: Vec<u8>,
    /// `ops-<run>`, for the owner.
    pub ops: Vec<u8>,
}

impl Journal {
    /// The files of a journal of the present version whose run is in progress: header, blank outcome, all lines. The ops
    /// of either file keep their order.
    pub fn to_files(header: JournalHeader, entries: &[JournalEntry]) -> JournalFiles {
        // The sectors come first, and the header when everything behind it is known.
        let mut journal: Vec<u8> = (0..HEAD / SECTOR).flat_map(|_| blank()).collect();
        let mut ops = Vec::new();
        for entry in entries {
            match entry {
                JournalEntry::Domain(_) => journal.extend_from_slice(&line(entry)),
                JournalEntry::Op(op) if op.db => {
                    let shown = op.for_everybody();
                    if shown != **op {
                        ops.extend_from_slice(&line(entry));
                    }
                    journal.extend_from_slice(&line(&JournalEntry::Op(Box::new(shown))));
                }
                JournalEntry::Archive(_) | JournalEntry::RunRecord(_) | JournalEntry::Op(_) => {
                    ops.extend_from_slice(&line(entry));
                }
            }
        }
        let lines = journal.get(HEAD..).unwrap_or_default();
        let header = JournalHeader {
            version: VERSION,
            lines: lines.len() as u64,
            b3: digest(lines),
            db: lines.len() as u64,
            ops: ops.len() as u64,
            ops_b3: digest(&ops),
            ..header
        };
        journal.splice(..SECTOR, sector(&header));
        JournalFiles { journal, ops }
    }

    /// Adds what the second file says, when it is the one that the header names.
    pub(super) fn add_ops(&mut self, bytes: Option<&[u8]>) -> Result<(), JournalError> {
        let header = &self.head.header;
        let is_it = |bytes: &&[u8]| bytes.len() as u64 == header.ops && digest(bytes) == header.ops_b3;
        let Some(bytes) = bytes.filter(is_it) else { return Err(JournalError::Ops(header.run.clone())) };
        let place = |op: &Op| (op.domain, op.stage.clone());
        let shown: HashMap<(usize, String), usize> =
            self.ops.iter().enumerate().map(|(index, op)| (place(op), index)).collect();
        for (index, text) in texts(bytes).enumerate() {
            let entry = checked(text, || format!("line {} of ops-{}", index + 1, self.head.header.run))?;
            match entry {
                JournalEntry::Op(op) if op.db => {
                    let shown = shown.get(&place(&op)).and_then(|index| self.ops.get_mut(*index));
                    fill_in(shown, *op)?;
                }
                entry => self.add(entry),
            }
        }
        Ok(())
    }
}

/// Puts all that is known of a record in the place of what everybody may know.
fn fill_in(shown: Option<&mut Op>, op: Op) -> Result<(), JournalError> {
    let error = || JournalError::Field { field: "path", of: format!("the change of {}", op.path) };
    let shown = shown.ok_or_else(error)?;
    // Readers and recovery must not be told two things.
    if !holds("journal.ops.record", *shown == op.for_everybody()) {
        return Err(error());
    }
    *shown = op;
    Ok(())
}

impl Op {
    /// What everybody may know of a record.
    fn for_everybody(&self) -> Self {
        let mut identities = [&self.old, &self.new, &self.copy].into_iter().flatten();
        if identities.all(|identity| identity.mode & EVERYBODY_READS != 0) && self.undo.is_none() {
            return self.clone();
        }
        let bare = |identity: &Option<Identity>| identity.as_ref().map(Identity::bare);
        Self {
            old: bare(&self.old),
            new: bare(&self.new),
            copy: bare(&self.copy),
            undo: None,
            ..self.clone()
        }
    }
}

impl Identity {
    /// Which object it is, and nothing of what it is like.
    fn bare(&self) -> Self {
        Self {
            file_type: self.file_type,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::whole(0),
            inode: self.inode,
            b3: None,
            target: None,
            xattrs: None,
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

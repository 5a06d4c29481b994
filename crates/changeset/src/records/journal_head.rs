//! What the first sectors of the journal tell of a root: its marker, and how the last run ended.

use std::fs::File;
use std::io::Read;

use super::identity::{IdentityFault, RootId, RootIdentity};
use super::lost_journal::stage_without_journal;
use super::places;
use super::view_error::{ViewError, failed};
use crate::format::journal::{self, HEAD, JournalError, JournalHead};
use patchadm_rootfs::{Dir, FileType, Root, RootError};

/// Returns the marker of the root, 16 hexadecimal digits set before its first journal; `None` if no run ever began. If
/// `root-id` and the journal disagree, returns that of `root-id`.
pub fn marker(root: &Root) -> Result<Option<String>, ViewError> {
    let header = head(root)?.map(|head| head.header.root);
    Ok(RootId::of(root)?.marker().or(header))
}

/// Returns the number of the last run according to the journal of a root, or 0 if it has none.
pub fn last_run(root: &Root) -> Result<u64, ViewError> {
    Ok(head(root)?.as_ref().and_then(JournalHead::run).map_or(0, |run| run.number))
}

/// Returns the number of the last run if it was committed, or is to be; `None` if it was rolled back, or if there was
/// none.
pub fn last_committed_run(root: &Root) -> Result<Option<u64>, ViewError> {
    let committed = head(root)?.filter(|head| head.outcome == Some(journal::RunOutcome::Commit));
    Ok(committed.as_ref().and_then(JournalHead::run).map(|run| run.number))
}

/// Tells whether a root has a journal: a run was published in it.
pub fn has_journal(root: &Root) -> Result<bool, ViewError> {
    Ok(head(root)?.is_some())
}

/// Returns the fault of the identity of a root, if there is one: `root-id` and the journal name two markers, or neither
/// names one although runs were made.
pub fn identity_fault(root: &Root) -> Result<Option<IdentityFault>, ViewError> {
    let header = head(root)?.map(|head| head.header.root);
    let directory = root.resolver().locate_dir(&places::own_directory())?;
    let Some(own) = root.dir_if_there(&directory)? else { return Ok(None) };
    Ok(RootIdentity::of(&own, header)?.fault(&own))
}

/// Reads the sectors of the journal, if there is one.
pub(super) fn head(root: &Root) -> Result<Option<JournalHead>, ViewError> {
    let Some((mut file, path)) = open_journal(root)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(HEAD);
    read_to(&mut file, HEAD as u64, &mut bytes, &path)?;
    journal::parse_head(&bytes).map(Some).map_err(|reason| ViewError::Journal { path, reason })
}

/// Opens the journal, if there is one; the path is for messages.
pub(super) fn open_journal(root: &Root) -> Result<Option<(File, String)>, ViewError> {
    let directory = root.resolver().locate_dir(&places::own_directory())?;
    let Some(dir) = root.dir_if_there(&directory)? else { return Ok(None) };
    match dir.open_regular(b"journal") {
        Ok(file) => Ok(Some((file, root.show(&dir.at(b"journal"))))),
        Err(error) if error.is_not_found() => match stage_without_journal(&dir)? {
            None => Ok(None),
            Some(stage) => Err(ViewError::Journal {
                path: root.show(&dir.at(b"journal")),
                reason: JournalError::Gone(stage),
            }),
        },
        Err(_) if is_no_file(&dir)? => {
            Err(ViewError::Journal { path: root.show(&dir.at(b"journal")), reason: JournalError::NoFile })
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells whether an object other than a file is in the place of the journal.
fn is_no_file(own: &Dir) -> Result<bool, RootError> {
    Ok(own.look(b"journal")?.is_some_and(|seen| seen.file_type != FileType::Regular))
}

/// Reads at most `limit` bytes of a file behind what is read.
pub(super) fn read_to(file: &mut File, limit: u64, bytes: &mut Vec<u8>, path: &str) -> Result<(), ViewError> {
    let read = file.take(limit).read_to_end(bytes);
    read.map(drop).map_err(|error| failed("read", path.to_owned(), &error))
}

//! Facts in the journal's first sectors. A run's stage exists only while `journal.new` or the journal does, so a stage
//! with neither belongs to a run whose journal was lost.

use std::fs::File;
use std::io::Read;

use rustix::io::Errno;

use crate::format::journal;
use crate::format::journal::{HEAD, JournalError, JournalHead};
use crate::records::identity::{IdentityFault, RootId, RootIdentity};
use crate::records::{ViewError, failed, places};
use patchadm_rootfs::{Dir, FileType, Root, RootError};

/// `None` if no run ever began. If `root-id` and the journal disagree, `root-id` wins.
pub fn marker(root: &Root) -> Result<Option<String>, ViewError> {
    let header = head(root)?.map(|head| head.header.root);
    Ok(RootId::of(root)?.marker().or(header))
}

/// 0 without a journal.
pub fn last_run(root: &Root) -> Result<u64, ViewError> {
    Ok(head(root)?.as_ref().and_then(JournalHead::run).map_or(0, |run| run.number))
}

/// `None` if it was rolled back, or there was none.
pub fn last_committed_run(root: &Root) -> Result<Option<u64>, ViewError> {
    let committed = head(root)?.filter(|head| head.outcome == Some(journal::RunOutcome::Commit));
    Ok(committed.as_ref().and_then(JournalHead::run).map(|run| run.number))
}

/// A journal means that a run was published.
pub fn has_journal(root: &Root) -> Result<bool, ViewError> {
    Ok(head(root)?.is_some())
}

/// `root-id` and journal name two markers, or neither names one although runs were made.
pub fn identity_fault(root: &Root) -> Result<Option<IdentityFault>, ViewError> {
    let header = head(root)?.map(|head| head.header.root);
    let directory = root.resolver().locate_dir(&places::own_directory())?;
    let Some(own) = root.dir_if_there(&directory)? else { return Ok(None) };
    Ok(RootIdentity::of(&own, header)?.fault(&own))
}

pub(crate) fn head(root: &Root) -> Result<Option<JournalHead>, ViewError> {
    let Some((mut file, path)) = open_journal(root)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(HEAD);
    read_to(&mut file, HEAD as u64, &mut bytes, &path)?;
    journal::parse_head(&bytes).map(Some).map_err(|reason| ViewError::Journal { path, reason })
}

pub(crate) fn open_journal(root: &Root) -> Result<Option<(File, String)>, ViewError> {
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

fn is_no_file(own: &Dir) -> Result<bool, RootError> {
    Ok(own.look(b"journal")?.is_some_and(|seen| seen.file_type != FileType::Regular))
}

pub(crate) fn read_to(file: &mut File, limit: u64, bytes: &mut Vec<u8>, path: &str) -> Result<(), ViewError> {
    let read = file.take(limit).read_to_end(bytes);
    read.map(drop).map_err(|error| failed("read", path.to_owned(), &error))
}

pub(crate) const UNPUBLISHED: &[u8] = b"journal.new";

pub(crate) const STAGES: &[u8] = b"stage";

/// Returns a stage in `own`, which has no journal.
pub(crate) fn stage_without_journal(own: &Dir) -> Result<Option<String>, RootError> {
    let Some(stage) = a_stage(own)? else { return Ok(None) };
    Ok(if own.look(UNPUBLISHED)?.is_some() { None } else { Some(stage) })
}

fn a_stage(own: &Dir) -> Result<Option<String>, RootError> {
    let Some(seen) = own.look(STAGES)?.filter(|seen| seen.file_type == FileType::Directory) else {
        return Ok(None);
    };
    let names = own.dir(STAGES).and_then(|stages| {
        let names = stages.names()?;
        let is_directory =
            |name: &Vec<u8>| Ok(stages.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory));
        names.into_iter().map(|name| Ok((is_directory(&name)?, name))).collect::<Result<Vec<_>, RootError>>()
    });
    match names {
        Ok(names) => {
            let found = names.into_iter().find(|(is_directory, _)| *is_directory);
            Ok(found.map(|(_, name)| name.escape_ascii().to_string()))
        }
        // Only the owner may list them; otherwise the link count tells, if directories count.
        Err(error) if error.errno() == Some(Errno::ACCESS) => {
            Ok((seen.links > 2).then(|| "<run>".to_owned()))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

//! Tells a root in which no run ever began from one whose journal is lost.
//!
//! The stage of a run exists before its journal, and is removed after the journal has its outcome. Before a stage is
//! made, there is `journal.new`, which becomes the journal or stays until the stage is gone. So a stage with neither
//! beside it belongs to a run whose journal was removed.

use patchadm_rootfs::{Dir, FileType, RootError};
use rustix::io::Errno;

/// The name of a journal that is not published.
pub(crate) const UNPUBLISHED: &[u8] = b"journal.new";

/// The directory of the stages.
pub(crate) const STAGES: &[u8] = b"stage";

/// Returns the name of a stage that has lost its journal, if there is one in the directory `own`, which contains no
/// journal.
pub(crate) fn stage_without_journal(own: &Dir) -> Result<Option<String>, RootError> {
    let Some(stage) = a_stage(own)? else { return Ok(None) };
    Ok(if own.look(UNPUBLISHED)?.is_some() { None } else { Some(stage) })
}

/// Returns the name of one directory among the stages.
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
        // Only the owner may list them; if each directory counts as a link of the one above, the link count tells as
        // much.
        Err(error) if error.errno() == Some(Errno::ACCESS) => {
            Ok((seen.links > 2).then(|| "<run>".to_owned()))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

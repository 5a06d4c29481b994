//! Writes `root-id`: before the first journal, from the journal if lost, or for a new identity.

use crate::format::journal::{JournalHead, with_marker};
use crate::records::identity;
use crate::records::identity::{NAME, RootId, RootIdentity};
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::journal::journal_file;
use crate::transaction::stage::domains::make_own_directory;
use patchadm_rootfs::{Dir, FileType, Lock, Root};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places::own_directory;

const NEW: &[u8] = b"root-id.new";

/// `None` if no run was ever made. Two markers are an error, as is a lost one.
pub(crate) fn marker(root: &Root, head: Option<&JournalHead>) -> Result<Option<String>, Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    let Some(own) = root.dir_if_there(&directory)? else { return Ok(None) };
    match RootIdentity::of(&own, head.map(|head| head.header.root.clone()))? {
        RootIdentity::Known(marker, _) => Ok(Some(marker)),
        RootIdentity::New => Ok(None),
        other => other.fault(&own).map_or(Ok(None), |fault| Err(fault.into())),
    }
}

/// Durable. Another marker means that someone exchanged the directory meanwhile, and a journal with ours would never be
/// accepted.
pub(crate) fn make_sure(own: &Dir, marker: &str) -> Result<(), Cause> {
    match RootId::in_own(own)? {
        RootId::Marker(found) if found == marker => Ok(()),
        RootId::Marker(_) => Err(Cause::Changed(own.root().show(&own.at(NAME)))),
        RootId::Missing | RootId::Damaged => write(own, marker),
    }
}

/// Durable. Moves an object aside that is no file.
fn write(own: &Dir, marker: &str) -> Result<(), Cause> {
    remove_new(own)?;
    let mut file = own.create(NEW)?;
    file.put(&identity::root_id_text(marker))?;
    file.set_mode(Mode::of(0o644))?;
    file.sync()?;
    if own.look(NAME)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
        let aside = journal_file::free_name(own, "root-id.damaged-")?;
        own.move_to(NAME, own, &aside)?;
    }
    own.rename(NEW, NAME)?;
    Ok(own.sync()?)
}

pub(crate) fn remove_new(own: &Dir) -> Result<(), Cause> {
    if own.look(NEW)?.is_some() { Ok(own.remove(NEW)?) } else { Ok(()) }
}

/// For a recovered root that is about to change. Restores `root-id` from the journal, with a note. Two or no markers
/// are an error.
pub fn settle_identity(root: &Root, _lock: &Lock) -> Result<Vec<String>, TransactionError> {
    settle(root).during(Phase::Recover)
}

fn settle(root: &Root) -> Result<Vec<String>, Cause> {
    let head = journal_file::head(root)?;
    let Some(marker) = marker(root, head.as_ref())? else { return Ok(Vec::new()) };
    let own = make_own_directory(root)?;
    let how = match RootId::in_own(&own)? {
        RootId::Marker(_) => return Ok(Vec::new()),
        RootId::Missing => "was not there",
        RootId::Damaged => "was damaged",
    };
    write(&own, &marker)?;
    Ok(vec![format!("{} {how}: it is restored from the journal", root.show(&own.at(NAME)))])
}

/// The last run must be finished.
pub fn renew_identity(root: &Root, _lock: &Lock, marker: &str) -> Result<(), TransactionError> {
    renew(root, marker).during(Phase::Recover)
}

fn renew(root: &Root, marker: &str) -> Result<(), Cause> {
    if let Some(head) = journal_file::head(root)?
        && !head.done
    {
        return Err(Cause::Unfinished { run: head.header.run });
    }
    let own = make_own_directory(root)?;
    write(&own, marker)?;
    journal_file::rewrite(&own, |bytes| with_marker(bytes, marker))
}

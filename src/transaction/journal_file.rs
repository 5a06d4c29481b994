//! The journal on the disk: written beside its place, published by a rename, closed by one sector.

use std::io::Read as _;

use super::error::Cause;
use super::sites::make_own_directory;
use crate::database::own_directory;
use crate::format::journal::{self, HEAD, Head, Journal, Outcome, Progress};
use crate::package::Mode;
use crate::root::{Dir, Root, WritableFile};

const NAME: &[u8] = b"journal";
const NEW: &[u8] = b"journal.new";

/// A journal is not larger than this.
const LARGEST: u64 = 4 << 30;

/// The journal of a root, if it ever had one.
pub(super) fn read(root: &Root) -> Result<Option<Journal>, Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    let Some(dir) = root.dir_if_there(&directory)? else { return Ok(None) };
    let Some(journal) = read_from(&dir, NAME)? else { return Ok(None) };
    let path = || root.show(&dir.at(NAME));
    journal.must_be_of(&directory).map_err(|reason| Cause::Journal { path: path(), reason })?;
    Ok(Some(journal))
}

/// The journal, or a copy of it, in a directory.
pub(super) fn read_from(dir: &Dir, name: &[u8]) -> Result<Option<Journal>, Cause> {
    let Some(bytes) = dir.read(name, LARGEST)? else { return Ok(None) };
    let path = dir.root().show(&dir.at(name));
    Journal::parse(&bytes).map(Some).map_err(|reason| Cause::Journal { path, reason })
}

/// The sectors of the journal of a root, if it ever had one: what is to know of a run that is tidied up.
pub(super) fn head(root: &Root) -> Result<Option<Head>, Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(None), |own| head_in(&own))
}

/// The same in the directory of the journal.
pub(super) fn head_in(own: &Dir) -> Result<Option<Head>, Cause> {
    let file = match own.open_regular(NAME) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut bytes).map_err(|error| own.read_error(NAME, &error))?;
    let path = own.root().show(&own.at(NAME));
    journal::parse_head(&bytes).map(Some).map_err(|reason| Cause::Journal { path, reason })
}

/// Writes the journal under its temporary name. It is not durable and means nothing yet.
pub(super) fn write_new(root: &Root, bytes: &[u8]) -> Result<(), Cause> {
    let own = make_own_directory(root)?;
    own.remove(NEW)?;
    write(&own, NEW, bytes)
}

/// Writes a copy of the journal into a stage, under its temporary name.
pub(super) fn write_copy(stage: &Dir, bytes: &[u8]) -> Result<(), Cause> {
    write(stage, NEW, bytes)
}

/// Gives a copy that is durable its name: one that is damaged from here on has not been torn by a power cut. That the
/// name is durable is not waited for: nothing that comes later in its file system is durable without it, or the
/// temporary name tells as much.
pub(super) fn name_copy(stage: &Dir) -> Result<(), Cause> {
    Ok(stage.rename(NEW, NAME)?)
}

/// The copy in a stage. None where there is none, or the power was cut before it was durable: such a run was never
/// published.
pub(super) fn read_copy(stage: &Dir) -> Result<Option<Journal>, Cause> {
    match read_from(stage, NAME)? {
        None => match read_from(stage, NEW) {
            Err(Cause::Journal { .. }) => Ok(None),
            read => read,
        },
        copy => Ok(copy),
    }
}

fn write(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), Cause> {
    let mut file = dir.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    file.set_mode(Mode::of(0o644))?;
    Ok(())
}

/// Gives the journal its name. The content must be durable already; after this the name is, and recovery rolls the
/// run back until its outcome is written.
pub(super) fn publish(root: &Root) -> Result<(), Cause> {
    let own = make_own_directory(root)?;
    own.rename(NEW, NAME)?;
    own.sync()?;
    Ok(())
}

/// Removes a journal that was never published.
pub(super) fn remove_new(root: &Root) -> Result<(), Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(()), |own| remove_new_in(&own))
}

/// The same in the directory of the journal. On a read-only file system even the removal of nothing fails.
pub(super) fn remove_new_in(own: &Dir) -> Result<(), Cause> {
    if own.look(NEW)?.is_some() {
        own.remove(NEW)?;
    }
    Ok(())
}

/// Writes the outcome into the open journal and makes it durable: after it no power cut changes how the run ended. An
/// error leaves it in doubt, because a failed sync says nothing about what reached the disk.
pub(super) fn close(journal: &WritableFile, outcome: Outcome) -> Result<(), Cause> {
    let (sector, offset) = journal::outcome_sector(outcome);
    journal.put_at(&sector, offset)?;
    journal.sync()?;
    Ok(())
}

/// Writes how far a run with scripts is, and makes it durable: recovery must know which script it has to end.
pub(super) fn note_progress(root: &Root, progress: &Progress) -> Result<(), Cause> {
    let (sector, offset) = journal::progress_sector(progress);
    let file = open(root)?;
    file.put_at(&sector, offset)?;
    file.sync()?;
    Ok(())
}

/// Notes that the run is tidied up. Not synced: without it the next command tidies up once more.
pub(super) fn mark_done(root: &Root) -> Result<(), Cause> {
    let (sector, offset) = journal::done_sector();
    open(root)?.put_at(&sector, offset)?;
    Ok(())
}

/// The journal, open for writing.
pub(super) fn open(root: &Root) -> Result<WritableFile, Cause> {
    let own = make_own_directory(root)?;
    own.open_writable(NAME)?.ok_or_else(|| Cause::Internal("the journal is not there".to_owned()))
}

/// Makes an outcome that was found durable: what the page cache shows after a failed sync proves nothing, so the
/// journal is written anew, synced, and put in its place.
pub(super) fn harden(root: &Root) -> Result<(), Cause> {
    let own = make_own_directory(root)?;
    let bytes = own.read(NAME, LARGEST)?.unwrap_or_default();
    own.remove(NEW)?;
    let mut file = own.create(NEW)?;
    file.put(&bytes)?;
    file.set_mode(Mode::of(0o644))?;
    file.sync()?;
    own.rename(NEW, NAME)?;
    own.sync()?;
    Ok(())
}

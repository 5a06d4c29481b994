//! The bytes of results are compared with their digests, once for each state of a file.

use std::os::unix::fs::MetadataExt as _;

use patchadm_bulk_values::result::Key;
use patchadm_bulk_values::verified::{VerifiedFile, VerifiedFiles};
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

use crate::file_copy::digest_of_file;
use crate::pool::{FoundResult, LOG, Pool, PoolEntry, has_whole_log};
use crate::runs::read_bounded;
use crate::work::PROGRAM;

/// The file with the notes, in the directory of a bulk build.
const VERIFIED: &[u8] = b"verified";

/// The most bytes of notes that are read.
const LARGEST_NOTES: u64 = 1 << 28;

/// Reads the notes on files that were compared.
pub(crate) fn read_verified(work: &Dir) -> Result<VerifiedFiles, RootError> {
    // Without notes everything is compared.
    let bytes = read_bounded(work, VERIFIED, LARGEST_NOTES)?.unwrap_or_default().unwrap_or_default();
    Ok(VerifiedFiles::parse(&bytes))
}

/// Writes the notes, if they are others than those that were read.
pub(crate) fn write_verified(work: &Dir, verified: &VerifiedFiles) -> Result<(), RootError> {
    if !verified.has_changed() {
        return Ok(());
    }
    work.replace_file(PROGRAM, VERIFIED, &verified.to_bytes(), Mode::of(0o644))
}

/// Looks for the result of a key in a pool. Its files are read where they are not noted as they are.
pub(crate) fn find_verified(
    pool: &Pool,
    key: &Key,
    verified: &mut VerifiedFiles,
) -> Result<FoundResult, RootError> {
    let entry = match pool.find(key)? {
        FoundResult::Result(entry) => entry,
        other => return Ok(other),
    };
    Ok(match first_wrong(&entry, verified)? {
        Some(name) => {
            let reason = format!("{}: {name} does not have the digest that is noted", entry.path.display());
            FoundResult::Damaged(reason)
        }
        None => FoundResult::Result(entry),
    })
}

/// Returns the first file of a result with other bytes than it is to have. One that need not be on the disk yet is always read: a
/// note may be older than a power cut.
fn first_wrong(entry: &PoolEntry, verified: &mut VerifiedFiles) -> Result<Option<String>, RootError> {
    let dir = Dir::of_host(&entry.path)?;
    if entry.is_unflushed && !has_whole_log(&dir)? {
        return Ok(Some(LOG.to_owned()));
    }
    for (name, _, digest) in entry.result.stored_files() {
        let file = dir.open_regular(name.as_bytes())?;
        let failed = |error: &std::io::Error| dir.read_error(name.as_bytes(), error);
        let seen = file.metadata().map_err(|error| failed(&error))?;
        let ctime = seen.ctime().saturating_mul(1_000_000_000).saturating_add(seen.ctime_nsec());
        let state = VerifiedFile { inode: seen.ino(), size: seen.size(), ctime, digest };
        let noted = path_of(&entry.result.key, name);
        if !entry.is_unflushed && verified.has(&noted, &state) {
            continue;
        }
        if digest_of_file(&file, failed)? != digest {
            return Ok(Some(name.to_owned()));
        }
        verified.note(noted, state);
    }
    Ok(None)
}

fn path_of(key: &Key, name: &str) -> String {
    format!("{}/{key}/{name}", key.prefix())
}

//! The handover to the signer: the manifests without a signature, and a list of their patches.
//!
//! It is made from the records at the end of every run, so that it is right again after a killed run. Signatures that
//! were brought here stay.

use std::fmt::Write as _;

use super::work::{HANDOVER, WorkDirectory, beside, folder, is_manifest_of, put_file};
use patchadm_inputs::sign::LARGEST_MANIFEST;
use patchadm_rootfs::{Dir, FileType, RootError};

/// The list: `ID SIZE SHA256 FILE`.
const LIST: &[u8] = b"LIST";

/// The largest list that is compared, in bytes: 16 MiB.
const LARGEST_LIST: u64 = 16 << 20;

/// Writes the manifests to be signed and their list, removes those that are not to be signed, and returns their number.
pub(super) fn hand_over(work: &WorkDirectory) -> Result<usize, RootError> {
    let (patches, handover) = (work.patches()?, folder(&work.top()?, HANDOVER)?);
    let (mut list, mut names) = (String::new(), Vec::new());
    for record in work.built() {
        let (file, name) = (record.file(), beside(record.file()));
        let size = patches.look(file.as_bytes())?.map(|seen| seen.size);
        let manifest = patches.read_regular(name.as_bytes(), LARGEST_MANIFEST)?;
        let (Some(size), Some(manifest)) = (size, manifest) else { continue };
        // No one is asked to sign for something that was not built here.
        if work.is_signed(file)? || !is_manifest_of(&record, &manifest) {
            continue;
        }
        put(&handover, name.as_bytes(), &manifest, LARGEST_MANIFEST)?;
        // Writing to a string does not fail.
        let _ = writeln!(list, "{} {size} {} {file}", record.id, record.sha256);
        names.push(name.into_bytes());
    }
    let is_done = |name: &[u8]| name.ends_with(b".manifest") && !names.iter().any(|kept| kept == name);
    for name in handover.names_that_are(is_done)? {
        if handover.look(&name)?.is_some_and(|seen| seen.file_type != FileType::Directory) {
            handover.remove(&name)?;
        }
    }
    put(&handover, LIST, list.as_bytes(), LARGEST_LIST)?;
    Ok(names.len())
}

/// Writes a file unless it has these bytes.
fn put(dir: &Dir, name: &[u8], bytes: &[u8], limit: u64) -> Result<(), RootError> {
    if let Ok(Some(there)) = dir.read_regular(name, limit)
        && there == bytes
    {
        return Ok(());
    }
    put_file(dir, name, bytes)
}

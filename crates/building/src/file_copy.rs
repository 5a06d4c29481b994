//! Files of the host are read part by part, and copied; copies share their blocks where the file system can.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use patchadm_bulk_values::result::Digest;
use patchadm_rootfs::{Dir, RootError};

/// The most bytes that are read at a time.
const PART: usize = 1 << 18;

/// Reads a file from its beginning to its end, and hands on each part of it. `failed` gives an error of the reading its words.
pub(crate) fn each_part<E>(
    file: &File,
    failed: impl Fn(&io::Error) -> E,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // Most files are small, and a large buffer would cost more than they do.
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let part = usize::try_from(size).unwrap_or(PART).saturating_add(1).min(PART);
    let (mut buffer, mut offset) = (vec![0; part], 0);
    loop {
        let read = file.read_at(&mut buffer, offset).map_err(|error| failed(&error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        each(bytes)?;
        offset += read as u64;
    }
}

/// Returns the digest of a file. `failed` gives an error of the reading its words.
pub(crate) fn digest_of_file<E>(file: &File, failed: impl Fn(&io::Error) -> E) -> Result<Digest, E> {
    let mut hasher = blake3::Hasher::new();
    each_part(file, failed, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Copies a file of one directory to another.
pub(crate) fn copy_file(from: &Dir, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<(), RootError> {
    let source = from.open_regular(name)?;
    let mut file = to.create(new_name)?;
    if file.clone_of(&source)? {
        return Ok(());
    }
    each_part(&source, |error| from.read_error(name, error), |bytes| file.put(bytes))
}

//! Copies of files of the host, which share their blocks where the file system can.

use std::os::unix::fs::FileExt as _;

use patchadm_rootfs::{Dir, RootError};

/// Copies a file of one directory to another.
pub(crate) fn copy_file(from: &Dir, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<(), RootError> {
    let source = from.open_regular(name)?;
    let mut file = to.create(new_name)?;
    if file.clone_of(&source)? {
        return Ok(());
    }
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        let read = source.read_at(&mut buffer, offset);
        let read = read.map_err(|error| from.read_error(name, &error))?;
        if read == 0 {
            return Ok(());
        }
        file.put(buffer.get(..read).unwrap_or_default())?;
        offset += read as u64;
    }
}

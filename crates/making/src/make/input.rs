//! Opening the files that a package is made of.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading, and returns its status; refuses a pipe without a writer, without waiting.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let seen = file.metadata()?;
    if seen.is_file() { Ok((file, seen)) } else { Err(io::Error::other("not a regular file")) }
}

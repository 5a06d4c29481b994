//! The entries of a directory, delivered one by one from the buffer that the kernel fills.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, RawDir};

/// The number of bytes of entries read at once.
const BUFFER: usize = 32 << 10;

/// Passes on the name of every entry except `.` and `..`, with its type as far as the listing tells it. Each call
/// starts over, regardless of the position of the descriptor.
pub fn each_entry(
    directory: impl AsFd,
    visit: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = super::again(|| rustix::fs::openat(&directory, ".", flags, Mode::empty()))?;
    each_entry_from_here(own, visit)
}

/// Does the same from the position of the descriptor.
pub fn each_entry_from_here(
    directory: impl AsFd,
    mut visit: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            visit(name, entry.file_type())?;
        }
    }
    Ok(())
}

//! The entries of a directory, told one by one from the buffer that the kernel fills.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, RawDir};

/// The bytes of entries that are read at once.
const BUFFER: usize = 32 << 10;

/// Gives the name of every entry but `.` and `..`, with its type as far as the listing says. Each call begins anew, wherever
/// the descriptor stands.
pub fn each_entry(
    directory: impl AsFd,
    visit: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = super::again(|| rustix::fs::openat(&directory, ".", flags, Mode::empty()))?;
    each_entry_from_here(own, visit)
}

/// Does the same from where the descriptor stands.
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

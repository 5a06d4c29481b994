//! System calls that need no root, and directory listings straight from the kernel's buffer.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::{Result, RootError};

pub(crate) const MOST_LINKS: usize = 40;

pub(crate) fn has_account(uid: u32) -> bool {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).is_ok_and(|user| user.is_some())
}

pub(crate) fn again<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}

/// Returns 64 unguessable bits, for unique names.
pub fn random() -> Result<u64> {
    let mut bytes = [0u8; 8];
    again(|| rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())).map_err(
        |errno| RootError::Call { action: "read random bytes from", path: "the kernel".to_owned(), errno },
    )?;
    Ok(u64::from_ne_bytes(bytes))
}

const BUFFER: usize = 32 << 10;

/// Calls `visit` with each name except `.` and `..`, and its type if the listing states it. Starts over at each call,
/// regardless of the position of the descriptor.
pub fn each_entry(
    directory: impl AsFd,
    visit: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = again(|| rustix::fs::openat(&directory, ".", flags, Mode::empty()))?;
    each_entry_from_here(own, visit)
}

/// Like [`each_entry`], from the position of the descriptor.
pub fn each_entry_from_here(
    directory: impl AsFd,
    mut visit: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            visit(name, entry.file_type())?;
        }
    }
    Ok(())
}

//! The receiver of a patch's members.

use std::io::Read;

use super::super::error::BuildError;

/// The mode of what the making itself writes.
const READABLE: u32 = 0o644;

/// A member of a patch, without its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatchMember<'a> {
    /// Its name in the directory of its package, or beside the packages.
    pub(super) name: &'a [u8],
    /// Its permission bits.
    pub(super) mode: u32,
    /// Its modification time, in seconds since 1970.
    pub(super) mtime: i64,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl<'a> PatchMember<'a> {
    /// A file of the making itself.
    pub(super) fn own(name: &'a [u8], text: &[u8], date: i64) -> Self {
        Self { name, mode: READABLE, mtime: date, size: text.len() as u64 }
    }
}

/// A patch under construction. Members come in the order in which they are to be.
pub(super) trait PatchSink {
    /// Takes a file that stands beside the packages.
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError>;

    /// Begins a package, by its number.
    fn begin_package(&mut self, index: usize) -> Result<(), BuildError>;

    /// Takes a file of the package that was begun last, and reads all of its content.
    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError>;
}

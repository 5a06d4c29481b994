//! A patch as a tar archive: one directory at its top, called after the patch.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::super::draft::PatchDraft;
use super::super::error::BuildError;
use super::sink::{PatchMember, PatchSink};

/// A tar archive under construction.
pub(super) struct TarSink<W: Write> {
    archive: Builder<W>,
    /// The directory of each package, from the top.
    directories: Vec<String>,
    top: String,
    current: Option<usize>,
    path: PathBuf,
}

impl<W: Write> TarSink<W> {
    /// Begins an archive; `path` is what messages call it.
    pub(super) fn new(out: W, draft: &PatchDraft<'_>, path: &Path) -> Self {
        let top = draft.id.to_string();
        let directories =
            draft.packages.iter().map(|package| format!("{top}/{}", package.sparse.pkg)).collect();
        Self { archive: Builder::new(out), directories, top, current: None, path: path.to_owned() }
    }

    /// Ends the archive and returns the output, not flushed.
    pub(super) fn finish(self) -> Result<W, BuildError> {
        let path = self.path;
        self.archive.into_inner().map_err(|error| BuildError::Write { path, error })
    }

    fn put(&mut self, above: &str, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(member.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(member.mtime).unwrap_or_default());
        header.set_size(member.size);
        let name = [above.as_bytes(), b"/", member.name].concat();
        let appended = self.archive.append_data(&mut header, OsStr::from_bytes(&name), data);
        appended.map_err(|error| BuildError::Write { path: self.path.clone(), error })
    }
}

impl<W: Write> PatchSink for TarSink<W> {
    fn beside(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let top = self.top.clone();
        self.put(&top, member, data)
    }

    fn begin_package(&mut self, index: usize) -> Result<(), BuildError> {
        self.current = Some(index);
        Ok(())
    }

    fn member(&mut self, member: &PatchMember<'_>, data: &mut dyn Read) -> Result<(), BuildError> {
        let above = self.current.and_then(|index| self.directories.get(index)).cloned().unwrap_or_default();
        self.put(&above, member, data)
    }
}

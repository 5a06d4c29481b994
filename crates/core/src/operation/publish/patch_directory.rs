//! A patch that is a directory: it enters the depot as a tar archive of itself.
//!
//! The archive has one directory at its top, named after the patch, and in it every file, sorted by name. The manifest and
//! the signature are files like all others, so a reader verifies them there. The bytes of the archive depend only on the
//! names of the files, their content and whether they are executable: a copy of a directory is the same patch.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::PublishError;
use crate::operation::depots::files_of_directory;
use patchadm_inputs::input_file::InputDirectory;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{
    MANIFEST, Manifest, ManifestEntry, ManifestForm, Sha256Sum, is_of_manifest, sha256,
};
use patchadm_svr4::patch::PatchId;

/// The bytes that are passed on at once.
const BUFFER: usize = 1 << 18;

/// The execute bits of a mode.
const EXECUTABLE: u32 = 0o111;

/// A directory and its files.
#[derive(Debug)]
pub(super) struct PatchDirectory {
    pub(super) path: PathBuf,
    /// The directory at the top of the archive.
    top: PathBuf,
    /// The files of the directory, as they were when it was listed.
    files: Vec<(PathBuf, FileStamp)>,
}

/// The state of a file according to the system: another value after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    identity: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(seen: &Metadata) -> Self {
        Self {
            identity: (seen.dev(), seen.ino()),
            size: seen.len(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        }
    }
}

/// The files of an archive with their digests, as they were packed.
pub(super) struct PackedMembers(Vec<ManifestEntry>);

impl PatchDirectory {
    /// Lists the files of a patch. Refuses links, devices and the like.
    pub(super) fn of(path: &Path) -> Result<Self, PublishError> {
        let with_stamp = |name: PathBuf| {
            let at = path.join(&name);
            let seen = fs::symlink_metadata(&at).map_err(|error| PublishError::Read { path: at, error })?;
            Ok((name, FileStamp::of(&seen)))
        };
        let files = listed(path)?.into_iter().map(with_stamp).collect::<Result<_, PublishError>>()?;
        Ok(Self { path: path.to_owned(), top: PathBuf::new(), files })
    }

    /// Returns the same with the directory at the top of the archive named after the patch.
    pub(super) fn called(self, id: &PatchId) -> Self {
        Self { top: id.to_string().into(), ..self }
    }

    /// Packs the files, and passes each part of the archive on. Refuses a file that was changed or replaced since the files
    /// were listed.
    pub(super) fn pack(
        &self,
        each: impl FnMut(&[u8]) -> Result<(), PublishError>,
    ) -> Result<PackedMembers, PublishError> {
        let mut out = PartWriter { each, failure: None };
        let packed = self.pack_into(&mut out);
        match out.failure {
            Some(failure) => Err(failure),
            None => packed,
        }
    }

    fn pack_into(&self, out: &mut dyn Write) -> Result<PackedMembers, PublishError> {
        let mut archive = Builder::new(BufWriter::with_capacity(BUFFER, out));
        let mut members = Vec::new();
        for (name, stamp) in &self.files {
            let sum = self.append(&mut archive, name, *stamp)?;
            members.push(ManifestEntry { path: name.as_os_str().as_bytes().to_vec(), sum });
        }
        if !listed(&self.path)?.iter().eq(self.files.iter().map(|(name, _)| name)) {
            return Err(PublishError::Changed(self.path.clone()));
        }
        let ended = archive.into_inner().and_then(|mut out| out.flush());
        ended.map_err(|error| PublishError::Read { path: self.path.clone(), error })?;
        members.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(PackedMembers(members))
    }

    /// Appends a file, and returns its digest.
    fn append(
        &self,
        archive: &mut Builder<impl Write>,
        name: &Path,
        stamp: FileStamp,
    ) -> Result<Sha256Sum, PublishError> {
        let path = self.path.join(name);
        let unreadable = |error| PublishError::Read { path: path.clone(), error };
        let file = InputDirectory::open(&self.path).and_then(|directory| directory.file(name));
        let file = file.map_err(unreadable)?;
        let seen = file.metadata().map_err(unreadable)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if seen.permissions().mode() & EXECUTABLE == 0 { 0o644 } else { 0o755 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(seen.len());
        let mut data = DigestedFile { file: file.take(seen.len()), sum: Sha256::new() };
        archive.append_data(&mut header, self.top.join(name), &mut data).map_err(unreadable)?;
        let seen = fs::symlink_metadata(&path).map_err(unreadable)?;
        if data.file.limit() > 0 || FileStamp::of(&seen) != stamp {
            return Err(PublishError::Changed(path));
        }
        Ok(data.sum.finalize())
    }
}

/// Returns the files of a directory, sorted by name.
fn listed(path: &Path) -> Result<Vec<PathBuf>, PublishError> {
    files_of_directory(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            PublishError::Patch { path: path.to_owned(), reason: error.to_string() }
        }
        _ => PublishError::Directory { path: path.to_owned(), error },
    })
}

impl PackedMembers {
    /// Returns the fault of the manifest that was read from the directory: it covers other files than were packed.
    pub(super) fn difference(&self, manifest: &Manifest, text: &[u8], id: &PatchId) -> Option<String> {
        let packed = self.0.iter().find(|entry| entry.path == MANIFEST.as_bytes());
        if packed.is_none_or(|packed| packed.sum != sha256(text)) {
            return Some("changed while it was read".to_owned());
        }
        let entries = self.0.iter().filter(|entry| !is_of_manifest(&entry.path)).cloned().collect();
        let (patch, form) = (id.to_string(), ManifestForm::Members);
        let packed = Manifest { patch, form, date: None, entries };
        manifest.difference(&packed).map(|reason| format!("does not fit the patch: {reason}"))
    }
}

/// A file that is digested while it is read.
struct DigestedFile {
    file: io::Take<File>,
    sum: Sha256,
}

impl Read for DigestedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Passes on what is written, and keeps the error of the receiver.
struct PartWriter<F> {
    each: F,
    failure: Option<PublishError>,
}

impl<F: FnMut(&[u8]) -> Result<(), PublishError>> Write for PartWriter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.each)(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a directory with two files, as it was listed.
    fn listed_directory() -> (tempfile::TempDir, PatchDirectory) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["patchinfo", "README"] {
            fs::write(dir.path().join(name), "one\n").unwrap();
        }
        let listed = PatchDirectory::of(dir.path())
            .unwrap()
            .called(&PatchId::parse("100-01", PatchId::SEPARATOR).unwrap());
        (dir, listed)
    }

    type Change = dyn Fn(&Path);

    #[test]
    fn a_directory_is_packed_as_it_was_when_it_was_listed_or_not_at_all() {
        let (_dir, listed) = listed_directory();
        let mut bytes = 0;
        let mut count = |part: &[u8]| {
            bytes += part.len();
            Ok(())
        };
        listed.pack(&mut count).unwrap();
        assert!(bytes > 1024);
        listed.pack(|_| Ok(())).unwrap();
        // The stamps of two changes within one tick may be the same.
        let later = || std::thread::sleep(std::time::Duration::from_millis(20));
        let changes: [(&str, &Change); 4] = [
            ("of the same size", &|dir| fs::write(dir.join("patchinfo"), "two\n").unwrap()),
            ("another file", &|dir| {
                fs::write(dir.join("other"), "one\n").unwrap();
                fs::rename(dir.join("other"), dir.join("README")).unwrap();
            }),
            ("one more", &|dir| fs::write(dir.join("more"), "").unwrap()),
            ("one less", &|dir| fs::remove_file(dir.join("README")).unwrap()),
        ];
        for (what, change) in changes {
            let (dir, listed) = listed_directory();
            later();
            change(dir.path());
            let packed = listed.pack(|_| Ok(()));
            assert!(matches!(packed, Err(PublishError::Changed(_) | PublishError::Read { .. })), "{what}");
        }
    }
}

//! Packs a patch directory as a tar archive, manifest and signature included. One top directory has the patch's name;
//! files are sorted. Bytes depend only on names, contents and execute bits, so a copy is the same patch.

use std::fs::{File, Metadata};
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::{DateTime, Utc};
use tar::{Builder, EntryType, Header};

use crate::operation::depots::{FlagsFileError, files_of_directory};
use patchadm_inputs::depot::IndexError;
use patchadm_inputs::input_file::{InputDirectory, read_start};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{
    LARGEST_MANIFEST, LARGEST_SIGNATURE, MANIFEST, Manifest, ManifestEntry, ManifestForm, PublicKey,
    Sha256Sum, Signature, SignatureFormat, is_of_manifest, sha256,
};
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

pub struct PublishRequest<'a> {
    /// Made if missing.
    pub depot: &'a Path,
    pub work: PublishWork<'a>,
    /// Days of validity of the new index; `None` for no limit.
    pub expires: Option<u32>,
    /// Accept unsigned patches, and an unsigned current index.
    pub may_be_unsigned: bool,
    pub is_dry_run: bool,
    pub now: DateTime<Utc>,
    pub signing: IndexSigning<'a>,
    /// Returns what a patch lacks of its earlier revisions.
    pub missing_of_earlier: &'a MissingOfEarlier<'a>,
    /// Returns the signal that asks for the end, if any. Not called once the index is replaced.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
}

#[derive(Clone, Copy, Debug)]
pub enum PublishWork<'a> {
    Patches(&'a Path),
    /// A new version and date of the index.
    Refresh,
    /// The waiting index was signed elsewhere.
    Finish,
}

pub type MissingOfEarlier<'a> = dyn Fn(&Path, &[PathBuf]) -> Result<Vec<String>, SourceError> + 'a;

pub type SignIndex<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

pub enum IndexSigning<'a> {
    Here {
        /// Must also have signed the current index.
        key: PublicKey,
        sign: &'a SignIndex<'a>,
    },
    /// The index waits for [`PublishWork::Finish`]. Without the key, nothing tells who signed the current index.
    Elsewhere(Option<PublicKey>),
    /// The current index must not be signed either.
    Never,
}

impl IndexSigning<'_> {
    pub(super) fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Here { key, .. } => Some(key),
            Self::Elsewhere(key) => key.as_ref(),
            Self::Never => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishState {
    Published,
    /// The index waits to be signed elsewhere.
    Waiting,
    Unchanged,
    /// Nothing was written, as requested.
    Planned,
    /// Nothing was written, because patches are not signed.
    Unsigned,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    pub state: PublishState,
    /// `None` if no depot was made.
    pub depot: Option<String>,
    /// New version, or the current one if nothing changes.
    pub version: u64,
    /// `None` if it was not written.
    pub index_sha256: Option<String>,
    pub expires: Option<DateTime<Utc>>,
    /// New, or signed again.
    pub added: Vec<String>,
    /// Published already.
    pub kept: Vec<String>,
    /// Files to sign first: manifests, patches without one, or the waiting index.
    pub to_sign: Vec<PathBuf>,
}

impl PublishRequest<'_> {
    pub(super) fn go_on(&self) -> Result<(), PublishError> {
        match (self.interrupt)() {
            Some(signal) => Err(PublishError::Interrupted(signal)),
            None => Ok(()),
        }
    }
}

/// The index of the depot is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Depot(#[from] RootError),
    #[error("{path}: {error}")]
    Index { path: String, error: IndexError },
    #[error("the index would have {0} bytes, more than readers accept")]
    TooLarge(usize),
    #[error("{path} {reason}")]
    Signature {
        path: String,
        /// The end of a sentence.
        reason: String,
    },
    #[error("{} is not signed", .0.display())]
    Unsigned(PathBuf),
    /// The manifest of a patch is not the one that signing would make.
    #[error("{path} {reason}")]
    Manifest {
        path: String,
        /// The end of a sentence.
        reason: String,
    },
    #[error("{}: {error}", path.display())]
    Directory { path: PathBuf, error: io::Error },
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}: {reason}", path.display())]
    Patch { path: PathBuf, reason: String },
    #[error("{} changed while it was published", .0.display())]
    Changed(PathBuf),
    #[error("the bytes of {0} in the depot do not match its name: the depot is damaged")]
    DamagedObject(String),
    #[error("patch {0} is in the depot with different bytes; a change needs a new revision")]
    OtherBytes(PatchId),
    #[error("patch {id} is listed twice: {} and {}", first.display(), second.display())]
    Twice { id: PatchId, first: PathBuf, second: PathBuf },
    #[error("{}", not_cumulative(path, missing))]
    NotCumulative { path: PathBuf, missing: Vec<String> },
    #[error("{} has no index yet", .0.display())]
    NoIndex(PathBuf),
    #[error("the index cannot be finished: {0}")]
    Finish(&'static str),
    #[error("the version of the index cannot be increased any further")]
    NoVersion,
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

const MOST_MISSING: usize = 10;

fn not_cumulative(path: &Path, missing: &[String]) -> String {
    let lines = missing.iter().take(MOST_MISSING).map(|line| format!("{}: {line}", path.display()));
    let more = missing.len().saturating_sub(MOST_MISSING);
    let more = (more > 0).then(|| format!("and {more} more"));
    lines.chain(more).collect::<Vec<_>>().join("\n")
}

const BUFFER: usize = 1 << 18;

const EXECUTABLE: u32 = 0o111;

#[derive(Debug)]
pub(super) struct PatchDirectoryFiles {
    pub(super) path: PathBuf,
    top: PathBuf,
    files: Vec<(PathBuf, FileStamp)>,
}

/// Changes with every modification of a file.
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

/// Files with their digests, as packed.
pub(super) struct PackedMembers(Vec<ManifestEntry>);

impl PatchDirectoryFiles {
    /// Refuses links, devices and the like.
    pub(super) fn of(path: &Path) -> Result<Self, PublishError> {
        let with_stamp = |name: PathBuf| {
            let at = path.join(&name);
            let seen = fs::symlink_metadata(&at).map_err(|error| PublishError::Read { path: at, error })?;
            Ok((name, FileStamp::of(&seen)))
        };
        let files = listed(path)?.into_iter().map(with_stamp).collect::<Result<_, PublishError>>()?;
        Ok(Self { path: path.to_owned(), top: PathBuf::new(), files })
    }

    pub(super) fn called(self, id: &PatchId) -> Self {
        Self { top: id.to_string().into(), ..self }
    }

    /// Refuses a file that changed since it was listed.
    pub(super) fn pack(
        &self,
        each: impl FnMut(&[u8]) -> Result<(), PublishError>,
    ) -> Result<PackedMembers, PublishError> {
        let mut out = PartSink { each, failure: None };
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

fn listed(path: &Path) -> Result<Vec<PathBuf>, PublishError> {
    files_of_directory(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            PublishError::Patch { path: path.to_owned(), reason: error.to_string() }
        }
        _ => PublishError::Directory { path: path.to_owned(), error },
    })
}

pub(super) enum ManifestFault {
    /// While it was read.
    Changed,
    /// The end of a sentence.
    Differs(String),
}

impl PackedMembers {
    /// Returns how the manifest differs from the packed files.
    pub(super) fn difference(&self, manifest: &Manifest, text: &[u8], id: &PatchId) -> Option<ManifestFault> {
        let packed = self.0.iter().find(|entry| entry.path == MANIFEST.as_bytes());
        if packed.is_none_or(|packed| packed.sum != sha256(text)) {
            return Some(ManifestFault::Changed);
        }
        let entries = self.0.iter().filter(|entry| !is_of_manifest(&entry.path)).cloned().collect();
        let (patch, form) = (id.to_string(), ManifestForm::Members);
        let packed = Manifest { patch, form, date: None, entries };
        let reason = manifest.difference(&packed)?;
        Some(ManifestFault::Differs(format!("does not match the patch: {reason}")))
    }
}

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

struct PartSink<F> {
    each: F,
    failure: Option<PublishError>,
}

impl<F: FnMut(&[u8]) -> Result<(), PublishError>> Write for PartSink<F> {
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

pub(super) const HANDOVER: &str = "handover";

pub(super) struct PatchPapers {
    manifest: Option<(PathBuf, Vec<u8>)>,
    signature: Option<FoundSignature>,
}

struct FoundSignature {
    path: PathBuf,
    format: SignatureFormat,
    bytes: Vec<u8>,
}

impl PatchPapers {
    pub(super) fn beside(patch: &Path, work: &Path) -> Result<Self, PublishError> {
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let manifest = patch.with_file_name(format!("{name}.manifest"));
        let handed_over = work.join(HANDOVER).join(format!("{name}.manifest"));
        Self::at(manifest, Some(&handed_over))
    }

    pub(super) fn inside(patch: &Path) -> Result<Self, PublishError> {
        Self::at(patch.join(MANIFEST), None)
    }

    fn at(manifest: PathBuf, handed_over: Option<&Path>) -> Result<Self, PublishError> {
        let mut signature = None;
        for (place, format) in [Some(manifest.as_path()), handed_over]
            .into_iter()
            .flatten()
            .flat_map(|place| SignatureFormat::ALL.map(|format| (place, format)))
        {
            let path = PathBuf::from(format!("{}{}", place.display(), format.ending()));
            if signature.is_none() {
                let bytes = read_small(&path, LARGEST_SIGNATURE)?;
                signature = bytes.map(|bytes| FoundSignature { path, format, bytes });
            }
        }
        let bytes = read_small(&manifest, LARGEST_MANIFEST)?;
        Ok(Self { manifest: bytes.map(|bytes| (manifest, bytes)), signature })
    }

    pub(super) fn to_sign(&self, patch: &Path) -> Option<PathBuf> {
        match (&self.manifest, &self.signature) {
            (Some(_), Some(_)) => None,
            (Some((manifest, _)), None) => Some(manifest.clone()),
            (None, _) => Some(patch.to_owned()),
        }
    }

    /// The manifest must be of this patch, `difference` must find nothing, and a verifiable signature must be valid.
    pub(super) fn checked_manifest(
        &self,
        id: &PatchId,
        key: Option<&PublicKey>,
        difference: impl FnOnce(&Manifest, &[u8]) -> Option<ManifestFault>,
    ) -> Result<Option<Manifest>, PublishError> {
        let Some((path, text)) = &self.manifest else { return Ok(None) };
        let wrong = |path: &Path, reason: String| PublishError::Signature {
            path: path.display().to_string(),
            reason,
        };
        let unfit = |reason: String| PublishError::Manifest { path: path.display().to_string(), reason };
        let manifest = Manifest::parse(text).map_err(|error| unfit(format!("is not valid: {error}")))?;
        if PatchId::new(&manifest.patch).ok().as_ref() != Some(id) {
            return Err(unfit(format!("is the manifest of patch {}, not of {id}", manifest.patch)));
        }
        match difference(&manifest, text) {
            Some(ManifestFault::Changed) => return Err(PublishError::Changed(path.clone())),
            Some(ManifestFault::Differs(reason)) => return Err(unfit(reason)),
            None => {}
        }
        if let Some(found) = &self.signature {
            let signature = Signature::parse(&found.bytes, found.format)
                .map_err(|error| wrong(&found.path, format!("is not valid: {error}")))?;
            if key.is_some_and(|key| key.id == signature.key && !signature.is_of(key, text)) {
                return Err(wrong(
                    &found.path,
                    format!("is by key {}, but not of {}", signature.key, path.display()),
                ));
            }
        }
        Ok(Some(manifest))
    }

    pub(super) fn into_bytes(self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        (self.manifest.map(|(_, bytes)| bytes), self.signature.map(|found| found.bytes))
    }
}

/// `None` if there is no file.
fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
    let unreadable = |error| PublishError::Read { path: path.to_owned(), error };
    let bytes = match read_start(path, limit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(unreadable)?,
    };
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes");
        return Err(PublishError::Signature { path: path.display().to_string(), reason });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed_directory() -> (tempfile::TempDir, PatchDirectoryFiles) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["patchinfo", "README"] {
            fs::write(dir.path().join(name), "one\n").unwrap();
        }
        let listed = PatchDirectoryFiles::of(dir.path())
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
        // Two changes within one tick may get the same stamp.
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

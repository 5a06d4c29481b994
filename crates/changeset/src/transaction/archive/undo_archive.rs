//! Writes undo archives: backout packages in datastream form, with the manifest that makes them exact.
//!
//! An archive's bytes depend on the objects and the patch alone, never on the run or the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::format::undo_digest::UndoDigest;
use crate::plan::UndoArchive;
use crate::transaction::archive::archive_information::{self, InformationFile};
use crate::transaction::archive::stored_names::StoredObjects;
use crate::transaction::archive::verified::{self, VerifiedWriteError, VerifyingEncoder, WrittenArchive};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::safety_copies::SafetyCopies;
use crate::transaction::stage::staged_versions::StagedVersions;
use patchadm_rootfs::{Digest, InterruptibleRead, ObjectStatus, Resolver, Root, WritableFile};
use patchadm_svr4::format::cpio;
use patchadm_svr4::format::cpio::{BLOCK, CpioFormat};
use patchadm_svr4::format::datastream::{DatastreamError, DatastreamPackage, DatastreamWriter, PartWriter};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::package::checksum;
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// The input of an undo archive, apart from the plan.
#[derive(Clone, Copy)]
pub(crate) struct ArchiveInput<'a> {
    pub(crate) root: &'a Root,
    /// The digests of the new objects, for the manifest.
    pub(crate) digests: &'a BTreeMap<ObjectPath, Digest>,
    /// The safety copies of a run with scripts: the objects as they were before any script ran.
    pub(crate) held: Option<&'a SafetyCopies<'a>>,
    /// The versions, in a run of several patches, that one patch delivers and a later one replaces.
    pub(crate) versions: &'a StagedVersions,
    /// Where the objects of archives lie that hold no objects, by the index of the archive.
    pub(crate) stored: &'a BTreeMap<usize, StoredObjects>,
}

/// Writes `archive` to `file` and reads it back. Messages call the file `place`.
pub(crate) fn write(
    material: ArchiveInput<'_>,
    (index, archive): (usize, &UndoArchive),
    file: &mut WritableFile,
    place: &str,
    watch: RunWatch<'_>,
) -> Result<WrittenArchive, Cause> {
    let ArchiveInput { root, digests, stored, .. } = material;
    let stored = stored.get(&index);
    let pkginfo = params::write(&archive.pkginfo);
    let information =
        archive_information::files(archive, digests, stored).map_err(|error| broken(archive, &error))?;
    archive_information::must_be_readable(&information).map_err(|reason| broken(archive, &reason))?;
    let (pkgmap, max_blocks) =
        pkgmap(archive, &information, &InformationFile::held("pkginfo", pkginfo.clone()))?;
    let largest = archive.saved.iter().filter_map(|(entry, _)| entry.object.content.size).max();
    let Some(form) = CpioFormat::for_size(largest.unwrap_or_default()) else {
        let reason = "is larger than 8 GiB, which an undo archive cannot hold yet";
        let path = archive.saved.iter().max_by_key(|(entry, _)| entry.object.content.size);
        let path = path.map(|(_, path)| root.show(path)).unwrap_or_default();
        return Err(Cause::Unsupported { path, reason });
    };
    let package = DatastreamPackage { inst: archive.package.clone(), parts: 1, max_blocks, pkginfo, pkgmap };
    let mut objects = OldObjects::of(material, archive, place, watch);
    let mut file = WritingBack { file, written: 0, begun: 0 };
    let written = verified::write(&mut file, archive.format, |encoder| {
        objects.stream(encoder, (archive, stored.is_none()), &package, (&information, form))
    });
    let files = stored.map(|_| saved_size(archive));
    written.map(|written| WrittenArchive { files, ..written }).map_err(|failure| match failure {
        VerifiedWriteError::Content(cause) => cause,
        VerifiedWriteError::ReadBack(reason) => {
            Cause::Archive { package: archive.package.to_string(), reason }
        }
        VerifiedWriteError::Write(error) => write_cause(place, &error),
    })
}

/// Returns the bytes of the files that an archive saves.
fn saved_size(archive: &UndoArchive) -> u64 {
    let saved = archive.saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular());
    saved.filter_map(|(entry, _)| entry.object.content.size).sum()
}

fn write_cause(place: &str, error: &io::Error) -> Cause {
    let errno = rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO);
    let path = format!("the undo archive {place}");
    Cause::Root(patchadm_rootfs::RootError::Call { action: "write", path, errno })
}

fn broken(archive: &UndoArchive, error: &dyn std::fmt::Display) -> Cause {
    Cause::Archive { package: archive.package.to_string(), reason: error.to_string() }
}

/// Returns the pkgmap of an archive as text, and the blocks that it names.
fn pkgmap(
    archive: &UndoArchive,
    information: &[InformationFile<'_>],
    pkginfo: &InformationFile<'_>,
) -> Result<(Vec<u8>, u64), Cause> {
    let mut own = Vec::new();
    for file in information.iter().chain([pkginfo]) {
        let path =
            PackagePath::new(file.name.as_bytes()).map_err(|error| Cause::Internal(error.to_string()))?;
        own.push(PkgmapEntry { part: 1, path, object: file.object() });
    }
    let mut entries: Vec<&PkgmapEntry> = archive.saved.iter().map(|(entry, _)| entry).chain(&own).collect();
    entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    let blocks =
        entries.iter().filter_map(|entry| entry.object.content.size).map(|size| size.div_ceil(BLOCK));
    let max_blocks = blocks.sum::<u64>() + entries.len() as u64;
    let head = Pkgmap { parts: 1, max_blocks, compressed_blocks: None, entries: Vec::new() };
    Ok((head.write_with(entries), max_blocks))
}

/// Copies old objects into the archive.
pub(super) struct OldObjects<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    dirs: Dirs,
    held: Option<&'a SafetyCopies<'a>>,
    versions: &'a StagedVersions,
    passing: &'a BTreeMap<ObjectPath, Option<usize>>,
    place: &'a str,
    pub(super) watch: RunWatch<'a>,
    /// The content of one small object at a time.
    buffer: Vec<u8>,
}

/// Objects larger than this are not held in memory.
const LARGEST_HELD: u64 = 1 << 20;

impl<'a> OldObjects<'a> {
    /// Prepares to read the old objects of an archive, which messages call `place`.
    pub(super) fn of(
        material: ArchiveInput<'a>,
        archive: &'a UndoArchive,
        place: &'a str,
        watch: RunWatch<'a>,
    ) -> Self {
        let ArchiveInput { root, held, versions, .. } = material;
        let (resolver, dirs, passing) = (root.resolver(), Dirs::new(root), &archive.passing);
        Self { root, resolver, dirs, held, versions, passing, place, watch, buffer: Vec::new() }
    }

    /// Writes the package, with its objects or without them.
    fn stream<'f>(
        &mut self,
        encoder: VerifyingEncoder<'f>,
        (archive, with_objects): (&UndoArchive, bool),
        package: &DatastreamPackage,
        (information, form): (&[InformationFile<'_>], CpioFormat),
    ) -> Result<VerifyingEncoder<'f>, Cause> {
        let place = self.place;
        let failed = |error: DatastreamError| self_error(archive, place, &error);
        let stream = DatastreamWriter::new(encoder, std::slice::from_ref(package), 0).map_err(failed)?;
        let mut part = stream.begin_part(form).map_err(failed)?;
        let mut directories = PartDirectories::default();
        let mut put = |name: &str, size: u64, bytes: &mut dyn Read| {
            let header = cpio::CpioHeader::file(name.as_bytes(), 0o644, 0, size);
            directories.above(name.as_bytes(), &mut part).map_err(failed)?;
            part.write_member(&header, bytes).map_err(failed)
        };
        for (name, bytes) in [("pkginfo", &package.pkginfo), ("pkgmap", &package.pkgmap)] {
            put(name, bytes.len() as u64, &mut bytes.as_slice())?;
        }
        for file in information {
            put(&format!("install/{}", file.name), file.size, &mut file.reader())?;
        }
        // A backout reads the information of every archive before it asks for an object.
        part.flush().map_err(failed)?;
        let is_held =
            |(entry, _): &&(PkgmapEntry, ObjectPath)| with_objects && entry.object.ftype.is_regular();
        for (entry, path) in archive.saved.iter().filter(is_held) {
            self.watch.check()?;
            let old = self.open(path, entry)?;
            let name = member_name(&entry.path);
            directories.above(&name, &mut part).map_err(failed)?;
            let mode = entry.object.attributes.mode.map_or(0o644, patchadm_svr4::package::Mode::bits);
            let mtime = entry.object.content.mtime.unwrap_or_default();
            let header = cpio::CpioHeader::file(&name, mode, mtime, old.seen.size);
            let written = self.member(&old, &header, &mut part);
            let sum = written.or_else(|error| {
                self.watch.check()?;
                Err(self.read_error(path, &error, archive))
            })?;
            self.is_as_surveyed(path, &old, sum, entry)?;
            self.watch.advances(old.seen.size);
        }
        part.finish().and_then(DatastreamWriter::finish).map_err(failed)
    }

    /// Opens an old object, provided it has the size seen by the survey.
    pub(super) fn open(&mut self, path: &ObjectPath, entry: &PkgmapEntry) -> Result<OldFile, Cause> {
        let changed = || Cause::Changed(self.root.show(path));
        let version = self.versions.find(self.passing, path)?;
        // The path may now lead through a link that has replaced a directory.
        let old = match version {
            None => self.held.map(|held| held.find(path)).transpose()?.flatten(),
            version => version,
        };
        let opened = match old {
            Some((dir, name)) => dir.open_seen(&name)?,
            None => self.open_physical(path)?,
        };
        let (file, seen) = opened.ok_or_else(changed)?;
        if Some(seen.size) == entry.object.content.size { Ok(OldFile { file, seen }) } else { Err(changed()) }
    }

    /// Opens an old object at its physical path.
    fn open_physical(&mut self, path: &ObjectPath) -> Result<Option<(std::fs::File, ObjectStatus)>, Cause> {
        let physical = self.resolver.locate(path)?;
        if let Some((dir, name)) = self.held.map(|held| held.find(&physical)).transpose()?.flatten() {
            return Ok(dir.open_seen(&name)?);
        }
        let parent = self.dirs.parent(&physical)?;
        let parent = parent.ok_or_else(|| Cause::Changed(self.root.show(path)))?;
        Ok(parent.open_seen(physical.name())?)
    }

    /// Writes the bytes of an old object and returns their System V sum.
    fn member<W: io::Write>(
        &mut self,
        old: &OldFile,
        header: &cpio::CpioHeader,
        part: &mut PartWriter<W>,
    ) -> Result<u16, DatastreamError> {
        if old.seen.size > LARGEST_HELD {
            let mut reader = SummingReader { file: &old.file, sum: checksum::Checksum::new() };
            part.write_member(header, InterruptibleRead::new(&mut reader, self.watch.interrupt))?;
            return Ok(reader.sum.finish());
        }
        let size = usize::try_from(old.seen.size).unwrap_or_default();
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let bytes = self.buffer.get_mut(..size).unwrap_or_default();
        (&old.file).read_exact(bytes)?;
        part.write_member(header, &*bytes)?;
        Ok(checksum::sum(bytes))
    }

    /// Checks that the archived bytes are those the plan was made for, and that the object did not change while it
    /// was read.
    pub(super) fn is_as_surveyed(
        &self,
        path: &ObjectPath,
        old: &OldFile,
        sum: u16,
        entry: &PkgmapEntry,
    ) -> Result<(), Cause> {
        let after = ObjectStatus::of(&old.file, || self.root.show(path))?;
        if old.seen.is_untouched(&after) && Some(sum) == entry.object.content.cksum {
            Ok(())
        } else {
            Err(Cause::Changed(self.root.show(path)))
        }
    }

    fn read_error(&self, path: &ObjectPath, error: &DatastreamError, archive: &UndoArchive) -> Cause {
        match error {
            // A file that shrank while it was read.
            DatastreamError::Archive { source: cpio::CpioError::SizeChanged { .. }, .. } => {
                Cause::Changed(self.root.show(path))
            }
            DatastreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Cause::Changed(self.root.show(path))
            }
            other => self_error(archive, self.place, other),
        }
    }
}

/// The directories written to a part so far. Without them, pkgadd(1M) would create them under its own umask, and the
/// user who runs checkinstall might be locked out.
#[derive(Default)]
struct PartDirectories(BTreeSet<Vec<u8>>);

impl PartDirectories {
    /// Writes the directories above a member that are still missing, outermost first.
    fn above<W: io::Write>(
        &mut self,
        member: &[u8],
        part: &mut PartWriter<W>,
    ) -> Result<(), DatastreamError> {
        let ends = member.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for directory in ends.filter_map(|end| member.get(..end)) {
            if !self.0.contains(directory) {
                self.0.insert(directory.to_vec());
                part.write_member(&cpio::CpioHeader::directory(directory, 0o755, 0), io::empty())?;
            }
        }
        Ok(())
    }
}

fn self_error(archive: &UndoArchive, place: &str, error: &DatastreamError) -> Cause {
    let io_error = match error {
        DatastreamError::Io(error) | DatastreamError::Archive { source: cpio::CpioError::Io(error), .. } => {
            Some(error)
        }
        _ => None,
    };
    match io_error.filter(|error| error.raw_os_error().is_some()) {
        Some(error) => write_cause(place, error),
        None => broken(archive, error),
    }
}

/// A large file whose pages are flushed while more are written, so that the final sync has little left to do.
struct WritingBack<'f> {
    file: &'f mut WritableFile,
    written: u64,
    begun: u64,
}

/// The number of bytes flushed at once.
const SENT_AT_ONCE: u64 = 4 << 20;

impl io::Write for WritingBack<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.begun >= SENT_AT_ONCE {
            self.file.begin_write_back(self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An open old object and its status at the time it was opened.
pub(super) struct OldFile {
    pub(super) file: std::fs::File,
    pub(super) seen: ObjectStatus,
}

/// Reads an old object and computes its System V sum.
struct SummingReader<'f> {
    file: &'f std::fs::File,
    sum: checksum::Checksum,
}

impl Read for SummingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Returns the text of `undo.b3` for an archive with this name.
pub(crate) fn digest_text(written: &WrittenArchive, name: &[u8], run: &str) -> Vec<u8> {
    UndoDigest { b3: written.b3, name: name.to_vec(), run: run.to_owned() }.write()
}

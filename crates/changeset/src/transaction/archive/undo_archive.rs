//! Writes undo archives: backout packages in datastream form, with exact manifests. The bytes depend only on objects
//! and patch, not on run or clock.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::Read;

use crate::format::manifest;
use crate::format::manifest::{
    KEPT_RECORDS, MANIFEST, ManifestHeader, ManifestText, ObjectRecord, RECORDS, UndoManifest,
};
use crate::format::undo_files::{StoredName, UndoFiles};
use crate::format::undo_sidecars::UndoDigest;
use crate::limits::LARGEST_MANIFEST;
use crate::plan::{RecordFile, UndoArchive};
use crate::transaction::archive::verified;
use crate::transaction::archive::verified::{VerifiedArchive, VerifiedWriteError, VerifyingEncoder};
use crate::transaction::error::Cause;
use crate::transaction::objects::names::Dirs;
use crate::transaction::safety_copies::SafetyCopies;
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::staged_versions::StagedVersions;
use patchadm_rootfs::{Digest, FileType, InterruptibleRead, ObjectStatus, Resolver, Root, WritableFile};
use patchadm_svr4::format::cpio::{BLOCK, CpioError, CpioFormat};
use patchadm_svr4::format::datastream::{DatastreamError, DatastreamPackage, DatastreamWriter, PartWriter};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::format::{cpio, deletes, params};
use patchadm_svr4::package::checksum::Checksum;
use patchadm_svr4::package::{ContentInfo, Ftype, Object, ObjectPath, PackagePath, checksum};

#[derive(Clone, Copy)]
pub(crate) struct ArchiveInput<'a> {
    pub(crate) root: &'a Root,
    pub(crate) digests: &'a BTreeMap<ObjectPath, Digest>,
    /// In a run with scripts: objects as they were before.
    pub(crate) held: Option<&'a SafetyCopies<'a>>,
    pub(crate) versions: &'a StagedVersions,
    pub(crate) stored: &'a BTreeMap<usize, StoredObjects>,
}

/// Also reads it back. Messages call the file `place`.
pub(crate) fn write(
    material: ArchiveInput<'_>,
    (index, archive): (usize, &UndoArchive),
    file: &mut WritableFile,
    place: &str,
    watch: RunWatch<'_>,
) -> Result<VerifiedArchive, Cause> {
    let ArchiveInput { root, digests, stored, .. } = material;
    let stored = stored.get(&index);
    let pkginfo = params::write(&archive.pkginfo);
    let information = information_files(archive, digests, stored).map_err(|error| broken(archive, &error))?;
    must_be_readable(&information).map_err(|reason| broken(archive, &reason))?;
    let (pkgmap, max_blocks) =
        pkgmap(archive, &information, &InformationFile::held("pkginfo", pkginfo.clone()))?;
    let largest = archive.saved.iter().filter_map(|(entry, _)| entry.object.content.size).max();
    let Some(form) = CpioFormat::for_size(largest.unwrap_or_default()) else {
        let reason = "is larger than 8 GiB, which an undo archive cannot contain";
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
    written.map(|written| VerifiedArchive { files, ..written }).map_err(|failure| match failure {
        VerifiedWriteError::Content(cause) => cause,
        VerifiedWriteError::ReadBack(reason) => {
            Cause::Archive { package: archive.package.to_string(), reason }
        }
        VerifiedWriteError::Write(error) => write_cause(place, &error),
    })
}

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

pub(crate) struct OldObjects<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    dirs: Dirs,
    held: Option<&'a SafetyCopies<'a>>,
    versions: &'a StagedVersions,
    passing: &'a BTreeMap<ObjectPath, Option<usize>>,
    place: &'a str,
    pub(crate) watch: RunWatch<'a>,
    buffer: Vec<u8>,
}

/// Larger objects are not held in memory.
const LARGEST_HELD: u64 = 1 << 20;

impl<'a> OldObjects<'a> {
    pub(crate) fn of(
        material: ArchiveInput<'a>,
        archive: &'a UndoArchive,
        place: &'a str,
        watch: RunWatch<'a>,
    ) -> Self {
        let ArchiveInput { root, held, versions, .. } = material;
        let (resolver, dirs, passing) = (root.resolver(), Dirs::new(root), &archive.passing);
        Self { root, resolver, dirs, held, versions, passing, place, watch, buffer: Vec::new() }
    }

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
        // A backout reads every archive's information first.
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

    pub(crate) fn open(&mut self, path: &ObjectPath, entry: &PkgmapEntry) -> Result<OldFile, Cause> {
        let changed = || Cause::Changed(self.root.show(path));
        let version = self.versions.find(self.passing, path)?;
        // A link may have replaced a directory.
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

    fn open_physical(&mut self, path: &ObjectPath) -> Result<Option<(std::fs::File, ObjectStatus)>, Cause> {
        let physical = self.resolver.locate(path)?;
        if let Some((dir, name)) = self.held.map(|held| held.find(&physical)).transpose()?.flatten() {
            return Ok(dir.open_seen(&name)?);
        }
        let parent = self.dirs.parent(&physical)?;
        let parent = parent.ok_or_else(|| Cause::Changed(self.root.show(path)))?;
        // The layout has seen a file there.
        match parent.open_file(physical.name()) {
            Err(error) if error.is_not_found() => Ok(None),
            opened => Ok(opened.map(Some)?),
        }
    }

    fn member<W: io::Write>(
        &mut self,
        old: &OldFile,
        header: &cpio::CpioHeader,
        part: &mut PartWriter<W>,
    ) -> Result<u16, DatastreamError> {
        if old.seen.size > LARGEST_HELD {
            let mut reader = SummingReader { file: &old.file, sum: Checksum::new() };
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

    pub(crate) fn is_as_surveyed(
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
            DatastreamError::Archive { source: CpioError::SizeChanged { .. }, .. } => {
                Cause::Changed(self.root.show(path))
            }
            DatastreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Cause::Changed(self.root.show(path))
            }
            other => self_error(archive, self.place, other),
        }
    }
}

/// Without directory entries, pkgadd(1M) would apply its own umask, and the user of checkinstall might be locked out.
#[derive(Default)]
struct PartDirectories(BTreeSet<Vec<u8>>);

impl PartDirectories {
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
        DatastreamError::Io(error) | DatastreamError::Archive { source: CpioError::Io(error), .. } => {
            Some(error)
        }
        _ => None,
    };
    match io_error.filter(|error| error.raw_os_error().is_some()) {
        Some(error) => write_cause(place, error),
        None => broken(archive, error),
    }
}

/// Flushes pages early, so that the final sync is short.
struct WritingBack<'f> {
    file: &'f mut WritableFile,
    written: u64,
    begun: u64,
}

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

pub(crate) struct OldFile {
    pub(crate) file: std::fs::File,
    pub(crate) seen: ObjectStatus,
}

struct SummingReader<'f> {
    file: &'f std::fs::File,
    sum: Checksum,
}

impl Read for SummingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

pub(crate) fn digest_text(written: &VerifiedArchive, name: &[u8], run: &str) -> Vec<u8> {
    UndoDigest { b3: written.b3, name: name.to_vec(), run: run.to_owned() }.write()
}

/// Bytes. A larger manifest is made twice: it would need as much memory as everything else about a large patch.
const LARGEST_HELD_MANIFEST: u64 = 1 << 20;

const PIECE: usize = 1 << 16;

pub(crate) struct InformationFile<'a> {
    pub(crate) name: String,
    pub(crate) size: u64,
    cksum: u16,
    content: InformationContent<'a>,
}

enum InformationContent<'a> {
    Held(Vec<u8>),
    Manifest(Box<ManifestHeader>, ArchiveManifest<'a>),
}

impl<'a> InformationFile<'a> {
    pub(crate) fn held(name: &str, bytes: Vec<u8>) -> Self {
        let (size, cksum) = (bytes.len() as u64, checksum::sum(&bytes));
        Self { name: name.to_owned(), size, cksum, content: InformationContent::Held(bytes) }
    }

    fn manifest(header: ManifestHeader, objects: ArchiveManifest<'a>) -> io::Result<Self> {
        let (mut size, mut sum, mut held) = (0, Checksum::new(), Vec::new());
        let mut piece = vec![0; PIECE];
        let mut text = objects.text(&header);
        loop {
            let count = text.read(&mut piece)?;
            let bytes = piece.get(..count).filter(|bytes| !bytes.is_empty());
            let Some(bytes) = bytes else { break };
            size += count as u64;
            sum.update(bytes);
            if size <= LARGEST_HELD_MANIFEST {
                held.extend_from_slice(bytes);
            } else {
                held = Vec::new();
            }
        }
        drop(text);
        let content = if size <= LARGEST_HELD_MANIFEST {
            InformationContent::Held(held)
        } else {
            InformationContent::Manifest(Box::new(header), objects)
        };
        Ok(Self { name: MANIFEST.to_owned(), size, cksum: sum.finish(), content })
    }

    pub(crate) fn reader(&self) -> Box<dyn Read + '_> {
        match &self.content {
            InformationContent::Held(bytes) => Box::new(bytes.as_slice()),
            InformationContent::Manifest(header, objects) => Box::new(objects.text(header)),
        }
    }

    pub(crate) fn object(&self) -> Object {
        let mut object = Object::new(Ftype::Information, "");
        object.content = ContentInfo { size: Some(self.size), cksum: Some(self.cksum), mtime: Some(0) };
        object
    }
}

/// Adds digests of staged objects. Replaced versions have theirs already.
#[derive(Clone, Copy)]
pub(crate) struct ArchiveManifest<'a> {
    pub(crate) manifest: &'a UndoManifest,
    pub(crate) digests: &'a BTreeMap<ObjectPath, Digest>,
    pub(crate) stored: Option<&'a StoredObjects>,
}

impl<'a> ArchiveManifest<'a> {
    pub(crate) fn text<'t>(self, header: &'t ManifestHeader) -> impl Read + 't
    where
        'a: 't,
    {
        ManifestText::new(header, self.manifest.all_objects().map(move |object| self.completed(object)))
    }

    /// Facts of this run replace those of rewritten undo data.
    fn completed(self, object: &'a ObjectRecord) -> Cow<'a, ObjectRecord> {
        let mut object = Cow::Borrowed(object);
        let path = || ObjectPath::new(&manifest::decode(&object.path)).ok();
        let name =
            self.stored.filter(|_| object.member.is_some()).and_then(|stored| stored.names.get(&path()?));
        if name.is_some() || object.file.is_some() {
            let name = name.map(|name| name.to_string().into());
            object.to_mut().file = name;
        }
        let became = object.became.as_ref().filter(|state| state.kind == FileType::Regular);
        let lacks = became.is_some_and(|state| state.b3.is_none());
        let digest = if lacks { self.digests.get(&*manifest::decode(&object.path)) } else { None };
        if let Some(digest) = digest
            && let Some(became) = &mut object.to_mut().became
        {
            became.b3 = Some(Box::new((*digest).into()));
        }
        object
    }
}

fn information_files<'a>(
    archive: &'a UndoArchive,
    digests: &'a BTreeMap<ObjectPath, Digest>,
    stored: Option<&'a StoredObjects>,
) -> Result<Vec<InformationFile<'a>>, CpioError> {
    let scripts = archive.scripts.iter().map(|(name, text)| InformationFile::held(name, text.clone()));
    let mut files: Vec<_> = scripts.collect();
    if !archive.deletes.is_empty() {
        files.push(InformationFile::held("deletes", deletes::write(archive.deletes.iter())));
    }
    let record_times = record_times(&archive.records);
    let header = ManifestHeader { record_times, ..header_of(&archive.manifest, stored) };
    let objects = ArchiveManifest { manifest: &archive.manifest, digests, stored };
    files.push(InformationFile::manifest(header, objects)?);
    for (name, old) in [(RECORDS, &archive.records), (KEPT_RECORDS, &archive.kept_records)] {
        if !old.is_empty() {
            files.push(InformationFile::held(name, records(old)?));
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

pub(crate) fn header_of(manifest: &UndoManifest, stored: Option<&StoredObjects>) -> ManifestHeader {
    let files = stored.map(|stored| stored.directories.clone());
    let mut header = ManifestHeader { files, ..manifest.header.clone() };
    header.features.retain(|word| word != manifest::FILES);
    header.features.extend(stored.map(|_| manifest::FILES.to_owned()));
    header
}

fn must_be_readable(information: &[InformationFile<'_>]) -> Result<(), String> {
    let too_large = information.iter().find(|file| file.size > LARGEST_MANIFEST);
    too_large.map_or(Ok(()), |InformationFile { name, size, .. }| {
        Err(format!("its {name} would have {size} bytes, and no more than {LARGEST_MANIFEST} are read"))
    })
}

fn record_times(files: &BTreeMap<Vec<u8>, RecordFile>) -> BTreeMap<String, u32> {
    let times = files.iter().map(|(name, file)| (manifest::encode(name), file.mtime.nanoseconds));
    times.filter(|(_, nanoseconds)| *nanoseconds != 0).collect()
}

fn records(files: &BTreeMap<Vec<u8>, RecordFile>) -> Result<Vec<u8>, CpioError> {
    let mut writer = cpio::CpioWriter::new(Vec::new(), CpioFormat::Newc);
    for (name, file) in files {
        let size = file.bytes.len() as u64;
        let header = cpio::CpioHeader::file(name, file.mode.bits(), file.mtime.seconds, size);
        writer.write_member(&header, file.bytes.as_slice())?;
    }
    writer.finish()
}

#[derive(Debug)]
pub(crate) struct StoredObjects {
    pub(crate) directories: UndoFiles,
    pub(crate) names: BTreeMap<ObjectPath, StoredName>,
}

impl StoredObjects {
    pub(crate) fn journal_names(&self) -> Vec<String> {
        self.names.values().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(objects: usize) -> UndoManifest {
        let header = ManifestHeader::of("105181-05", "SUNWcsr", "0123456789abcdef");
        let record = |number: usize| ObjectRecord {
            path: format!("/opt/acme/share/a-directory-with-a-long-name/file-{number:06}"),
            was: None,
            line: Some("x".repeat(300).into()),
            became: None,
            new_line: None,
            kept: false,
            delivered: true,
            member: None,
            shlib: None,
            file: None,
        };
        UndoManifest { header, objects: (0..objects).map(record).collect(), shlibs: Vec::new() }
    }

    #[test]
    fn a_manifest_has_the_same_bytes_whether_it_is_held_or_made_twice() {
        let digests = BTreeMap::new();
        for (objects, is_held) in [(10, true), (3_000, false)] {
            let manifest = manifest(objects);
            let objects = ArchiveManifest { manifest: &manifest, digests: &digests, stored: None };
            let file = InformationFile::manifest(manifest.header.clone(), objects).unwrap();
            assert_eq!(matches!(file.content, InformationContent::Held(_)), is_held);
            let mut bytes = Vec::new();
            file.reader().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, manifest.to_bytes());
            assert_eq!((file.size, file.cksum), (bytes.len() as u64, checksum::sum(&bytes)));
        }
    }
}

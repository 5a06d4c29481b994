//! The files of a backout package other than objects: their pkgmap entries and their bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::archive_file::LARGEST_MANIFEST;
use crate::format::manifest::{
    self, KEPT_RECORDS, MANIFEST, Manifest, ManifestHeader, ManifestText, ObjectRecord, RECORDS,
};
use crate::plan::UndoArchive;
use crate::record_file::RecordFile;
use crate::transaction::archive::stored_names::StoredObjects;
use patchadm_rootfs::{Digest, FileType};
use patchadm_svr4::format::cpio::{self, CpioError, CpioFormat};
use patchadm_svr4::format::deletes;
use patchadm_svr4::package::checksum::{self, Checksum};
use patchadm_svr4::package::{ContentInfo, Ftype, Object, ObjectPath};

/// The largest manifest held in memory, in bytes. A larger one is made twice: the manifest of a patch with many
/// thousand objects would take as much memory as everything else known about them.
const LARGEST_HELD: u64 = 1 << 20;

/// The number of manifest bytes read at once.
const PIECE: usize = 1 << 16;

/// A file of a backout package that is not an object.
pub(super) struct InformationFile<'a> {
    /// Its name.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
    cksum: u16,
    content: InformationContent<'a>,
}

enum InformationContent<'a> {
    /// These bytes.
    Held(Vec<u8>),
    /// The manifest of these objects under this header.
    Manifest(Box<ManifestHeader>, ArchiveManifest<'a>),
}

impl<'a> InformationFile<'a> {
    /// Returns a file with these bytes.
    pub(super) fn held(name: &str, bytes: Vec<u8>) -> Self {
        let (size, cksum) = (bytes.len() as u64, checksum::sum(&bytes));
        Self { name: name.to_owned(), size, cksum, content: InformationContent::Held(bytes) }
    }

    /// Returns the manifest of an archive under a header.
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
            if size <= LARGEST_HELD {
                held.extend_from_slice(bytes);
            } else {
                held = Vec::new();
            }
        }
        drop(text);
        let content = if size <= LARGEST_HELD {
            InformationContent::Held(held)
        } else {
            InformationContent::Manifest(Box::new(header), objects)
        };
        Ok(Self { name: MANIFEST.to_owned(), size, cksum: sum.finish(), content })
    }

    /// Returns a reader of its bytes, from the first one.
    pub(super) fn reader(&self) -> Box<dyn Read + '_> {
        match &self.content {
            InformationContent::Held(bytes) => Box::new(bytes.as_slice()),
            InformationContent::Manifest(header, objects) => Box::new(objects.text(header)),
        }
    }

    /// Returns its pkgmap entry.
    pub(super) fn object(&self) -> Object {
        let mut object = Object::new(Ftype::Information, "");
        object.content = ContentInfo { size: Some(self.size), cksum: Some(self.cksum), mtime: Some(0) };
        object
    }
}

/// The manifest of an archive, with the digests of staged objects filled in where it lacks them. Versions that a later
/// patch of the run replaces already have their digests.
#[derive(Clone, Copy)]
pub(super) struct ArchiveManifest<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) digests: &'a BTreeMap<ObjectPath, Digest>,
    /// Where the objects lie that the archive does not hold.
    pub(super) stored: Option<&'a StoredObjects>,
}

impl<'a> ArchiveManifest<'a> {
    /// Returns a reader of its text under a header.
    pub(super) fn text<'t>(self, header: &'t ManifestHeader) -> impl Read + 't
    where
        'a: 't,
    {
        ManifestText::new(header, self.manifest.all_objects().map(move |object| self.completed(object)))
    }

    /// Completes a record by what the run alone knows. What the undo data said of which this is a new form does not count.
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

/// Returns the information files of an archive, sorted by name; without its pkginfo.
pub(super) fn files<'a>(
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

/// Returns the header of a manifest with the undo directories of this run; those of the undo data of which it is a new
/// form do not count.
pub(super) fn header_of(manifest: &Manifest, stored: Option<&StoredObjects>) -> ManifestHeader {
    let files = stored.map(|stored| stored.directories.clone());
    let mut header = ManifestHeader { files, ..manifest.header.clone() };
    header.features.retain(|word| word != manifest::FILES);
    header.features.extend(stored.map(|_| manifest::FILES.to_owned()));
    header
}

/// Refuses information that no reader would accept.
pub(super) fn must_be_readable(information: &[InformationFile<'_>]) -> Result<(), String> {
    let too_large = information.iter().find(|file| file.size > LARGEST_MANIFEST);
    too_large.map_or(Ok(()), |InformationFile { name, size, .. }| {
        Err(format!("its {name} would have {size} bytes, and no more than {LARGEST_MANIFEST} are read"))
    })
}

/// Returns the nanoseconds of the old record files' times, which a cpio archive cannot hold.
fn record_times(files: &BTreeMap<Vec<u8>, RecordFile>) -> BTreeMap<String, u32> {
    let times = files.iter().map(|(name, file)| (manifest::encode(name), file.mtime.nanoseconds));
    times.filter(|(_, nanoseconds)| *nanoseconds != 0).collect()
}

/// Packs the old record files into a cpio archive.
fn records(files: &BTreeMap<Vec<u8>, RecordFile>) -> Result<Vec<u8>, CpioError> {
    let mut writer = cpio::CpioWriter::new(Vec::new(), CpioFormat::Newc);
    for (name, file) in files {
        let size = file.bytes.len() as u64;
        let header = cpio::CpioHeader::file(name, file.mode.bits(), file.mtime.seconds, size);
        writer.write_member(&header, file.bytes.as_slice())?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(objects: usize) -> Manifest {
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
        Manifest { header, objects: (0..objects).map(record).collect(), shlibs: Vec::new() }
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

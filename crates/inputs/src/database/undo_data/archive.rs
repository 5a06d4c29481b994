//! Undo data in the form of an archive: a package datastream in one file, compressed.
//!
//! It is opened once; each pass over it begins at its first byte. It knows no ledger: whether it is to be believed is
//! decided above.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use patchadm_changeset::archive_file::{
    self, FromStart, LARGEST_MANIFEST, MANIFEST_MEMBER, UnboundArchive, UnreadContent, digest_of, stream,
};
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_rootfs::{Digest, Hashing, Interrupt, InterruptibleRead, ObjectStatus, Root, Sums};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::package::{ObjectPath, PackagePath, Params, PkgInst, rule};

use super::error::ArchiveError;
use crate::source::{self, Extent, Image, Origin, Source, SourceError, StoredContent};

/// The bytes that may follow a datastream, as where a tape was filled up: 16 MiB. A compression may make much more of little.
const LARGEST_REST: u64 = 16 << 20;

/// An archive that is open.
#[derive(Debug)]
pub(super) struct UndoArchiveFile {
    file: File,
    shown: String,
    size: u64,
    /// The root, in which the objects may lie.
    root: Root,
}

impl UndoArchiveFile {
    /// Wraps an open file, called `shown` in messages.
    pub(super) fn new(file: File, shown: String, root: &Root) -> Result<Self, ArchiveError> {
        let size = file.metadata().map_err(|error| unreadable(&shown, &error))?.len();
        Ok(Self { file, shown, size, root: root.clone() })
    }

    /// Returns another handle of the open file.
    pub(super) fn try_clone(&self) -> Result<Self, ArchiveError> {
        Ok(Self { file: self.handle()?, shown: self.shown.clone(), size: self.size, root: self.root.clone() })
    }

    fn handle(&self) -> Result<File, ArchiveError> {
        self.file.try_clone().map_err(|error| unreadable(&self.shown, &error))
    }

    /// Returns the root, in which the objects may lie.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the path of the file, for messages.
    pub(super) fn path(&self) -> &str {
        &self.shown
    }

    /// Returns the size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the bytes that the file occupies on its file system.
    pub(super) fn allocated(&self) -> Result<u64, ArchiveError> {
        let seen = ObjectStatus::of(&self.file, || self.shown.clone())?;
        Ok(seen.allocated)
    }

    /// Returns a reader of the bytes of the file.
    pub(super) fn bytes(&self) -> impl Read + '_ {
        FromStart::new(&self.file)
    }

    /// Returns the BLAKE3 of the file, until a signal comes.
    pub(super) fn digest(&self, interrupt: Interrupt<'_>) -> Result<Digest, ArchiveError> {
        let digest = digest_of(&self.file, interrupt).map_err(|error| unreadable(&self.shown, &error));
        digest.map_err(|error| ArchiveError::or_interrupted(error, interrupt))
    }

    /// Reads the manifest without the objects, or returns `None` for an archive of another program.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        Ok(UnboundArchive::new(self.handle()?, self.shown.clone()).manifest()?)
    }

    /// Returns the saved paths by the pkgmap, the only statement of another program's archive about what it saves. A
    /// senseless pkgmap saves nothing.
    pub(super) fn saved_paths(&self, params: &Params) -> Vec<ObjectPath> {
        let basedir = ObjectPath::new(params.text("BASEDIR").trim().as_bytes());
        let basedir = basedir.unwrap_or_else(|_| ObjectPath::root());
        let variable = |name: &str| params.get(name).map(<[u8]>::to_vec);
        let entries = self.pkgmap().map(|pkgmap| pkgmap.entries).unwrap_or_default();
        let objects = entries.iter().filter(|entry| !entry.is_information());
        objects.filter_map(|entry| entry.path.resolve(&basedir, variable).ok()).collect()
    }

    fn pkgmap(&self) -> Option<Pkgmap> {
        let stream = stream(FromStart::new(&self.file)).ok()?;
        let [package] = stream.packages() else { return None };
        Pkgmap::parse(&package.pkgmap).ok()
    }

    /// Opens it as the package that it is; a manifest says if its objects lie in undo directories.
    pub(super) fn into_source(self, manifest: Option<&Manifest>) -> Result<(Source, Image), SourceError> {
        match manifest.and_then(|manifest| StoredContent::of(&self.root, manifest)) {
            None => source::open(Origin::File(self.file, Path::new(&self.shown)), Extent::Everything),
            Some(stored) => {
                let (source, image) = self.into_descriptions()?;
                Ok((source.with_stored(Some(stored)), image))
            }
        }
    }

    /// Does the same without a look at the objects, of an archive that is whole by its digest.
    pub(super) fn into_descriptions(self) -> Result<(Source, Image), SourceError> {
        source::open_descriptions(self.file, Path::new(&self.shown))
    }

    /// Reads the archive to its end, with the BLAKE3 of its bytes: every member of the pkgmap has its size and sum, and
    /// every object of the manifest its BLAKE3. A signal ends it.
    pub(super) fn read_all(
        &self,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<(Result<Option<Manifest>, UnreadContent>, Digest), ArchiveError> {
        let mut raw = Hashing::new(InterruptibleRead::new(FromStart::new(&self.file), interrupt));
        let read = read_all(&mut raw, package, (&self.root, interrupt));
        let copied = io::copy(&mut raw, &mut io::sink());
        ArchiveError::unless_interrupted(interrupt)?;
        copied.map_err(|error| unreadable(&self.shown, &error))?;
        Ok((read, raw.finish().1))
    }

    /// Does the same without the BLAKE3 of the bytes.
    pub(super) fn read_undigested(
        &self,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Manifest>, ArchiveError> {
        let bytes = InterruptibleRead::new(FromStart::new(&self.file), interrupt);
        let read = read_all(bytes, package, (&self.root, interrupt));
        ArchiveError::unless_interrupted(interrupt)?;
        read.map_err(|unread| unread.of(&self.shown).into())
    }
}

/// Wraps a read error of an archive, with its path.
pub(super) fn unreadable(path: &str, error: &io::Error) -> ArchiveError {
    archive_file::unreadable(path, error).into()
}

/// Reads a stream to its end and compares every member with its descriptions. A signal ends it with some error.
fn read_all(
    bytes: impl Read,
    package: &PkgInst,
    (root, interrupt): (&Root, Interrupt<'_>),
) -> Result<Option<Manifest>, UnreadContent> {
    let mut stream = stream(bytes).map_err(|error| error.to_string())?;
    let [of] = stream.packages() else { return Err("it holds more than one package".to_owned().into()) };
    if of.inst.abbreviation() != package.abbreviation() {
        return Err(format!("it holds package {}", of.inst).into());
    }
    let pkgmap = Pkgmap::parse(&of.pkgmap).map_err(|error| format!("pkgmap: {error}"))?;
    let mut manifest = None;
    let mut members = HashMap::new();
    while stream.next_part().map_err(|error| error.to_string())?.is_some() {
        while let Some(member) = stream.next_member().map_err(|error| error.to_string())? {
            let sums = if member.path.as_bytes() == MANIFEST_MEMBER && member.header.size <= LARGEST_MANIFEST
            {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                manifest = Some(Manifest::parse(&bytes)?);
                Sums::of(&mut bytes.as_slice())
            } else {
                Sums::of(&mut stream)
            };
            members.insert(member.path.as_bytes().to_vec(), sums.map_err(|error| error.to_string())?);
        }
    }
    // The rest after the stream: the end of the compression, with its own checksum.
    let mut rest = stream.into_inner().take(LARGEST_REST + 1);
    let rest = io::copy(&mut rest, &mut io::sink()).map_err(|error| error.to_string())?;
    if rest > LARGEST_REST {
        return Err("it goes on behind its end".to_owned().into());
    }
    if let Some(stored) = manifest.as_ref().and_then(|manifest| StoredContent::of(root, manifest)) {
        let sums = stored.sums(interrupt).map_err(|error| error.to_string())?;
        members.extend(sums.into_iter().map(|(path, sums)| (member_name(path), sums)));
    }
    pkgmap.entries.iter().try_for_each(|entry| agrees(entry, &members))?;
    manifest.as_ref().map_or(Ok(()), |manifest| agrees_with(manifest, &members))?;
    Ok(manifest)
}

/// Whether the member of a pkgmap entry is there with the size and sum that the entry has.
fn agrees(entry: &PkgmapEntry, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    let content = &entry.object.content;
    if content.size.is_none() && content.cksum.is_none() {
        return Ok(());
    }
    let Some(met) = members.get(&entry.member_name()) else { return Err(format!("it lacks {}", entry.path)) };
    let same = content.size.is_none_or(|size| size == met.size)
        && content.cksum.is_none_or(|cksum| cksum == met.cksum);
    if same { Ok(()) } else { Err(format!("{} does not have the size and sum of its pkgmap", entry.path)) }
}

/// Checks that every object saved according to the manifest exists with that digest.
fn agrees_with(manifest: &Manifest, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    for object in manifest.all_objects() {
        let (Some(member), Some(was)) = (&object.member, &object.was) else { continue };
        let path = PackagePath::new(&decode(member)).map_err(|error| format!("manifest: {error}"))?;
        let met = members.get(&member_name(&path));
        if !rule::holds("manifest.member", met.is_some()) {
            return Err(format!("it lacks {path}"));
        }
        let Some(met) = met else { continue };
        if was.digest() != Some(met.b3) {
            return Err(format!("{path} does not have the digest of its manifest"));
        }
    }
    Ok(())
}

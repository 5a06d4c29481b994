//! Undo data as an archive: a compressed package datastream in one file, opened once. Callers decide if it is trusted.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::database::ViewError;
use crate::database::ledger::LedgerFault;
use crate::source::{self, Extent, Image, Origin, PackageImage, Source, SourceError, StoredContent};
use patchadm_changeset::RecordFile;
use patchadm_changeset::archive_file::{
    self, ArchiveFileError, FromStart, MANIFEST_MEMBER, UnboundArchive, UnreadContent, digest_of, stream,
};
use patchadm_changeset::format::manifest::{KEPT_RECORDS, MANIFEST, RECORDS, UndoManifest, decode};
use patchadm_changeset::limits::{LARGEST_MANIFEST, LARGEST_REST, MOST_MEMBERS, MemberLimits};
use patchadm_rootfs::{
    Digest, Hashing, Interrupt, InterruptibleRead, ObjectStatus, Root, RootError, Sums, Timestamp, never,
};
use patchadm_svr4::format::cpio::CpioReader;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PkgInst, rule};

#[derive(Debug)]
pub(super) struct UndoArchiveFile {
    file: File,
    shown: String,
    size: u64,
    root: Root,
}

impl UndoArchiveFile {
    pub(super) fn new(file: File, shown: String, root: &Root) -> Result<Self, ArchiveError> {
        let size = file.metadata().map_err(|error| unreadable(&shown, &error))?.len();
        Ok(Self { file, shown, size, root: root.clone() })
    }

    pub(super) fn try_clone(&self) -> Result<Self, ArchiveError> {
        Ok(Self { file: self.handle()?, shown: self.shown.clone(), size: self.size, root: self.root.clone() })
    }

    fn handle(&self) -> Result<File, ArchiveError> {
        self.file.try_clone().map_err(|error| unreadable(&self.shown, &error))
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    pub(super) fn path(&self) -> &str {
        &self.shown
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn allocated(&self) -> Result<u64, ArchiveError> {
        let seen = ObjectStatus::of(&self.file, || self.shown.clone())?;
        Ok(seen.allocated)
    }

    pub(super) fn bytes(&self) -> impl Read + '_ {
        FromStart::new(&self.file)
    }

    pub(super) fn digest(&self, interrupt: Interrupt<'_>) -> Result<Digest, ArchiveError> {
        let digest = digest_of(&self.file, interrupt).map_err(|error| unreadable(&self.shown, &error));
        digest.map_err(|error| ArchiveError::or_interrupted(error, interrupt))
    }

    pub(super) fn manifest(&self) -> Result<Option<UndoManifest>, ArchiveError> {
        Ok(UnboundArchive::new(self.handle()?, self.shown.clone()).manifest()?)
    }

    /// Foreign archives state only in the pkgmap what they save. A malformed pkgmap saves nothing.
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

    /// Opens the archive as a package; its objects may lie in undo directories, if the manifest says so.
    pub(super) fn into_source(self, manifest: Option<&UndoManifest>) -> Result<(Source, Image), SourceError> {
        match manifest.and_then(|manifest| StoredContent::of(&self.root, manifest)) {
            // A roll-back after a signal needs it.
            None => source::open_until(
                Origin::File(self.file, Path::new(&self.shown)),
                Extent::Everything,
                &never,
            ),
            Some(stored) => {
                let (source, image) = self.into_descriptions()?;
                Ok((source.with_stored(Some(stored)), image))
            }
        }
    }

    /// Does not read the objects: for archives that are whole by their digest.
    pub(super) fn into_descriptions(self) -> Result<(Source, Image), SourceError> {
        source::open_descriptions(self.file, Path::new(&self.shown))
    }

    /// Reads to the end, with the BLAKE3 of the bytes. Members must have size and sum of the pkgmap, objects the BLAKE3
    /// of the manifest.
    pub(super) fn read_all(
        &self,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<(Result<Option<UndoManifest>, UnreadContent>, Digest), ArchiveError> {
        let mut raw = Hashing::new(InterruptibleRead::new(FromStart::new(&self.file), interrupt));
        let read = read_within(&mut raw, package, (&self.root, interrupt), MOST_MEMBERS);
        let copied = io::copy(&mut raw, &mut io::sink());
        ArchiveError::unless_interrupted(interrupt)?;
        copied.map_err(|error| unreadable(&self.shown, &error))?;
        Ok((read, raw.finish().1))
    }

    pub(super) fn read_undigested(
        &self,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<UndoManifest>, ArchiveError> {
        let bytes = InterruptibleRead::new(FromStart::new(&self.file), interrupt);
        let read = read_within(bytes, package, (&self.root, interrupt), MOST_MEMBERS);
        ArchiveError::unless_interrupted(interrupt)?;
        read.map_err(|unread| unread.of(&self.shown).into())
    }
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> ArchiveError {
    archive_file::unreadable(path, error).into()
}

/// The limits keep sums and names of members within memory: an empty member compresses to almost nothing.
pub(super) fn read_within(
    bytes: impl Read,
    package: &PkgInst,
    (root, interrupt): (&Root, Interrupt<'_>),
    limits: MemberLimits,
) -> Result<Option<UndoManifest>, UnreadContent> {
    let mut stream = stream(bytes).map_err(|error| error.to_string())?;
    let [of] = stream.packages() else { return Err("it contains more than one package".to_owned().into()) };
    if of.inst.abbreviation() != package.abbreviation() {
        return Err(format!("it holds package {}", of.inst).into());
    }
    let pkgmap = Pkgmap::parse(&of.pkgmap).map_err(|error| format!("pkgmap: {error}"))?;
    let mut manifest = None;
    let (mut members, mut names) = (HashMap::new(), 0);
    while stream.next_part().map_err(|error| error.to_string())?.is_some() {
        while let Some(member) = stream.next_member().map_err(|error| error.to_string())? {
            names += member.path.as_bytes().len() as u64;
            if members.len() >= limits.count || names > limits.names {
                let MemberLimits { count, names } = limits;
                return Err(format!(
                    "it has more than {count} members, or their names are longer than {names} bytes in total"
                )
                .into());
            }
            let sums = if member.path.as_bytes() == MANIFEST_MEMBER && member.header.size <= LARGEST_MANIFEST
            {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                manifest = Some(UndoManifest::parse(&bytes)?);
                Sums::of(&mut bytes.as_slice())
            } else {
                Sums::of(&mut stream)
            };
            members.insert(member.path.as_bytes().to_vec(), sums.map_err(|error| error.to_string())?);
        }
    }
    // The compression ends with its own checksum.
    let mut rest = stream.into_inner().take(LARGEST_REST + 1);
    let rest = io::copy(&mut rest, &mut io::sink()).map_err(|error| error.to_string())?;
    if rest > LARGEST_REST {
        return Err("there is data after its end".to_owned().into());
    }
    if let Some(stored) = manifest.as_ref().and_then(|manifest| StoredContent::of(root, manifest)) {
        let sums = stored.sums(interrupt).map_err(|error| error.to_string())?;
        members.extend(sums.into_iter().map(|(path, sums)| (member_name(path), sums)));
    }
    pkgmap.entries.iter().try_for_each(|entry| agrees(entry, &members))?;
    manifest.as_ref().map_or(Ok(()), |manifest| agrees_with(manifest, &members))?;
    Ok(manifest)
}

fn agrees(entry: &PkgmapEntry, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    let content = &entry.object.content;
    if content.size.is_none() && content.cksum.is_none() {
        return Ok(());
    }
    let Some(met) = members.get(&entry.member_name()) else {
        return Err(format!("{} is missing", entry.path));
    };
    let same = content.size.is_none_or(|size| size == met.size)
        && content.cksum.is_none_or(|cksum| cksum == met.cksum);
    if same {
        Ok(())
    } else {
        Err(format!("{} does not match the size and checksum in its pkgmap", entry.path))
    }
}

fn agrees_with(manifest: &UndoManifest, members: &HashMap<Vec<u8>, Sums>) -> Result<(), String> {
    for object in manifest.all_objects() {
        let (Some(member), Some(was)) = (&object.member, &object.was) else { continue };
        let path = PackagePath::new(&decode(member)).map_err(|error| format!("manifest: {error}"))?;
        let met = members.get(&member_name(&path));
        if !rule::holds("manifest.member", met.is_some()) {
            return Err(format!("{path} is missing"));
        }
        let Some(met) = met else { continue };
        if was.digest() != Some(met.b3) {
            return Err(format!("{path} does not match the digest in its manifest"));
        }
    }
    Ok(())
}

/// The old files of a package's database directory, by name.
pub type OldRecords = BTreeMap<Vec<u8>, RecordFile>;

#[derive(Debug)]
pub struct UndoContent {
    /// By path in the image.
    pub source: Source,
    pub image: Image,
    /// Empty for an archive of another tool.
    pub records: OldRecords,
}

#[derive(Debug, thiserror::Error)]
pub enum UndoContentError {
    #[error(transparent)]
    Undo(#[from] ArchiveError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl UndoContent {
    pub(super) fn whole(
        archive: UndoArchiveFile,
        manifest: Option<&UndoManifest>,
    ) -> Result<Self, UndoContentError> {
        let path = archive.path().to_owned();
        let (source, image) = archive.into_source(manifest)?;
        let records = saved_records(&image, manifest, &path)?;
        Ok(Self { source, image, records })
    }

    pub(super) fn described(archive: UndoArchiveFile) -> Result<Option<(UndoManifest, Self)>, ArchiveError> {
        let path = archive.path().to_owned();
        let root = archive.root().clone();
        let opened = archive.into_descriptions();
        let (source, image) = opened.map_err(|error| damaged(&path, error.problem.to_string()))?;
        let bytes = image.packages.first().and_then(|one| one.install.get(MANIFEST));
        let manifest = bytes.map(|bytes| UndoManifest::parse(bytes)).transpose();
        let manifest = manifest.map_err(|error| UnreadContent::from(error).of(&path))?;
        let records = saved_records(&image, manifest.as_ref(), &path)?;
        let stored = manifest.as_ref().and_then(|manifest| StoredContent::of(&root, manifest));
        let source = source.with_stored(stored);
        Ok(manifest.map(|manifest| (manifest, Self { source, image, records })))
    }

    pub(super) fn records(
        archive: UndoArchiveFile,
        manifest: &UndoManifest,
    ) -> Result<OldRecords, UndoContentError> {
        let path = archive.path().to_owned();
        let (_, image) = archive.into_descriptions()?;
        Ok(saved_records(&image, Some(manifest), &path)?)
    }
}

fn saved_records(
    image: &Image,
    manifest: Option<&UndoManifest>,
    path: &str,
) -> Result<OldRecords, ArchiveError> {
    let Some(bytes) = image.packages.first().and_then(|one| one.install.get(RECORDS)) else {
        return Ok(OldRecords::new());
    };
    let mut files = records(bytes).map_err(|reason| damaged(path, reason))?;
    for (name, nanoseconds) in manifest.into_iter().flat_map(|manifest| &manifest.header.record_times) {
        if let Some(file) = files.get_mut(&*decode(name)) {
            file.mtime.nanoseconds = *nanoseconds;
        }
    }
    Ok(files)
}

fn records(bytes: &[u8]) -> Result<OldRecords, String> {
    let mut files = OldRecords::new();
    each_record(bytes, |name, file| {
        files.insert(name, file);
        Ok(())
    })?;
    Ok(files)
}

/// Reads the record files of packages of kept libraries in undo data with this backout package.
pub fn kept_records(image: &PackageImage) -> Result<BTreeMap<PkgInst, OldRecords>, String> {
    let mut packages: BTreeMap<PkgInst, OldRecords> = BTreeMap::new();
    let Some(bytes) = image.install.get(KEPT_RECORDS) else { return Ok(packages) };
    each_record(bytes, |path, file| {
        let slash = path.iter().position(|byte| *byte == b'/');
        let (package, name) = path.split_at(slash.unwrap_or(path.len()));
        let package = std::str::from_utf8(package).ok().and_then(|name| PkgInst::new(name).ok());
        let name = name.get(1..).filter(|name| {
            let mut parts = name.split(|byte| *byte == b'/');
            parts.all(|part| !part.is_empty() && part != b"." && part != b"..")
        });
        let (Some(package), Some(name)) = (package, name) else {
            let name = String::from_utf8_lossy(&path).escape_debug().to_string();
            return Err(format!("<{name}> is not a record of a package"));
        };
        packages.entry(package).or_default().insert(name.to_vec(), file);
        Ok(())
    })?;
    Ok(packages)
}

fn each_record(
    bytes: &[u8],
    mut take: impl FnMut(Vec<u8>, RecordFile) -> Result<(), String>,
) -> Result<(), String> {
    let mut archive = CpioReader::new(bytes);
    while let Some(header) = archive.next_member().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        archive.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let mtime = Timestamp::whole(i64::try_from(header.mtime).unwrap_or_default());
        take(header.name, RecordFile { bytes: content.into(), mode: Mode::of(header.mode), mtime })?;
    }
    Ok(())
}

fn damaged(path: &str, reason: String) -> ArchiveError {
    ArchiveError::Damaged { path: path.to_owned(), reason }
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The patch was applied without undo data, or the archive was removed.
    #[error("patch {patch}, package {package}: there is no undo archive at {path}")]
    Missing {
        patch: String,
        package: PkgInst,
        /// The save directory, or the path on the host.
        path: String,
        /// The archive is outside the save directory.
        remote: bool,
    },
    /// The ledger names an archive, but neither it nor a pointer to it is in the save directory.
    #[error("patch {patch}, package {package}: the undo data that run {run} saved at {path} is lost")]
    Lost { patch: String, package: PkgInst, path: String, run: String },
    #[error("patch {patch}, package {package}: the undo data was exported by run {run}")]
    Exported { patch: String, package: PkgInst, run: String },
    #[error("the undo archive {path} is damaged: {reason}")]
    Damaged {
        /// Of the archive, or of the pointer to it.
        path: String,
        reason: String,
    },
    #[error(
        "the undo data {path} was made by an earlier version of this program, with digests that this version does not read"
    )]
    Earlier { path: String },
    #[error("the manifest {path} of a patch without undo data cannot be used: {reason}")]
    KeptManifest { path: String, reason: String },
    /// The ledger does not know the archive.
    #[error("the undo archive {path}: {reason}")]
    NotBound { path: String, reason: String },
    #[error(transparent)]
    Ledger(LedgerFault),
    /// The archive lies outside the root, and only the root says so.
    #[error("the undo archive {path} is not opened: {reason}")]
    Outside { path: String, reason: &'static str },
    #[error("the undo archive {path} belongs to another root (its marker is {marker})")]
    OtherRoot { path: String, marker: String },
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Root(#[from] RootError),
}

impl ArchiveError {
    pub(super) fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Interrupted(signal)))
    }

    /// Prefers the signal to the error, because it is the reason then.
    pub(super) fn or_interrupted(self, interrupt: Interrupt<'_>) -> Self {
        interrupt().map_or(self, Self::Interrupted)
    }

    /// The caller may not read it, which says nothing about its validity.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Root(error) => error.is_refused_access(),
            Self::View(error) | Self::Ledger(LedgerFault::View(error)) => error.is_refused_access(),
            Self::Ledger(LedgerFault::Database(error)) => error.is_refused_access(),
            _ => false,
        }
    }
}

impl From<ArchiveFileError> for ArchiveError {
    fn from(error: ArchiveFileError) -> Self {
        match error {
            ArchiveFileError::Damaged { path, reason } => Self::Damaged { path, reason },
            ArchiveFileError::Earlier { path } => Self::Earlier { path },
            ArchiveFileError::Root(error) => Self::Root(error),
        }
    }
}

impl From<LedgerFault> for ArchiveError {
    fn from(fault: LedgerFault) -> Self {
        match fault {
            LedgerFault::View(error) => Self::View(error),
            other => Self::Ledger(other),
        }
    }
}

//! Reads a directory of patches in place; `depot index` writes the index beside them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory_digest::{digest_of_parts, files_inside};
use super::index::{IndexBytes, IndexedPatch, KnownPatches, read_known, write_known};
use super::session::DepotProgress;
use super::{DepotError, read_flags};
use chrono::{DateTime, Utc};
use patchadm_container::Compression;
use patchadm_inputs::cache::digest_of_file;
use patchadm_inputs::depot::{
    DepotFile, DepotFlags, DepotIndex, DepotPackage, DepotPatch, LARGEST_INDEX, is_plain_name, stamp,
};
use patchadm_inputs::input_file::{InputDirectory, InputKind};
use patchadm_inputs::sign::{
    LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, SignatureFormat, sha256, sha256_text,
};
use patchadm_inputs::source;
use patchadm_inputs::source::sun_scripts::role;
use patchadm_inputs::source::{
    Extent, Form, Hooks, Image, Origin, PackageImage, SharedRoom, SourceError, SourceProblem,
};
use patchadm_planning::analyze::to_patchdiag;
use patchadm_rootfs::{Dir, Interrupt, Lock, LockHolder, RootError, cores, random, side_by_side};
use patchadm_svr4::format::readme;
use patchadm_svr4::package::{Ftype, Mode, PackagePath};
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// Patches between checks for interruption and steps of the progress bar.
const PORTION: usize = 16;

pub(super) struct PatchesInPlace {
    pub(super) patches: BTreeMap<PatchId, DepotPatch>,
    pub(super) others: Vec<DepotPatch>,
    pub(super) known: Vec<IndexedPatch>,
    is_unchanged: bool,
}

/// Does not read unmodified known files again. For one id with the same content, the directory wins, then the first
/// name; different content is an error entry.
pub(super) fn read_in_place(
    directory: &Path,
    known: &KnownPatches,
    interrupt: Interrupt<'_>,
    progress: &dyn Fn(DepotProgress<'_>),
) -> Result<PatchesInPlace, DepotError> {
    let files = patch_files(directory)?;
    let mut read: Vec<(IndexedPatch, bool)> = Vec::with_capacity(files.len());
    for portion in files.chunks(PORTION) {
        if let Some(signal) = interrupt() {
            return Err(DepotError::Interrupted(signal));
        }
        progress(DepotProgress::Indexing { done: read.len(), all: files.len() });
        let room = SharedRoom::default();
        let together = side_by_side(cores(), portion.len(), || {
            |at: usize| portion.get(at).and_then(|file| read_or_know(file, known, (&room, false), interrupt))
        });
        for (file, found) in portion.iter().zip(&together) {
            // Copies free the memory of whole patches. One without room beside others is read alone.
            read.extend(found.clone().or_else(|| read_or_know(file, known, (&room, true), interrupt)));
        }
    }
    let flags = read_flags(directory)?;
    let is_unchanged = read.len() == known.len() && read.iter().all(|(_, was_known)| *was_known);
    let known: Vec<IndexedPatch> = read.into_iter().map(|(known, _)| known).collect();
    let (patches, others) = entries(directory, &known, &flags, interrupt);
    if let Some(signal) = interrupt() {
        return Err(DepotError::Interrupted(signal));
    }
    Ok(PatchesInPlace { patches, others, known, is_unchanged })
}

pub(super) fn index_of(
    patches: BTreeMap<PatchId, DepotPatch>,
    depot: String,
    date: DateTime<Utc>,
) -> DepotIndex {
    let mut index = DepotIndex::new(depot, date);
    for (id, patch) in patches {
        index.enter(id, patch);
    }
    index
}

fn entries(
    directory: &Path,
    known: &[IndexedPatch],
    flags: &DepotFlags,
    interrupt: Interrupt<'_>,
) -> (BTreeMap<PatchId, DepotPatch>, Vec<DepotPatch>) {
    let mut patches: BTreeMap<PatchId, DepotPatch> = BTreeMap::new();
    let mut others = Vec::new();
    for entry in known.iter().filter_map(|known| known.entry.as_ref()) {
        let Ok(id) = PatchId::new(&entry.id) else { continue };
        let entry = DepotPatch { flags: flags.of(&id).to_vec(), ..entry.clone() };
        let Some(first) = patches.get_mut(&id) else {
            patches.insert(id, entry);
            continue;
        };
        let at = |entry: &DepotPatch| directory.join(&entry.path);
        if first.sha256 != entry.sha256 && !deliver_the_same(&at(first), &at(&entry), interrupt) {
            others.push(entry);
        } else if entry.is_directory() && !first.is_directory() {
            *first = entry;
        }
    }
    (patches, others)
}

fn must_be_unique<'p>(
    directory: &Path,
    mut patches: impl Iterator<Item = &'p DepotPatch>,
    others: &[DepotPatch],
) -> Result<(), DepotError> {
    let Some(other) = others.first() else { return Ok(()) };
    let Ok(id) = PatchId::new(&other.id) else { return Ok(()) };
    // A patch id has several spellings.
    let is_it = |first: &&DepotPatch| PatchId::new(&first.id).is_ok_and(|first| first == id);
    let Some(first) = patches.find(is_it) else { return Ok(()) };
    let (first, second) = (directory.join(&first.path), directory.join(&other.path));
    Err(DepotError::Twice { id, first, second })
}

fn read_or_know(
    file: &PatchFile,
    known: &KnownPatches,
    (room, is_alone): (&SharedRoom, bool),
    interrupt: Interrupt<'_>,
) -> Option<(IndexedPatch, bool)> {
    let shown = file.path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = file.stamp().unwrap_or_default();
    if let Some(known) = known.get(&*shown).filter(|known| known.stamp == stamp && !stamp.is_empty()) {
        return Some((known.clone(), true));
    }
    let (read, reason) = match read_patch(file, room, interrupt) {
        Ok(read) => (Some(read), None),
        Err(NoEntry::NoRoom(_)) if !is_alone => return None,
        Err(NoEntry::Damaged(reason) | NoEntry::NoRoom(reason)) => (None, Some(reason)),
        Err(NoEntry::OtherThing | NoEntry::Interrupted) => (None, None),
    };
    let (entry, os_release) = read.unzip();
    // A file that is being written is read again next time.
    let stamp = if file.stamp().is_ok_and(|now| now == stamp) { stamp } else { String::new() };
    let os_release = os_release.flatten();
    Some((IndexedPatch { name: shown.into_owned(), stamp, entry, os_release, reason }, false))
}

enum NoEntry {
    OtherThing,
    Damaged(String),
    Interrupted,
    NoRoom(String),
}

impl From<io::Error> for NoEntry {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<SourceError> for NoEntry {
    fn from(error: SourceError) -> Self {
        let name = error.path.file_name().unwrap_or_default().to_string_lossy();
        let may_be_other = !source::is_called_as_patch(&name);
        match &error.problem {
            SourceProblem::Interrupted(_) => Self::Interrupted,
            SourceProblem::HoldsPatches(_) => Self::OtherThing,
            SourceProblem::Foreign(_) if may_be_other => Self::OtherThing,
            SourceProblem::BadForm(_) | SourceProblem::NoPackage if may_be_other && error.path.is_dir() => {
                Self::OtherThing
            }
            SourceProblem::Io { file: None, error } if error.kind() == io::ErrorKind::OutOfMemory => {
                Self::NoRoom(error.to_string())
            }
            problem => Self::Damaged(problem.to_string()),
        }
    }
}

fn read_patch(
    file: &PatchFile,
    room: &SharedRoom,
    interrupt: Interrupt<'_>,
) -> Result<(DepotPatch, Option<String>), NoEntry> {
    let go_on = || if interrupt().is_some() { Err(NoEntry::Interrupted) } else { Ok(()) };
    let (found, image) = if file.is_directory {
        let image = source::open_sharing(Origin::Path(&file.path), room, interrupt)?.1;
        (digest_of_parts(&file.directory()?, &file.path, &mut |_| go_on())?, image)
    } else {
        let mut opened = file.open()?;
        let found = digest_of_file(&mut opened, |_| go_on())?;
        (found, source::open_sharing(Origin::File(opened, &file.path), room, interrupt)?.1)
    };
    if image.packages.iter().all(|package| package.params.get("SUNW_PATCHID").is_none()) {
        return Err(NoEntry::OtherThing);
    }
    let macros =
        image.patch_macros(PatchId::SEPARATOR).map_err(|error| NoEntry::Damaged(error.to_string()))?;
    let name = file.name.as_deref().filter(|name| is_plain_name(name));
    let name = name.ok_or_else(|| NoEntry::Damaged("its name is not allowed in an index".to_owned()))?;
    let object = DepotFile { path: name.to_owned(), sha256: found.sha256, size: found.size };
    let mut entry = index_entry(&image, &macros, object);
    let manifest =
        file.manifest.as_deref().map(|path| small_object(file, path, LARGEST_MANIFEST)).transpose()?;
    let date = manifest.as_ref().and_then(|(_, text)| Manifest::parse(text).ok()?.date);
    entry.date = date.map_or_else(|| date_of(file), Ok)?;
    entry.manifest = manifest.map(|(object, _)| object);
    let signature =
        file.signature.as_deref().map(|path| small_object(file, path, LARGEST_SIGNATURE)).transpose()?;
    entry.signature = signature.map(|(object, _)| object);
    let os_release = image.patchinfo.as_ref().and_then(|info| info.os_release.first().cloned());
    Ok((entry, os_release))
}

fn date_of(file: &PatchFile) -> io::Result<String> {
    let seen = file.metadata(&file.path)?;
    Ok(stamp(&DateTime::from_timestamp(seen.mtime(), 0).unwrap_or_default()))
}

fn small_object(file: &PatchFile, path: &Path, limit: u64) -> io::Result<(DepotFile, Vec<u8>)> {
    let fail = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = file.read_small(path, limit).map_err(fail)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sha256 = sha256_text(&sha256(&text));
    Ok((DepotFile { path: name, sha256, size: text.len() as u64 }, text))
}

/// Scripts without a class.
const PROCEDURES: [&str; 6] =
    ["request", "checkinstall", "preinstall", "postinstall", "preremove", "postremove"];

/// The caller adds files beside it and its date.
pub(in crate::operation) fn index_entry(image: &Image, macros: &PatchMacros, file: DepotFile) -> DepotPatch {
    let field = |label| image.readme.as_ref().and_then(|(_, text)| readme::field(text, label));
    let keywords = field("Keywords").unwrap_or_default();
    let packages = image.packages.iter().map(|package| {
        let text = |name| package.params.text(name).into_owned();
        DepotPackage { pkg: text("PKG"), arch: text("ARCH"), version: text("VERSION") }
    });
    DepotPatch {
        id: macros.id.to_string(),
        path: file.path,
        sha256: file.sha256,
        size: file.size,
        format: format_word(image.form).to_owned(),
        manifest: None,
        signature: None,
        readme: None,
        date: String::new(),
        synopsis: field("Synopsis").unwrap_or_default(),
        keywords: keywords
            .split([' ', ',', '\n'])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        properties: macros.properties.clone(),
        packages: packages.collect(),
        requires: macros.requires.iter().map(|one| join(one.ids())).collect(),
        obsoletes: macros.obsoletes.iter().map(ToString::to_string).collect(),
        incompat: macros.incompatibles.iter().map(ToString::to_string).collect(),
        files: image.packages.iter().map(count_of_objects).sum(),
        flags: Vec::new(),
        scripts: has_own_scripts(image),
        unpacked: image.packages.iter().map(unpacked_bytes).fold(0, u64::saturating_add),
        fixes: macros.fixes.to_strings(),
    }
}

fn count_of_objects(package: &PackageImage) -> u64 {
    let delivered = package.pkgmap.entries.iter();
    let delivered = delivered.filter(|entry| entry.object.ftype != Ftype::Information).count();
    (delivered + package.deletes.len()) as u64
}

fn unpacked_bytes(package: &PackageImage) -> u64 {
    let objects = package.pkgmap.entries.iter().map(|entry| &entry.object);
    let delivered = objects.filter(|object| object.ftype != Ftype::Information);
    delivered.filter_map(|object| object.content.size).fold(0, u64::saturating_add)
}

fn join(alternatives: &[PatchId]) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// True if patchadm cannot replace a script.
fn has_own_scripts(image: &Image) -> bool {
    let hooks = &image.hooks;
    let has_hooks = [&hooks.prepatch, &hooks.postpatch, &hooks.prebackout, &hooks.postbackout];
    let is_script =
        |name: &str| PROCEDURES.contains(&name) || name.starts_with("i.") || name.starts_with("r.");
    let mut scripts = image.packages.iter().flat_map(|package| &package.install);
    has_hooks.iter().any(|hook| hook.is_some())
        || scripts.any(|(name, text)| is_script(name) && role(name, text).is_none())
}

fn format_word(form: Form) -> &'static str {
    match form {
        Form::Directory => "dir",
        Form::Zip => "zip",
        Form::Tar(None) => "tar",
        Form::Tar(Some(Compression::Gzip)) => "tar.gz",
        Form::Tar(Some(Compression::Compress)) => "tar.Z",
        Form::Tar(Some(Compression::Bzip2)) => "tar.bz2",
        Form::Tar(Some(Compression::Xz)) => "tar.xz",
        Form::Tar(Some(Compression::Zstd)) => "tar.zst",
        Form::Datastream(None) => "datastream",
        Form::Datastream(Some(Compression::Gzip)) => "datastream.gz",
        Form::Datastream(Some(Compression::Compress)) => "datastream.Z",
        Form::Datastream(Some(Compression::Bzip2)) => "datastream.bz2",
        Form::Datastream(Some(Compression::Xz)) => "datastream.xz",
        Form::Datastream(Some(Compression::Zstd)) => "datastream.zst",
    }
}

#[derive(PartialEq, Eq)]
struct PatchContent {
    packages: BTreeMap<String, PackageContent>,
    hooks: Hooks,
}

#[derive(PartialEq, Eq)]
struct PackageContent {
    pkginfo: Vec<u8>,
    pkgmap: Vec<u8>,
    information: BTreeMap<String, Vec<u8>>,
    objects: BTreeMap<PackagePath, String>,
}

struct Unreadable;

impl From<SourceError> for Unreadable {
    fn from(_: SourceError) -> Self {
        Self
    }
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Unreadable patches are never equal.
fn deliver_the_same(one: &Path, other: &Path, interrupt: Interrupt<'_>) -> bool {
    let content = |path: &Path| content_of(path, interrupt);
    matches!((content(one), content(other)), (Ok(one), Ok(other)) if one == other)
}

fn content_of(path: &Path, interrupt: Interrupt<'_>) -> Result<PatchContent, Unreadable> {
    let (source, image) = source::open_until(Origin::Path(path), Extent::Everything, interrupt)?;
    let content = |package: &PackageImage| PackageContent {
        pkginfo: package.pkginfo_bytes.clone(),
        pkgmap: package.pkgmap_bytes.clone(),
        information: package.install.clone(),
        objects: BTreeMap::new(),
    };
    let packages = image.packages.iter().map(|package| (package.directory.clone(), content(package)));
    let mut packages: BTreeMap<String, PackageContent> = packages.collect();
    let mut sink = |index: usize, path: &PackagePath, _, mut data: &mut dyn Read| -> Result<(), Unreadable> {
        let digest = digest_of_file(&mut data, |_| Ok::<(), Unreadable>(()))?.sha256;
        let package = image.packages.get(index).and_then(|package| packages.get_mut(&package.directory));
        if let Some(package) = package {
            package.objects.insert(path.clone(), digest);
        }
        Ok(())
    };
    source.stream_until(&image, &mut |_, _| true, interrupt, &mut sink)?;
    Ok(PatchContent { packages, hooks: image.hooks.clone() })
}

const BESIDE: [&str; 9] = [
    "index",
    "index.json",
    "flags",
    "keys",
    "patchdiag.xref",
    "patch_order",
    "CLUSTER_README",
    "handover",
    "logs",
];

const ENDINGS: [&str; 8] = [".manifest", ".minisig", ".sig", ".json", ".xref", ".log", ".html", ".txt"];

#[derive(Clone, Debug)]
struct PatchFile {
    pub(super) path: PathBuf,
    /// `None` if not UTF-8, which an index cannot have.
    pub(super) name: Option<String>,
    pub(super) is_directory: bool,
    /// Manifest, then signature, if they exist.
    pub(super) manifest: Option<PathBuf>,
    pub(super) signature: Option<PathBuf>,
    inside: Arc<InputDirectory>,
}

/// Sorted by name.
fn patch_files(directory: &Path) -> Result<Vec<PatchFile>, DepotError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => DepotError::NotThere(directory.to_owned()),
        _ => DepotError::Read { path: directory.to_owned(), error },
    };
    let inside = Arc::new(InputDirectory::open(directory).map_err(unreadable)?);
    let (mut names, mut files) = (Vec::new(), Vec::new());
    let listed = inside.each_entry(|name, kind| names.push((OsStr::from_bytes(name).to_owned(), kind)));
    listed.map_err(unreadable)?;
    names.sort_by(|(name, _), (other, _)| name.cmp(other));
    let has = |name: &str| names.binary_search_by(|(there, _)| there.as_os_str().cmp(name.as_ref())).is_ok();
    for (name, kind) in &names {
        let shown = name.to_string_lossy();
        let path = directory.join(name);
        if is_beside(&shown) {
            continue;
        }
        // Follows links: a dangling one is no patch; one that leads out fails when read.
        let is_directory = match kind.map_or_else(|| inside.kind(Path::new(name)), Ok) {
            Ok(InputKind::Directory) => true,
            Ok(InputKind::Other) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(InputKind::File) | Err(_) => false,
        };
        let beside = format!("{shown}.manifest");
        let manifest = has(&beside).then(|| directory.join(&beside));
        let signature = SignatureFormat::ALL.map(|format| format!("{beside}{}", format.ending()));
        let signature = signature.into_iter().find(|name| has(name)).map(|name| directory.join(name));
        let name = name.to_str().map(str::to_owned);
        files.push(PatchFile { path, name, is_directory, manifest, signature, inside: Arc::clone(&inside) });
    }
    Ok(files)
}

fn is_beside(name: &str) -> bool {
    name.starts_with('.')
        || BESIDE.contains(&name)
        || name.starts_with("README")
        || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

impl PatchFile {
    pub(super) fn open(&self) -> io::Result<File> {
        self.inside.file(name_of(&self.path))
    }

    pub(super) fn read_small(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.inside.read_small(name_of(path), limit)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.inside.metadata(name_of(path))
    }

    fn directory(&self) -> io::Result<InputDirectory> {
        self.inside.directory(name_of(&self.path))
    }

    /// Size, times and inode of each file.
    pub(super) fn stamp(&self) -> io::Result<String> {
        let mut stamp = String::new();
        for path in [Some(&self.path), self.manifest.as_ref(), self.signature.as_ref()].into_iter().flatten()
        {
            stamp.push_str(&stamp_of(&self.metadata(path)?));
        }
        if self.is_directory {
            let mut list = Vec::new();
            let directory = self.directory()?;
            for path in files_inside(&directory, &self.path)? {
                let metadata = directory.entry(&path)?;
                list.extend_from_slice(format!("{} {}\n", stamp_of(&metadata), path.display()).as_bytes());
            }
            stamp.push_str(&sha256_text(&sha256(&list)));
        }
        Ok(stamp)
    }
}

fn name_of(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or_default())
}

fn stamp_of(seen: &Metadata) -> String {
    let (mtime, ctime) = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
    format!("{}:{}.{}:{}.{}:{};", seen.size(), mtime.0, mtime.1, ctime.0, ctime.1, seen.ino())
}

const PROGRAM: &str = "depot-index";

const LOCK: &[u8] = b".lock";
const INDEX: &[u8] = b"index.json";
const SIGNATURES: &[u8] = b"index";
const XREF: &[u8] = b"patchdiag.xref";
const READABLE: u32 = 0o644;

pub type SignInPlace<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

pub struct IndexRequest<'a> {
    /// Contains patches.
    pub directory: &'a Path,
    /// Also write `patchdiag.xref`.
    pub writes_xref: bool,
    /// `None`: unsigned.
    pub sign: Option<&'a SignInPlace<'a>>,
    pub now: DateTime<Utc>,
    /// Returns the signal that asks the command to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub progress: &'a dyn Fn(DepotProgress<'_>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub name: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexReport {
    pub depot: String,
    /// Of the index in place.
    pub version: u64,
    /// This command wrote it.
    pub is_new: bool,
    pub patches: usize,
    /// Files that looked like patches.
    pub passed_over: Vec<PassedOver>,
    /// Patches that a requested `patchdiag.xref` cannot hold.
    pub left_out_of_xref: Option<usize>,
}

/// `wait` decides whether to keep waiting for another command.
pub fn index_directory(
    request: &IndexRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<IndexReport, DepotError> {
    let directory = request.directory;
    if !directory.is_dir() {
        return Err(DepotError::no_directory(directory));
    }
    if directory.join("objects").exists() {
        return Err(DepotError::Published(directory.to_owned()));
    }
    let top = Dir::of_host(directory)?;
    let _lock = Lock::take_file(&top, LOCK, PROGRAM, wait)?;
    top.remove_leftovers(PROGRAM)?;
    let read = read_in_place(directory, &read_known(&top), request.interrupt, request.progress)?;
    must_be_unique(directory, read.patches.values(), &read.others)?;
    let before = IndexBytes::of_directory(directory)?;
    let current = before.as_ref().and_then(|bytes| Some((bytes.parsed().ok()?, bytes)));
    let releases = releases(&read.known);
    let mut index = match &current {
        Some((index, _)) => index_of(read.patches, index.depot.clone(), request.now),
        None => index_of(read.patches, new_name()?, request.now),
    };
    let passed_over = read
        .known
        .iter()
        .filter_map(|known| Some(PassedOver { name: known.name.clone(), reason: known.reason.clone()? }));
    let passed_over: Vec<PassedOver> = passed_over.collect();
    if !read.is_unchanged {
        write_known(&top, read.known.iter())?;
    }
    let needs_signature =
        request.sign.is_some() && current.as_ref().is_some_and(|(_, bytes)| bytes.signature.is_none());
    let is_new = match &current {
        Some((there, bytes)) => {
            index.version = there.version;
            index.previous = Some(bytes.sha256.clone());
            !there.patches().eq(index.patches()) || needs_signature
        }
        None => true,
    };
    if is_new {
        index.version = index.version.checked_add(1).ok_or(DepotError::NoVersion)?;
        put_index(&top, &index, request.sign)?;
    }
    let left_out_of_xref =
        if request.writes_xref { Some(put_xref(&top, &index, &releases, is_new)?) } else { None };
    let patches = index.patches().len();
    let (depot, version) = (index.depot, index.version);
    Ok(IndexReport { depot, version, is_new, patches, passed_over, left_out_of_xref })
}

fn releases(known: &[IndexedPatch]) -> BTreeMap<PatchId, String> {
    let named = known
        .iter()
        .filter_map(|known| Some((PatchId::new(&known.entry.as_ref()?.id).ok()?, known.os_release.clone()?)));
    named.collect()
}

/// Writes it if the index is new or the file is missing. Returns the number of patches that it cannot hold.
fn put_xref(
    top: &Dir,
    index: &DepotIndex,
    releases: &BTreeMap<PatchId, String>,
    is_new: bool,
) -> Result<usize, DepotError> {
    let made = to_patchdiag(index, releases);
    if is_new || top.look(XREF)?.is_none() {
        write_new(top, XREF, &made.file.write())?;
        top.sync()?;
    }
    Ok(made.left_out)
}

fn put_index(top: &Dir, index: &DepotIndex, sign: Option<&SignInPlace<'_>>) -> Result<(), DepotError> {
    let text = index.write();
    if text.len() > LARGEST_INDEX {
        return Err(DepotError::TooLarge(text.len()));
    }
    if let Some(sign) = sign {
        let signatures = match top.make_dir(SIGNATURES, Mode::of(0o755)) {
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => top.dir(SIGNATURES)?,
            made => made?,
        };
        signatures.remove_leftovers(PROGRAM)?;
        write_new(&signatures, format!("{}.minisig", sha256_text(&sha256(&text))).as_bytes(), &sign(&text))?;
        signatures.sync()?;
    }
    write_new(top, INDEX, &text)?;
    Ok(top.sync()?)
}

fn write_new(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name, bytes, Mode::of(READABLE))
}

/// 32 random hexadecimal digits.
fn new_name() -> Result<String, RootError> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

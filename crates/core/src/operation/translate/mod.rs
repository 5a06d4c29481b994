//! Copies packages between devices: pkgtrans(1), `pkgadd -s` and `pkgrm -s`.
//!
//! ```text
//! Device ─ prepare ─► Translation ─ perform ─► directory   one directory per package, each complete or absent
//!                                         └──► stream      one file, complete or unchanged
//! ```
//! Only parts of a package are copied, verified by size and sum, and named when complete. New objects are not synced;
//! bytes that replace an existing object are. No database, locks, scripts or signatures are involved.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::io::{BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::operation::device;
use crate::operation::device::OpenDevice;
use crate::operation::queries::select::PackagePattern;
use patchadm_inputs::source::{Form, MemberStamp, PackageImage, SourceError, SourceProblem};
use patchadm_rootfs::{
    Dir, Interrupt, InterruptibleRead, NewTree, Root, RootError, Timestamp, UnnamedDirectory, WritableFile,
    never, random,
};
use patchadm_svr4::format::cpio::{CpioError, CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{
    DatastreamError, DatastreamPackage, DatastreamTimes, DatastreamWriter, PartWriter,
};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile};
use patchadm_svr4::format::pkgmap;
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PathError, PkgInst, PkgInstError};

const PROGRAM: &str = "pkgtrans";

#[derive(Clone, Debug)]
pub struct TranslateRequest {
    /// A directory of packages, one package, a datastream, an archive, or a pipe.
    pub device: PathBuf,
    /// Names, `PKG.*`, `all`; empty for all.
    pub packages: Vec<String>,
    /// Empty for no limit.
    pub categories: Vec<String>,
    pub to: TransferDestination,
    pub existing: ExistingPolicy,
    pub description_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferDestination {
    /// Existing; gets one directory per package.
    Directory(PathBuf),
    /// A file, pipe or device for one datastream; a file is replaced.
    Stream(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingPolicy {
    /// Fails without changes.
    Refuse,
    Overwrite,
    /// Uses the first free name `PKG.2`, `PKG.3`, …
    Rename,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferredPackage {
    /// On its device.
    pub name: String,
    /// At the destination.
    pub instance: String,
}

pub struct TransferObserver<'a> {
    /// Returns the signal that asks for the end, if any.
    pub interrupt: Interrupt<'a>,
    /// Called before each package.
    pub transferring: &'a mut dyn FnMut(&TransferredPackage),
}

/// Valid descriptions have been read.
pub struct PackageTranslation {
    device: OpenDevice,
    to: TransferDestination,
    existing: ExistingPolicy,
    description_only: bool,
}

impl TransferDestination {
    /// Interprets the word `to`: an existing directory, unless `as_stream`. A relative stream is below a source
    /// directory, as in the classic tool.
    pub fn named(to: &Path, from: &Path, as_stream: bool) -> Self {
        let (to, from) = (device::named(to), device::named(from));
        if !as_stream && to.is_dir() {
            return Self::Directory(to);
        }
        Self::Stream(if from.is_dir() { from.join(to) } else { to })
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Stream(path) => path,
        }
    }
}

impl PackageTranslation {
    /// Skips the content of objects.
    pub fn prepare(request: TranslateRequest) -> Result<Self, TranslateError> {
        let TranslateRequest { device: from, packages, categories, to, existing, description_only } = request;
        let (opened, is_description) = match OpenDevice::open(&from, &packages, &never) {
            Ok(opened) => (opened, false),
            Err(error) => (OpenDevice::description(&from, &packages, error)?, true),
        };
        let device = opened.and_then(|device| device.of_categories(&categories));
        let device = device.map_err(TranslateError::NoPackage)?;
        let description_only = description_only || is_description || device.is_description();
        let is_directory = matches!(to, TransferDestination::Directory(_)) && to.path().is_dir();
        match (device.source.form(), &to) {
            (Form::Datastream(_), to) if !is_directory => {
                return Err(TranslateError::TwoStreams(to.path().to_owned()));
            }
            (_, TransferDestination::Directory(to)) if !is_directory => {
                return Err(TranslateError::NotADirectory(to.clone()));
            }
            _ => {}
        }
        let real = |path: &Path| path.canonicalize().ok();
        if real(&from).is_some_and(|from| real(to.path()) == Some(from)) {
            return Err(TranslateError::SameDevice);
        }
        Ok(Self { device, to, existing, description_only })
    }

    /// After an error, only complete package directories are new.
    pub fn perform(
        self,
        observer: &mut TransferObserver<'_>,
    ) -> Result<Vec<TransferredPackage>, TranslateError> {
        let result = match &self.to {
            TransferDestination::Directory(to) => write_tree(&self, to, observer),
            TransferDestination::Stream(to) => write_stream(&self, to, observer),
        };
        // A signal makes the current operation fail in some way.
        match (observer.interrupt)() {
            Some(signal) if result.is_err() => Err(TranslateError::Interrupted(signal)),
            _ => result,
        }
    }

    fn packages(&self) -> impl Iterator<Item = (usize, &PackageImage)> {
        let packages = &self.device.image.packages;
        self.device.selected.iter().filter_map(|&index| Some((index, packages.get(index)?)))
    }

    /// Empty if not requested.
    fn information<'a>(
        &self,
        package: &'a PackageImage,
    ) -> impl Iterator<Item = (String, &'a [u8], MemberStamp)> {
        let wanted = !self.description_only;
        package.install.iter().filter(move |_| wanted).map(|(name, bytes)| {
            let name = format!("install/{name}");
            let stamp = package.stamp(&name);
            (name, bytes.as_slice(), stamp)
        })
    }
}

impl TransferObserver<'_> {
    fn check(&self) -> Result<(), TranslateError> {
        (self.interrupt)().map_or(Ok(()), |signal| Err(TranslateError::Interrupted(signal)))
    }
}

/// `reloc/…` or `root/…`, with the part number from the second part on.
fn member_name(path: &PackagePath, part: u32) -> Vec<u8> {
    let name = pkgmap::member_name(path);
    if part < 2 {
        return name;
    }
    let slash = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    let (place, rest) = name.split_at(slash);
    [place, format!(".{part}").as_bytes(), rest].concat()
}

/// The words follow `unable to complete package transfer`.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("no package associated with {}", listed(.0))]
    NoPackage(Vec<String>),
    /// Usually because a named directory does not exist.
    #[error("both source and destination devices cannot be a datastream\n- <{}> is not a directory", .0.display())]
    TwoStreams(PathBuf),
    #[error("<{}> is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("source and destination represent the same device")]
    SameDevice,
    #[error("<{}> is a directory, and a datastream is a file", .0.display())]
    IsDirectory(PathBuf),
    #[error("<{}> is not the name of a file", .0.display())]
    NoFileName(PathBuf),
    #[error("identical version of <{0}> already exists on destination device")]
    Identical(PkgInst),
    #[error("<{name}> exists {there} times on destination device, and MAXINST is {most}")]
    TooManyInstances { name: PkgInst, there: usize, most: usize },
    #[error("<{0}> already exists on destination device, in another version or architecture")]
    NameTaken(PkgInst),
    #[error("<{0}> on destination device is not a package, and is not overwritten")]
    NoPackageThere(PkgInst),
    #[error("<{0}> is to be transferred twice")]
    Twice(PkgInst),
    #[error(transparent)]
    Name(#[from] PkgInstError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("package {0}: a file is larger than 8 GiB, which a datastream cannot hold")]
    TooLarge(PkgInst),
    #[error("cannot write <{}>: {error}", .path.display())]
    Write { path: PathBuf, error: DatastreamError },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!("<{word}>")).collect::<Vec<_>>().join(", ")
}

impl TranslateError {
    pub fn is_broken_pipe(&self) -> bool {
        self.write_error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns whether the file system that is written to, or the caller's quota of it, is full.
    pub fn is_no_space(&self) -> bool {
        let is_full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        match self {
            Self::Root(error) => error.is_no_space(),
            Self::Source(SourceError { problem: SourceProblem::Io { error, .. }, .. }) => is_full(error),
            _ => self.write_error().is_some_and(is_full),
        }
    }

    fn write_error(&self) -> Option<&io::Error> {
        match self {
            Self::Write {
                error:
                    DatastreamError::Io(error) | DatastreamError::Archive { source: CpioError::Io(error), .. },
                ..
            } => Some(error),
            _ => None,
        }
    }

    pub fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::Identical(_) | Self::NameTaken(_) | Self::Twice(_) | Self::TooManyInstances { .. }
        )
    }
}

const BUFFER: usize = 1 << 18;

/// In a stream.
const DIRECTORY: u32 = 0o755;

fn write_stream(
    translation: &PackageTranslation,
    to: &Path,
    observer: &mut TransferObserver<'_>,
) -> Result<Vec<TransferredPackage>, TranslateError> {
    if to.is_dir() {
        return Err(TranslateError::IsDirectory(to.to_owned()));
    }
    let stream = PackageStream { translation, to, observer };
    if let Some(device) = special(to).map_err(|error| failed(to, error.into()))? {
        return Ok(stream.write(BufWriter::with_capacity(BUFFER, device))?.1);
    }
    let (place, file) = UnnamedFile::beside(to)?;
    let written = stream.write(BufWriter::with_capacity(BUFFER, file));
    place.settle(written)
}

/// A shell's pipe, a named pipe, or a tape.
fn special(to: &Path) -> io::Result<Option<File>> {
    let standard = [Path::new("/dev/stdout"), Path::new("/dev/fd/1"), Path::new("/proc/self/fd/1")];
    if standard.contains(&to) {
        return Ok(Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)));
    }
    let Ok(metadata) = to.metadata() else { return Ok(None) };
    let kind = metadata.file_type();
    let is_special = kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket();
    #[allow(clippy::disallowed_methods)] // a pipe or device is written to as it is, wherever its name leads
    let open = || OpenOptions::new().write(true).open(to);
    if is_special { open().map(Some) } else { Ok(None) }
}

fn failed(to: &Path, error: DatastreamError) -> TranslateError {
    TranslateError::Write { path: to.to_owned(), error }
}

struct UnnamedFile {
    dir: Dir,
    name: Vec<u8>,
    temporary: Vec<u8>,
}

impl UnnamedFile {
    fn beside(to: &Path) -> Result<(Self, WritableFile), TranslateError> {
        let to = to.canonicalize().unwrap_or_else(|_| to.to_owned());
        let name = to.file_name().ok_or_else(|| TranslateError::NoFileName(to.clone()))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = Dir::of_host(parent.unwrap_or(Path::new(".")))?;
        // Leftovers of other users are no error.
        let _ = dir.remove_leftovers(PROGRAM);
        let (temporary, file) = dir.create_private(PROGRAM)?;
        Ok((Self { dir, name: name.as_bytes().to_vec(), temporary }, file))
    }

    fn settle<T>(
        self,
        written: Result<(BufWriter<WritableFile>, T), TranslateError>,
    ) -> Result<T, TranslateError> {
        let settled = written.and_then(|(file, result)| {
            let path = PathBuf::from(OsStr::from_bytes(&self.name));
            let file = file.into_inner().map_err(|error| failed(&path, error.into_error().into()))?;
            file.set_mode(Mode::of(0o644))?;
            if self.dir.look(&self.name)?.is_some() {
                // After a power cut, the old file must not be missing while the new one lacks bytes.
                file.sync()?;
            }
            self.dir.rename(&self.temporary, &self.name)?;
            Ok(result)
        });
        if settled.is_err() {
            // The first error is reported.
            let _ = self.dir.remove(&self.temporary);
        }
        settled
    }
}

struct PackageStream<'a, 'o> {
    translation: &'a PackageTranslation,
    to: &'a Path,
    observer: &'a mut TransferObserver<'o>,
}

impl PackageStream<'_, '_> {
    fn write<W: Write>(self, out: W) -> Result<(W, Vec<TransferredPackage>), TranslateError> {
        let Self { translation, to, observer } = self;
        let failed = |error| failed(to, error);
        let (mut announced, mut times) = (Vec::new(), Vec::new());
        for (_, package) in translation.packages() {
            announced.push(announcement(package)?);
            let [pkginfo, pkgmap] = ["pkginfo", "pkgmap"].map(|file| package.stamp(file).mtime);
            times.push(DatastreamTimes { pkginfo, pkgmap });
        }
        let mut names = HashSet::new();
        if let Some(twice) = announced.iter().find(|package| !names.insert(&package.inst)) {
            return Err(TranslateError::Twice(twice.inst.clone()));
        }
        let mut stream = DatastreamWriter::with_times(out, &announced, &times).map_err(failed)?;
        let mut done = Vec::new();
        for ((index, package), DatastreamPackage { inst, parts, .. }) in
            translation.packages().zip(&announced)
        {
            let transferred = TransferredPackage { name: inst.to_string(), instance: inst.to_string() };
            (observer.transferring)(&transferred);
            done.push(transferred);
            for number in 1..=*parts {
                let form = form(package, number).ok_or_else(|| TranslateError::TooLarge(inst.clone()))?;
                let archive = stream.begin_part(form).map_err(failed)?;
                let mut part =
                    TranslatedPart { translation, to, package, number, archive, directories: HashSet::new() };
                part.write(index, observer)?;
                stream = part.archive.finish().map_err(failed)?;
            }
        }
        let mut out = stream.finish().map_err(failed)?;
        out.flush().map_err(|error| failed(error.into()))?;
        Ok((out, done))
    }
}

fn announcement(package: &PackageImage) -> Result<DatastreamPackage, TranslateError> {
    Ok(DatastreamPackage {
        inst: PkgInst::new(&package.spooled_name())?,
        parts: package.pkgmap.parts,
        max_blocks: package.pkgmap.max_blocks,
        pkginfo: package.pkginfo_bytes.clone(),
        pkgmap: package.pkgmap_bytes.clone(),
    })
}

fn form(package: &PackageImage, part: u32) -> Option<CpioFormat> {
    let of_part = package.files().filter(|entry| entry.part == part);
    CpioFormat::for_size(of_part.filter_map(|entry| entry.object.content.size).max().unwrap_or_default())
}

struct TranslatedPart<'a, W> {
    translation: &'a PackageTranslation,
    to: &'a Path,
    package: &'a PackageImage,
    number: u32,
    archive: PartWriter<W>,
    directories: HashSet<Vec<u8>>,
}

impl<W: Write> TranslatedPart<'_, W> {
    fn write(&mut self, index: usize, observer: &TransferObserver<'_>) -> Result<(), TranslateError> {
        let package = self.package;
        self.file(b"pkginfo", package.stamp("pkginfo"), &package.pkginfo_bytes)?;
        if self.number == 1 {
            self.file(b"pkgmap", package.stamp("pkgmap"), &package.pkgmap_bytes)?;
            for (name, bytes, stamp) in self.translation.information(package) {
                self.file(name.as_bytes(), stamp, bytes)?;
            }
        }
        if self.translation.description_only {
            return Ok(());
        }
        let parts: HashMap<&PackagePath, u32> =
            package.files().map(|entry| (&entry.path, entry.part)).collect();
        let number = self.number;
        let mut wanted =
            |which: usize, path: &PackagePath| which == index && parts.get(path) == Some(&number);
        let device = &self.translation.device;
        device.source.stream_checked(
            &device.image,
            &mut wanted,
            &mut |_, path, delivered, data: &mut dyn Read| {
                observer.check()?;
                let name = member_name(path, number);
                let data = &mut InterruptibleRead::new(data, observer.interrupt);
                self.member(&name, delivered.stamp, delivered.size, data)
            },
        )
    }

    fn file(&mut self, name: &[u8], stamp: MemberStamp, mut bytes: &[u8]) -> Result<(), TranslateError> {
        self.member(name, stamp, bytes.len() as u64, &mut bytes)
    }

    /// Makes missing parent directories.
    fn member(
        &mut self,
        name: &[u8],
        stamp: MemberStamp,
        size: u64,
        data: &mut dyn Read,
    ) -> Result<(), TranslateError> {
        let failed = |error| failed(self.to, error);
        let mtime = self.package.stamp("pkgmap").mtime;
        for (slash, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let directory = name.get(..slash).unwrap_or_default();
            if self.directories.insert(directory.to_vec()) {
                let header = CpioHeader::directory(directory, DIRECTORY, mtime);
                self.archive.write_member(&header, io::empty()).map_err(failed)?;
            }
        }
        let header = CpioHeader::file(name, stamp.mode, stamp.mtime, size);
        self.archive.write_member(&header, data).map_err(failed)
    }
}

const PERMISSIONS: u32 = 0o777;

fn write_tree(
    translation: &PackageTranslation,
    to: &Path,
    observer: &mut TransferObserver<'_>,
) -> Result<Vec<TransferredPackage>, TranslateError> {
    let root = Root::open(to)?;
    let top = root.dir(&ObjectPath::root())?;
    let instances = instances(translation, &root)?;
    write_all(&top, translation, &instances, observer)?;
    let names = translation.packages().map(|(_, package)| package.spooled_name());
    let moved = names.zip(instances);
    Ok(moved.map(|(name, instance)| TransferredPackage { name, instance: instance.to_string() }).collect())
}

fn instances(translation: &PackageTranslation, root: &Root) -> Result<Vec<PkgInst>, TranslateError> {
    let mut there = spooled(root)?;
    let mut names = Vec::new();
    let mut taken = BTreeSet::new();
    for (_, package) in translation.packages() {
        let name = PkgInst::new(&package.spooled_name())?;
        let instance = instance(&name, &package.params, &there, translation.existing)?;
        if !taken.insert(instance.clone()) {
            return Err(TranslateError::Twice(instance));
        }
        if translation.existing == ExistingPolicy::Rename {
            there.insert(instance.clone(), Present::Package(None));
        }
        names.push(instance);
    }
    Ok(names)
}

enum Present {
    Package(Option<Params>),
    Other,
}

impl Present {
    fn is(&self, params: &Params) -> bool {
        let Self::Package(Some(own)) = self else { return false };
        ["PKG", "ARCH", "VERSION"].iter().all(|parameter| own.get(parameter) == params.get(parameter))
    }
}

fn spooled(root: &Root) -> Result<BTreeMap<PkgInst, Present>, TranslateError> {
    let mut found = BTreeMap::new();
    for name in root.list(&ObjectPath::root())?.unwrap_or_default() {
        let Some(inst) = std::str::from_utf8(&name).ok().and_then(|name| PkgInst::new(name).ok()) else {
            continue;
        };
        let path = ObjectPath::root().join(&[&name[..], b"/pkginfo"].concat())?;
        let present = match root.read(&path, LARGEST_FILE as u64) {
            Ok(Some(text)) => Present::Package(ParamFile::parse(&text).ok().map(|file| file.params())),
            _ => Present::Other,
        };
        found.insert(inst, present);
    }
    Ok(found)
}

fn instance(
    name: &PkgInst,
    params: &Params,
    there: &BTreeMap<PkgInst, Present>,
    existing: ExistingPolicy,
) -> Result<PkgInst, TranslateError> {
    let identical = there.iter().find(|(_, present)| present.is(params)).map(|(name, _)| name);
    match (existing, identical) {
        (ExistingPolicy::Refuse | ExistingPolicy::Rename, Some(identical)) => {
            Err(TranslateError::Identical(identical.clone()))
        }
        (ExistingPolicy::Refuse, None) if there.contains_key(name) => {
            Err(TranslateError::NameTaken(name.clone()))
        }
        (ExistingPolicy::Overwrite, Some(identical)) => Ok(identical.clone()),
        (ExistingPolicy::Overwrite, None) if matches!(there.get(name), Some(Present::Other)) => {
            Err(TranslateError::NoPackageThere(name.clone()))
        }
        (ExistingPolicy::Rename, None) if there.contains_key(name) => {
            let instances = there.iter().filter(|(one, present)| {
                one.abbreviation() == name.abbreviation() && matches!(present, Present::Package(_))
            });
            let count = instances.count();
            // Only a root has a limit without MAXINST.
            if let Ok(most) = params.text("MAXINST").trim().parse::<usize>()
                && count >= most
            {
                return Err(TranslateError::TooManyInstances { name: name.clone(), there: count, most });
            }
            let numbered = (2u32..).map(|number| PkgInst::new(&format!("{}.{number}", name.abbreviation())));
            let mut free =
                numbered.skip_while(|name| name.as_ref().is_ok_and(|name| there.contains_key(name)));
            Ok(free.next().unwrap_or_else(|| Ok(name.clone()))?)
        }
        _ => Ok(name.clone()),
    }
}

fn write_all(
    top: &Dir,
    translation: &PackageTranslation,
    instances: &[PkgInst],
    observer: &mut TransferObserver<'_>,
) -> Result<(), TranslateError> {
    let mut written = Vec::new();
    // Leftovers of other users are no error.
    let _ = top.remove_leftovers(PROGRAM);
    for ((index, package), instance) in translation.packages().zip(instances) {
        let transferred = TransferredPackage { name: package.spooled_name(), instance: instance.to_string() };
        (observer.transferring)(&transferred);
        let mut building = UnnamedDirectory::begin(top, PROGRAM, instance.as_str().as_bytes())?;
        package_into(&mut building.tree, translation, index, package, observer)?;
        building.close(Timestamp::whole(package.stamp("pkgmap").mtime))?;
        written.push(building);
    }
    let replaces = instances.iter().map(|instance| top.look(instance.as_str().as_bytes()));
    let replaces = replaces.collect::<Result<Vec<_>, _>>()?.iter().any(Option::is_some);
    if replaces {
        // After a power cut, the old package must not be missing while the new one lacks bytes.
        top.sync_file_system()?;
    }
    observer.check()?;
    written.iter().try_for_each(|building| building.publish(true))?;
    Ok(())
}

fn package_into(
    tree: &mut NewTree,
    translation: &PackageTranslation,
    index: usize,
    package: &PackageImage,
    observer: &TransferObserver<'_>,
) -> Result<(), TranslateError> {
    let mut buffer = vec![0; BUFFER];
    for (name, bytes) in [("pkginfo", &package.pkginfo_bytes), ("pkgmap", &package.pkgmap_bytes)] {
        file(tree, name.as_bytes(), package.stamp(name), &mut &bytes[..], &mut buffer)?;
    }
    for (name, mut bytes, stamp) in translation.information(package) {
        file(tree, name.as_bytes(), stamp, &mut bytes, &mut buffer)?;
    }
    if translation.description_only {
        return Ok(());
    }
    let parts: HashMap<&PackagePath, u32> = package.files().map(|entry| (&entry.path, entry.part)).collect();
    let device = &translation.device;
    device.source.stream_checked(
        &device.image,
        &mut |which, _| which == index,
        &mut |_, path, delivered, data: &mut dyn Read| {
            observer.check()?;
            let name = member_name(path, parts.get(path).copied().unwrap_or(1));
            let data = &mut InterruptibleRead::new(data, observer.interrupt);
            file(tree, &name, delivered.stamp, data, &mut buffer)
        },
    )
}

/// All files share one buffer.
fn file(
    tree: &mut NewTree,
    name: &[u8],
    stamp: MemberStamp,
    data: &mut dyn Read,
    buffer: &mut [u8],
) -> Result<(), TranslateError> {
    let mut file = tree.file(name)?;
    loop {
        match data.read(buffer) {
            Ok(0) => break,
            Ok(count) => file.put(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(file.write_error(&error).into()),
        }
    }
    file.set_mode(Mode::of(stamp.mode & PERMISSIONS))?;
    Ok(file.set_mtime(Timestamp::whole(stamp.mtime))?)
}

/// A word is an instance, `PKG.*` or `all`; if one matches nothing, nothing is removed. A package loses its name first,
/// so it is never half removed. Damaged packages can be removed. `agrees` is called before each.
pub fn remove_spooled(
    spool: &Path,
    words: &[String],
    agrees: &mut dyn FnMut(&PkgInst) -> bool,
) -> Result<Vec<PkgInst>, TranslateError> {
    let root = Root::open(spool)?;
    let top = root.dir(&ObjectPath::root())?;
    let mut there = Vec::new();
    for name in top.names()? {
        let inst = std::str::from_utf8(&name).ok().and_then(|name| PkgInst::new(name).ok());
        let Some(inst) = inst else { continue };
        let is_directory =
            top.look(&name)?.is_some_and(|seen| seen.file_type == patchadm_rootfs::FileType::Directory);
        if is_directory && top.dir(&name)?.look(b"pkginfo")?.is_some() {
            there.push(inst);
        }
    }
    let patterns: Vec<PackagePattern> = words.iter().map(|word| PackagePattern::parse(word)).collect();
    let means_none = |pattern: &&PackagePattern| !there.iter().any(|inst| pattern.fits(inst.as_str()));
    let missing: Vec<String> = patterns.iter().filter(means_none).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(TranslateError::NoPackage(missing));
    }
    there.retain(|inst| patterns.iter().any(|pattern| pattern.fits(inst.as_str())));
    let mut removed = Vec::new();
    for inst in there {
        if !agrees(&inst) {
            break;
        }
        let private = format!(".{inst}.{:016x}", random()?).into_bytes();
        top.rename(inst.as_str().as_bytes(), &private)?;
        top.remove_tree(&private)?;
        removed.push(inst);
    }
    Ok(removed)
}

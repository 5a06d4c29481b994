//! Packages written into a datastream, reproducibly: owner, group and device are 0, directories are 0755 and as old as the
//! pkgmap, and everything else is as in the packages.
//!
//! A file is written under a private name beside its place and renamed. A pipe or a device is written to directly.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::{PROGRAM, PackageTranslation, TransferObserver, TransferredPackage, TranslateError, member_name};
use patchadm_inputs::source::{MemberStamp, PackageImage};
use patchadm_rootfs::{Dir, InterruptibleRead, WritableFile};
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamError, DatastreamPackage, DatastreamWriter, PartWriter};
use patchadm_svr4::package::{Mode, PackagePath, PkgInst};

/// The bytes that are written at once.
const BUFFER: usize = 1 << 18;

/// The mode of directories in a stream.
const DIRECTORY: u32 = 0o755;

/// Writes the packages to `to`.
pub(super) fn write(
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
    let (place, file) = NewFile::beside(to)?;
    let written = stream.write(BufWriter::with_capacity(BUFFER, file));
    place.settle(written)
}

/// Returns a destination that is no file, open for writing: the output of a shell's pipe, a named pipe, a tape.
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

/// A file without its final name.
struct NewFile {
    dir: Dir,
    name: Vec<u8>,
    temporary: Vec<u8>,
}

impl NewFile {
    /// Makes the file where `to` is, through a symbolic link if it is one.
    fn beside(to: &Path) -> Result<(Self, WritableFile), TranslateError> {
        let to = to.canonicalize().unwrap_or_else(|_| to.to_owned());
        let name = to.file_name().ok_or_else(|| TranslateError::NoFileName(to.clone()))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = Dir::of_host(parent.unwrap_or(Path::new(".")))?;
        // Left-overs of other users are not worth an error of this transfer.
        let _ = dir.remove_leftovers(PROGRAM);
        let (temporary, file) = dir.create_private(PROGRAM)?;
        Ok((Self { dir, name: name.as_bytes().to_vec(), temporary }, file))
    }

    /// Gives the file its name, or removes it.
    fn settle<T>(
        self,
        written: Result<(BufWriter<WritableFile>, T), TranslateError>,
    ) -> Result<T, TranslateError> {
        let settled = written.and_then(|(file, result)| {
            let path = PathBuf::from(OsStr::from_bytes(&self.name));
            let file = file.into_inner().map_err(|error| failed(&path, error.into_error().into()))?;
            file.set_mode(Mode::of(0o644))?;
            if self.dir.look(&self.name)?.is_some() {
                // After a power cut, the old file must not be missing while the new one lacks its bytes.
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

/// A stream that is being written.
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
            times.push(["pkginfo", "pkgmap"].map(|file| package.stamp(file).mtime));
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

/// Returns the entry of a package in the header of the stream.
fn announcement(package: &PackageImage) -> Result<DatastreamPackage, TranslateError> {
    Ok(DatastreamPackage {
        inst: PkgInst::new(&package.spooled_name())?,
        parts: package.pkgmap.parts,
        max_blocks: package.pkgmap.max_blocks,
        pkginfo: package.pkginfo_bytes.clone(),
        pkgmap: package.pkgmap_bytes.clone(),
    })
}

/// Returns the form of cpio that holds the largest object of a part.
fn form(package: &PackageImage, part: u32) -> Option<CpioFormat> {
    let of_part = package.files().filter(|entry| entry.part == part);
    CpioFormat::for_size(of_part.filter_map(|entry| entry.object.content.size).max().unwrap_or_default())
}

/// The archive of one part of a package.
struct TranslatedPart<'a, W> {
    translation: &'a PackageTranslation,
    to: &'a Path,
    package: &'a PackageImage,
    number: u32,
    archive: PartWriter<W>,
    /// The directories that are members already.
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

    /// Writes a file, after the directories above it that are not members yet.
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

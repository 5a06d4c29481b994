//! The forms of a source: directory, datastream, tar archive, zip archive. An operand may be a symbolic link to a
//! directory. Below it the kernel follows no link (`openat2` with `RESOLVE_NO_SYMLINKS`): a link swapped in between
//! check and use leads nowhere.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, open, openat2, statat};
use rustix::io::{Errno, retry_on_intr};
use tar::{Archive, EntryType, PaxExtensions};
use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use super::SourceError;
use super::error::SourceProblem;
use super::member::{MemberKind, MemberStamp, MemberVisitor, SourceMember, check_target, checked_name};
use patchadm_rootfs::{each_entry_from_here, human};
use patchadm_svr4::format::datastream::{self, DatastreamPackage, DatastreamPart, DatastreamReader};
use patchadm_svr4::package::PackagePath;

const DEEPEST: usize = 256;

#[derive(Debug)]
pub(super) struct SourceDirectory {
    top: OwnedFd,
    /// Directories of packages, as the first walk found them. Later walks meet the same files: whatever is added then
    /// is not read, and what is removed or changed fails.
    listed: Mutex<HashMap<Vec<u8>, Arc<[SourceEntry]>>>,
}

impl SourceDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, SourceProblem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(path, flags, Mode::empty())
            .map_err(|error| SourceProblem::Io { file: None, error: error.into() })?;
        Ok(Self { top, listed: Mutex::default() })
    }

    /// Visits files beside the packages and everything inside them, sorted by name; skips other directories and
    /// packages that are not `wanted`. pkgtrans(1) is just writing a directory whose name begins with a dot.
    pub(super) fn walk<E: From<SourceError>>(
        &self,
        wanted: &dyn Fn(&[u8]) -> bool,
        visit: &mut MemberVisitor<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let names = self.list(b"").map_err(fail)?;
        let whole = has(&names, b"pkginfo") && has(&names, b"pkgmap");
        for entry in names {
            if entry.kind != MemberKind::Directory {
                self.give(&entry.name, &entry, visit, fail)?;
            } else if whole
                || entry.name.first() != Some(&b'.')
                    && wanted(&entry.name)
                    && has(&self.list(&entry.name).map_err(fail)?, b"pkginfo")
            {
                self.walk_below(&mut entry.name.clone(), visit, fail)?;
            }
        }
        Ok(())
    }

    pub(super) fn each_name(
        &self,
        directory: &mut Vec<u8>,
        found: &mut dyn FnMut(&[u8], &MemberKind),
    ) -> Result<(), SourceProblem> {
        if directory.split(|&byte| byte == b'/').count() > DEEPEST {
            return Err(SourceProblem::BadForm("directories are nested too deeply".to_owned()));
        }
        let length = directory.len();
        for entry in self.list(directory)? {
            if length > 0 {
                directory.push(b'/');
            }
            directory.extend_from_slice(&entry.name);
            match entry.kind {
                MemberKind::Directory => self.each_name(directory, found)?,
                kind => found(directory, &kind),
            }
            directory.truncate(length);
        }
        Ok(())
    }

    fn walk_below<E: From<SourceError>>(
        &self,
        directory: &mut Vec<u8>,
        visit: &mut MemberVisitor<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let depth = directory.split(|&byte| byte == b'/').count();
        if depth > DEEPEST {
            let shown = directory.get(..80).unwrap_or_default().escape_ascii();
            return Err(fail(SourceProblem::BadForm(format!(
                "directories are nested too deeply below {shown}"
            )))
            .into());
        }
        let length = directory.len();
        for entry in &*self.list_once(directory).map_err(fail)? {
            directory.push(b'/');
            directory.extend_from_slice(&entry.name);
            if entry.kind == MemberKind::Directory {
                self.walk_below(directory, visit, fail)?;
            } else {
                self.give(directory, entry, visit, fail)?;
            }
            directory.truncate(length);
        }
        Ok(())
    }

    fn give<E: From<SourceError>>(
        &self,
        name: &[u8],
        entry: &SourceEntry,
        visit: &mut MemberVisitor<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let Some(path) = checked_name(name).map_err(fail)? else { return Ok(()) };
        let mut reader = Unopened { directory: self, path: &path, file: None, is_ended: false };
        let SourceEntry { kind, size, stamp, .. } = entry;
        let member =
            SourceMember { path: path.clone(), kind: kind.clone(), size: *size, group: None, stamp: *stamp };
        visit(&member, &mut reader)
    }

    /// With its size.
    fn open_file(&self, path: &PackagePath) -> io::Result<(File, u64)> {
        // Without O_NONBLOCK a pipe that someone put there would hold the program for ever.
        let file = self.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        match kind(&stat) {
            (MemberKind::File, size) => Ok((File::from(file), size)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file")),
        }
    }

    fn open_at(&self, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let name = if name.is_empty() { b"." } else { name };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let (name, flags) = (OsStr::from_bytes(name), flags | OFlags::CLOEXEC);
        retry_on_intr(|| openat2(self.top.as_fd(), name, flags, Mode::empty(), resolve)).map_err(|error| {
            match error {
                Errno::NOSYS => io::Error::new(io::ErrorKind::Unsupported, "the kernel has no openat2(2)"),
                other => other.into(),
            }
        })
    }

    fn list_once(&self, directory: &[u8]) -> Result<Arc<[SourceEntry]>, SourceProblem> {
        let mut all = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = all.get(directory) {
            return Ok(listed.clone());
        }
        let listed: Arc<[SourceEntry]> = self.list(directory)?.into();
        all.insert(directory.to_vec(), listed.clone());
        Ok(listed)
    }

    fn list(&self, directory: &[u8]) -> Result<Vec<SourceEntry>, SourceProblem> {
        let read = || -> io::Result<Vec<SourceEntry>> {
            let at = self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut found = Vec::new();
            each_entry_from_here(&at, |name, listed| {
                let (kind, size, stamp) = if listed == FileType::Directory {
                    (MemberKind::Directory, 0, MemberStamp::UNKNOWN)
                } else {
                    let stat = retry_on_intr(|| statat(&at, name, AtFlags::SYMLINK_NOFOLLOW))?;
                    let (kind, size) = kind(&stat);
                    (kind, size, MemberStamp { mode: stat.st_mode & 0o7777, mtime: stat.st_mtime })
                };
                found.push(SourceEntry { name: name.to_vec(), kind, size, stamp });
                Ok(())
            })?;
            found.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(found)
        };
        read().map_err(|error| match directory {
            b"" => SourceProblem::Io { file: None, error },
            inside => SourceProblem::read(&inside.escape_ascii().to_string(), error),
        })
    }
}

#[derive(Debug)]
struct SourceEntry {
    name: Vec<u8>,
    kind: MemberKind,
    size: u64,
    stamp: MemberStamp,
}

fn has(entries: &[SourceEntry], wanted: &[u8]) -> bool {
    entries.iter().any(|entry| entry.name == wanted)
}

fn kind(stat: &Stat) -> (MemberKind, u64) {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (MemberKind::File, u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Directory => (MemberKind::Directory, 0),
        FileType::Symlink => (MemberKind::Symlink, 0),
        _ => (MemberKind::Other, 0),
    }
}

/// Opened at the first read: a walk opens no file without need.
struct Unopened<'a> {
    directory: &'a SourceDirectory,
    path: &'a PackagePath,
    /// With the bytes that are left.
    file: Option<(File, u64)>,
    is_ended: bool,
}

impl Read for Unopened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_ended {
            return Ok(0);
        }
        let (file, left) = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(self.directory.open_file(self.path)?),
        };
        let count = file.read(buffer)?;
        // A call that returns all that is left, with room to spare, shows the end.
        self.is_ended = count as u64 == *left && count < buffer.len();
        *left = left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Bytes after the last archive, skipped so that an outer compression is checked to its end. No more is read: the end
/// may never come.
const JUNK: u64 = 1 << 20;

const BUFFER: usize = 1 << 18;

/// Gives each member of each part as `<pkginst>/<path>`; `pkginfo` and `pkgmap` come first, from the table of contents,
/// and must equal the copies in the parts.
pub(super) fn walk_stream<E: From<SourceError>>(
    input: Box<dyn Read + '_>,
    visit: &mut MemberVisitor<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(SourceProblem::of_datastream(error));
    let mut reader = DatastreamReader::new(BufReader::with_capacity(BUFFER, input)).map_err(broken)?;
    for (package, times) in reader.packages().iter().zip(reader.times()) {
        for (name, data, mtime) in
            [("pkginfo", &package.pkginfo, times.pkginfo), ("pkgmap", &package.pkgmap, times.pkgmap)]
        {
            let path = inside(package, name.as_bytes()).map_err(fail)?;
            let (size, stamp) = (data.len() as u64, MemberStamp { mtime, ..MemberStamp::UNKNOWN });
            visit(&SourceMember { path, kind: MemberKind::File, size, group: None, stamp }, &mut &data[..])?;
        }
    }
    let mut archive = 0;
    while let Some(part) = reader.next_part().map_err(broken)? {
        archive += 1;
        while let Some(found) = reader.next_member().map_err(broken)? {
            if matches!(found.path.as_bytes(), b"pkginfo" | b"pkgmap") {
                compare(&mut reader, part, &found).map_err(fail)?;
                continue;
            }
            let Some(package) = reader.packages().get(part.package) else { continue };
            let path = inside(package, found.path.as_bytes()).map_err(fail)?;
            let header = &found.header;
            let kind = match () {
                () if header.is_file() => MemberKind::File,
                () if header.is_directory() => MemberKind::Directory,
                () if header.is_symlink() => MemberKind::Symlink,
                () => MemberKind::Other,
            };
            let several = header.nlink > 1 && kind == MemberKind::File;
            let device = u64::from(header.dev.0) << 32 | u64::from(header.dev.1);
            let group = several.then_some((archive, device, header.ino.into()));
            let mtime = i64::try_from(header.mtime).unwrap_or(i64::MAX);
            let stamp = MemberStamp { mode: header.mode & 0o7777, mtime };
            visit(&SourceMember { path, kind, size: header.size, group, stamp }, &mut reader)?;
        }
    }
    io::copy(&mut reader.into_inner().take(JUNK), &mut io::sink())
        .map_err(|e| fail(SourceProblem::of_archive(e)))?;
    Ok(())
}

fn inside(package: &DatastreamPackage, path: &[u8]) -> Result<PackagePath, SourceProblem> {
    let name = [package.inst.as_str().as_bytes(), b"/", path].concat();
    checked_name(&name)?.ok_or_else(|| SourceProblem::BadForm("a member has no name".to_owned()))
}

/// Refuses a package that its table of contents and its archive describe differently.
fn compare<R: Read>(
    reader: &mut DatastreamReader<R>,
    part: DatastreamPart,
    found: &datastream::DatastreamMember,
) -> Result<(), SourceProblem> {
    let Some(package) = reader.packages().get(part.package) else { return Ok(()) };
    let (inst, file) = (package.inst.to_string(), found.path.to_string());
    let expected = if file == "pkginfo" { &package.pkginfo } else { &package.pkgmap };
    let (mut same, expected) = (expected.len() as u64 == found.header.size, expected.clone());
    let mut rest = &expected[..];
    let mut buffer = [0; 4096];
    while same {
        let count = reader.read(&mut buffer).map_err(SourceProblem::of_archive)?;
        let (read, tail) = rest.split_at_checked(count).unwrap_or_default();
        same = buffer.get(..count) == Some(read);
        rest = tail;
        if count == 0 {
            break;
        }
    }
    if same {
        return Ok(());
    }
    let reason = "it differs from the one in the table of contents of the datastream".to_owned();
    Err(SourceProblem::CorruptPackageFile { package: inst, file, reason })
}

// Supported are tar of the seventh edition, ustar, GNU long names and pax names. Long names are read here, with a
// limit, because the tar crate reads them whole. Readers that disagree about a size see different archives
// (CVE-2025-62518), so a pax record with another size than the header is refused.

const LONGEST_RECORD: u64 = 1 << 20;

/// Read after the end mark so that an outer compression is checked to its end.
const PADDING: u64 = 16 << 20;

#[derive(Default)]
struct Announced {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

pub(super) fn walk_tar<E: From<SourceError>>(
    input: Box<dyn Read + '_>,
    visit: &mut MemberVisitor<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(SourceProblem::of_archive(error));
    let mut archive = Archive::new(input);
    let mut announced = Announced::default();
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let record = entry.header().entry_type();
        match record {
            EntryType::GNULongName => announced.name = Some(text(&mut entry).map_err(fail)?),
            EntryType::GNULongLink => announced.link = Some(text(&mut entry).map_err(fail)?),
            EntryType::XHeader => announced.read_pax(&mut entry).map_err(fail)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let announced = std::mem::take(&mut announced);
                let size = entry.size();
                if announced.size.is_some_and(|other| other != size) {
                    let reason = "a pax record gives a member a different size from its header".to_owned();
                    return Err(fail(SourceProblem::BadForm(reason)).into());
                }
                let name = announced.name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
                let link = announced.link.or_else(|| entry.header().link_name_bytes().map(Into::into));
                let stamp = tar_stamp(entry.header());
                if let Some(member) = member(&name, link, record, size, stamp).map_err(fail)? {
                    visit(&member, &mut entry)?;
                }
            }
        }
    }
    io::copy(&mut archive.into_inner().take(PADDING), &mut io::sink()).map_err(broken)?;
    Ok(())
}

fn member(
    name: &[u8],
    link: Option<Vec<u8>>,
    entry_type: EntryType,
    size: u64,
    stamp: MemberStamp,
) -> Result<Option<SourceMember>, SourceProblem> {
    let Some(path) = checked_name(name)? else { return Ok(None) };
    let link = link.unwrap_or_default();
    let kind = match entry_type {
        // Before ustar a directory was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => {
            check_target(&path, &link)?;
            MemberKind::Symlink
        }
        EntryType::Link => match checked_name(&link)? {
            Some(target) => MemberKind::HardLink(target),
            None => MemberKind::Other,
        },
        _ => MemberKind::Other,
    };
    let size = if kind == MemberKind::File { size } else { 0 };
    Ok(Some(SourceMember { path, kind, size, group: None, stamp }))
}

fn tar_stamp(header: &tar::Header) -> MemberStamp {
    let mtime = header.mtime().ok().and_then(|mtime| i64::try_from(mtime).ok());
    MemberStamp {
        mode: header.mode().unwrap_or(MemberStamp::UNKNOWN.mode) & 0o7777,
        mtime: mtime.unwrap_or(MemberStamp::UNKNOWN.mtime),
    }
}

fn record(entry: &mut impl Read) -> Result<Vec<u8>, SourceProblem> {
    let mut data = Vec::new();
    entry.take(LONGEST_RECORD + 1).read_to_end(&mut data).map_err(SourceProblem::of_archive)?;
    if data.len() as u64 > LONGEST_RECORD {
        return Err(SourceProblem::BadForm("a record before a member is longer than 1 MiB".to_owned()));
    }
    Ok(data)
}

fn text(entry: &mut impl Read) -> Result<Vec<u8>, SourceProblem> {
    let mut data = record(entry)?;
    while data.last() == Some(&0) {
        data.pop();
    }
    Ok(data)
}

impl Announced {
    fn read_pax(&mut self, entry: &mut impl Read) -> Result<(), SourceProblem> {
        let data = record(entry)?;
        for extension in PaxExtensions::new(&data) {
            let extension = extension.map_err(SourceProblem::of_archive)?;
            let value = extension.value_bytes();
            match extension.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                    let bad =
                        || SourceProblem::BadForm("the size in a pax record is not a number".to_owned());
                    self.size = Some(size.ok_or_else(bad)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

// Refuses duplicate names, overlapping members (a small file can unfold into petabytes), encryption, and unknown
// compression methods.

const LONGEST_TARGET: u64 = 4096;

/// Of a table of contents, whose entries take several times their size in memory.
const LARGEST_TABLE: u64 = 256 << 20;

/// Of an entry of the table.
const SMALLEST_ENTRY: u64 = 46;

fn open_zip<R: Read + Seek>(
    mut file: R,
    largest: u64,
) -> Result<ZipArchive<BufReader<TableReader<R>>>, SourceProblem> {
    let too_large = || {
        let largest = human(largest);
        SourceProblem::BadForm(format!("archive is damaged: its table of contents is larger than {largest}"))
    };
    if most_announced(&mut file).map_err(SourceProblem::of_archive)? > largest / SMALLEST_ENTRY {
        return Err(too_large());
    }
    let left = Rc::new(Cell::new(largest));
    let reader = BufReader::new(TableReader { file, left: Rc::clone(&left) });
    // The number of members is the one that was compared: it is read from the place that the archive names.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let opened = ZipArchive::with_config(config, reader);
    let mut archive = opened.map_err(|error| if left.get() == 0 { too_large() } else { problem(error) })?;
    left.set(u64::MAX);
    if archive.has_duplicate_names() {
        return Err(SourceProblem::BadForm("archive is damaged: a name occurs twice".to_owned()));
    }
    if archive.has_overlapping_files().map_err(problem)? {
        return Err(SourceProblem::BadForm("archive is damaged: members overlap".to_owned()));
    }
    Ok(archive)
}

/// Returns the largest number of members that a zip64 record announces: the zip crate reserves memory for all of them.
fn most_announced(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    const LOCATOR: (&[u8], u64) = (b"PK\x06\x07", 20);
    const RECORD: (&[u8], u64) = (b"PK\x06\x06", 56);
    // A locator precedes the end record, behind which a comment may follow.
    const LONGEST_END: u64 = LOCATOR.1 + 22 + (64 << 10);
    let end = file.seek(SeekFrom::End(0))?;
    let tail = read_from(file, end.saturating_sub(LONGEST_END), LONGEST_END)?;
    let mut most = 0;
    for (at, _) in tail.windows(LOCATOR.0.len()).enumerate().filter(|(_, word)| *word == LOCATOR.0) {
        let Some(place) = number(&tail, at + 8).filter(|&place| place < end) else { continue };
        let record = read_from(file, place, RECORD.1)?;
        if record.starts_with(RECORD.0) {
            most = most.max(number(&record, 32).unwrap_or_default());
        }
    }
    Ok(most)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

fn read_from(file: &mut (impl Read + Seek), from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Fails after a number of bytes.
struct TableReader<R> {
    file: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for TableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(count as u64));
        if self.left.get() == 0 && count > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its table of contents is too large"));
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for TableReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

pub(super) fn walk_zip<E: From<SourceError>>(
    file: impl Read + Seek,
    visit: &mut MemberVisitor<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(problem(error));
    let mut archive = open_zip(file, LARGEST_TABLE).map_err(fail)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let Some(path) = checked_name(entry.name_raw()).map_err(fail)? else { continue };
        let kind = match entry.unix_mode().map(|mode| mode & 0o170_000) {
            Some(0o120_000) => MemberKind::Symlink,
            _ if entry.is_dir() => MemberKind::Directory,
            Some(0o100_000 | 0) | None => MemberKind::File,
            Some(_) => MemberKind::Other,
        };
        if kind == MemberKind::Symlink {
            let mut target = Vec::new();
            let read = entry.by_ref().take(LONGEST_TARGET).read_to_end(&mut target);
            read.map_err(|error| fail(SourceProblem::of_archive(error)))?;
            check_target(&path, &target).map_err(fail)?;
        }
        let size = if kind == MemberKind::File { entry.size() } else { 0 };
        let stamp = zip_stamp(entry.unix_mode(), entry.last_modified());
        visit(&SourceMember { path, kind, size, group: None, stamp }, &mut entry)?;
    }
    Ok(())
}

/// Zip archives have local time without a zone: it counts as UTC.
fn zip_stamp(mode: Option<u32>, modified: Option<zip::DateTime>) -> MemberStamp {
    let moment = modified.and_then(|at| {
        let day = NaiveDate::from_ymd_opt(at.year().into(), at.month().into(), at.day().into())?;
        day.and_hms_opt(at.hour().into(), at.minute().into(), at.second().into())
    });
    MemberStamp {
        mode: mode.map_or(MemberStamp::UNKNOWN.mode, |mode| mode & 0o7777),
        mtime: moment.map_or(MemberStamp::UNKNOWN.mtime, |moment| moment.and_utc().timestamp()),
    }
}

fn problem(error: ZipError) -> SourceProblem {
    match error {
        ZipError::Io(error) => SourceProblem::of_archive(error),
        ZipError::UnsupportedArchive(what) => SourceProblem::Unsupported(format!("zip archive: {what}")),
        other => SourceProblem::BadForm(format!("archive is damaged: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn archive(members: usize) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for member in 0..members {
            writer.start_file(member.to_string(), zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"content").unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn opened(bytes: &[u8], largest: u64) -> Result<usize, String> {
        let archive = open_zip(Cursor::new(bytes), largest);
        archive.map(|archive| archive.len()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_table_of_contents_has_a_limit() {
        let bytes = archive(500);
        assert_eq!(opened(&bytes, LARGEST_TABLE), Ok(500));
        let refused = "archive is damaged: its table of contents is larger than 8.0 KiB";
        assert_eq!(opened(&bytes, 8 << 10), Err(refused.to_owned()));
    }

    #[test]
    fn no_memory_is_reserved_for_members_that_are_only_announced() {
        let whole = archive(1);
        let (members, end) = whole.split_at(whole.len() - 22);
        let (count, place) = ((1_u64 << 40).to_le_bytes(), (members.len() as u64).to_le_bytes());
        let record = [&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8], &count, &count];
        let locator = [&b"PK\x06\x07"[..], &[0; 4], &place, &[1, 0, 0, 0]];
        let bytes = [members, &record.concat(), &[0; 16], &locator.concat(), end].concat();
        assert_eq!(most_announced(&mut Cursor::new(&bytes)).unwrap(), 1 << 40);
        let refused = "archive is damaged: its table of contents is larger than 256.0 MiB";
        assert_eq!(opened(&bytes, LARGEST_TABLE), Err(refused.to_owned()));
    }
}

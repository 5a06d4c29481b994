//! The payload of an rpm package: a compressed cpio archive of the files in the header.
//!
//! The last name of a file has the content. With a file of 4 GiB or more, only the header has names and sizes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use super::header::{GHOST, RpmHeader, damaged, tags};
use crate::release::ReleaseProblem;
use crate::release::archive::{
    ArchiveContents, ContentVisit, FilePart, NumberedContents, ObjectCollector, TextRoom, content_of,
};
use crate::release::tar_archive::member_path;
use patchadm_container::{ContainerFormat, open_container};
use patchadm_inputs::sha256::Sha256;
use patchadm_releases::{FileContent, ReleaseObject, ReleaseObjectKind};
use patchadm_rootfs::{Digest, Sums};
use patchadm_svr4::format::cpio::{CpioError, CpioHeader, CpioReader, TRAILER};
use patchadm_svr4::package::ObjectPath;

/// Padding after the archive is read so that the compression is checked to its end.
const PADDING: u64 = 16 << 20;

const BUFFER: usize = 1 << 16;

pub(super) struct Payload {
    pub(super) part: FilePart,
    pub(super) sha256: Option<String>,
    /// `Some` for an archive with names and sizes in the header.
    pub(super) stripped: Option<StrippedMembers>,
}

type CpioVisit<'a> = dyn FnMut(&CpioHeader, &mut dyn Read) -> Result<ControlFlow<()>, ReleaseProblem> + 'a;

impl Payload {
    pub(super) fn list(
        self,
        mut listed: BTreeMap<ObjectPath, ReleaseObject>,
    ) -> Result<(Vec<ReleaseObject>, ArchiveContents<Self>), ReleaseProblem> {
        let mut collector = ObjectCollector::default();
        let mut names = LinkedNames::default();
        let mut met = BTreeSet::new();
        let mut buffer = vec![0; BUFFER];
        self.walk(&mut |member, data| {
            let Some(path) = cpio_path(&member.name)? else { return Ok(ControlFlow::Continue(())) };
            // The archive may have any number of others, which say nothing.
            if !member.is_file() && !listed.contains_key(&path) && !met.contains(&path) {
                return Ok(ControlFlow::Continue(()));
            }
            if !met.insert(path.clone()) {
                return Err(ReleaseProblem::BadForm(format!("two members are called <{path}>")));
            }
            if !member.is_file() {
                return Ok(ControlFlow::Continue(()));
            }
            let Some(object) = listed.remove(&path) else {
                let reason = format!("the archive has a file <{path}> that the header does not list");
                return Err(ReleaseProblem::BadForm(reason));
            };
            if let Some(objects) = names.add(member, object) {
                let content =
                    content_of(Sums::through(&mut buffer, data).map_err(ReleaseProblem::of_archive)?);
                collector.add_files(objects.into_iter().map(|object| with_content(object, content)))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for objects in names.left() {
            collector.add_files(objects)?;
        }
        for (path, object) in listed {
            if object.content().is_some() {
                return Err(ReleaseProblem::BadForm(format!(
                    "the archive is missing <{path}>, which the header lists"
                )));
            }
            collector.add(object)?;
        }
        let (objects, names) = collector.finish()?;
        Ok((objects, ArchiveContents { archive: self, names }))
    }

    fn walk(&self, visit: &mut CpioVisit<'_>) -> Result<(), ReleaseProblem> {
        let mut digested = Digested { inner: self.part.reader(), sha256: Sha256::new() };
        {
            let opened = open_container(&mut digested).map_err(ReleaseProblem::of_archive)?;
            if let ContainerFormat::Unsupported(what) = opened.form {
                return Err(ReleaseProblem::Unsupported(format!("{what} compression")));
            }
            let input = BufReader::with_capacity(BUFFER, opened.reader);
            let ControlFlow::Continue(rest) = self.walk_members(input, visit)? else { return Ok(()) };
            io::copy(&mut rest.take(PADDING), &mut io::sink()).map_err(ReleaseProblem::of_archive)?;
        }
        let found = Digest(digested.sha256.finalize()).to_string();
        match &self.sha256 {
            Some(announced) if !announced.eq_ignore_ascii_case(&found) => Err(ReleaseProblem::bad(
                "the package is damaged: its payload does not match the digest in its header",
            )),
            _ => Ok(()),
        }
    }
}

impl Payload {
    fn walk_members<R: Read>(
        &self,
        mut input: R,
        visit: &mut CpioVisit<'_>,
    ) -> Result<ControlFlow<(), R>, ReleaseProblem> {
        let mut magic = [0; 6];
        input.read_exact(&mut magic).map_err(ReleaseProblem::of_archive)?;
        if magic != MAGIC {
            let mut archive = CpioReader::new(magic.chain(input));
            while let Some(member) = archive.next_member().map_err(of_cpio)? {
                if visit(&member, &mut archive)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(archive.into_inner().into_inner().1));
        }
        let lacking =
            || ReleaseProblem::bad("the archive names no files, and the header does not state their sizes");
        let members = self.stripped.as_ref().ok_or_else(lacking)?;
        let mut archive = StrippedReader::behind_magic(input, members);
        while let Some(member) = archive.next_member()? {
            if visit(member, &mut archive)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(archive.into_inner()))
    }
}

impl NumberedContents for Payload {
    fn each_content(&self, visit: &mut ContentVisit<'_>) -> Result<(), ReleaseProblem> {
        let mut number = 0;
        self.walk(&mut |member, data| {
            if !member.is_file() || is_name_only(member) {
                return Ok(ControlFlow::Continue(()));
            }
            number += 1;
            Ok(visit(number - 1, data))
        })
    }
}

fn is_name_only(member: &CpioHeader) -> bool {
    member.nlink > 1 && member.size == 0
}

fn cpio_path(name: &[u8]) -> Result<Option<ObjectPath>, ReleaseProblem> {
    // Very old packages have absolute names.
    member_path(name.strip_prefix(b"/").unwrap_or(name))
}

fn of_cpio(error: CpioError) -> ReleaseProblem {
    ReleaseProblem::of_archive(error.into())
}

fn with_content(mut object: ReleaseObject, of_bytes: FileContent) -> ReleaseObject {
    if let ReleaseObjectKind::File { content, .. } = &mut object.kind {
        *content = of_bytes;
    }
    object
}

#[derive(Default)]
struct LinkedNames(HashMap<((u32, u32), u32), Vec<ReleaseObject>>);

impl LinkedNames {
    /// Returns all names of a file at the member with its content.
    fn add(&mut self, member: &CpioHeader, object: ReleaseObject) -> Option<Vec<ReleaseObject>> {
        if member.nlink < 2 {
            return Some(vec![object]);
        }
        let key = (member.dev, member.ino);
        self.0.entry(key).or_default().push(object);
        if is_name_only(member) { None } else { self.0.remove(&key) }
    }

    fn left(self) -> Vec<Vec<ReleaseObject>> {
        let mut left: Vec<_> = self.0.into_iter().collect();
        left.sort_by_key(|(key, _)| *key);
        left.into_iter().map(|(_, objects)| objects).collect()
    }
}

struct Digested<R> {
    inner: R,
    sha256: Sha256,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

// The stripped cpio archive of rpm packages with a file of 4 GiB or more.
//
// A member is `07070X` and the hexadecimal index of its file in the header, then data padded to 4 bytes. Names, modes and
// sizes come from the header. The last name with an inode has the content.

pub(super) const MAGIC: [u8; 6] = *b"07070X";
const NEWC: [u8; 6] = *b"070701";
const END: usize = 104 + TRAILER.len() + 1;

/// By index in the header, as a newc archive would describe them.
#[derive(Debug)]
pub(super) struct StrippedMembers(Vec<CpioHeader>);

impl StrippedMembers {
    /// `None` without 64-bit sizes, so without a large file.
    pub(super) fn listed(header: &RpmHeader) -> Result<Option<Self>, ReleaseProblem> {
        if !header.has(tags::LONG_FILE_SIZES) {
            return Ok(None);
        }
        let sizes = header.numbers(tags::LONG_FILE_SIZES)?;
        let (names, directories) = (header.strings(tags::BASE_NAMES)?, header.strings(tags::DIR_NAMES)?);
        let (directory_of, modes) = (header.numbers(tags::DIR_INDEXES)?, header.numbers(tags::FILE_MODES)?);
        let columns = [&sizes, &directory_of, &modes].map(Vec::len);
        if columns.iter().any(|&length| length != names.len()) {
            return Err(damaged());
        }
        let directory = |at: u64| {
            usize::try_from(at).ok().and_then(|at| directories.get(at)).copied().ok_or_else(damaged)
        };
        // Names share their directories in the header.
        let mut room = TextRoom::default();
        for (name, &at) in names.iter().zip(&directory_of) {
            room.spend(directory(at)?.len() + name.len())?;
        }
        let mut members = Vec::new();
        for (((name, size), at), mode) in names.iter().zip(sizes).zip(directory_of).zip(modes) {
            let path = [directory(at)?, *name].concat();
            let mode = u32::try_from(mode).map_err(|_| damaged())?;
            let member = CpioHeader::file(&path, 0, 0, size);
            members.push(CpioHeader { mode, size: if has_data(mode) { size } else { 0 }, ..member });
        }
        let mut found = Self(members);
        found.link(&Inodes::read(header)?);
        Ok(Some(found))
    }

    /// All names of a file get one inode; the last one gets the content.
    fn link(&mut self, inodes: &Inodes) {
        let mut groups: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        for (at, member) in self.0.iter().enumerate() {
            if let Some(inode) = inodes.of(at).filter(|_| member.is_file()) {
                groups.entry(inode).or_default().push(at);
            }
        }
        for names in groups.into_values().filter(|names| names.len() > 1) {
            let (first, last) = (names.first().copied().unwrap_or_default(), names.last());
            for at in &names {
                let Some(member) = self.0.get_mut(*at) else { continue };
                // Arbitrary but unique: no two groups begin with the same member.
                member.ino = u32::try_from(first).unwrap_or(u32::MAX);
                member.nlink = u32::try_from(names.len()).unwrap_or(u32::MAX);
                if Some(at) != last {
                    member.size = 0;
                }
            }
        }
    }
}

fn has_data(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0o100_000 | 0o120_000)
}

struct Inodes {
    devices: Vec<u64>,
    numbers: Vec<u64>,
    flags: Vec<u64>,
}

impl Inodes {
    fn read(header: &RpmHeader) -> Result<Self, ReleaseProblem> {
        let numbers = |tag| header.numbers(tag);
        let (devices, inodes) = (numbers(tags::FILE_DEVICES)?, numbers(tags::FILE_INODES)?);
        Ok(Self { devices, numbers: inodes, flags: numbers(tags::FILE_FLAGS)? })
    }

    /// Device and inode; `None` if the file is not in the package or has inode 0.
    fn of(&self, at: usize) -> Option<(u64, u64)> {
        let is_ghost = self.flags.get(at).is_some_and(|flags| flags & GHOST != 0);
        let inode = *self.numbers.get(at).filter(|&&inode| inode > 0 && !is_ghost)?;
        Some((*self.devices.get(at)?, inode))
    }
}

/// A stripped archive after its first magic number. [`Read`] gives the data of the current member.
pub(super) struct StrippedReader<'a, R> {
    input: R,
    members: &'a StrippedMembers,
    position: u64,
    remaining: u64,
}

impl<'a, R: Read> StrippedReader<'a, R> {
    pub(super) fn behind_magic(input: R, members: &'a StrippedMembers) -> Self {
        Self { input, members, position: MAGIC.len() as u64, remaining: 0 }
    }

    pub(super) fn next_member(&mut self) -> Result<Option<&'a CpioHeader>, ReleaseProblem> {
        io::copy(self, &mut io::sink()).map_err(ReleaseProblem::of_archive)?;
        // The caller read the first magic number to identify the archive.
        let is_first = self.position == MAGIC.len() as u64;
        let magic = if is_first { MAGIC } else { self.magic()? };
        match magic {
            MAGIC => {}
            NEWC => return self.end(),
            _ => return Err(bad(&format!("no cpio header at byte {}", self.position))),
        }
        let digits: [u8; 8] = self.bytes()?;
        let at = digits.iter().try_fold(0_usize, |number, &digit| {
            Some(number << 4 | usize::try_from(char::from(digit).to_digit(16)?).ok()?)
        });
        let Some(member) = at.and_then(|at| self.members.0.get(at)) else {
            let shown = digits.escape_ascii();
            return Err(bad(&format!("it has the file number {shown}, which the header does not list")));
        };
        self.skip_padding()?;
        self.remaining = member.size;
        Ok(Some(member))
    }

    pub(super) fn into_inner(self) -> R {
        self.input
    }

    fn end<T>(&mut self) -> Result<Option<T>, ReleaseProblem> {
        let end: [u8; END] = self.bytes()?;
        if end.strip_suffix(b"\0").is_some_and(|end| end.ends_with(TRAILER)) {
            return Ok(None);
        }
        Err(bad("it has members with and without a name"))
    }

    fn magic(&mut self) -> Result<[u8; 6], ReleaseProblem> {
        self.skip_padding()?;
        self.bytes()
    }

    fn skip_padding(&mut self) -> Result<(), ReleaseProblem> {
        for _ in self.position..self.position.next_multiple_of(4) {
            let [_] = self.bytes()?;
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReleaseProblem> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(ReleaseProblem::of_archive)?;
        self.position += N as u64;
        Ok(bytes)
    }
}

fn bad(reason: &str) -> ReleaseProblem {
    ReleaseProblem::BadForm(format!("the archive of the package is damaged: {reason}"))
}

impl<R: Read> Read for StrippedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        self.remaining -= count as u64;
        Ok(count)
    }
}

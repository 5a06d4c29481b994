//! A reader of datastreams: first the table of contents, then part by part, member by member.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use super::{DatastreamError, DatastreamPackage, END_OF_HEADER, LARGEST_PKGINFO, LARGEST_PKGMAP, MAGIC};
use crate::format::cpio::{self, CpioError};
use crate::package::{PackagePath, PkgInst};

const BLOCK: usize = 512;

/// The length of the longest header text, in bytes.
const LONGEST_HEADER: usize = 1 << 20;

/// A datastream being read. [`Read`] yields the data of the current member; its errors are
/// [`DatastreamError`]s inside [`io::Error`].
///
/// Headers are read in small pieces, so the input should be buffered.
#[derive(Debug)]
pub struct DatastreamReader<R> {
    archive: cpio::CpioReader<R>,
    packages: Vec<DatastreamPackage>,
    times: Vec<[i64; 2]>,
    signature: Option<Vec<u8>>,
    part: Option<DatastreamPart>,
    last: Option<Vec<u8>>,
}

/// One part of a package, which is one archive of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatastreamPart {
    /// The index of its package in [`DatastreamReader::packages`].
    pub package: usize,
    /// The number of the part, counted from 1.
    pub part: u32,
}

/// A file, directory or link in a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatastreamMember {
    /// The path below the package directory, such as `reloc/bin/x`; relative, without `.` and `..`.
    pub path: PackagePath,
    /// The member's header in the archive. Its name is as written, not normalised.
    pub header: cpio::CpioHeader,
}

impl<R: Read> DatastreamReader<R> {
    /// Creates a reader, which reads the header text and the first archive at once.
    pub fn open(mut input: R) -> Result<Self, DatastreamError> {
        let packages = header(&mut input)?;
        let archive = cpio::CpioReader::new(input);
        let times = vec![[0; 2]; packages.len()];
        let mut reader = Self { archive, packages, times, signature: None, part: None, last: None };
        reader.read_package_files()?;
        Ok(reader)
    }

    /// Returns the packages of the stream, in order.
    pub fn packages(&self) -> &[DatastreamPackage] {
        &self.packages
    }

    /// Returns the modification times of the pkginfo and the pkgmap of each package, in seconds since 1970.
    pub fn times(&self) -> &[[i64; 2]] {
        &self.times
    }

    /// Returns the `signature` member of a signed stream: a PKCS7 structure in PEM, unverified.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// Moves to the next part, skipping unread members of the current one. Returns `None` after the last.
    pub fn next_part(&mut self) -> Result<Option<DatastreamPart>, DatastreamError> {
        self.finish_archive()?;
        let next = match self.part {
            None => DatastreamPart { package: 0, part: 1 },
            Some(DatastreamPart { package, part })
                if self.packages.get(package).is_some_and(|p| part < p.parts) =>
            {
                DatastreamPart { package, part: part + 1 }
            }
            Some(DatastreamPart { package, .. }) => {
                DatastreamPart { package: package.saturating_add(1), part: 1 }
            }
        };
        self.last = None;
        self.part = Some(next);
        Ok(self.part.filter(|part| part.package < self.packages.len()))
    }

    /// Moves to the next member of the current part. Returns `None` at its end and before the first part.
    pub fn next_member(&mut self) -> Result<Option<DatastreamMember>, DatastreamError> {
        if self.part.is_none_or(|part| part.package >= self.packages.len()) {
            return Ok(None);
        }
        self.member()
    }

    /// Returns the input, positioned after the bytes read.
    pub fn into_inner(self) -> R {
        self.archive.into_inner()
    }

    fn finish_archive(&mut self) -> Result<(), DatastreamError> {
        if self.part.is_none_or(|part| part.package < self.packages.len()) {
            while self.member()?.is_some() {}
            self.archive.next_archive().map_err(|source| self.damaged(source))?;
        }
        Ok(())
    }

    /// Moves to the next member of the current archive; the directory `.` is skipped.
    fn member(&mut self) -> Result<Option<DatastreamMember>, DatastreamError> {
        loop {
            let next = self.archive.next_member();
            let Some(header) = next.map_err(|source| self.damaged(source))? else { return Ok(None) };
            self.last = Some(header.name.clone());
            if header.is_directory() && matches!(&header.name[..], b"." | b"./") {
                continue;
            }
            if header.name.first() == Some(&b'/') {
                return Err(DatastreamError::AbsoluteName { archive: self.place(), name: header.shown() });
            }
            let path = PackagePath::new(&header.name)
                .map_err(|source| DatastreamError::Name { archive: self.place(), source })?;
            return Ok(Some(DatastreamMember { path, header }));
        }
    }

    fn read_package_files(&mut self) -> Result<(), DatastreamError> {
        let index: HashMap<Vec<u8>, usize> =
            self.packages.iter().map(|p| p.inst.as_str().into()).zip(0..).collect();
        let mut found = vec![[false; 2]; self.packages.len()];
        let mut room = LARGEST_PKGMAP;
        while let Some(DatastreamMember { path, header }) = self.member()? {
            if path.as_bytes() == b"signature" {
                if header.size > LARGEST_PKGINFO {
                    return Err(DatastreamError::Signature { size: header.size });
                }
                self.signature = Some(self.data()?);
                continue;
            }
            let mut parts = path.as_bytes().splitn(2, |&byte| byte == b'/');
            let Some(&at) = parts.next().and_then(|package| index.get(package)) else { continue };
            let (file, largest) = match parts.next() {
                Some(b"pkginfo") => ("pkginfo", room.min(LARGEST_PKGINFO)),
                Some(b"pkgmap") => ("pkgmap", room),
                _ => continue,
            };
            let (Some(package), Some(met)) = (self.packages.get(at), found.get_mut(at)) else { continue };
            let which = usize::from(file == "pkgmap");
            let met = &mut met[which];
            let refused =
                |reason| Err(DatastreamError::PackageFile { package: package.inst.clone(), file, reason });
            if !header.is_file() {
                return refused("is not a regular file");
            }
            if std::mem::replace(met, true) {
                return refused("comes twice");
            }
            if header.size > largest {
                return refused("is too large");
            }
            room -= header.size;
            if let Some(times) = self.times.get_mut(at) {
                times[which] = i64::try_from(header.mtime).unwrap_or(i64::MAX);
            }
            let data = self.data()?;
            if let Some(package) = self.packages.get_mut(at) {
                *(if file == "pkginfo" { &mut package.pkginfo } else { &mut package.pkgmap }) = data;
            }
        }
        for (package, [pkginfo, pkgmap]) in self.packages.iter().zip(found) {
            let file = if pkginfo { "pkgmap" } else { "pkginfo" };
            if !(pkginfo && pkgmap) {
                let package = package.inst.clone();
                return Err(DatastreamError::PackageFile { package, file, reason: "is missing" });
            }
        }
        Ok(())
    }

    /// Reads all data of the current member, whose size has been checked.
    fn data(&mut self) -> Result<Vec<u8>, DatastreamError> {
        let mut data = Vec::new();
        self.read_to_end(&mut data)?;
        // It lives as long as the reader.
        data.shrink_to_fit();
        Ok(data)
    }

    fn damaged(&self, source: CpioError) -> DatastreamError {
        let last = self.last.as_ref().map(|name| name.escape_ascii().to_string());
        DatastreamError::Archive { archive: self.place(), last, source }
    }

    fn place(&self) -> String {
        let part = self.part.and_then(|at| Some((self.packages.get(at.package)?, at.part)));
        match part {
            None => "datastream table of contents".to_owned(),
            Some((package, _)) if package.parts == 1 => format!("package {}", package.inst),
            Some((package, part)) => format!("package {}, part {part}", package.inst),
        }
    }
}

impl<R: Read> Read for DatastreamReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer).map_err(|error| self.damaged(error.into()).into())
    }
}

/// Reads the header text: whole blocks, up to the one with the end mark, and parses its lines.
fn header(input: &mut impl Read) -> Result<Vec<DatastreamPackage>, DatastreamError> {
    let bad = |reason: &str| DatastreamError::Header(reason.to_owned());
    let mut text = Vec::new();
    let end = loop {
        let before = text.len();
        if input.take(BLOCK as u64).read_to_end(&mut text)? < BLOCK {
            let error = bad("it ends before `# end of header`");
            return Err(if text.starts_with(MAGIC) { error } else { DatastreamError::NotADatastream });
        }
        if !text.starts_with(MAGIC) {
            return Err(DatastreamError::NotADatastream);
        }
        let from = before.saturating_sub(END_OF_HEADER.len());
        let found = text.get(from..).and_then(|tail| find(tail, END_OF_HEADER));
        if let Some(at) = found {
            break from + at;
        }
        if text.len() >= LONGEST_HEADER {
            return Err(bad("it is longer than 1 MiB"));
        }
    };
    let (lines, padding) = text.split_at(end);
    if padding.iter().skip(END_OF_HEADER.len()).any(|&byte| byte != 0) {
        return Err(bad("the header is not padded to a multiple of 512 bytes"));
    }
    let mut packages = Vec::new();
    for line in lines.split(|&byte| byte == b'\n') {
        if let Some(package) = entry(line)? {
            packages.push(package);
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = packages.iter().find(|package: &&DatastreamPackage| !names.insert(&package.inst)) {
        return Err(bad(&format!("package {} comes twice", twice.inst)));
    }
    if packages.is_empty() {
        return Err(bad("it names no package"));
    }
    Ok(packages)
}

/// Parses a line `pkginst parts max-blocks …`. Further fields (the parts on each volume) mean nothing in a
/// stream. Returns `None` for blank lines and comments.
fn entry(line: &[u8]) -> Result<Option<DatastreamPackage>, DatastreamError> {
    let bad = |reason| DatastreamError::Header(format!("{reason} in line <{}>", line.escape_ascii()));
    let line = std::str::from_utf8(line).map_err(|_| bad("stray bytes"))?;
    if line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split_ascii_whitespace();
    let Some(inst) = fields.next() else { return Ok(None) };
    let inst = PkgInst::new(inst)?;
    let mut number = |what| {
        let field = fields.next().and_then(|field| field.parse::<u64>().ok());
        field.ok_or_else(|| bad(what))
    };
    let parts = number("no number of parts")?;
    let max_blocks = number("no size")?;
    let parts = u32::try_from(parts).ok().filter(|&parts| parts > 0);
    let parts = parts.ok_or_else(|| bad("impossible number of parts"))?;
    Ok(Some(DatastreamPackage { inst, parts, max_blocks, pkginfo: Vec::new(), pkgmap: Vec::new() }))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

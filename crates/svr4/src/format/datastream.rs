//! The package datastream: a sequence of packages in one file or pipe, as written by `pkgtrans -s` (pkgtrans(1)).
//!
//! ```text
//! header text      "# PaCkAgE DaTaStReAm", a line "pkginst parts max-blocks" per package, "# end of header"
//! archive 0        PKG/pkginfo and PKG/pkgmap of every package, `signature` where it is signed
//! archive 1 …      per package, per part: pkginfo, pkgmap, install/…, reloc/…, root/…
//! ```
//! The header and each cpio archive fill whole blocks of 512 bytes. Members whose names lead out of the package are refused,
//! and bytes after the last archive are ignored. Members are not compared with the pkgmap.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};

use crate::format::cpio::{self, BLOCK, CpioError, CpioFormat, CpioHeader};
use crate::package::{PackagePath, PathError, PkgInst, PkgInstError};

/// The first bytes of every datastream.
pub const MAGIC: &[u8] = b"# PaCkAgE DaTaStReAm";

const END_OF_HEADER: &[u8] = b"\n# end of header\n";

/// The size of the largest pkginfo, in bytes.
pub const LARGEST_PKGINFO: u64 = 16 << 20;
/// The largest total size of all pkginfo and pkgmap files of a stream, in bytes.
pub const LARGEST_PKGMAP: u64 = 1 << 30;

/// A package as the table of contents of a datastream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatastreamPackage {
    /// The package instance, which is also the directory's name in archive 0.
    pub inst: PkgInst,
    /// The number of parts, and so of archives; at least 1.
    pub parts: u32,
    /// The largest part in blocks of 512 bytes: the space a volume needs, not the size of the archive.
    pub max_blocks: u64,
    /// The content of the pkginfo file.
    pub pkginfo: Vec<u8>,
    /// The content of the pkgmap file.
    pub pkgmap: Vec<u8>,
}

/// The modification times of a package's files in the table of contents, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatastreamTimes {
    /// The time of the pkginfo file.
    pub pkginfo: i64,
    /// The time of the pkgmap file.
    pub pkgmap: i64,
}

/// The reason a datastream cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatastreamError {
    /// Data that does not start with [`MAGIC`].
    #[error("not a package datastream")]
    NotADatastream,
    /// A malformed header text.
    #[error("bad format in datastream table of contents: {0}")]
    Header(String),
    /// An invalid package name in the header.
    #[error("bad format in datastream table of contents: {0}")]
    Package(#[from] PkgInstError),
    /// An archive that is damaged or ends too early.
    #[error("{archive}: {source}{}", after(.last.as_deref()))]
    Archive {
        /// The archive in messages: `package SUNWx`, with its part if several, or `datastream table of contents`.
        archive: String,
        /// The name of the last member before the fault, if any.
        last: Option<String>,
        /// The fault itself.
        source: CpioError,
    },
    /// A member whose name leads out of the package or fits no file system.
    #[error("{archive}: member {source}")]
    Name {
        /// The archive, as in [`Self::Archive`].
        archive: String,
        /// The fault itself.
        source: PathError,
    },
    /// A member with an absolute name.
    #[error("{archive}: member <{name}> has an absolute name")]
    AbsoluteName {
        /// The archive, as in [`Self::Archive`].
        archive: String,
        /// The member's name, escaped.
        name: String,
    },
    /// A pkginfo or pkgmap that the first archive lacks, has twice, or has in a form other than a file.
    #[error("package {package}: {file} {reason} in the table of contents of the datastream")]
    PackageFile {
        /// The package concerned.
        package: PkgInst,
        /// The file's name: `pkginfo` or `pkgmap`.
        file: &'static str,
        /// The fault: `is missing`, `occurs twice`, `is not a regular file` or `is too large`.
        reason: &'static str,
    },
    /// A signature member that is too large.
    #[error("the signature of the datastream has {size} bytes, more than 16 MiB")]
    Signature {
        /// The size of the signature, in bytes.
        size: u64,
    },
    /// A number of parts that differs from the header's.
    #[error("the datastream has {announced} parts, {written} were written")]
    Parts {
        /// The number of parts of all packages.
        announced: usize,
        /// The number of parts begun.
        written: usize,
    },
    /// A failure of the input or output.
    #[error(transparent)]
    Io(io::Error),
}

fn after(last: Option<&str>) -> String {
    last.map(|name| format!(" (after member <{name}>)")).unwrap_or_default()
}

impl From<io::Error> for DatastreamError {
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

impl From<DatastreamError> for io::Error {
    fn from(error: DatastreamError) -> Self {
        match error {
            DatastreamError::Io(error) => error,
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

const HEADER_BLOCK: usize = 512;

const LONGEST_HEADER: usize = 1 << 20;

/// A datastream read from buffered input. [`Read`] yields the current member, and [`DatastreamError`]s in
/// [`io::Error`].
#[derive(Debug)]
pub struct DatastreamReader<R> {
    archive: cpio::CpioReader<R>,
    packages: Vec<DatastreamPackage>,
    times: Vec<DatastreamTimes>,
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
    pub header: CpioHeader,
}

impl<R: Read> DatastreamReader<R> {
    /// Creates a reader, which reads the header text and the first archive at once.
    pub fn new(mut input: R) -> Result<Self, DatastreamError> {
        let packages = header(&mut input)?;
        let archive = cpio::CpioReader::new(input);
        let times = vec![DatastreamTimes::default(); packages.len()];
        let mut reader = Self { archive, packages, times, signature: None, part: None, last: None };
        reader.read_package_files()?;
        Ok(reader)
    }

    /// Returns the packages of the stream, in order.
    pub fn packages(&self) -> &[DatastreamPackage] {
        &self.packages
    }

    /// Returns the modification times of each package's pkginfo and pkgmap, in the order of [`packages`](Self::packages).
    pub fn times(&self) -> &[DatastreamTimes] {
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

    /// Moves to the next member of the archive, except for the directory `.`.
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
            let (Some(package), Some(is_found)) = (self.packages.get(at), found.get_mut(at)) else {
                continue;
            };
            let is_found = &mut is_found[usize::from(file == "pkgmap")];
            let refused =
                |reason| Err(DatastreamError::PackageFile { package: package.inst.clone(), file, reason });
            if !header.is_file() {
                return refused("is not a regular file");
            }
            if std::mem::replace(is_found, true) {
                return refused("occurs twice");
            }
            if header.size > largest {
                return refused("is too large");
            }
            room -= header.size;
            if let Some(times) = self.times.get_mut(at) {
                let time = if file == "pkginfo" { &mut times.pkginfo } else { &mut times.pkgmap };
                *time = i64::try_from(header.mtime).unwrap_or(i64::MAX);
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

/// Reads whole blocks up to the one with the end mark, and parses the lines.
fn header(input: &mut impl Read) -> Result<Vec<DatastreamPackage>, DatastreamError> {
    let bad = |reason: &str| DatastreamError::Header(reason.to_owned());
    let mut text = Vec::new();
    let end = loop {
        let before = text.len();
        if input.take(HEADER_BLOCK as u64).read_to_end(&mut text)? < HEADER_BLOCK {
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
        return Err(bad(&format!("package {} occurs twice", twice.inst)));
    }
    if packages.is_empty() {
        return Err(bad("it names no package"));
    }
    Ok(packages)
}

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

/// A datastream being written, between two parts. It becomes a [`PartWriter`] and back for each announced part.
#[derive(Debug)]
pub struct DatastreamWriter<W> {
    out: W,
    parts: Vec<(PkgInst, u32)>,
    written: usize,
}

/// A datastream being written, inside a part.
#[derive(Debug)]
pub struct PartWriter<W> {
    archive: cpio::CpioWriter<W>,
    parts: Vec<(PkgInst, u32)>,
    written: usize,
}

impl<W: Write> DatastreamWriter<W> {
    /// Writes the header and the first archive at once. `mtime` is the time of its files, in seconds since 1970.
    pub fn new(out: W, packages: &[DatastreamPackage], mtime: i64) -> Result<Self, DatastreamError> {
        let times = DatastreamTimes { pkginfo: mtime, pkgmap: mtime };
        Self::with_times(out, packages, &vec![times; packages.len()])
    }

    /// Creates a writer like [`new`](Self::new), with times of each package's pkginfo and pkgmap.
    pub fn with_times(
        mut out: W,
        packages: &[DatastreamPackage],
        times: &[DatastreamTimes],
    ) -> Result<Self, DatastreamError> {
        let mut text = MAGIC.to_vec();
        for DatastreamPackage { inst, parts, max_blocks, .. } in packages {
            text.extend_from_slice(format!("\n{inst} {parts} {max_blocks}").as_bytes());
        }
        text.extend_from_slice(END_OF_HEADER);
        let length = (text.len() as u64).next_multiple_of(BLOCK);
        text.resize(usize::try_from(length).unwrap_or(text.len()), 0);
        out.write_all(&text)?;

        let mut archive = cpio::CpioWriter::new(out, CpioFormat::Newc);
        for (package, times) in packages.iter().zip(times) {
            for (file, data, mtime) in
                [("pkginfo", &package.pkginfo, times.pkginfo), ("pkgmap", &package.pkgmap, times.pkgmap)]
            {
                let name = format!("{}/{file}", package.inst);
                let header = CpioHeader::file(name.as_bytes(), 0o644, mtime, data.len() as u64);
                archive.write_member(&header, &data[..]).map_err(|source| contents_error(source, &name))?;
            }
        }
        let out = archive.finish().map_err(|source| contents_error(source, "the trailer"))?;
        let parts = packages.iter().flat_map(|p| (1..=p.parts).map(|part| (p.inst.clone(), part))).collect();
        Ok(Self { out, parts, written: 0 })
    }

    /// Starts the next part, in the order of packages. [`CpioFormat::for_size`] gives its format.
    pub fn begin_part(self, format: CpioFormat) -> Result<PartWriter<W>, DatastreamError> {
        let Self { out, parts, written } = self;
        if written >= parts.len() {
            return Err(DatastreamError::Parts { announced: parts.len(), written: written + 1 });
        }
        Ok(PartWriter { archive: cpio::CpioWriter::new(out, format), parts, written: written + 1 })
    }

    /// Ends the stream and returns the output, not flushed. A missing part is an error.
    pub fn finish(self) -> Result<W, DatastreamError> {
        if self.written < self.parts.len() {
            return Err(DatastreamError::Parts { announced: self.parts.len(), written: self.written });
        }
        Ok(self.out)
    }
}

impl<W: Write> PartWriter<W> {
    /// Writes a member, as [`cpio::CpioWriter::write_member`] does. Its name is relative to the package directory.
    pub fn write_member(&mut self, header: &CpioHeader, data: impl Read) -> Result<(), DatastreamError> {
        self.archive
            .write_member(header, data)
            .map_err(|source| part_error(&self.parts, self.written, source))
    }

    /// Flushes the output, in which every member so far is complete.
    pub fn flush(&mut self) -> Result<(), DatastreamError> {
        self.archive.flush().map_err(|source| part_error(&self.parts, self.written, source))
    }

    /// Ends the part's archive.
    pub fn finish(self) -> Result<DatastreamWriter<W>, DatastreamError> {
        let Self { archive, parts, written } = self;
        let out = archive.finish().map_err(|source| part_error(&parts, written, source))?;
        Ok(DatastreamWriter { out, parts, written })
    }
}

fn contents_error(source: CpioError, name: &str) -> DatastreamError {
    let archive = format!("datastream table of contents, {name}");
    DatastreamError::Archive { archive, last: None, source }
}

fn part_error(parts: &[(PkgInst, u32)], written: usize, source: CpioError) -> DatastreamError {
    let archive = match parts.get(written.saturating_sub(1)) {
        Some((inst, part)) => format!("package {inst}, part {part}"),
        None => "datastream".to_owned(),
    };
    DatastreamError::Archive { archive, last: None, source }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;
    use crate::format::cpio::{self, CpioFormat, CpioHeader};

    fn package(name: &str, parts: u32) -> DatastreamPackage {
        let pkginfo = format!("PKG={name}\n").into_bytes();
        let pkgmap = format!(": {parts} 9\n1 i pkginfo\n").into_bytes();
        DatastreamPackage { inst: PkgInst::new(name).unwrap(), parts, max_blocks: 9, pkginfo, pkgmap }
    }

    type Members = Vec<(Vec<u8>, Vec<u8>)>;

    /// One archive per part with these members.
    fn stream(packages: &[DatastreamPackage], form: CpioFormat, members: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut writer = DatastreamWriter::new(Vec::new(), packages, 1_577_836_800).unwrap();
        for _ in 0..packages.iter().map(|p| p.parts).sum() {
            let mut part = writer.begin_part(form).unwrap();
            for (name, data) in members {
                part.write_member(&CpioHeader::file(name, 0o644, 5, data.len() as u64), *data).unwrap();
            }
            writer = part.finish().unwrap();
        }
        writer.finish().unwrap()
    }

    type Whole = (Vec<DatastreamPackage>, Vec<(DatastreamPart, Members)>);

    fn read_all(bytes: &[u8]) -> Result<Whole, DatastreamError> {
        let mut reader = DatastreamReader::new(bytes)?;
        let mut parts = Vec::new();
        while let Some(part) = reader.next_part()? {
            let mut members = Vec::new();
            while let Some(member) = reader.next_member()? {
                let mut data = Vec::new();
                reader.read_to_end(&mut data)?;
                members.push((member.path.as_bytes().to_vec(), data));
            }
            parts.push((part, members));
        }
        Ok((reader.packages().to_vec(), parts))
    }

    fn refusal(members: &[(&[u8], &[u8])]) -> String {
        read_all(&stream(&[package("SUNWa", 1)], CpioFormat::Newc, members)).unwrap_err().to_string()
    }

    #[test]
    fn packages_and_parts_come_in_the_order_of_the_header() {
        let packages = [package("SUNWb", 2), package("SUNWa", 1)];
        let bytes = stream(&packages, CpioFormat::Odc, &[(b"./reloc//x", b"data")]);
        assert!(bytes.starts_with(b"# PaCkAgE DaTaStReAm\nSUNWb 2 9\nSUNWa 1 9\n# end of header\n\0"));
        let (read, parts) = read_all(&bytes).unwrap();
        assert_eq!(read, packages);
        let numbers: Vec<_> = parts.iter().map(|(at, _)| (at.package, at.part)).collect();
        assert_eq!(numbers, [(0, 1), (0, 2), (1, 1)]);
        assert!(parts.iter().all(|(_, members)| members == &[(b"reloc/x".to_vec(), b"data".to_vec())]));
    }

    #[test]
    fn members_that_lead_out_of_the_package_are_refused() {
        assert_eq!(
            refusal(&[(b"/etc/hostname", b"")]),
            "package SUNWa: member </etc/hostname> has an absolute name"
        );
        assert_eq!(
            refusal(&[(b"./reloc/../../x", b"")]),
            "package SUNWa: member path <./reloc/../../x> has a `..` component"
        );
        assert_eq!(refusal(&[(b"./", b"")]), "package SUNWa: member path <./> is empty");
    }

    #[test]
    fn what_follows_the_last_archive_is_not_looked_at() {
        let mut bytes = stream(&[package("SUNWa", 1)], CpioFormat::Newc, &[(b"pkginfo", b"x")]);
        let clean = read_all(&bytes).unwrap();
        bytes.extend_from_slice(b"junk");
        assert_eq!(read_all(&bytes).unwrap(), clean);
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error_that_says_where() {
        let bytes =
            stream(&[package("SUNWa", 1), package("SUNWb", 1)], CpioFormat::Newc, &[(b"reloc/x", &[7; 700])]);
        for length in 0..bytes.len() {
            let error = read_all(&bytes[..length]).unwrap_err().to_string();
            if length > bytes.len() - 900 {
                assert!(error.starts_with("package SUNWb: unexpected end of archive"), "{length}: {error}");
                assert!(error.contains("member <reloc/x>"), "{length}: {error}");
            }
        }
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let refused = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            read_all(&bytes).unwrap_err().to_string()
        };
        let toc = "bad format in datastream table of contents";
        assert_eq!(refused("# PaCkAgE DaTaStReaX\n"), "not a package datastream");
        assert_eq!(
            refused("# PaCkAgE DaTaStReAm\nA 1 2\n"),
            format!("{toc}: it ends before `# end of header`")
        );
        let entry = |line: &str| refused(&format!("# PaCkAgE DaTaStReAm\n{line}\n# end of header\n"));
        assert_eq!(entry("A 1"), format!("{toc}: no size in line <A 1>"));
        assert_eq!(entry("A 0 2"), format!("{toc}: impossible number of parts in line <A 0 2>"));
        assert!(entry("../A 1 2").starts_with(&format!("{toc}: <../A> is not a package name")));
        assert_eq!(entry("A 1 2\nA 1 2"), format!("{toc}: package A occurs twice"));
        assert_eq!(entry("\n# nothing"), format!("{toc}: it names no package"));
        let mut unpadded = b"# PaCkAgE DaTaStReAm\nA 1 2\n# end of header\n070701".to_vec();
        unpadded.resize(1024, b'0');
        let error = read_all(&unpadded).unwrap_err().to_string();
        assert_eq!(error, format!("{toc}: the header is not padded to a multiple of 512 bytes"));
    }

    #[test]
    fn a_package_without_its_pkgmap_is_refused() {
        let mut bytes = b"# PaCkAgE DaTaStReAm\nA 1 2\n# end of header\n".to_vec();
        bytes.resize(512, 0);
        let mut archive = cpio::CpioWriter::new(bytes, CpioFormat::Newc);
        archive.write_member(&CpioHeader::file(b"A/pkginfo", 0o644, 0, 0), io::empty()).unwrap();
        let error = read_all(&archive.finish().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "package A: pkgmap is missing in the table of contents of the datastream");
    }

    #[test]
    fn the_writer_insists_on_the_parts_that_the_header_announced() {
        let writer = DatastreamWriter::new(Vec::new(), &[package("A", 1)], 0).unwrap();
        let error = writer.finish().unwrap_err().to_string();
        assert_eq!(error, "the datastream has 1 parts, 0 were written");
    }

    proptest! {
        #[test]
        fn damage_never_makes_the_reader_panic(at in 0usize..4000, byte: u8, length in 0usize..4000) {
            let mut bytes = stream(&[package("A", 2)], CpioFormat::Newc, &[(b"reloc/x", &[7; 300])]);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(length.max(600));
            let _ = read_all(&bytes);
        }
    }
}

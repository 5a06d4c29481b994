//! Archives written byte by byte, so that each field can lie: tar, cpio and the datastream around it.
//!
//! Everything that is not told to lie is right: sums, padding, end marks. Zip archives are made by the zip crate and
//! damaged afterwards.

use std::io::Write as _;

use patchadm_svr4::format::cpio::BLOCK;
use zip::write::SimpleFileOptions;

/// A member of a tar archive.
#[derive(Clone)]
pub(super) struct Tar {
    pub(super) name: Vec<u8>,
    /// `0` file, `1` hard link, `2` symbolic link, `5` directory, `L` a long name, `x` a pax record, …
    pub(super) kind: u8,
    pub(super) link: Vec<u8>,
    pub(super) data: Vec<u8>,
    /// The twelve bytes of the size, if they differ from the size of the data.
    pub(super) size: Option<[u8; 12]>,
}

impl Tar {
    pub(super) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let (name, data) = (name.as_ref().to_vec(), data.as_ref().to_vec());
        Self { name, kind: b'0', link: Vec::new(), data, size: None }
    }

    pub(super) fn link(kind: u8, name: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Self {
        Self { kind, link: link.as_ref().to_vec(), ..Self::file(name, b"") }
    }

    /// A file whose name is in a long-name record of GNU tar before it, whatever its length.
    pub(super) fn long(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> [Self; 2] {
        let record = [name.as_ref(), b"\0"].concat();
        [Self { kind: b'L', ..Self::file("././@LongLink", record) }, Self::file("cut", data)]
    }

    fn header(&self) -> [u8; 512] {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, &self.size.unwrap_or_else(|| octal(self.data.len())));
        put(136, b"13602753400\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// A number as tar writes a size.
pub(super) fn octal(number: usize) -> [u8; 12] {
    format!("{number:011o}\0").into_bytes().try_into().unwrap()
}

/// The archive of these members.
pub(super) fn tar(members: &[Tar]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        bytes.extend(member.header());
        bytes.extend(&member.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A member of a cpio archive.
#[derive(Clone)]
pub(super) struct Cpio {
    pub(super) name: Vec<u8>,
    /// File type and permission bits.
    pub(super) mode: u32,
    pub(super) data: Vec<u8>,
    /// Inode number and number of links.
    pub(super) links: (u32, u32),
    /// The six magic bytes of the header, if they differ from those of the archive.
    pub(super) magic: Option<&'static str>,
    /// The number of a field of the newc form, and its text.
    pub(super) field: Option<(usize, &'static str)>,
}

/// Numbers of fields of the newc form.
pub(super) const MTIME: usize = 5;
pub(super) const FILESIZE: usize = 6;
pub(super) const NAMESIZE: usize = 11;

impl Cpio {
    pub(super) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let (name, data) = (name.as_ref().to_vec(), data.as_ref().to_vec());
        Self { name, mode: 0o100_644, data, links: (7, 1), magic: None, field: None }
    }

    pub(super) fn of_mode(mode: u32, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self { mode, ..Self::file(name, data) }
    }

    pub(super) fn with(self, field: usize, text: &'static str) -> Self {
        Self { field: Some((field, text)), ..self }
    }

    fn newc(&self, magic: &str, archive: &mut Vec<u8>) {
        let (size, name) = (self.data.len(), self.name.len() + 1);
        let sum = if magic == "070702" { self.data.iter().map(|byte| usize::from(*byte)).sum() } else { 0 };
        let (ino, links) = (self.links.0 as usize, self.links.1 as usize);
        let values = [ino, self.mode as usize, 0, 0, links, 1_577_836_800, size, 0, 0, 0, 0, name, sum];
        archive.extend(magic.as_bytes());
        for (number, value) in values.into_iter().enumerate() {
            match self.field {
                Some((field, text)) if field == number => archive.extend(text.as_bytes()),
                _ => archive.extend(format!("{value:08x}").as_bytes()),
            }
        }
        archive.extend(&self.name);
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(&self.data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }

    fn odc(&self, archive: &mut Vec<u8>) {
        let (size, name) = (self.data.len(), self.name.len() + 1);
        let head = format!(
            "070707000000{:06o}{:06o}000000000000{:06o}000000{:011o}{name:06o}{size:011o}",
            self.links.0, self.mode, self.links.1, 1_577_836_800
        );
        archive.extend(head.as_bytes());
        archive.extend(&self.name);
        archive.push(0);
        archive.extend(&self.data);
    }
}

/// The archive of these members, padded to whole blocks; headers begin with `magic` unless the member has its own.
pub(super) fn cpio(magic: &str, members: &[Cpio]) -> Vec<u8> {
    let mut archive = Vec::new();
    let end = Cpio::of_mode(0, "TRAILER!!!", "");
    for member in members.iter().chain([&end]) {
        match member.magic.unwrap_or(magic) {
            "070707" => member.odc(&mut archive),
            magic => member.newc(magic, &mut archive),
        }
    }
    pad(&mut archive);
    archive
}

/// A datastream: these lines in its header, followed by archives.
pub(super) fn datastream(lines: &str, archives: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("# PaCkAgE DaTaStReAm\n{lines}# end of header\n").into_bytes();
    pad(&mut bytes);
    archives.iter().for_each(|archive| bytes.extend(archive));
    bytes
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(usize::try_from(BLOCK).unwrap()), 0);
}

/// A zip archive of files, and of one symbolic link if `link` is given.
pub(super) fn zip(files: &[(String, Vec<u8>)], link: Option<(&str, &str)>) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in files {
        archive.start_file(name.clone(), SimpleFileOptions::default()).unwrap();
        archive.write_all(data).unwrap();
    }
    if let Some((name, target)) = link {
        archive.add_symlink(name, target, SimpleFileOptions::default()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

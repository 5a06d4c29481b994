//! The package datastream: a sequence of packages in a single file or pipe, as written by `pkgtrans -s` and
//! read by `pkgadd -d` (pkgtrans(1)).
//!
//! ```text
//! header text      "# PaCkAgE DaTaStReAm", a line "pkginst parts max-blocks" per package, "# end of header"
//! archive 0        PKG/pkginfo and PKG/pkgmap of every package, `signature` where it is signed
//! archive 1 …      per package, per part: pkginfo, pkgmap, install/…, reloc/…, root/…
//! ```
//! The header and each archive fill whole blocks of 512 bytes; the archives are cpio. Both directions are streams.
//! Members whose names lead out of the package (absolute, `..`) are refused, whereas the classic reader, plain cpio,
//! wrote them to any place they named. Bytes after the last archive are ignored, as by the classic tools.
//!
//! Members are not compared with the pkgmap, repeated names are not refused, and hard links are not resolved.

mod reader;
mod writer;

use std::io;

use super::cpio::CpioError;
use crate::package::{PathError, PkgInst, PkgInstError};

pub use reader::{DatastreamMember, DatastreamPart, DatastreamReader};
pub use writer::{DatastreamWriter, PartWriter};

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
    /// The size of the largest part, in blocks of 512 bytes: the space a volume needs, not the size of the
    /// archive.
    pub max_blocks: u64,
    /// The content of the pkginfo file.
    pub pkginfo: Vec<u8>,
    /// The content of the pkgmap file.
    pub pkgmap: Vec<u8>,
}

/// The reason a datastream cannot be read or written.
#[derive(Debug, thiserror::Error)]
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
        /// The archive as messages call it: `package SUNWx`, with the part if there are several, or
        /// `datastream table of contents`.
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
        /// The fault: `is missing`, `comes twice`, `is not a regular file` or `is too large`.
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
    /// Unwraps a [`DatastreamError`] that travelled through [`std::io::Read`].
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
        let mut reader = DatastreamReader::open(bytes)?;
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
        assert_eq!(entry("A 1 2\nA 1 2"), format!("{toc}: package A comes twice"));
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

//! The file formats and values of SVR4 packages and patches (Solaris, illumos, UnixWare): bytes to values and back.
//!
//! This crate is for programs that read, write or check such packages without a Solaris machine. It opens no file,
//! starts no thread, and reads no clock and no environment: the caller hands it bytes, [`Read`](std::io::Read) or
//! [`Write`](std::io::Write), and decides what to do with the values. Input is not trusted: every length has a limit, and
//! no input makes it panic.
//!
//! | module | content |
//! | --- | --- |
//! | [`format`](mod@format) | one module per file format: datastream, cpio, `.Z`; pkginfo, pkgmap, prototype, depend, space; `contents`; admin and response files; the files of patches |
//! | [`package`] | the values of a package: names, paths, objects, parameters, accounts, checksums |
//! | [`patch`] | the values of a patch: ids, lists, records, and the rules between patches |
//! | [`places`] | the paths of the package database inside a root |
//!
//! # Conventions
//! - `parse` turns the bytes of a whole file or line into values, and `write` returns the bytes. Readers and writers of
//!   streams, such as [`CpioReader`](format::cpio::CpioReader), take any `Read` or `Write`; give them a buffered one.
//! - Sizes are in bytes, unless a format counts blocks of 512 bytes (`max_blocks`). Times are in seconds since 1970, UTC.
//!   Lines are counted from 1, offsets from 0.
//! - Names, values and paths in packages need not be UTF-8, so they are bytes unless the format forbids that.
//! - Each format has its own error type. The message is complete and names the line, member or field at fault: do not
//!   print that of [`source`](std::error::Error::source) as well. A later version may refuse more, so error types are
//!   `#[non_exhaustive]`.
//!
//! # Sources
//! The rules come from the manual pages that each module names, in the numbering of Solaris 10: sections 4 and 1M are 5
//! and 8 in illumos. If a manual and the tools differ, the tools count.
//!
//! # Stability
//! Versions follow Semantic Versioning. Items that this documentation does not show, and the feature `rules-left-out`,
//! serve the other crates and the tests of patchadm; they may change in any version.
//!
//! # Example
//! A package made in memory, written as a datastream and read again:
//!
//! ```
//! use std::io::Read;
//!
//! use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
//! use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamReader, DatastreamWriter};
//! use patchadm_svr4::format::pkgmap::Pkgmap;
//! use patchadm_svr4::package::PkgInst;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = DatastreamPackage {
//!     inst: PkgInst::new("ACMEhello")?,
//!     parts: 1,
//!     max_blocks: 2,
//!     pkginfo: b"PKG=ACMEhello\nNAME=Hello\nARCH=all\nVERSION=1.0\nCATEGORY=application\n".to_vec(),
//!     pkgmap: b": 1 2\n1 f none motd 0644 root sys 6 542 1600000000\n".to_vec(),
//! };
//! let writer = DatastreamWriter::new(Vec::new(), std::slice::from_ref(&hello), 1_600_000_000)?;
//! let mut part = writer.begin_part(CpioFormat::Newc)?;
//! part.write_member(&CpioHeader::file(b"reloc/motd", 0o644, 1_600_000_000, 6), &b"hello\n"[..])?;
//! let stream = part.finish()?.finish()?;
//!
//! let mut reader = DatastreamReader::new(&stream[..])?;
//! let map = Pkgmap::parse(&reader.packages()[0].pkgmap)?;
//! assert_eq!(map.entries[0].path.to_string(), "motd");
//! reader.next_part()?;
//! let member = reader.next_member()?.ok_or("a part without members")?;
//! assert_eq!(member.path.to_string(), "reloc/motd");
//! let mut content = String::new();
//! reader.read_to_string(&mut content)?;
//! assert_eq!(content, "hello\n");
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod format;
pub mod package;
pub mod patch;
pub mod places;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Reports a skipped test and the reason, past the capture of test output.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Best effort.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

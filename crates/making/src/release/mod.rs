//! Releases of software as lists of objects: trees, SVR4 packages, tar archives, Debian and rpm packages, or sets of these.
//!
//! The first pass reads each byte once for sizes and digests; the second streams content and compares it, so a release that
//! changes meanwhile is an error. Nothing is unpacked, and no script or other program runs.

mod archive;
mod deb;
mod open;
mod rpm;
mod svr4;
mod tar_archive;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use patchadm_container::ContainerError;
use patchadm_inputs::program_run::ending_signal;
use patchadm_inputs::source::SourceProblem;
use patchadm_releases::{FileContent, ReleaseObject};
use patchadm_rootfs::{Digesting, RootError};
use patchadm_svr4::package::{ObjectPath, Params, PathError};

pub use open::{has_records, identify, open, open_packages, set_entries};
pub use tree::objects_at;

/// The packages of one operand.
#[derive(Debug)]
pub struct Release {
    /// The operand, as named.
    pub name: String,
    /// Sorted by name and architecture. A tree, and a tar archive of one, is one package without a name.
    pub packages: Vec<ReleasePackage>,
}

pub struct ReleasePackage {
    /// The file or directory it was read from, for messages.
    pub origin: String,
    pub form: ReleaseForm,
    /// In its own format; `None` for a tree or a tar archive.
    pub name: Option<String>,
    /// In its own format; `None` for a tree or a tar archive.
    pub arch: Option<String>,
    /// With epoch and release (`1:1.0-1`); `None` for a tree or a tar archive.
    pub version: Option<String>,
    /// The source package, without a version; by default its own name.
    pub source: Option<String>,
    /// One line, if any.
    pub summary: Option<String>,
    /// Maintainer scripts and triggers, by name. They are never run or translated.
    pub scripts: Vec<String>,
    /// SVR4 packages only.
    pub svr4: Option<SvrDescription>,
    /// Sorted by path, without the root directory and unlisted directories.
    pub objects: Vec<ReleaseObject>,
    pub contents: Box<dyn ContentReader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReleaseForm {
    Tree,
    Tar,
    /// A directory or in a datastream.
    Svr4,
    Deb,
    Rpm,
}

/// Parts of an SVR4 package besides its objects.
#[derive(Clone, Debug, Default)]
pub struct SvrDescription {
    pub params: Params,
    /// By name (`i.CLASS`, `r.CLASS`).
    pub class_scripts: BTreeMap<String, Vec<u8>>,
}

/// Streams the content of files, any number of times.
pub trait ContentReader: Send + Sync {
    /// Passes each wanted file to `sink` once, in the cheapest order, under the first wanted name by path. The receiver
    /// compares the bytes with [`FileContent`]. An error from `sink` ends the walk.
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()>;
}

impl ReleasePackage {
    /// Returns a tree, or a tar archive of one.
    fn unnamed(
        origin: String,
        form: ReleaseForm,
        objects: Vec<ReleaseObject>,
        contents: impl ContentReader + 'static,
    ) -> Self {
        let (name, arch, version, source, summary, svr4) = (None, None, None, None, None, None);
        let (scripts, contents) = (Vec::new(), Box::new(contents));
        Self { origin, form, name, arch, version, source, summary, scripts, svr4, objects, contents }
    }
}

impl fmt::Debug for ReleasePackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleasePackage")
            .field("origin", &self.origin)
            .field("form", &self.form)
            .field("name", &self.name)
            .field("arch", &self.arch)
            .field("version", &self.version)
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}

/// See [`ReleasePackage`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageIdentity {
    /// In its own format.
    pub name: String,
    pub arch: String,
    /// With epoch and release.
    pub version: String,
    /// The source package; by default its own name.
    pub source: String,
}

/// True if an extended attribute belongs to a package's object, not to the machine (labels, security modules).
pub fn is_kept_attribute(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

fn kept(mut xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    xattrs.retain(|name, _| is_kept_attribute(name));
    xattrs
}

/// Content in a second pass, which fails if size or digest differ. Withholds the last byte until the digest is right.
pub struct Verified<R> {
    inner: R,
    expected: FileContent,
    read: u64,
    digest: Digesting,
}

impl<R: Read> Verified<R> {
    pub fn new(inner: R, expected: FileContent) -> Self {
        Self { inner, expected, read: 0, digest: Digesting::default() }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        self.read += count as u64;
        let is_same = match self.read.cmp(&self.expected.size) {
            std::cmp::Ordering::Less => count > 0,
            std::cmp::Ordering::Equal => self.digest.finish() == self.expected.digest,
            std::cmp::Ordering::Greater => false,
        };
        if is_same {
            Ok(count)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it changed while it was read"))
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ReleaseError {
    /// The operand, or a file or directory inside it.
    pub path: PathBuf,
    pub problem: ReleaseProblem,
}

/// Commands map these to exit codes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseProblem {
    #[error("no such file or directory")]
    NotFound,
    #[error("cannot read it: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Tree(#[from] RootError),
    /// A known form, or a part of one, that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// No package or archive, or damaged; exit 33.
    #[error("{0}")]
    BadForm(String),
    /// A name leads out of the package, or is no file name; exit 33.
    #[error("member <{member}> {reason}")]
    Unsafe { member: String, reason: String },
    /// Exit 33.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Damaged, or needs too much memory; exit 39.
    #[error("{0}")]
    NotDecompressed(String),
    /// Its kinds have their own exit codes.
    #[error(transparent)]
    Svr4(#[from] SourceProblem),
    /// A tree or file changed while it was read.
    #[error("{0} changed while it was read")]
    Changed(String),
}

impl ReleaseProblem {
    /// Distinguishes damaged data from a failing disk.
    fn of_archive(error: io::Error) -> Self {
        if let Some(signal) = ending_signal() {
            return Self::Svr4(SourceProblem::Interrupted(signal));
        }
        if ContainerError::is_inside(&error) {
            return Self::NotDecompressed(error.to_string());
        }
        let of_data = match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => true,
            // The tar reader's own errors have neither a kind nor an error number.
            io::ErrorKind::Other => error.raw_os_error().is_none(),
            _ => false,
        };
        if of_data { Self::BadForm(format!("archive is damaged: {error}")) } else { Self::Io(error) }
    }

    fn bad(reason: impl Into<String>) -> Self {
        Self::BadForm(reason.into())
    }
}

#[cfg(test)]
mod verified_tests {
    use super::*;
    use patchadm_rootfs::Sums;

    fn verified(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let sums = Sums::of(&mut &b"content"[..])?;
        let expected = FileContent { size: sums.size, cksum: sums.cksum, digest: sums.b3 };
        let mut read = Vec::new();
        Verified::new(bytes, expected).read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn only_the_same_bytes_pass() {
        assert_eq!(verified(b"content").unwrap(), b"content");
        for other in [&b"conten"[..], b"contents", b"Content", b""] {
            assert!(verified(other).is_err(), "{other:?}");
        }
    }
}

#[cfg(test)]
mod tests;

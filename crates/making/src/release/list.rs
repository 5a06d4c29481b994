//! The values of a release: its packages, each with its objects as one sorted list.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::{ObjectPath, Params};

/// The packages of one operand.
#[derive(Debug)]
pub struct Release {
    /// The operand, as it was named.
    pub name: String,
    /// The packages, sorted by name and architecture. A tree, and a tar archive of one, is one package without a name.
    pub packages: Vec<ReleasePackage>,
}

/// One package of a release.
pub struct ReleasePackage {
    /// The file or directory it was read from, for messages.
    pub origin: String,
    /// The form that it was shipped in.
    pub form: ReleaseForm,
    /// Its name in its own format; `None` for a tree or a tar archive.
    pub name: Option<String>,
    /// Its architecture in the words of its own format; `None` for a tree or a tar archive.
    pub arch: Option<String>,
    /// Its version with epoch and release (`1:1.0-1`); `None` for a tree or a tar archive.
    pub version: Option<String>,
    /// The name of the source package it was built from, without a version; its own name where it says nothing.
    pub source: Option<String>,
    /// One line about it, where it has one.
    pub summary: Option<String>,
    /// Maintainer scripts and triggers, by name. They are never run and never translated.
    pub scripts: Vec<String>,
    /// The parts that only an SVR4 package has.
    pub svr4: Option<SvrDescription>,
    /// The objects, sorted by path, each path once, the root directory itself left out. A directory that the input does
    /// not list is not in it.
    pub objects: Vec<ReleaseObject>,
    /// The content of the files.
    pub contents: Box<dyn ContentReader>,
}

/// The form that a package was shipped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReleaseForm {
    /// A directory tree.
    Tree,
    /// A tar archive of a tree.
    Tar,
    /// An SVR4 package, as a directory or in a datastream.
    Svr4,
    /// A Debian package.
    Deb,
    /// An rpm package.
    Rpm,
}

/// The parts of an SVR4 package that say more than its objects.
#[derive(Clone, Debug, Default)]
pub struct SvrDescription {
    /// Its pkginfo.
    pub params: Params,
    /// Its class action scripts (`i.CLASS`, `r.CLASS`), by name.
    pub class_scripts: BTreeMap<String, Vec<u8>>,
}

/// Streams the content of files, any number of times.
pub trait ContentReader: Send + Sync {
    /// Hands each file that `wanted` accepts to `sink`, once, in the order that is cheapest to read. A file with
    /// several names is handed out under the first wanted one, in the order of paths. The receiver compares the bytes
    /// with [`FileContent`](patchadm_releases::FileContent). An error from `sink` ends the walk and is returned.
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()>;
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

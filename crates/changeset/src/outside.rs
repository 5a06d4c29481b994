//! The undo archives of the host that a run may touch.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::format::journal::Archive;
use crate::format::outside_path::OutsidePath;
use crate::package::ObjectPath;
use crate::root::Root;

/// Says whether the bytes of a ledger name an archive at a path of the host: what a ledger is, the layer above knows.
pub type NamesArchive = fn(ledger: &[u8], archive: &Archive, path: &ObjectPath) -> bool;

/// The directories of the host in which archives of a root may be opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutsideAccess<'a> {
    /// Where to look instead of where `remote` points: `-B`, `--undo-dir`.
    pub moved_to: Option<&'a Path>,
    /// `undo_dir` of the host's own policy.
    pub of_host: Option<&'a Path>,
    /// The owner of the root is trusted (`--trust-root`): it may name any archive.
    pub is_trusted: bool,
    /// What is touched was checked when the run was planned, which is the run of this very process.
    pub is_planned: bool,
    /// Reads a ledger; without it no ledger names an archive.
    pub names_archive: Option<NamesArchive>,
}

impl OutsideAccess<'static> {
    /// Any archive that a root names, for a run that was planned by this process.
    pub fn planned() -> Self {
        Self { is_trusted: true, is_planned: true, ..Self::default() }
    }
}

impl OutsideAccess<'_> {
    /// Whether what a run of a root left at a path of the host may be touched by who ends it, whatever the root says
    /// of it.
    pub fn may_touch(&self, root: &Root, path: &ObjectPath) -> bool {
        self.is_planned || is_own(root) || self.is_named(path)
    }

    /// Whether somebody else than the root names the directory in which archives are kept at a path of the host.
    pub fn is_named(&self, path: &ObjectPath) -> bool {
        let directory = OutsidePath::parse(path.as_bytes()).map(|at| at.directory);
        is_directory(self.of_host, directory) || is_directory(self.moved_to, directory)
    }
}

/// Whether what a root says is said by nobody who has fewer rights than the caller.
pub fn is_own(root: &Root) -> bool {
    !root.is_privileged() || root.is_system()
}

/// Whether a directory that was named is this one.
fn is_directory(named: Option<&Path>, directory: Option<&[u8]>) -> bool {
    let path = |bytes: &[u8]| ObjectPath::new(if bytes.is_empty() { b"/" } else { bytes }).ok();
    let named = named.and_then(|named| path(named.as_os_str().as_bytes()));
    named.is_some() && named == directory.and_then(path)
}

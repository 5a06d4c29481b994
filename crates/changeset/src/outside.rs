//! Access to the undo archives on the host that a run may touch.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::format::journal::JournalArchive;
use crate::format::outside_path::OutsidePath;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// Tells whether the text of a ledger names an archive at a path of the host. The layer above knows what a ledger
/// contains.
pub type NamesArchive = fn(ledger: &[u8], archive: &JournalArchive, path: &ObjectPath) -> bool;

/// The directories of the host in which archives of a root may be opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutsideAccess<'a> {
    /// The directory to search instead of the one in `remote`: `-B`, `--undo-dir`.
    pub moved_to: Option<&'a Path>,
    /// The `undo_dir` of the host's own policy.
    pub of_host: Option<&'a Path>,
    /// Whether the owner of the root is trusted (`--trust-root`) and may name any archive.
    pub is_trusted: bool,
    /// Whether this very process planned the run, and so has checked every path it touches.
    pub is_planned: bool,
    /// Reads ledgers; without it, no ledger names an archive.
    pub names_archive: Option<NamesArchive>,
}

impl OutsideAccess<'static> {
    /// Allows any archive named by the root, for a run planned by this process.
    pub fn planned() -> Self {
        Self { is_trusted: true, is_planned: true, ..Self::default() }
    }
}

impl OutsideAccess<'_> {
    /// Tells whether the command that ends a run may touch the file that the run left at a path of the host, regardless
    /// of what the root says about it.
    pub fn may_touch(&self, root: &Root, path: &ObjectPath) -> bool {
        self.is_planned || is_own(root) || self.is_named(path)
    }

    /// Tells whether the caller or the host, rather than the root, names the directory of archives at a path of the
    /// host.
    pub fn is_named(&self, path: &ObjectPath) -> bool {
        let directory = OutsidePath::parse(path.as_bytes()).map(|at| at.directory);
        is_directory(self.of_host, directory) || is_directory(self.moved_to, directory)
    }
}

/// Tells whether no user with fewer rights than the caller controls the content of the root.
pub fn is_own(root: &Root) -> bool {
    !root.is_privileged() || root.is_system()
}

/// Tells whether a named directory is this one.
fn is_directory(named: Option<&Path>, directory: Option<&[u8]>) -> bool {
    let path = |bytes: &[u8]| ObjectPath::new(if bytes.is_empty() { b"/" } else { bytes }).ok();
    let named = named.and_then(|named| path(named.as_os_str().as_bytes()));
    named.is_some() && named == directory.and_then(path)
}

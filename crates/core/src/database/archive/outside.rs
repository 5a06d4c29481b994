//! Undo archives outside the root: which paths of the host a root may lead to.
//!
//! `remote` is a file of the root, and whoever owns the root could write any path into it. Where the caller could read
//! more than the owner, such a path is opened only if the caller, the host's policy or the root's ledger vouches for it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use crate::format::ledger::LedgerLine;
use crate::format::outside_path::OutsidePath;
use crate::package::{ObjectPath, PkgInst, rule};
use crate::root::Root;

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
}

/// The same, held by whoever hands it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutsideRules {
    /// `undo_dir` of the host's own policy.
    pub of_host: Option<PathBuf>,
    /// The owner of the root is trusted.
    pub is_trusted: bool,
    /// The directory that the caller named for this command.
    pub named: Option<PathBuf>,
}

impl OutsideAccess<'static> {
    /// Any archive that a root names, for a run that was planned by this process.
    pub fn planned() -> Self {
        Self { is_trusted: true, is_planned: true, ..Self::default() }
    }
}

impl OutsideRules {
    /// The rules for what an unfinished run has left.
    pub fn of_recovery(&self) -> OutsideAccess<'_> {
        self.with(self.named.as_deref())
    }

    /// The rules for archives that may have been moved to a directory.
    pub fn with<'a>(&'a self, moved_to: Option<&'a Path>) -> OutsideAccess<'a> {
        let of_host = self.of_host.as_deref();
        OutsideAccess { moved_to, of_host, is_trusted: self.is_trusted, is_planned: false }
    }
}

impl OutsideAccess<'_> {
    /// Refuses a path of the host that `remote` of a patch names, where nobody vouches for it.
    pub(super) fn check(
        &self,
        root: &Root,
        path: &ObjectPath,
        of: (&str, &PkgInst),
        line: Option<&LedgerLine>,
    ) -> Result<(), ArchiveError> {
        let refused = |reason: &'static str| ArchiveError::Outside { path: path.to_string(), reason };
        let place = OutsidePath::parse(path.as_bytes()).filter(|at| at.is_of(of.0, of.1.as_str()));
        if !rule::holds("remote.path", place.is_some()) {
            return Err(refused("that is no place of an undo archive of this patch and package"));
        }
        let is_vouched = self.is_trusted || is_own(root) || self.is_named(path) || is_bound(line, path);
        if !rule::holds("remote.directory", is_vouched) {
            return Err(refused("only a file of the root says that it is there"));
        }
        Ok(())
    }

    /// Whether an archive at a path of the host, to which a root led, may be removed once it was used: where the line of
    /// its patch names that very path, or somebody else than the root names its directory. One of another tool has no
    /// line, and goes where the root is the caller's own.
    pub(super) fn may_remove(&self, root: &Root, path: &ObjectPath, line: Option<&LedgerLine>) -> bool {
        let is_vouched = self.is_named(path) || is_bound(line, path) || line.is_none() && is_own(root);
        rule::holds("archive.outside.bound", is_vouched)
    }

    /// Whether what a run of a root left at a path of the host may be touched by who ends it, whatever the root says
    /// of it.
    pub fn may_touch(&self, root: &Root, path: &ObjectPath) -> bool {
        self.is_planned || is_own(root) || self.is_named(path)
    }

    /// Whether somebody else than the root names the directory in which archives are kept at a path of the host.
    fn is_named(&self, path: &ObjectPath) -> bool {
        let directory = OutsidePath::parse(path.as_bytes()).map(|at| at.directory);
        is_directory(self.of_host, directory) || is_directory(self.moved_to, directory)
    }
}

/// Whether what a root says is said by nobody who has fewer rights than the caller.
fn is_own(root: &Root) -> bool {
    !root.is_privileged() || root.is_system()
}

/// Whether a directory that was named is this one.
fn is_directory(named: Option<&Path>, directory: Option<&[u8]>) -> bool {
    let path = |bytes: &[u8]| ObjectPath::new(if bytes.is_empty() { b"/" } else { bytes }).ok();
    let named = named.and_then(|named| path(named.as_os_str().as_bytes()));
    named.is_some() && named == directory.and_then(path)
}

/// Whether a line of the ledger says by digest what is at a path.
fn is_bound(line: Option<&LedgerLine>, path: &ObjectPath) -> bool {
    line.is_some_and(|line| line.is_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_trusted_names_archives_of_its_patch_and_package_only() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let package = PkgInst::new("X").unwrap();
        let check = |path: &str| {
            let path = ObjectPath::new(path.as_bytes()).unwrap();
            OutsideAccess::planned().check(&root, &path, ("100-01", &package), None)
        };
        assert!(check("/b/100-01/X/undo.gz").is_ok());
        for path in ["/etc/shadow", "/b/200-01/X/undo.gz", "/b/100-01/Y/undo.gz", "/b/100-01/X/shadow"] {
            assert!(matches!(check(path), Err(ArchiveError::Outside { .. })), "{path}");
        }
    }
}

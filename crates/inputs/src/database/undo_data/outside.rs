//! Undo archives outside the root. The root's owner could write any path into the file `remote`. A caller who can read
//! more opens it only if the caller, the host's policy or the ledger vouches for it.

use std::path::{Path, PathBuf};

use super::archive::ArchiveError;
use crate::format::ledger::{Ledger, LedgerLine};
use patchadm_changeset::format::journal;
use patchadm_changeset::format::outside_path::OutsidePath;
pub use patchadm_changeset::transaction::OutsideAccess;
use patchadm_changeset::transaction::{NamesArchive, is_own};
use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::{ObjectPath, PkgInst, rule};
use patchadm_svr4::places;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutsideRules {
    /// `undo_dir` of the host's own policy.
    pub of_host: Option<PathBuf>,
    /// The owner of the root is trusted.
    pub is_trusted: bool,
    pub named: Option<PathBuf>,
}

impl OutsideRules {
    pub fn of_recovery(&self) -> OutsideAccess<'_> {
        self.with(self.named.as_deref())
    }

    /// Adds a directory where archives may be.
    pub fn with<'a>(&'a self, moved_to: Option<&'a Path>) -> OutsideAccess<'a> {
        let of_host = self.of_host.as_deref();
        let names_archive = Some(names_archive as NamesArchive);
        OutsideAccess { moved_to, of_host, is_trusted: self.is_trusted, is_planned: false, names_archive }
    }
}

/// Refuses a host path that `remote` names, unless something vouches for it.
pub(super) fn check(
    outside: &OutsideAccess<'_>,
    root: &Root,
    path: &ObjectPath,
    of: (&str, &PkgInst),
    line: Option<&LedgerLine>,
) -> Result<(), ArchiveError> {
    let refused = |reason: &'static str| ArchiveError::Outside { path: path.to_string(), reason };
    let place = OutsidePath::parse(path.as_bytes()).filter(|at| at.is_of(of.0, of.1.as_str()));
    if !rule::holds("remote.path", place.is_some()) {
        return Err(refused("it is not a valid place for an undo archive of this patch and package"));
    }
    if is_stage(root) {
        return Err(refused("it is outside the stage, and undo data of a stage must be inside it"));
    }
    let is_vouched = outside.is_trusted || is_own(root) || outside.is_named(path) || is_bound(line, path);
    if !rule::holds("remote.directory", is_vouched) {
        return Err(refused("only a file of the root says that it is there"));
    }
    Ok(())
}

/// A stage has a copy of another root's records.
fn is_stage(root: &Root) -> bool {
    let identity = places::stage_identity();
    let own = root.dir_if_there(&identity.parent().unwrap_or_else(ObjectPath::root));
    own.ok().flatten().is_some_and(|own| own.look(identity.name()).is_ok_and(|seen| seen.is_some()))
}

/// Returns true if the line of the patch names that very path, or a source other than the root names its directory.
/// Archives of another tool have no line; they are removed if the root is the caller's own.
pub(super) fn may_remove(
    outside: &OutsideAccess<'_>,
    root: &Root,
    path: &ObjectPath,
    line: Option<&LedgerLine>,
) -> bool {
    let is_vouched = outside.is_named(path) || is_bound(line, path) || line.is_none() && is_own(root);
    rule::holds("archive.outside.bound", is_vouched)
}

/// By digest, as made by a run.
fn names_archive(ledger: &[u8], archive: &journal::JournalArchive, path: &ObjectPath) -> bool {
    let Ok(ledger) = Ledger::parse(ledger) else { return false };
    let digest = archive.b3.as_deref().and_then(Digest::from_hex);
    let line = archive.patch.as_deref().and_then(|patch| ledger.line(patch));
    line.is_some_and(|line| line.archive().map(|(b3, _)| b3) == digest && line.is_at(path))
}

fn is_bound(line: Option<&LedgerLine>, path: &ObjectPath) -> bool {
    line.is_some_and(|line| line.is_at(path))
}

#[cfg(test)]
mod tests {
    use super::check as check_path;
    use super::*;

    #[test]
    fn a_root_that_is_trusted_names_archives_of_its_patch_and_package_only() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let package = PkgInst::new("X").unwrap();
        let check = |path: &str| {
            let path = ObjectPath::new(path.as_bytes()).unwrap();
            check_path(&OutsideAccess::planned(), &root, &path, ("100-01", &package), None)
        };
        assert!(check("/b/100-01/X/undo.gz").is_ok());
        for path in ["/etc/shadow", "/b/200-01/X/undo.gz", "/b/100-01/Y/undo.gz", "/b/100-01/X/shadow"] {
            assert!(matches!(check(path), Err(ArchiveError::Outside { .. })), "{path}");
        }
    }
}

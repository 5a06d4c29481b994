//! The changes of a run to the ledger of a package: lines of patches that it applies are added, lines of patches that
//! are no longer applied are removed.
//!
//! The content of the lines is known once the undo archives have been written; this module only names the patches.

use patchadm_rootfs::Digest;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The change of a ledger. Lines of patches that the package no longer has, or has with another record, are removed
/// automatically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChange {
    /// Its path.
    pub path: ObjectPath,
    /// The package.
    pub package: PkgInst,
    /// The patches that the run applies, in their order.
    pub applied: Vec<LedgerPatch>,
    /// Archives that existed before and are adopted as the root's own.
    pub adopted: Vec<LedgerArchive>,
    /// The undo data of patches that stay, which the run rewrites or gives up.
    pub rewritten: Vec<LedgerRewrite>,
    /// Lines from the ledger of a copy of the root, whose archives come with them.
    pub brought: Vec<BroughtLine>,
    /// Whether the existing ledger is ignored.
    pub is_anew: bool,
}

/// Undo data of a patch that stays, which the run rewrites or gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRewrite {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// What becomes of the archive.
    pub archive: RewrittenArchive,
    /// Whether data that the ledger did not bind to a run has come into it.
    pub is_adopted: bool,
}

/// What becomes of the archive of a patch that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewrittenArchive {
    /// The run writes it anew, or, without an archive, the manifest.
    Anew,
    /// It is given up; only the manifest stays.
    GivenUp,
    /// It is in an exported file; only the manifest stays.
    Exported,
    /// It comes back from an exported file, into the save directory.
    Imported,
}

/// A patch that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPatch {
    /// Its id, as its save directory is named.
    pub patch: String,
    /// Whether no undo data was wanted.
    pub is_without_undo: bool,
    /// Of an adopted package: the version that its manager has.
    pub native: Option<String>,
}

/// An archive that is adopted as the root's own, or the manifest of a patch without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerArchive {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// BLAKE3 of the file.
    pub b3: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// Of undo data as files: the bytes of the old files.
    pub files: Option<u64>,
    /// Its place; `None` for a manifest.
    pub place: Option<UndoLocation>,
}

impl LedgerChange {
    /// Returns the change that removes the lines that no longer count.
    pub fn of(package: &PkgInst) -> Self {
        Self::at(places::ledger(package), package)
    }

    /// Returns the same change for the ledger at a path.
    pub fn at(path: ObjectPath, package: &PkgInst) -> Self {
        let package = package.clone();
        Self {
            path,
            package,
            applied: Vec::new(),
            adopted: Vec::new(),
            rewritten: Vec::new(),
            brought: Vec::new(),
            is_anew: false,
        }
    }

    /// Returns the change of a run that applies a patch.
    pub fn of_application(package: &PkgInst, patch: LedgerPatch) -> Self {
        Self { applied: vec![patch], ..Self::of(package) }
    }

    /// Adds the change of a later patch of the same run.
    pub fn add(&mut self, later: &Self) {
        self.applied.extend(later.applied.iter().cloned());
        self.adopted.extend(later.adopted.iter().cloned());
        self.rewritten.extend(later.rewritten.iter().cloned());
        self.brought.extend(later.brought.iter().cloned());
        self.is_anew |= later.is_anew;
    }
}

/// The line of a patch that was applied to a copy of the root and comes with its changes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtLine {
    /// The patch, as its save directory is named.
    pub patch: String,
    /// The line as in the ledger of the copy, with its newline. The run that brings it becomes its run.
    pub text: Vec<u8>,
}

/// The place where an archive is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoLocation {
    /// In the save directory, under any name.
    Save,
    /// At this path of the host, without newlines.
    Host(Vec<u8>),
}

//! Undo data as files with another manifest.

use std::fs;
use std::path::Path;

use super::records::{digest, vouch};
use crate::undo_forms;

/// The manifest of undo data.
pub(super) fn manifest(at: &Path) -> Vec<u8> {
    undo_forms::manifest(&fs::read(at).unwrap())
}

/// Replaces undo data by undo data with another manifest, bound by the ledger.
pub(super) fn write(root: &Path, at: &Path, manifest: &[u8]) {
    let before = fs::read(at).unwrap();
    let after = undo_forms::with_manifest(&before, manifest);
    fs::write(at, &after).unwrap();
    vouch(root, (&digest(&before), before.len()), (&digest(&after), after.len()), true);
}

//! Undo archives with another manifest: unpacked and packed again, with all sums recomputed.

use std::fs;
use std::path::{Path, PathBuf};

use super::records::{digest, vouch};
use crate::packages::datastream;
use crate::undo_forms::summed_again;

/// The manifest in a package directory.
const MANIFEST: &str = "install/patchadm.manifest";

/// Directory with the unpacked archive at `at`: beside the roots, because every copy of a root has the same one.
fn apart(at: &Path) -> PathBuf {
    let scene = at.ancestors().find(|above| above.join("apart").is_dir()).unwrap();
    let id = at.parent().unwrap().file_name().unwrap();
    let package = at.ancestors().nth(3).unwrap().file_name().unwrap();
    scene.join("apart").join(id).join(package)
}

/// The manifest of an archive.
pub(super) fn manifest(at: &Path) -> Vec<u8> {
    fs::read(apart(at).join(MANIFEST)).unwrap_or_default()
}

/// Replaces an archive by one with another manifest, and updates its digest beside it and, if it is to be bound, in the
/// ledger.
pub(super) fn write(root: &Path, at: &Path, manifest: &[u8], is_bound: bool) {
    let before = fs::read(at).unwrap();
    let scratch = crate::scenario::directory();
    let from = apart(at);
    let copied = std::process::Command::new("cp").arg("-a").args([&from, scratch.path()]).status().unwrap();
    assert!(copied.success());
    let package = scratch.path().join(from.file_name().unwrap());
    fs::write(package.join(MANIFEST), manifest).unwrap();
    sum_again(&package.join("pkgmap"), manifest);
    datastream(&[package], at);
    let after = fs::read(at).unwrap();
    vouch(root, (&digest(&before), before.len()), (&digest(&after), after.len()), is_bound);
}

/// Updates the size and sum of the manifest in the pkgmap.
fn sum_again(pkgmap: &Path, manifest: &[u8]) {
    let text = fs::read_to_string(pkgmap).unwrap();
    fs::write(pkgmap, summed_again(&text, manifest)).unwrap();
}

//! Debian packages as dpkg-deb sees them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns true if dpkg-deb is installed, and tar, which it runs; otherwise skips the test by name.
pub(super) fn has_dpkg_deb(test: &str) -> bool {
    crate::has("dpkg-deb", test) && crate::has("tar", test)
}

/// The package of this name in a directory of packages.
pub(super) fn deb_in(directory: &Path, name: &str) -> PathBuf {
    let is_named = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        file.split('_').next() == Some(name)
    };
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).find(is_named).unwrap()
}

/// Unpacks a package below a directory.
pub(super) fn unpack(deb: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    assert!(Command::new("dpkg-deb").arg("-x").arg(deb).arg(to).status().unwrap().success());
}

/// A field of the control file of a package.
pub(super) fn field(deb: &Path, name: &str) -> String {
    let told = Command::new("dpkg-deb").arg("-f").arg(deb).arg(name).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

/// Adds the content of a directory to another one, with all attributes.
pub(super) fn add_copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

//! The list of software from a tree, a file, dpkg or rpm: its paths, and its name there.

use std::collections::BTreeMap;

use super::differing::Md5Sum;
use patchadm_svr4::package::{Ftype, ObjectPath};

/// The contents of a list.
#[derive(Debug, Default)]
pub(super) struct SoftwareList {
    /// The origin that is recorded for the package.
    pub(super) adopted: String,
    /// The name of the package that follows from the list.
    pub(super) pkg: Option<String>,
    pub(super) version: Option<String>,
    pub(super) arch: Option<String>,
    pub(super) title: Option<String>,
    /// The paths, each with its type if it is a regular file.
    pub(super) paths: BTreeMap<ObjectPath, Ftype>,
    pub(super) md5: BTreeMap<ObjectPath, Md5Sum>,
    /// Whether a missing path is a refusal.
    pub(super) must_be_there: bool,
    pub(super) notes: Vec<String>,
}

/// Returns the package name for software of another package manager: its own name after a prefix, with a hyphen for every
/// byte that is invalid in package names.
pub(super) fn package_name(prefix: &str, name: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
    let name = name.bytes().map(char::from).map(|letter| if kept(letter) { letter } else { '-' });
    prefix.chars().chain(name).collect()
}

/// Returns the absolute paths in a text, one a line. Skips blank lines and the root directory itself.
pub(super) fn paths_of(text: &[u8]) -> Result<BTreeMap<ObjectPath, Ftype>, String> {
    let mut paths = BTreeMap::new();
    for (at, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        let path = ObjectPath::new(line).map_err(|error| format!("line {at}: {error}"))?;
        if !path.relative().is_empty() {
            paths.insert(path, Ftype::File);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_package_manager_becomes_one_of_a_package() {
        assert_eq!(package_name("DEB", "libstdc++6"), "DEBlibstdc++6");
        assert_eq!(package_name("DEB", "libssl1.1"), "DEBlibssl1-1");
        assert_eq!(package_name("RPM", "a_b é"), "RPMa-b---");
    }

    #[test]
    fn a_list_has_absolute_paths_and_a_relative_one_is_told_by_its_line() {
        let paths = paths_of(b"/.\n/usr\n\n/usr/bin/a b\n").unwrap();
        let shown: Vec<String> = paths.keys().map(ToString::to_string).collect();
        assert_eq!(shown, ["/usr", "/usr/bin/a b"]);
        assert!(paths_of(b"/a\nusr\n").unwrap_err().starts_with("line 2: "));
    }
}

//! The names of adopted packages: that of the native package behind a prefix, as the naming rules of pkginfo(4) allow it.

use super::{FileSum, NativeManager};
use crate::sha256::Sha256;

/// The longest name of a package, in bytes (pkginfo(4)).
pub const LONGEST_PKG: usize = 32;

/// The digits of the digest at the end of a name that is cut.
const DIGITS: usize = 6;

impl NativeManager {
    /// Returns the name of the package for a native package: its own name after `DEB` or `RPM`, with a hyphen for every byte
    /// that is invalid in package names. A name that gets too long is cut, and ends with the first digits of its SHA-256.
    pub fn package_name(self, name: &str) -> String {
        let prefix = match self {
            Self::Dpkg => "DEB",
            Self::Rpm => "RPM",
        };
        let is_kept = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
        let letters = name.bytes().map(char::from).map(|letter| if is_kept(letter) { letter } else { '-' });
        let whole: String = prefix.chars().chain(letters).collect();
        if whole.len() <= LONGEST_PKG {
            return whole;
        }
        let start: String = whole.chars().take(LONGEST_PKG - DIGITS - 1).collect();
        let digits: String = FileSum::Sha256(Sha256::digest(name)).to_string().chars().take(DIGITS).collect();
        format!("{start}-{digits}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_package_manager_becomes_one_of_a_package() {
        assert_eq!(NativeManager::Dpkg.package_name("libstdc++6"), "DEBlibstdc++6");
        assert_eq!(NativeManager::Dpkg.package_name("libssl1.1"), "DEBlibssl1-1");
        assert_eq!(NativeManager::Rpm.package_name("a_b \u{e9}"), "RPMa-b---");
    }

    #[test]
    fn a_long_name_is_cut_and_differs_from_that_of_another_with_the_same_start() {
        let name = |name: &str| NativeManager::Dpkg.package_name(name);
        let exact = "a".repeat(29);
        assert_eq!(name(&exact), format!("DEB{exact}"));
        let (one, other) = (name("libgstreamer-plugins-base1.0-0"), name("libgstreamer-plugins-base1.0-dev"));
        assert_eq!((one.len(), other.len()), (32, 32));
        assert!(one.starts_with("DEBlibgstreamer-plugins-b-"), "{one}");
        assert_ne!(one, other);
    }
}

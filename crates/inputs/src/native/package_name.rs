//! The names of adopted packages: that of the native package behind a prefix, as the naming rules of pkginfo(4) allow it.
//!
//! Of a package that is there more than once, the second and later ones are instances of that name: `DEBlibssl3.i386`,
//! `RPMkernel.5d41402a`.

use super::{FileSum, NativeManager, NativeOrigin, NativePackage};
use crate::sha256::Sha256;
use patchadm_svr4::package::PkgInst;

/// The longest name of a package, in bytes (pkginfo(4)).
pub const LONGEST_PKG: usize = 32;

/// The digits of the digest at the end of a name that is cut.
const DIGITS: usize = 6;

/// The digits of the digest at the end of an instance.
const INSTANCE_DIGITS: usize = 8;

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
        format!("{start}-{}", digits(name, DIGITS))
    }

    /// Returns the manager from which a package was adopted, by its usual name: where nothing else is left of its record.
    pub fn of_package_name(package: &PkgInst) -> Option<Self> {
        let is_named = |manager: &Self| {
            let rest = package.as_str().strip_prefix(&manager.package_name(""));
            rest.is_some_and(|rest| {
                rest.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            })
        };
        Self::ALL.into_iter().find(is_named)
    }
}

impl NativePackage {
    /// Returns the name of its registration where another one has the name that [`NativeManager::package_name`] gives: an
    /// instance with the architecture, or for rpm with the digest of name, version and architecture.
    pub fn instance_name(&self) -> String {
        let NativeOrigin { manager, name, .. } = &self.origin;
        let suffix = match manager {
            NativeManager::Dpkg => self.arch.clone(),
            NativeManager::Rpm => digits(&format!("{name}-{}.{}", self.version, self.arch), INSTANCE_DIGITS),
        };
        format!("{}.{suffix}", manager.package_name(name))
    }
}

/// Returns the first digits of the SHA-256 of a text.
fn digits(text: &str, count: usize) -> String {
    FileSum::Sha256(Sha256::digest(text)).to_string().chars().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_package_manager_becomes_one_of_a_package() {
        assert_eq!(NativeManager::Dpkg.package_name("libstdc++6"), "DEBlibstdc++6");
        assert_eq!(NativeManager::Dpkg.package_name("libssl1.1"), "DEBlibssl1-1");
        assert_eq!(NativeManager::Rpm.package_name("a_b \u{e9}"), "RPMa-b---");
        let manager = |name: &str| NativeManager::of_package_name(&PkgInst::new(name).unwrap());
        assert_eq!(manager("DEBlibssl3.i386"), Some(NativeManager::Dpkg));
        assert_eq!(manager("RPM4tools"), Some(NativeManager::Rpm));
        assert_eq!(manager("DEBUGtools"), None);
    }

    #[test]
    fn an_instance_has_the_architecture_or_the_digest_of_what_rpm_calls_it_behind_a_full_stop() {
        let package = |manager: NativeManager, name: &str, version: &str, arch: &str| NativePackage {
            origin: NativeOrigin { manager, name: name.to_owned(), arch: None, version: None },
            version: version.to_owned(),
            stamp: String::new(),
            arch: arch.to_owned(),
            title: None,
            has_other_versions: false,
            paths: std::collections::BTreeMap::new(),
            diverted: std::collections::BTreeSet::new(),
        };
        let dpkg = package(NativeManager::Dpkg, "libssl1.1", "1-1", "i386").instance_name();
        assert_eq!(dpkg, "DEBlibssl1-1.i386");
        let rpm = |version: &str| package(NativeManager::Rpm, "kernel", version, "x86_64").instance_name();
        // printf kernel-6.1-1.x86_64 | sha256sum
        assert_eq!(rpm("6.1-1"), "RPMkernel.afb0cedc");
        assert_ne!(rpm("6.1-1"), rpm("6.1-2"));
        assert_eq!(PkgInst::new(&dpkg).unwrap().abbreviation(), "DEBlibssl1-1");
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

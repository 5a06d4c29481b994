//! Names of a package: `PKGNAME`, and the location of its recipe.

use std::fmt::{self, Write as _};
use std::sync::Arc;

const LONGEST_PKGNAME: usize = 200;

const LONGEST_LOCATION: usize = 255;

const SHOWN: usize = 80;

/// Shortens untrusted text for a message, and removes control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// The directory of a recipe in the tree, such as `net/curl`: at most 255 bytes of letters, digits and `+._-` between
/// slashes, without `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipeLocation(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not a location: {reason}")]
pub struct LocationError {
    /// The beginning of the text.
    pub text: String,
    pub reason: &'static str,
}

impl RecipeLocation {
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        match fault_of_location(text) {
            None => Ok(Self(text.into())),
            Some(reason) => Err(LocationError { text: shown(text), reason }),
        }
    }

    /// Returns the source of patches, which cannot have slashes. Several locations may have one source.
    pub fn source(&self) -> String {
        self.0.replace('/', "_")
    }

    /// Returns a location for a directory with an invalid name: each invalid byte becomes `+` and two hexadecimal
    /// digits. If the result is taken, a digest is appended.
    pub fn in_place_of(name: &[u8], is_taken: impl Fn(&Self) -> bool) -> Self {
        let spelled = |kept: &[u8]| {
            let mut text = String::new();
            for &byte in name {
                if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    // Writing to a string does not fail.
                    let _ = write!(text, "+{byte:02x}");
                }
            }
            text
        };
        let text = spelled(b"+._-/");
        if let Ok(location) = Self::parse(&text)
            && !is_taken(&location)
        {
            return location;
        }
        // In one component that is neither `.` nor `..`.
        let mut text = spelled(b"+_-");
        text.truncate(LONGEST_LOCATION - 17);
        let digest = blake3::hash(name).to_hex();
        Self(format!("{text}+{}", digest.get(..16).unwrap_or_default()).into())
    }

    /// Resolves a location named by a recipe: `./` and `../` are relative to the recipe, others to the top of the tree.
    pub fn resolve(&self, reference: &str) -> Result<Self, LocationError> {
        let outside = || LocationError { text: shown(reference), reason: "it is outside the tree" };
        let mut base = &*self.0;
        let mut rest = reference;
        let mut is_relative = false;
        loop {
            if let Some(below) = rest.strip_prefix("../") {
                if base.is_empty() {
                    return Err(outside());
                }
                base = base.rsplit_once('/').map_or("", |(above, _)| above);
                (rest, is_relative) = (below, true);
            } else if let Some(same) = rest.strip_prefix("./") {
                (rest, is_relative) = (same, true);
            } else {
                break;
            }
        }
        if !is_relative || base.is_empty() {
            return Self::parse(rest);
        }
        Self::parse(&format!("{base}/{rest}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecipeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault_of_location(text: &str) -> Option<&'static str> {
    if text.len() > LONGEST_LOCATION {
        return Some("it is longer than 255 bytes");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("a part of it is empty"),
        "." | ".." => Some("a part of it is . or .."),
        _ if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte)) => {
            Some("it contains characters other than letters, digits and +._-/")
        }
        _ => None,
    })
}

/// A package name with version, such as `curl-8.5.0nb1`: at most 200 bytes; the version follows the last `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PkgName {
    text: Arc<str>,
    name_length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not a PKGNAME: {reason}")]
pub struct PkgNameError {
    /// The beginning of the text.
    pub text: String,
    pub reason: &'static str,
}

impl PkgName {
    pub fn parse(text: &str) -> Result<Self, PkgNameError> {
        let refuse = |reason| PkgNameError { text: shown(text), reason };
        if text.len() > LONGEST_PKGNAME {
            return Err(refuse("it is longer than 200 bytes"));
        }
        let (name, version) = text.rsplit_once('-').ok_or_else(|| refuse("it has no - before a version"))?;
        let name = name.as_bytes();
        if !name.first().is_some_and(u8::is_ascii_alphanumeric) {
            return Err(refuse("it does not begin with a letter or digit"));
        }
        if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+._~-".contains(byte)) {
            return Err(refuse("its name contains characters other than letters, digits and +._~-"));
        }
        let is_version = |byte: u8| byte.is_ascii_alphanumeric() || b"+._~:".contains(&byte);
        if version.is_empty() || !version.bytes().all(is_version) {
            return Err(refuse(
                "its version is empty, or contains characters other than letters, digits and +._~:",
            ));
        }
        Ok(Self { text: text.into(), name_length: name.len() })
    }

    /// Returns a valid `PKGNAME` for a failed location: with `_` for `/` and `-0` at the end. A leading special
    /// character becomes `x`, and a long name is cut.
    pub(super) fn of_failed_scan(location: &RecipeLocation) -> Self {
        let mut name = location.as_str().replace('/', "_");
        // Locations are ASCII.
        name.truncate(LONGEST_PKGNAME - 2);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            name.replace_range(..1, "x");
        }
        Self { name_length: name.len(), text: format!("{name}-0").into() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn name(&self) -> &str {
        self.text.get(..self.name_length).unwrap_or_default()
    }

    /// Includes pkgsrc's revision (`nb1`).
    pub fn version(&self) -> &str {
        self.text.get(self.name_length + 1..).unwrap_or_default()
    }
}

impl fmt::Display for PkgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_follows_the_last_hyphen() {
        let name = PkgName::parse("p5-libwww-6.77nb1").unwrap();
        assert_eq!((name.name(), name.version()), ("p5-libwww", "6.77nb1"));
    }

    #[test]
    fn what_is_no_pkgname_is_refused_with_the_rule() {
        for (text, reason) in [
            ("curl", "no - before"),
            ("-1.0", "begin"),
            ("_a-1", "begin"),
            ("curl-", "version"),
            ("cu/rl-1", "name contains"),
            ("curl-1/2", "version"),
            ("curl-1 2", "version"),
            ("é-1", "begin"),
            ("", "no - before"),
        ] {
            let error = PkgName::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(PkgName::parse(&format!("a-{}", "1".repeat(198))).is_ok());
        assert!(PkgName::parse(&format!("a-{}", "1".repeat(199))).is_err());
    }

    #[test]
    fn a_location_is_a_plain_path_below_the_tree() {
        for good in ["net/curl", "a", "x11/XaoS", "a/b/c", "a/..b", "+._-"] {
            assert_eq!(RecipeLocation::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "./a", "a b", "a/b\n", "ä"] {
            assert!(RecipeLocation::parse(bad).is_err(), "{bad:?}");
        }
        assert!(
            RecipeLocation::parse(&"a".repeat(255)).is_ok()
                && RecipeLocation::parse(&"a".repeat(256)).is_err()
        );
    }

    #[test]
    fn a_reference_is_relative_to_the_recipe_or_to_the_top() {
        let from = |location: &str, reference: &str| {
            RecipeLocation::parse(location).unwrap().resolve(reference).map(|found| found.to_string()).ok()
        };
        assert_eq!(from("net/curl", "../../devel/gmake").as_deref(), Some("devel/gmake"));
        assert_eq!(from("net/curl", "../wget").as_deref(), Some("net/wget"));
        assert_eq!(from("net/curl", "./sub").as_deref(), Some("net/curl/sub"));
        assert_eq!(from("net/curl", "devel/gmake").as_deref(), Some("devel/gmake"));
        assert_eq!(from("curl", "../zlib").as_deref(), Some("zlib"));
        assert_eq!(from("net/curl", "../../../etc"), None, "it is outside the tree");
        assert_eq!(from("net/curl", "a/../../.."), None);
        assert_eq!(from("net/curl", ".."), None);
        assert_eq!(from("net/curl", "/etc"), None);
    }

    #[test]
    fn the_name_of_a_failed_scan_is_a_pkgname_whatever_the_location() {
        let name = |location: &str| PkgName::of_failed_scan(&RecipeLocation::parse(location).unwrap());
        assert_eq!(name("net/curl").as_str(), "net_curl-0");
        for odd in ["_x/y", "..x", "-", &"a".repeat(255), &format!("+{}", "/b".repeat(120))] {
            let name = name(odd);
            assert_eq!(PkgName::parse(name.as_str()).unwrap(), name);
        }
    }
}

//! The `pkginfo` and `depend` of a package that a build has left as a tree.

use std::fmt::Write as _;

use patchadm_svr4::package::Params;
use serde::{Deserialize, Serialize};

/// The longest name of a package, in bytes (pkginfo(4)).
const LONGEST_NAME: usize = 32;

/// What the record and the machine say of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageIdentity {
    /// The name without version.
    pub name: String,
    /// The version.
    pub version: String,
    /// The location of its recipe.
    pub location: String,
    /// The categories of the record.
    pub categories: Vec<String>,
    /// The name of the processor, as `uname -m` has it.
    pub machine: String,
    /// The stamp of all packages of a source: it must not tell when they were built.
    pub stamp: String,
}

impl PackageIdentity {
    /// Returns the SOURCE of packages of this recipe.
    pub(super) fn source(&self) -> String {
        self.location.replace('/', "_")
    }
}

/// Returns the parameters of a package: those that the build has left, and what they lack.
pub(super) fn made_pkginfo(given: &Params, identity: &PackageIdentity) -> Result<Params, String> {
    let mut params = given.clone();
    let mut set = |name: &str, value: &str| {
        if params.get(name).is_none() {
            params.set(name, value);
        }
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "+-".contains(letter);
    let pkg: String =
        identity.name.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    if given.get("PKG").is_none() && pkg.len() > LONGEST_NAME {
        return Err(format!(
            "{pkg} is longer than {LONGEST_NAME} bytes: a pkginfo with PKG must say its name"
        ));
    }
    let category = identity.categories.first().map_or("application", String::as_str);
    set("PKG", &pkg);
    set("NAME", &identity.name);
    set("ARCH", &identity.machine);
    set("VERSION", &identity.version);
    set("CATEGORY", category);
    set("BASEDIR", "/");
    set("SOURCE", &identity.source());
    set("PSTAMP", &identity.stamp);
    Ok(params)
}

/// Returns the `depend` of a package that needs these.
pub(super) fn dependencies(needs: &[String]) -> String {
    let mut needs = needs.to_vec();
    needs.sort_unstable();
    needs.iter().fold(String::new(), |mut text, pkg| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "P {pkg} {pkg}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> PackageIdentity {
        PackageIdentity {
            name: name.to_owned(),
            version: "1.0nb2".to_owned(),
            location: "net/curl".to_owned(),
            categories: vec!["net".to_owned(), "www".to_owned()],
            machine: "x86_64".to_owned(),
            stamp: "bulk".to_owned(),
        }
    }

    #[test]
    fn what_a_build_leaves_out_is_that_of_its_record() {
        let mut given = Params::new();
        given.set("NAME", "a client");
        let params = made_pkginfo(&given, &identity("curl_x")).unwrap();
        let text = |name: &str| params.text(name).into_owned();
        assert_eq!(
            [text("PKG"), text("NAME"), text("VERSION"), text("CATEGORY"), text("SOURCE")],
            ["curl-x", "a client", "1.0nb2", "net", "net_curl"]
        );
    }

    #[test]
    fn a_name_that_is_too_long_must_be_given_by_the_build() {
        let long = identity(&"a".repeat(33));
        assert!(made_pkginfo(&Params::new(), &long).unwrap_err().contains("longer than 32 bytes"));
        let mut given = Params::new();
        given.set("PKG", "short");
        assert!(made_pkginfo(&given, &long).is_ok());
    }
}

//! What the registration of an adopted package says of the native package that it stands for (pkginfo(5)).

use std::collections::BTreeSet;

use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_svr4::package::{ObjectPath, Params};

/// The version of the native package when it was adopted or refreshed, as its manager prints it.
pub const NATIVE_VERSION: &str = "NATIVE_VERSION";

/// SHA-256 over the native records of its paths then.
pub const NATIVE_DIGEST: &str = "NATIVE_DIGEST";

/// What changed when the same version was installed again.
pub const NATIVE_STAMP: &str = "NATIVE_STAMP";

/// The paths, escaped, of files that were not those of the native record then: bytes of an administrator.
pub const NATIVE_DIFFERING: &str = "NATIVE_DIFFERING";

/// The places, escaped, to which files of the package were diverted then.
pub const NATIVE_DIVERTED: &str = "NATIVE_DIVERTED";

/// The applied patches of which a part was handed over to the native package.
pub const NATIVE_OVERTAKEN: &str = "NATIVE_OVERTAKEN";

/// Tells whether a parameter is one that only adoptions and refreshes write: no patch delivers it, and no backout brings an
/// old value back.
pub fn is_native_parameter(name: &str) -> bool {
    name.starts_with("NATIVE_")
}

/// What a registration says of the native package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeRegistration {
    /// The version.
    pub version: String,
    /// The digest of its records; `None` in a registration of an earlier form.
    pub digest: Option<String>,
    /// What changes when the same version is installed again; `None` in a registration of an earlier form.
    pub stamp: Option<String>,
    /// The places to which its files are diverted, escaped; `None` if there are none.
    pub diverted: Option<String>,
}

impl NativeRegistration {
    /// Reads the registration of an adopted package. An earlier form had the `VERSION` alone.
    pub fn of(params: &Params) -> Self {
        let value = |name: &str| Some(params.text(name).trim().to_owned()).filter(|text| !text.is_empty());
        Self {
            version: value(NATIVE_VERSION).or_else(|| value("VERSION")).unwrap_or_default(),
            digest: value(NATIVE_DIGEST),
            stamp: value(NATIVE_STAMP),
            diverted: value(NATIVE_DIVERTED),
        }
    }

    /// Returns the version, where the registration names it: an earlier form does not.
    pub fn named_version(params: &Params) -> Option<String> {
        Some(params.text(NATIVE_VERSION).into_owned()).filter(|version| !version.is_empty())
    }

    /// Writes it into the parameters of a package.
    pub fn write(&self, params: &mut Params) {
        params.set(NATIVE_VERSION, self.version.as_str());
        for (name, value) in
            [(NATIVE_DIGEST, &self.digest), (NATIVE_STAMP, &self.stamp), (NATIVE_DIVERTED, &self.diverted)]
        {
            match value {
                Some(value) => params.set(name, value.as_str()),
                None => params.remove(name),
            }
        }
    }
}

/// Reads [`NATIVE_DIFFERING`]. Words that are no paths are passed over.
pub fn differing_of(params: &Params) -> BTreeSet<ObjectPath> {
    let text = params.text(NATIVE_DIFFERING);
    text.split_whitespace().filter_map(|word| ObjectPath::new(&decode(word)).ok()).collect()
}

/// Returns the value of [`NATIVE_DIFFERING`] for these paths.
pub fn differing_text<'p>(paths: impl IntoIterator<Item = &'p ObjectPath>) -> String {
    let words = paths.into_iter().map(|path| encode(path.as_bytes()).replace(' ', "%20"));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_of_an_earlier_form_has_its_version_alone() {
        let mut params: Params = [("VERSION", "1:2.0-1")].into_iter().collect();
        let earlier = NativeRegistration::of(&params);
        assert_eq!(
            earlier,
            NativeRegistration { version: "1:2.0-1".to_owned(), ..NativeRegistration::default() }
        );
        let now = NativeRegistration {
            version: "1:2.0-2".to_owned(),
            digest: Some("aa".to_owned()),
            stamp: Some("1".to_owned()),
            diverted: Some("/bin/sh.distrib".to_owned()),
        };
        now.write(&mut params);
        assert_eq!(NativeRegistration::of(&params), now);
        assert_eq!(params.text("VERSION"), "1:2.0-1");
    }

    #[test]
    fn differing_paths_come_back_whatever_is_in_their_names() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let paths = BTreeSet::from([path("/etc/a b"), path("/etc/50%"), path("/etc/\u{e9}")]);
        let mut params = Params::new();
        params.set(NATIVE_DIFFERING, differing_text(&paths));
        assert_eq!(differing_of(&params), paths);
    }
}

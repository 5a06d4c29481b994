//! Native versions with the fix of a patch: `PATCH_FIXED_IN` (patchinfo(5), pkginfo(5)).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::NativeManager;
use patchadm_svr4::package::Params;

pub const FIXED_IN: &str = "PATCH_FIXED_IN";

/// Returns the parameter of a package for an applied patch's `PATCH_FIXED_IN`.
pub fn fixed_in_parameter(id: &str) -> String {
    format!("{FIXED_IN}_{id}")
}

/// Returns the value of an applied patch: that of the first of its packages that has one.
pub fn fixed_in_of<'p>(id: &str, packages: impl IntoIterator<Item = &'p Params>) -> Option<String> {
    let name = fixed_in_parameter(id);
    first_said(packages.into_iter().map(|params| params.text(&name)))
}

/// Returns the value of a delivered patch: the first in the parameters of its packages and its patchinfo.
pub fn fixed_in_said<'p>(parameters: impl IntoIterator<Item = &'p Params>) -> Option<String> {
    first_said(parameters.into_iter().map(|params| params.text(FIXED_IN)))
}

fn first_said<'p>(mut texts: impl Iterator<Item = Cow<'p, str>>) -> Option<String> {
    texts.find_map(|text| Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Minimum versions: `dpkg openssl >= 3.0.18-1, rpm openssl >= 1:3.0.18`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedIn {
    /// Not empty.
    pub clauses: Vec<FixedInClause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedInClause {
    pub manager: NativeManager,
    /// Without an architecture.
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{clause}`: {reason}")]
pub struct FixedInError {
    pub clause: String,
    pub reason: String,
}

impl FixedIn {
    pub fn names(&self, manager: NativeManager, name: &str) -> bool {
        self.clauses.iter().any(|clause| clause.manager == manager && clause.name == name)
    }

    /// Returns false without a clause about the package.
    pub fn has(&self, manager: NativeManager, name: &str, version: &str) -> bool {
        let named = self.clauses.iter().filter(|clause| clause.manager == manager && clause.name == name);
        named.into_iter().any(|clause| manager.compare(version, &clause.version) != Ordering::Less)
    }
}

impl FromStr for FixedIn {
    type Err = FixedInError;

    fn from_str(text: &str) -> Result<Self, FixedInError> {
        let clauses = text.split(',').map(|clause| clause.trim().parse()).collect::<Result<_, _>>()?;
        Ok(Self { clauses })
    }
}

impl FromStr for FixedInClause {
    type Err = FixedInError;

    fn from_str(text: &str) -> Result<Self, FixedInError> {
        let bad = |reason: &str| FixedInError { clause: text.to_owned(), reason: reason.to_owned() };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [manager, name, relation, version] = words.as_slice() else {
            return Err(bad("it is not `dpkg|rpm NAME >= VERSION`"));
        };
        let manager =
            NativeManager::named(manager).ok_or_else(|| bad("it begins with neither dpkg nor rpm"))?;
        if *relation != ">=" {
            return Err(bad("the operator must be `>=`"));
        }
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "+-._".contains(letter);
        if !name.chars().all(is_name) {
            return Err(bad("the name has a character that no package has"));
        }
        match manager.version_fault(version) {
            Some(fault) => Err(bad(&format!("version {version}: {fault}"))),
            None => Ok(Self { manager, name: (*name).to_owned(), version: (*version).to_owned() }),
        }
    }
}

impl fmt::Display for FixedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, FixedInClause { manager, name, version }) in self.clauses.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{manager} {name} >= {version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_fix_by_the_order_of_its_own_manager() {
        let text = "dpkg openssl >= 3.0.18-1, rpm openssl >= 1:3.0.18";
        let fixed: FixedIn = text.parse().unwrap();
        assert_eq!(fixed.to_string(), text);
        assert!(fixed.has(NativeManager::Dpkg, "openssl", "3.0.18-1"));
        assert!(!fixed.has(NativeManager::Dpkg, "openssl", "3.0.18-1~deb12u1"));
        assert!(!fixed.has(NativeManager::Rpm, "openssl", "3.0.19"), "its epoch is smaller");
        assert!(!fixed.has(NativeManager::Dpkg, "libssl3", "9"));
    }

    #[test]
    fn a_wrong_clause_is_told_by_itself() {
        for (text, fault) in [
            ("", "it is not"),
            ("openssl >= 1", "it is not"),
            ("apt openssl >= 1", "neither dpkg nor rpm"),
            ("dpkg openssl > 1", "the operator must be `>=`"),
            ("dpkg open/ssl >= 1", "no package has"),
            ("dpkg openssl >= x", "does not begin with a digit"),
            ("dpkg openssl >= 1,", "it is not"),
        ] {
            let error = text.parse::<FixedIn>().unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
    }
}

//! The name under which a package is installed.

use std::fmt;
use std::sync::Arc;

/// A package instance: the abbreviation (`PKG`), with a `.suffix` where several instances stand side by side.
///
/// 1 to 32 characters of letters, digits, `-`, `+`, `_` and `.`; it begins with a letter or a digit and is none of
/// the reserved words `all`, `new`, `install` (pkginfo(4)). It is safe as a file name by construction. Copies share the
/// text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PkgInst(Arc<str>);

/// Why a word is not a package instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{name}> is not a package name: {reason}")]
pub struct PkgInstError {
    /// What was given, with bytes that are not printable escaped.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl PkgInst {
    /// The longest abbreviation; an instance suffix may add as many again.
    const LONGEST: usize = 64;

    /// Checks `name` and takes it as a package instance.
    pub fn new(name: &str) -> Result<Self, PkgInstError> {
        let bad = |reason| Err(PkgInstError { name: name.escape_debug().to_string(), reason });
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return bad("it does not begin with a letter or a digit");
        }
        if name.len() > Self::LONGEST {
            return bad("it is too long");
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+_.".contains(&byte)) {
            return bad("it may only have letters, digits, `-`, `+`, `_` and `.`");
        }
        if matches!(name, "all" | "new" | "install") {
            return bad("the word is reserved");
        }
        Ok(Self(name.into()))
    }

    /// The whole name, as the directory under `var/sadm/pkg` is called.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The abbreviation: the part before the first dot.
    pub fn abbreviation(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for PkgInst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_suffix_and_knows_its_abbreviation() {
        let inst = PkgInst::new("SUNWstuf.2").unwrap();
        assert_eq!((inst.as_str(), inst.abbreviation()), ("SUNWstuf.2", "SUNWstuf"));
    }

    #[test]
    fn names_that_would_leave_the_database_directory_are_refused() {
        for name in ["", "../x", "a/b", ".save.X", "all", "new", "install", "a b", "-R", "a\0"] {
            assert!(PkgInst::new(name).is_err(), "{name:?}");
        }
    }
}

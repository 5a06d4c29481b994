//! The name of an installed package.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a package instance: the abbreviation (`PKG`), with a `.suffix` if several instances are installed.
///
/// At most 64 letters, digits, `-`, `+`, `_` and `.`, starting with a letter or digit; none of the reserved words `all`,
/// `new` and `install` (pkginfo(4)). Every name is safe as a file name. Copies share the text.
///
/// ```
/// use patchadm_svr4::package::PkgInst;
///
/// let second = PkgInst::new("ACMEshop.2")?;
/// assert_eq!(second.abbreviation(), "ACMEshop");
/// assert!("../etc".parse::<PkgInst>().is_err());
/// # Ok::<(), patchadm_svr4::package::PkgInstError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PkgInst(Arc<str>);

/// The reason a word is not the name of a package instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{name}> is not a package name: {reason}")]
#[non_exhaustive]
pub struct PkgInstError {
    /// The word, with unprintable bytes escaped.
    pub name: String,
    /// The rule that the word breaks.
    pub reason: &'static str,
}

impl PkgInst {
    const LONGEST: usize = 64;

    /// Checks a name and makes it a package instance.
    pub fn new(name: &str) -> Result<Self, PkgInstError> {
        let bad = |reason| Err(PkgInstError { name: name.escape_debug().to_string(), reason });
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return bad("it does not begin with a letter or a digit");
        }
        if name.len() > Self::LONGEST {
            return bad("it is too long");
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+_.".contains(&byte)) {
            return bad("it may contain only letters, digits, `-`, `+`, `_` and `.`");
        }
        if matches!(name, "all" | "new" | "install") {
            return bad("the word is reserved");
        }
        Ok(Self(name.into()))
    }

    /// Returns the whole name, which is also that of the package's directory in `var/sadm/pkg`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the abbreviation, the part before the first dot.
    pub fn abbreviation(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl FromStr for PkgInst {
    type Err = PkgInstError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
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

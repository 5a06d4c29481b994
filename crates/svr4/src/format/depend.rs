//! `depend`: what a package needs, what it cannot be beside, and what needs it (depend(4)), in its `install` directory.
//!
//! ```text
//! P ACMEcore The core tools
//!         (i386)1.0
//! I ACMEold Old tools
//! ```
//! A line has a type, a package and its name; lines behind it that begin with white space restrict it to versions, each
//! with an architecture before it or without. A `#` begins a comment. A line that is none of these is passed over, as the
//! classic reader does, and told.

use super::lines::{LineTooLong, numbered};

/// The most dependencies that are read.
const MOST: usize = 100_000;

/// How a dependency binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// `P`: it must be there.
    Prerequisite,
    /// `I`: it must not be there.
    Incompatible,
    /// `R`: it needs this package.
    Reverse,
}

/// A version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageVersion {
    /// Its architecture; empty for any.
    pub arch: String,
    /// What its VERSION says.
    pub version: String,
}

/// One dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// How it binds.
    pub binding: DependencyKind,
    /// The abbreviation of the package.
    pub package: String,
    /// The versions that it is restricted to; any where there are none.
    pub versions: Vec<PackageVersion>,
}

/// Why a line says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DependError {
    /// It begins with something that is no type.
    #[error("line {line}: unknown type `{found}`: it must be P, I or R")]
    Type {
        /// Its number; the first is 1.
        line: u64,
        /// Its first word, cut to a readable length.
        found: String,
    },
    /// It has a type and nothing else.
    #[error("line {0}: no package is named")]
    NoPackage(u64),
    /// It restricts to a version, and no dependency stands above it.
    #[error("line {0}: a version without a package above it")]
    NoDependency(u64),
    /// The architecture of a version has no end.
    #[error("line {0}: `(` without `)`")]
    Parenthesis(u64),
    /// It is too long.
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// There are more dependencies than are read.
    #[error("line {0}: more than {MOST} dependencies")]
    TooMany(u64),
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depend {
    /// Its dependencies, in its order.
    pub dependencies: Vec<Dependency>,
    /// What is wrong with the lines that were passed over.
    pub passed_over: Vec<DependError>,
}

impl Depend {
    /// Reads a file. After a line that is too long, and beyond the most that is read, nothing more is.
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for line in numbered(text) {
            let read = line.map_err(DependError::from).and_then(|(number, line)| found.line(number, line));
            let Err(error) = read else { continue };
            let is_last = matches!(error, DependError::LineTooLong(_) | DependError::TooMany(_));
            found.passed_over.push(error);
            if is_last || found.passed_over.len() == MOST {
                break;
            }
        }
        found
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), DependError> {
        let line = String::from_utf8_lossy(line);
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        if line.starts_with([' ', '\t']) {
            let version = version(line.trim()).ok_or(DependError::Parenthesis(number))?;
            let last = self.dependencies.last_mut().ok_or(DependError::NoDependency(number))?;
            last.versions.push(version);
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let binding = match words.next() {
            Some("P") => DependencyKind::Prerequisite,
            Some("I") => DependencyKind::Incompatible,
            Some("R") => DependencyKind::Reverse,
            other => {
                let found = other.unwrap_or_default().chars().take(20).flat_map(char::escape_debug).collect();
                return Err(DependError::Type { line: number, found });
            }
        };
        let package = words.next().ok_or(DependError::NoPackage(number))?.to_owned();
        if self.dependencies.len() == MOST {
            return Err(DependError::TooMany(number));
        }
        self.dependencies.push(Dependency { binding, package, versions: Vec::new() });
        Ok(())
    }
}

/// `(arch)version`, the architecture being optional.
fn version(text: &str) -> Option<PackageVersion> {
    let (arch, version) = match text.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?,
        None => ("", text),
    };
    Some(PackageVersion { arch: arch.trim().to_owned(), version: version.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_with_a_blank_restrict_the_package_above_them() {
        let text = b"# needs\nP ACMEcore Core\n\t(i386) 1.0\n  2.0\n\nI ACMEold Old\nR ACMEgui Gui tool\n";
        let found = Depend::parse(text);
        let version =
            |arch: &str, version: &str| PackageVersion { arch: arch.into(), version: version.into() };
        let dependency = |binding, package: &str, versions: &[PackageVersion]| Dependency {
            binding,
            package: package.to_owned(),
            versions: versions.to_vec(),
        };
        let expected = [
            dependency(
                DependencyKind::Prerequisite,
                "ACMEcore",
                &[version("i386", "1.0"), version("", "2.0")],
            ),
            dependency(DependencyKind::Incompatible, "ACMEold", &[]),
            dependency(DependencyKind::Reverse, "ACMEgui", &[]),
        ];
        assert_eq!(found, Depend { dependencies: expected.to_vec(), passed_over: Vec::new() });
    }

    #[test]
    fn a_line_that_says_nothing_is_passed_over_with_its_number() {
        let found = Depend::parse(b" (i386)1\np ACMEa A\nP\nP ACMEb B\n\t(i386 1.0\nnonsense");
        let said: Vec<String> = found.passed_over.iter().map(ToString::to_string).collect();
        let expected = [
            "line 1: a version without a package above it",
            "line 2: unknown type `p`: it must be P, I or R",
            "line 3: no package is named",
            "line 5: `(` without `)`",
            "line 6: unknown type `nonsense`: it must be P, I or R",
        ];
        assert_eq!(said, expected);
        assert_eq!(found.dependencies.len(), 1);
    }

    #[test]
    fn no_line_and_no_number_of_lines_is_too_much() {
        let long = [b"P ".to_vec(), vec![b'x'; super::super::lines::LONGEST_LINE]].concat();
        assert_eq!(Depend::parse(&long).passed_over, [LineTooLong { line: 1 }.into()]);
        let many = Depend::parse(&b"P A\n".repeat(MOST + 5));
        let after_the_last = u64::try_from(MOST).unwrap() + 1;
        assert_eq!((many.dependencies.len(), many.passed_over.len()), (MOST, 1));
        assert_eq!(many.passed_over, [DependError::TooMany(after_the_last)]);
    }
}

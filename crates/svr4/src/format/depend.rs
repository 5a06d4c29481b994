//! depend(4): a package's dependencies, in its `install` directory.
//!
//! ```text
//! P ACMEcore The core tools
//!        (i386)1.0
//! I ACMEold Old tools
//! ```
//! Indented lines restrict the package above to versions, optionally after an architecture. A `#` starts a comment. Any
//! other line is skipped, as by the classic reader, and reported.

use super::lines::{LineTooLong, numbered_lines};

const MOST: usize = 100_000;

/// The kind of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// `P`: the other package must be installed.
    Prerequisite,
    /// `I`: the other package must not be installed.
    Incompatible,
    /// `R`: the other package needs this one.
    Reverse,
}

/// A version that satisfies a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageVersion {
    /// The architecture, or an empty string for any.
    pub arch: String,
    /// The value of VERSION.
    pub version: String,
}

/// A dependency on another package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The kind of the dependency.
    pub kind: DependencyKind,
    /// The abbreviation of the other package.
    pub package: String,
    /// The versions that satisfy the dependency; empty if any version does.
    pub versions: Vec<PackageVersion>,
}

/// The reason a line is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DependError {
    /// An unknown type.
    #[error("line {line}: unknown type `{found}`: it must be P, I or R")]
    Type {
        /// The line number, counted from 1.
        line: u64,
        /// The first word of the line, cut to a readable length.
        found: String,
    },
    /// A type without a package.
    #[error("line {line}: no package is named")]
    NoPackage {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A version without a dependency above it.
    #[error("line {line}: a version without a package above it")]
    NoDependency {
        /// The line number, counted from 1.
        line: u64,
    },
    /// An architecture without a closing parenthesis.
    #[error("line {line}: `(` without `)`")]
    Parenthesis {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// More dependencies than are read.
    #[error("line {line}: more than {MOST} dependencies")]
    TooMany {
        /// The number of the line that passed the limit.
        line: u64,
    },
}

/// The content of a `depend` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depend {
    /// The dependencies, in the order of the file.
    pub dependencies: Vec<Dependency>,
    /// The faults of the lines that were skipped.
    pub skipped: Vec<DependError>,
}

impl Depend {
    /// Parses a file. Reading stops at a line that is too long and at the limit of dependencies.
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for line in numbered_lines(text) {
            let read = line.map_err(DependError::from).and_then(|(number, line)| found.line(number, line));
            let Err(error) = read else { continue };
            let is_last = matches!(error, DependError::LineTooLong(_) | DependError::TooMany { .. });
            found.skipped.push(error);
            if is_last || found.skipped.len() == MOST {
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
            let version = version(line.trim()).ok_or(DependError::Parenthesis { line: number })?;
            let last = self.dependencies.last_mut().ok_or(DependError::NoDependency { line: number })?;
            last.versions.push(version);
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let kind = match words.next() {
            Some("P") => DependencyKind::Prerequisite,
            Some("I") => DependencyKind::Incompatible,
            Some("R") => DependencyKind::Reverse,
            other => {
                let found = other.unwrap_or_default().chars().take(20).flat_map(char::escape_debug).collect();
                return Err(DependError::Type { line: number, found });
            }
        };
        let package = words.next().ok_or(DependError::NoPackage { line: number })?.to_owned();
        if self.dependencies.len() == MOST {
            return Err(DependError::TooMany { line: number });
        }
        self.dependencies.push(Dependency { kind, package, versions: Vec::new() });
        Ok(())
    }
}

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
        let dependency = |kind, package: &str, versions: &[PackageVersion]| Dependency {
            kind,
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
        assert_eq!(found, Depend { dependencies: expected.to_vec(), skipped: Vec::new() });
    }

    #[test]
    fn a_line_that_says_nothing_is_skipped_with_its_number() {
        let found = Depend::parse(b" (i386)1\np ACMEa A\nP\nP ACMEb B\n\t(i386 1.0\nnonsense");
        let said: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
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
        assert_eq!(Depend::parse(&long).skipped, [LineTooLong { line: 1 }.into()]);
        let many = Depend::parse(&b"P A\n".repeat(MOST + 5));
        let after_the_last = u64::try_from(MOST).unwrap() + 1;
        assert_eq!((many.dependencies.len(), many.skipped.len()), (MOST, 1));
        assert_eq!(many.skipped, [DependError::TooMany { line: after_the_last }]);
    }
}

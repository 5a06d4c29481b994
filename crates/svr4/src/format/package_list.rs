//! The packages of another machine: `pkginfo -x` with two lines for each, or `pkginfo -l` with blocks of `WORD: VALUE`.

use super::lines::{LineTooLong, numbered_lines};

/// The largest output that is read, in bytes: 64 MiB.
pub const LARGEST_LISTING: usize = 64 << 20;

/// A package in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageListLine {
    /// The instance: `SUNWcsu`, `SUNWcsu.2`.
    pub instance: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: String,
}

/// The reason a listing cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageListError {
    /// More than [`LARGEST_LISTING`] bytes.
    #[error("the listing is larger than {LARGEST_LISTING} bytes")]
    TooLarge,
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A second line of a package without the first.
    #[error("line {line}: (ARCH) VERSION without a package before it")]
    NoPackage {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A package without its second line, or a block without `ARCH:` or `VERSION:`.
    #[error("line {line}: the architecture and version of {instance} are missing")]
    Incomplete {
        /// The line number, counted from 1.
        line: u64,
        /// The package.
        instance: String,
    },
}

/// Parses a listing.
pub fn parse(text: &[u8]) -> Result<Vec<PackageListLine>, PackageListError> {
    if text.len() > LARGEST_LISTING {
        return Err(PackageListError::TooLarge);
    }
    let mut listing = Listing::default();
    for line in numbered_lines(text) {
        let (number, raw) = line?;
        listing.line = number;
        let text = String::from_utf8_lossy(raw);
        listing.take(text.trim_end())?;
    }
    listing.close()?;
    Ok(listing.packages)
}

#[derive(Default)]
struct Listing {
    packages: Vec<PackageListLine>,
    begun: Option<PackageListLine>,
    has_blocks: bool,
    line: u64,
}

impl Listing {
    fn take(&mut self, text: &str) -> Result<(), PackageListError> {
        let is_indented = text.starts_with([' ', '\t']);
        let word = text.trim_start();
        if let Some((arch, version)) =
            word.strip_prefix('(').filter(|_| is_indented).and_then(|rest| rest.split_once(')'))
        {
            let begun = self.begun.as_mut().ok_or(PackageListError::NoPackage { line: self.line })?;
            arch.trim().clone_into(&mut begun.arch);
            version.trim().clone_into(&mut begun.version);
            return self.close();
        }
        match word.split_once(':').map(|(word, value)| (word, value.trim())) {
            Some(("PKGINST", instance)) => {
                if !self.has_blocks {
                    self.has_blocks = true;
                    self.begun = None;
                }
                self.begin(instance)
            }
            Some(("ARCH", arch)) if is_indented => {
                self.set(|begun| arch.clone_into(&mut begun.arch));
                Ok(())
            }
            Some(("VERSION", version)) if is_indented => {
                self.set(|begun| version.clone_into(&mut begun.version));
                Ok(())
            }
            // The listing's owner may have added text before and between blocks.
            _ if is_indented || word.is_empty() || self.has_blocks => Ok(()),
            // A prompt with the typed command.
            _ if word.starts_with('$') || word.starts_with('#') => Ok(()),
            _ => self.begin(word.split_ascii_whitespace().next().unwrap_or_default()),
        }
    }

    fn begin(&mut self, instance: &str) -> Result<(), PackageListError> {
        self.close()?;
        self.begun = Some(PackageListLine { instance: instance.to_owned(), ..PackageListLine::default() });
        Ok(())
    }

    fn set(&mut self, set: impl FnOnce(&mut PackageListLine)) {
        self.begun.as_mut().map(set);
    }

    fn close(&mut self) -> Result<(), PackageListError> {
        let Some(begun) = self.begun.take() else { return Ok(()) };
        if begun.arch.is_empty() || begun.version.is_empty() {
            return Err(PackageListError::Incomplete { line: self.line, instance: begun.instance });
        }
        self.packages.push(begun);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(text: &str) -> Vec<String> {
        let packages = parse(text.as_bytes()).unwrap();
        packages.iter().map(|one| format!("{} {} {}", one.instance, one.arch, one.version)).collect()
    }

    #[test]
    fn two_lines_are_a_package() {
        let text = "ACMEa           ACMEa: package\n                (sparc) 1.0\nACMEb.2 B\n\t(sparc.sun4u) 3.0,REV=1\r\n";
        assert_eq!(listed(text), ["ACMEa sparc 1.0", "ACMEb.2 sparc.sun4u 3.0,REV=1"]);
    }

    #[test]
    fn a_block_is_a_package() {
        let text = "START: \n$ pkginfo -l\n   PKGINST:  mqm\n      NAME:  MQ\n      ARCH:  sparcv9\n   VERSION:  7.0.1.4\n     FILES: \
            3 installed pathnames\n         88 directories\n\n   PKGINST:  x\n      ARCH:  all\n   VERSION:  1\nEND\n";
        assert_eq!(listed(text), ["mqm sparcv9 7.0.1.4", "x all 1"]);
    }

    #[test]
    fn halves_are_named_with_their_line() {
        assert_eq!(parse(b"  (sparc) 1.0\n"), Err(PackageListError::NoPackage { line: 1 }));
        let error = parse(b"ACMEa A\nACMEb B\n  (sparc) 1.0\n").unwrap_err();
        assert_eq!(error, PackageListError::Incomplete { line: 2, instance: "ACMEa".to_owned() });
        assert_eq!(error.to_string(), "line 2: the architecture and version of ACMEa are missing");
        assert!(parse(b"ACMEa A\n").is_err() && parse(b"").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(PKGINST:|ARCH:|VERSION:|[()a-z: ]|\n){0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}

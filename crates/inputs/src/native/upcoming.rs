//! What a package manager is about to do: the protocol of apt's `DPkg::Pre-Install-Pkgs` (apt.conf(5)), version 2 or 3, or
//! lines `NAME NEWVERSION`, with `-` in the place of the version for a removal.

use std::borrow::Cow;
use std::io::{self, BufRead, Take};

/// The longest input that is read, in bytes. apt tells its whole configuration first.
const LONGEST: u64 = 64 << 20;

/// The most lines that are read; the configuration of apt has some thousand.
const MOST_LINES: usize = 1_000_000;

/// The most packages that are taken in; no system has as many.
const MOST: usize = 100_000;

/// A package that is about to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcomingChange {
    /// Its name, without an architecture.
    pub name: String,
    /// Its architecture, where that is told.
    pub arch: Option<String>,
    /// The version that it will have; `None` for a removal.
    pub version: Option<String>,
    /// The packages that it says it replaces or provides, as far as its file could be read.
    pub replaces: Vec<String>,
}

/// Why nothing is known of what is about to happen.
#[derive(Debug, thiserror::Error)]
pub enum UpcomingError {
    /// The input cannot be read.
    #[error("standard input: {0}")]
    Io(#[from] io::Error),
    /// The protocol has another version.
    #[error("the package manager speaks version {0} of its protocol, which this program does not know")]
    Version(String),
    /// The input ends before it has said anything about packages, or is too long.
    #[error("standard input makes no sense: {0}")]
    Malformed(&'static str),
}

/// Reads what is about to happen.
pub fn upcoming_changes(input: impl BufRead) -> Result<Vec<UpcomingChange>, UpcomingError> {
    let mut lines = Lines { input: input.take(LONGEST + 1), line: Vec::new(), count: 0 };
    let Some(first) = lines.next_line()? else { return Ok(Vec::new()) };
    let Some(version) = first.strip_prefix("VERSION ") else {
        let change = plain(&first);
        return lines.changes(change.into_iter().collect(), plain);
    };
    let read: fn(&str) -> Option<UpcomingChange> = match version.trim() {
        "2" => second,
        "3" => third,
        other => return Err(UpcomingError::Version(other.chars().take(20).collect())),
    };
    loop {
        match lines.next_line()? {
            None => return Err(UpcomingError::Malformed("the configuration of apt does not end")),
            Some(line) if line.is_empty() => return lines.changes(Vec::new(), read),
            Some(_) => {}
        }
    }
}

/// The lines of an input, one at a time, of which only so many bytes are read.
struct Lines<I> {
    input: Take<I>,
    line: Vec<u8>,
    count: usize,
}

impl<I: BufRead> Lines<I> {
    fn next_line(&mut self) -> Result<Option<Cow<'_, str>>, UpcomingError> {
        self.line.clear();
        let count = self.input.read_until(b'\n', &mut self.line)?;
        if self.input.limit() == 0 {
            return Err(UpcomingError::Malformed("it is longer than 64 MiB"));
        }
        self.count += 1;
        if self.count > MOST_LINES {
            return Err(UpcomingError::Malformed("it has more than 1000000 lines"));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok((count > 0).then(|| String::from_utf8_lossy(line)))
    }

    /// Reads the changes of the lines that are left.
    fn changes(
        mut self,
        mut found: Vec<UpcomingChange>,
        read: fn(&str) -> Option<UpcomingChange>,
    ) -> Result<Vec<UpcomingChange>, UpcomingError> {
        while let Some(line) = self.next_line()? {
            found.extend(read(&line));
            if found.len() > MOST {
                return Err(UpcomingError::Malformed("it names more than 100000 packages"));
            }
        }
        Ok(found)
    }
}

/// Returns the words of a line that has exactly so many.
fn words<const COUNT: usize>(line: &str) -> Option<[&str; COUNT]> {
    let words: Vec<&str> = line.split_whitespace().take(COUNT + 1).collect();
    words.try_into().ok()
}

/// A line `NAME NEWVERSION`.
fn plain(line: &str) -> Option<UpcomingChange> {
    let [name, version] = words(line)?;
    Some(change(name, None, version))
}

/// A line of version 2: name, old version, direction, new version, action.
fn second(line: &str) -> Option<UpcomingChange> {
    let [name, _, _, version, action] = words(line)?;
    is_change(action).then(|| change(name, None, version))
}

/// A line of version 3: name, old version, its architecture and kind of Multi-Arch, direction, the same three of the new
/// version, action.
fn third(line: &str) -> Option<UpcomingChange> {
    let [name, _, old, _, _, version, new, _, action] = words(line)?;
    let arch = if version == "-" { old } else { new };
    is_change(action).then(|| change(name, Some(arch), version))
}

/// Whether an action changes files: a package is configured after it was unpacked, and is named twice.
fn is_change(action: &str) -> bool {
    !matches!(action, "**CONFIGURE**" | "**ERROR**")
}

fn change(name: &str, arch: Option<&str>, version: &str) -> UpcomingChange {
    let (name, of_name) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
    UpcomingChange {
        name: name.to_owned(),
        arch: arch.filter(|arch| *arch != "-").or(of_name).map(str::to_owned),
        version: Some(version).filter(|version| *version != "-").map(str::to_owned),
        replaces: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let changes = upcoming_changes(text.as_bytes()).unwrap();
        changes.into_iter().map(|one| (one.name, one.arch, one.version)).collect()
    }

    fn one(
        name: &str,
        arch: Option<&str>,
        version: Option<&str>,
    ) -> (String, Option<String>, Option<String>) {
        (name.to_owned(), arch.map(str::to_owned), version.map(str::to_owned))
    }

    #[test]
    fn what_apt_is_about_to_do_is_read_in_both_versions_of_its_protocol() {
        let third = "VERSION 3\nAPT::Architecture=amd64\n\nlibssl3 3.0.17-1 amd64 same < 3.0.18-1 amd64 same /a.deb\n\
                     web 1.0 all none > - - none **REMOVE**\nlibssl3 3.0.17-1 amd64 same < 3.0.18-1 amd64 same **CONFIGURE**\n";
        assert_eq!(
            read(third),
            [one("libssl3", Some("amd64"), Some("3.0.18-1")), one("web", Some("all"), None)]
        );
        let second = "VERSION 2\nA=b\n\nweb 1.0 < 1.1 /a.deb\nold 1 > - **REMOVE**\n";
        assert_eq!(read(second), [one("web", None, Some("1.1")), one("old", None, None)]);
    }

    #[test]
    fn lines_of_a_name_and_a_version_are_read_and_nothing_is_nothing() {
        let text = "web 1.1\nlib:i386 -\nnot a line\n\n";
        assert_eq!(read(text), [one("web", None, Some("1.1")), one("lib", Some("i386"), None)]);
        assert_eq!(read(""), []);
    }

    #[test]
    fn another_version_and_a_configuration_without_end_are_told() {
        let error = |text: &str| upcoming_changes(text.as_bytes()).unwrap_err().to_string();
        assert!(error("VERSION 9\n\nweb 1 < 2 /a\n").contains("version 9"));
        assert!(error("VERSION 3\nA=b\nA=b\n").contains("does not end"));
    }
}

//! Announced changes: apt's `DPkg::Pre-Install-Pkgs` (apt.conf(5)), version 2 or 3, or lines `NAME NEWVERSION`, with
//! the version `-` for a removal.

use std::borrow::Cow;
use std::io::{self, BufRead, Take};

/// In bytes. apt sends its whole configuration first.
const LONGEST: u64 = 64 << 20;

/// The configuration of apt has some thousand lines.
const MOST_LINES: usize = 1_000_000;

const MOST: usize = 100_000;

/// Characters of an invalid line.
const SHOWN: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcomingChange {
    /// Without an architecture.
    pub name: String,
    /// If apt says it.
    pub arch: Option<String>,
    /// `Multi-Arch: same`, if apt says it.
    pub is_same: Option<bool>,
    /// `None` for a removal.
    pub version: Option<String>,
    /// No version is installed yet, if apt says it.
    pub is_new: bool,
    /// If apt says it.
    pub file: Option<String>,
}

#[derive(Debug, Default)]
pub struct Upcoming {
    pub changes: Vec<UpcomingChange>,
    /// In the protocol of apt.
    pub is_by_apt: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum UpcomingError {
    #[error("standard input: {0}")]
    Io(#[from] io::Error),
    #[error("the package manager speaks version {0} of its protocol, which this program does not know")]
    Version(String),
    #[error("standard input is invalid: {0}")]
    Malformed(&'static str),
    #[error(
        "standard input is invalid: the line `{0}` does not consist of the name and the new version of a package"
    )]
    Line(String),
}

pub fn upcoming_changes(input: impl BufRead) -> Result<Upcoming, UpcomingError> {
    let mut lines = AnnouncementLines { input: input.take(LONGEST + 1), line: Vec::new(), count: 0 };
    let Some(first) = lines.next_line()? else { return Ok(Upcoming::default()) };
    let Some(version) = first.strip_prefix("VERSION ") else {
        let change = plain(&first)?;
        let changes = lines.changes(change.into_iter().collect(), plain)?;
        return Ok(Upcoming { changes, is_by_apt: false });
    };
    let read: ReadLine = match version.trim() {
        "2" => |line| Ok(second(line)),
        "3" => |line| Ok(third(line)),
        other => return Err(UpcomingError::Version(other.chars().take(20).collect())),
    };
    loop {
        match lines.next_line()? {
            None => return Err(UpcomingError::Malformed("the configuration of apt is incomplete")),
            Some(line) if line.is_empty() => {
                return Ok(Upcoming { changes: lines.changes(Vec::new(), read)?, is_by_apt: true });
            }
            Some(_) => {}
        }
    }
}

type ReadLine = fn(&str) -> Result<Option<UpcomingChange>, UpcomingError>;

struct AnnouncementLines<I> {
    input: Take<I>,
    line: Vec<u8>,
    count: usize,
}

impl<I: BufRead> AnnouncementLines<I> {
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

    fn changes(
        mut self,
        mut found: Vec<UpcomingChange>,
        read: ReadLine,
    ) -> Result<Vec<UpcomingChange>, UpcomingError> {
        while let Some(line) = self.next_line()? {
            found.extend(read(&line)?);
            if found.len() > MOST {
                return Err(UpcomingError::Malformed("it names more than 100000 packages"));
            }
        }
        Ok(found)
    }
}

/// `None` for an empty line.
fn plain(line: &str) -> Result<Option<UpcomingChange>, UpcomingError> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(None),
        (Some(name), Some(version), None) => Ok(Some(change(name, None, version))),
        _ => Err(UpcomingError::Line(line.trim().chars().take(SHOWN).collect())),
    }
}

/// Only the last column, a file path, may contain blanks.
fn columns<const COUNT: usize>(line: &str) -> Option<[&str; COUNT]> {
    line.splitn(COUNT, ' ').collect::<Vec<&str>>().try_into().ok()
}

/// Version 2: name, old version, direction, new version, action.
fn second(line: &str) -> Option<UpcomingChange> {
    let [name, old, _, version, action] = columns(line)?;
    is_change(action)
        .then(|| UpcomingChange { is_new: old == "-", ..of_file(change(name, None, version), action) })
}

/// Version 3: name; old version, architecture and Multi-Arch; direction; the same of the new version; action.
fn third(line: &str) -> Option<UpcomingChange> {
    let [name, old, old_arch, old_kind, _, version, new_arch, new_kind, action] = columns(line)?;
    let (arch, kind) = if version == "-" { (old_arch, old_kind) } else { (new_arch, new_kind) };
    let change = UpcomingChange {
        is_same: Some(kind == "same"),
        is_new: old == "-",
        ..change(name, Some(arch), version)
    };
    is_change(action).then(|| of_file(change, action))
}

/// Returns true if files change. A package is named again when it is configured.
fn is_change(action: &str) -> bool {
    !matches!(action, "**CONFIGURE**" | "**ERROR**")
}

/// The action of apt is the path of the package file.
fn of_file(change: UpcomingChange, action: &str) -> UpcomingChange {
    UpcomingChange { file: action.starts_with('/').then(|| action.to_owned()), ..change }
}

fn change(name: &str, arch: Option<&str>, version: &str) -> UpcomingChange {
    let (name, of_name) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
    UpcomingChange {
        name: name.to_owned(),
        arch: arch.filter(|arch| *arch != "-").or(of_name).map(str::to_owned),
        is_same: None,
        version: Some(version).filter(|version| *version != "-").map(str::to_owned),
        is_new: false,
        file: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let changes = upcoming_changes(text.as_bytes()).unwrap().changes;
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
        let same: Vec<Option<bool>> =
            upcoming_changes(third.as_bytes()).unwrap().changes.iter().map(|one| one.is_same).collect();
        assert_eq!(same, [Some(true), Some(false)]);
        let second = "VERSION 2\nA=b\n\nweb 1.0 < 1.1 /a.deb\nold 1 > - **REMOVE**\n";
        assert_eq!(read(second), [one("web", None, Some("1.1")), one("old", None, None)]);
    }

    #[test]
    fn a_package_that_comes_has_a_file_whatever_its_name_is() {
        let text = "VERSION 3\n\nweb - - none < 1.1 all none /srv/a file.deb\nold 1 all none > - - none **REMOVE**\n";
        let changes = upcoming_changes(text.as_bytes()).unwrap().changes;
        let seen: Vec<_> = changes.iter().map(|one| (one.is_new, one.file.as_deref())).collect();
        assert_eq!(seen, [(true, Some("/srv/a file.deb")), (false, None)]);
        let text = "VERSION 2\n\nweb 1.0 < 1.1 /a.deb\n";
        let changes = upcoming_changes(text.as_bytes()).unwrap().changes;
        assert_eq!((changes[0].is_new, changes[0].file.as_deref()), (false, Some("/a.deb")));
    }

    #[test]
    fn lines_of_a_name_and_a_version_are_read_and_nothing_is_nothing() {
        let text = "web 1.1\nlib:i386 -\n\n";
        assert_eq!(read(text), [one("web", None, Some("1.1")), one("lib", Some("i386"), None)]);
        assert_eq!(read(""), []);
    }

    #[test]
    fn a_line_that_is_no_name_and_version_is_an_error_that_shows_it() {
        for line in ["web_1.0-2.deb", "/srv/web_1.0-2.deb", "web", "web 1.0-1 1.0-2"] {
            for text in [format!("{line}\n"), format!("lib 1.1\n{line}\n")] {
                let error = upcoming_changes(text.as_bytes()).unwrap_err().to_string();
                assert!(error.contains(&format!("the line `{line}`")), "{error}");
            }
        }
    }

    #[test]
    fn another_version_and_a_configuration_without_end_are_told() {
        let error = |text: &str| upcoming_changes(text.as_bytes()).unwrap_err().to_string();
        assert!(error("VERSION 9\n\nweb 1 < 2 /a\n").contains("version 9"));
        assert!(error("VERSION 3\nA=b\nA=b\n").contains("is incomplete"));
    }
}

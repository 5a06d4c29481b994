//! The set of a run: the results of its packages under one number, or the [`SetRefusal`] why there is none.
//!
//! A set is filled beside its place, synced and renamed, and `sets/current` likewise: readers see complete sets only.

mod delivered;
mod libraries;
mod making;
mod publishing;
mod selection;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use patchadm_bulk_values::journal::BuildState;
use patchadm_bulk_values::result::ResultKey;
use patchadm_core::operation::libraries::ScanError;
use patchadm_inputs::sha256::Sha256Sum;
use patchadm_inputs::sign::{Manifest, ManifestEntry, ManifestForm};
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::name_list::first_names;
use crate::pool::PoolEntry;
use crate::work::BulkWork;

pub(crate) use delivered::ArchivedObjects;
pub(crate) use libraries::{BaseLibraries, found_libraries, is_of_content, unmet_in};
pub use making::{MadeSet, make_set};
pub(crate) use publishing::{LARGEST_MANIFEST, name_holders, put_file, read_set, verify_set};
pub use publishing::{ReleasedSet, SetReleaseError, release};
pub(crate) use selection::EarlierSet;

#[derive(Clone, Debug)]
pub struct SetPackage<'a> {
    pub package: &'a str,
    pub location: &'a str,
    pub state: BuildState,
    /// `None` without a result.
    pub entry: Option<PoolEntry>,
    /// Must not be distributed.
    pub is_restricted: bool,
}

#[derive(Clone, Copy)]
pub struct SetInput<'a> {
    /// Also the number of the set.
    pub run: u64,
    /// RFC 3339 in UTC, to the second.
    pub date: &'a str,
    /// All packages of the run.
    pub packages: &'a [SetPackage<'a>],
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetRefusal {
    #[error("{} not built: {}", count(.0.len(), "package was", "packages were"), first_names(.0))]
    NotBuilt(Vec<String>),
    #[error("it would be empty")]
    Empty,
    /// A pattern of `required` matches nothing, or none of its packages.
    #[error("required: {0}")]
    Required(String),
    #[error("it has {packages} packages, fewer than the minimum of {minimum}")]
    TooFew { packages: u64, minimum: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "{} is damaged: {reason}; it was not changed. Point the links that lead to it to another set, or remove them",
        path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("the manifest of set {0} would not be readable: {1}")]
    Unreadable(u64, String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    #[error(transparent)]
    Root(#[from] RootError),
}

impl From<ScanError> for SetError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Root(error) => Self::Root(error),
            ScanError::Interrupted(signal) => Self::Interrupted(signal),
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(crate) const SETS: &str = "sets";

/// Link to the newest set.
pub const CURRENT: &str = "current";

/// Link to the set that users have.
pub const RELEASED: &str = "released";

pub(crate) const PACKAGES: &str = "packages";

pub(crate) const FILES: &str = "files";

/// Returns the set behind the link `current` or `released`.
pub fn set_of_link(work: &BulkWork, link: &str) -> Result<Option<u64>, RootError> {
    number_behind(&work.directory(SETS)?, link)
}

pub(crate) fn lead(sets: &Dir, link: &str, to: &str) -> Result<(), RootError> {
    let new = format!(".{link}.new");
    sets.remove(new.as_bytes())?;
    sets.make_symlink(new.as_bytes(), to.as_bytes())?;
    sets.rename(new.as_bytes(), link.as_bytes())?;
    sets.sync()
}

pub(super) fn number_behind(sets: &Dir, link: &str) -> Result<Option<u64>, RootError> {
    if sets.look(link.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Symlink) {
        return Ok(None);
    }
    let target = sets.read_link(link.as_bytes())?;
    Ok(std::str::from_utf8(&target).ok().and_then(|target| target.parse().ok()))
}

pub(crate) const MANIFEST: &str = "MANIFEST";

const FROM: &str = "# from ";
const RESTRICTED: &str = "# restricted ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFile {
    /// The run whose set got the file first.
    pub run: u64,
    pub key: ResultKey,
    pub package: String,
    pub location: String,
    /// Must not be distributed.
    pub is_restricted: bool,
    pub sum: Sha256Sum,
}

/// The manifest of a set: SHA-256 sums in the format of patch manifests, and the origin of each file.
///
/// ```text
/// # patchadm manifest 1
/// # set 7
/// # form members
/// # date 2026-11-20T12:00:00Z
/// SHA256 (packages/curl.pkg) = d4735e3a…
/// # from 7 9f3c… curl-8.1 net/curl packages/curl.pkg
/// # restricted packages/curl.pkg
/// ```
/// `sha256sum -c` accepts it. Only the canonical form is accepted on reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetManifest {
    pub set: u64,
    /// RFC 3339.
    pub date: String,
    /// By path in the directory of the set.
    pub files: BTreeMap<String, SetFile>,
}

impl SetManifest {
    pub fn write(&self) -> Vec<u8> {
        let entries = self
            .files
            .iter()
            .map(|(path, file)| ManifestEntry { path: path.clone().into_bytes(), sum: file.sum });
        let members = Manifest {
            patch: self.set.to_string(),
            form: ManifestForm::Members,
            date: Some(self.date.clone()),
            entries: entries.collect(),
        };
        let mut tail = String::new();
        // Writing to a string does not fail.
        for (path, SetFile { run, key, package, location, .. }) in &self.files {
            let _ = writeln!(tail, "{FROM}{run} {key} {package} {location} {path}");
        }
        for (path, _) in self.files.iter().filter(|(_, file)| file.is_restricted) {
            let _ = writeln!(tail, "{RESTRICTED}{path}");
        }
        let mut text = renamed(&members.write(), "\n# patch ", "\n# set ");
        text.extend_from_slice(tail.as_bytes());
        text
    }

    /// The error names line and reason.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let begins = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(FROM.as_bytes()));
        let lines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let end = lines.clone().find(begins).unwrap_or(text.len());
        let (head, tail) = text.split_at_checked(end).unwrap_or((text, b""));
        let members = Manifest::parse(&renamed(head, "\n# set ", "\n# patch ")).map_err(|e| e.to_string())?;
        let set: u64 = members.patch.parse().map_err(|_| "line 2: it is not `# set NUMBER`".to_owned())?;
        // The first four lines, and one for each sum.
        let first_line = 4 + members.entries.len();
        let tail = std::str::from_utf8(tail).map_err(|_| "it is not UTF-8".to_owned())?;
        let sums: BTreeMap<&[u8], Sha256Sum> =
            members.entries.iter().map(|entry| (entry.path.as_slice(), entry.sum)).collect();
        let date = members.date.clone().ok_or("it has no date")?;
        let mut manifest = Self { set, date, files: BTreeMap::new() };
        for (number, line) in tail.lines().enumerate() {
            let wrong = |reason: &str| format!("line {}: {reason}", first_line + number + 1);
            manifest.take_line(line, &sums).map_err(wrong)?;
        }
        if manifest.files.len() != sums.len() {
            return Err("it does not name the origin of each file".to_owned());
        }
        if manifest.write() != text {
            return Err("its lines are not in the order of a manifest".to_owned());
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &str, sums: &BTreeMap<&[u8], Sha256Sum>) -> Result<(), &'static str> {
        if let Some(path) = line.strip_prefix(RESTRICTED) {
            self.files.get_mut(path).ok_or("it restricts a file that does not exist")?.is_restricted = true;
            return Ok(());
        }
        let words = line.strip_prefix(FROM).ok_or("it is not a line of the manifest of a set")?;
        let mut words = words.splitn(5, ' ');
        let mut word = || words.next().ok_or("it has too few words");
        let (run, key, package, location, path) = (word()?, word()?, word()?, word()?, word()?);
        let sum = *sums.get(path.as_bytes()).ok_or("it names a file without a checksum")?;
        let file = SetFile {
            run: run.parse().map_err(|_| "it has no number of a run")?,
            key: ResultKey::parse(key).map_err(|_| "it has no key")?,
            package: package.to_owned(),
            location: location.to_owned(),
            is_restricted: false,
            sum,
        };
        match self.files.insert(path.to_owned(), file) {
            None => Ok(()),
            Some(_) => Err("the file occurs twice"),
        }
    }
}

fn renamed(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let first = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (head, rest) = text.split_at(first);
    match rest.strip_prefix(from.as_bytes()) {
        Some(rest) => [head, to.as_bytes(), rest].concat(),
        // Anything else is no manifest of a set, but perhaps one of a patch.
        None => [head, b"\n#", rest].concat(),
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Comparing installed objects with their records: pkgchk(1M).
//!
//! The whole comparison is one question to the records: if a run begins or ends meanwhile, it is made anew, so that
//! objects of after a patch are never held against records of before it. While a run is unfinished there is no
//! answer. Objects are looked at themselves, inside the root; nothing is repaired.

mod compare;

use std::collections::HashSet;
use std::num::NonZero;
use std::thread;

use super::select::Pattern;
use crate::database::contents::{self, Lines};
use crate::database::{DatabaseError, View, ViewError, installed, own_directory, read_consistently};
use crate::format::contents::key_of;
use crate::package::{Line, Mode, ObjectPath};
use crate::root::{Root, RootError, accounts_of};
use compare::Comparison;

/// The name of the file in our own directory that says: owners in this root are recorded, not set.
const UNPRIVILEGED: &[u8] = b"unprivileged";

/// Which objects are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Those of any of these packages; of all where there is none.
    pub packages: Vec<Pattern>,
    /// Of these, those at any of these paths; all where there is none.
    pub paths: Vec<PathPattern>,
}

/// What was typed for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exactly(ObjectPath),
    /// Every path that begins with these bytes (a word that ends in `*`).
    Prefix(Vec<u8>),
    /// Every path that has these bytes in it.
    Part(Vec<u8>),
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aspects {
    /// Type, permissions, owner, group, device numbers, where links lead.
    pub attributes: bool,
    /// Size, sum and modification time of files.
    pub contents: bool,
    /// Also the contents of files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
}

/// One way in which an object is not as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is there.
    Missing,
    /// Something of another type is there; the letters of pkgmap(4), `?` for what no package can deliver.
    Type(Differs<u8>),
    /// A device has other numbers, major and minor.
    Device(Differs<(u32, u32)>),
    /// Other permission bits.
    Mode(Differs<Mode>),
    /// Another group.
    Group(Differs<String>),
    /// Another owner.
    Owner(Differs<String>),
    /// The recorded group is none of this root.
    UnknownGroup(String),
    /// The recorded owner is none of this root.
    UnknownOwner(String),
    /// It is not the same object as the one that it should be a hard link to.
    NotLinked(Vec<u8>),
    /// It is no symbolic link with this target.
    NotSymlinked(Vec<u8>),
    /// Another modification time; seconds since 1970.
    Mtime(Differs<i64>),
    /// Another size in bytes.
    Size(Differs<u64>),
    /// Another sum.
    Cksum(Differs<u16>),
    /// It cannot be looked at or read; why.
    Unreadable(String),
}

/// What is recorded, and what is there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs<T> {
    /// What is recorded.
    pub expected: T,
    /// What is there.
    pub actual: T,
}

/// An object that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Where it is.
    pub path: ObjectPath,
    /// What is wrong with it, in the order of a report; nothing if all is well.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether nothing is there.
    pub fn is_missing(&self) -> bool {
        self.findings.first() == Some(&Finding::Missing)
    }
}

/// The answer to a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every object compared, in the order of their paths.
    pub checked: Vec<Checked>,
    /// What the scope names and the records do not have.
    pub unknown: Unknown,
}

/// What a scope names and the records do not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Words for packages of which none is installed.
    pub packages: Vec<String>,
    /// Words for packages that are installed and own nothing.
    pub empty: Vec<String>,
    /// Paths that no line is of.
    pub paths: Vec<ObjectPath>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The records cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A run is in progress, or was interrupted and waits for its recovery.
    #[error(
        "a change of {0} is not finished: nothing can be checked until it is, or `patchadm recover` has been run"
    )]
    Unfinished(String),
}

impl From<ViewError> for CheckError {
    fn from(error: ViewError) -> Self {
        Self::Database(error.into())
    }
}

impl From<RootError> for CheckError {
    fn from(error: RootError) -> Self {
        ViewError::from(error).into()
    }
}

/// The records of the objects in scope, without looking at the objects: the list of `pkgchk -l`.
pub fn recorded(root: &Root, scope: &Scope) -> Result<(Lines, Unknown), CheckError> {
    read_consistently(root, |view| Ok(scope.lines(view)?))
}

/// Compares the objects in scope with their records. `host` is the root of the running system, whose accounts count
/// where `root` has none.
pub fn check(root: &Root, host: &Root, scope: &Scope, aspects: Aspects) -> Result<Report, CheckError> {
    read_consistently(root, |view| {
        if view.is_during_run() {
            return Err(CheckError::Unfinished(root.prefix().display().to_string()));
        }
        let (lines, unknown) = scope.lines(view)?;
        let marker = own_directory().join(UNPRIVILEGED).ok();
        let is_unprivileged = marker.map(|path| view.look(&path)).transpose()?.flatten().is_some();
        let accounts = (!is_unprivileged).then(|| accounts_of(root, host)).transpose()?;
        let comparison = Comparison { root, accounts: accounts.as_ref(), aspects };
        let lines: Vec<Line> = lines.into_values().collect();
        Ok(Report { checked: in_parallel(&comparison, &lines), unknown })
    })
}

/// Compares all objects, on every processor.
fn in_parallel(comparison: &Comparison<'_>, lines: &[Line]) -> Vec<Checked> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = lines.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> =
            lines.chunks(share).map(|lines| scope.spawn(|| comparison.compare_all(lines))).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(checked) => checked,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}

impl PathPattern {
    /// Reads a word of a path list: a path, or with `*` at its end the beginning of one.
    pub fn parse(word: &[u8]) -> Result<Self, crate::package::PathError> {
        match word.strip_suffix(b"*") {
            Some(prefix) => Ok(Self::Prefix(prefix.to_vec())),
            None => ObjectPath::new(word).map(Self::Exactly),
        }
    }

    fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exactly(exact) => exact.as_bytes() == path,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Part(part) => part.is_empty() || path.windows(part.len()).any(|window| window == part),
        }
    }
}

impl Scope {
    /// The lines in scope, and what finds none.
    fn lines(&self, view: &View<'_>) -> Result<(Lines, Unknown), DatabaseError> {
        let exact: HashSet<&[u8]> = self.exact().map(ObjectPath::as_bytes).collect();
        let others: Vec<&PathPattern> =
            self.paths.iter().filter(|path| !matches!(path, PathPattern::Exactly(_))).collect();
        let mut owned: Vec<bool> = vec![false; self.packages.len()];
        let mut lines = contents::scan(view, |raw| {
            let path = key_of(raw);
            self.paths.is_empty()
                || exact.contains(path.as_ref())
                || others.iter().any(|pattern| pattern.fits(&path))
        })?;
        let paths = self.exact().filter(|path| !lines.contains_key(path)).cloned().collect();
        let mut unknown = Unknown { paths, ..Unknown::default() };
        if !self.packages.is_empty() {
            lines.retain(|_, line| self.is_owned(line, &mut owned));
            let unowned =
                self.packages.iter().zip(owned).filter(|(_, owned)| !owned).map(|(pattern, _)| pattern);
            self.sort_out(view, unowned, &mut unknown)?;
        }
        Ok((lines, unknown))
    }

    fn exact(&self) -> impl Iterator<Item = &ObjectPath> {
        self.paths.iter().filter_map(|path| match path {
            PathPattern::Exactly(path) => Some(path),
            _ => None,
        })
    }

    /// Whether any package in scope owns the line; notes which words it fits.
    fn is_owned(&self, line: &Line, owned: &mut [bool]) -> bool {
        let mut is_owned = false;
        for (pattern, owned) in self.packages.iter().zip(owned) {
            if line.owners.iter().any(|owner| pattern.fits(owner.package.as_str())) {
                (*owned, is_owned) = (true, true);
            }
        }
        is_owned
    }

    /// Tells packages that are not installed from those that own nothing. With a list of paths, owning none of them
    /// is no news.
    fn sort_out<'a>(
        &self,
        view: &View<'_>,
        unowned: impl Iterator<Item = &'a Pattern>,
        unknown: &mut Unknown,
    ) -> Result<(), DatabaseError> {
        let packages = installed::packages(view)?;
        for pattern in unowned {
            let is_installed = packages.iter().any(|package| pattern.fits(package.as_str()));
            if !is_installed {
                unknown.packages.push(pattern.to_string());
            } else if self.paths.is_empty() {
                unknown.empty.push(pattern.to_string());
            }
        }
        Ok(())
    }
}

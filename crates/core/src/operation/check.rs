//! Comparing objects with their records, and repairing what differs: pkgchk(1M).
//!
//! The whole comparison is one question to the records: if a run begins or ends meanwhile, it is made anew, so that
//! objects of after a patch are never held against records of before it. While a run is unfinished there is no
//! answer. Objects are looked at themselves, inside the root. A repair holds the lock of the root instead.
//!
//! ```text
//! scope     which records                   map   a pkgmap in the place of the database
//! compare   one object and its record       fix   the same, and what differs is repaired
//! exclusive what is nobody's                device   packages that are not installed yet
//! ```

mod compare;
pub mod device;
mod exclusive;
mod fix;
mod map;
mod scope;

use std::collections::HashMap;

use super::failure::Failure;
use super::query::QueryError;
use super::session::{Caller, Ground, Session, must_have_database};
use crate::database::{DatabaseError, Reader, RecordError, View, ViewError, places, read_consistently};
use crate::package::{Accounts, Digest, Line, Mode, Object, ObjectPath, side_by_side};
use crate::root::{Root, RootError, accounts_of};
use compare::Comparison;
use map::Map;

pub use map::MapFiles;
pub use scope::{PathPattern, Scope};

/// What pkgchk(1M) was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Which objects.
    pub scope: Scope,
    /// What is compared.
    pub aspects: Aspects,
    /// The records are those of a pkgmap instead of the database.
    pub map: Option<MapFiles>,
    /// How many threads compare; none is one.
    pub workers: usize,
}

/// Objects that a thread takes at a time: enough that most are in the directory of the one before, few enough that no
/// thread waits long for the last one.
const SHARE: usize = 64;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aspects {
    /// Type, permissions, owner, group, device numbers, where links lead.
    pub attributes: bool,
    /// Size, sum and modification time of files.
    pub contents: bool,
    /// Also the contents of files that are expected to change (`e`, `v`).
    pub changing_contents: bool,
    /// Also what is in exclusive directories and is nobody's.
    pub exclusive: bool,
}

/// What patches delivered, as their undo manifests say: the last one of each path.
pub(super) type Delivered = HashMap<ObjectPath, DeliveredFile>;

/// A file that a patch delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeliveredFile {
    /// As it was recorded then; where the record is another one now, somebody else has put the file there since.
    pub(super) object: Object,
    /// SHA-256 of its bytes.
    pub(super) sha256: Digest,
    /// The patch.
    pub(super) patch: String,
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
    /// Its bytes are not those that this patch put there, as the patch's undo manifest says (SHA-256), although size and
    /// sum are.
    NotDelivered(String),
    /// It cannot be looked at or read; why.
    Unreadable(String),
    /// It is in an exclusive directory, and no package owns it.
    Hidden,
    /// A repair was tried and failed.
    Unfixed(Unfixed),
}

/// A repair that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfixed {
    /// Mode, owner or group are still others.
    Attributes,
    /// Mode, owner and group are left: the bytes are not those that they are recorded of.
    OtherBytes,
    /// The modification time is still another.
    Mtime,
    /// The directory is still not there.
    Directory,
    /// It is still no link to this.
    Link(Vec<u8>),
    /// What is nobody's is still there.
    Hidden,
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
    /// Every object compared, in the order of their paths or of the pkgmap; behind them what is nobody's.
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
    /// A pkgmap cannot be read, or cannot be understood without more parameters.
    #[error("{path}: {reason}")]
    Map {
        /// The pkgmap.
        path: String,
        /// What is wrong, with the line.
        reason: String,
    },
    /// No installed package is of these categories.
    #[error("no package of category <{0}> is installed")]
    NoCategory(String),
    /// A file with parameters cannot be read.
    #[error(transparent)]
    Parameters(#[from] QueryError),
    /// The root cannot be locked or recovered for a repair, or a package that is not installed cannot be read.
    #[error(transparent)]
    Operation(#[from] Failure),
}

impl From<RecordError> for CheckError {
    fn from(error: RecordError) -> Self {
        Self::Database(error.into())
    }
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

/// The records of the objects that are asked about, without looking at the objects: the list of `pkgchk -l`.
pub fn recorded<'a>(
    reader: impl Into<Reader<'a>>,
    request: &Request,
) -> Result<(Vec<Line>, Unknown), CheckError> {
    let records = Records::of(request)?;
    read_consistently(reader, |view| records.lines(view))
}

/// Compares objects with their records. `host` is the root of the running system, whose accounts count where the root
/// has none.
pub fn check<'a>(
    reader: impl Into<Reader<'a>>,
    host: &Root,
    request: &Request,
) -> Result<Report, CheckError> {
    let records = Records::of(request)?;
    read_consistently(reader, |view| {
        if view.is_during_run() {
            return Err(CheckError::Unfinished(view.root().prefix().display().to_string()));
        }
        records.compare(view, host, false, &Delivered::default())
    })
}

/// The same for somebody who reads the records already, and who knows more of some files than the records do.
pub(super) fn check_delivered(
    view: &View<'_>,
    host: &Root,
    request: &Request,
    delivered: &Delivered,
) -> Result<Report, CheckError> {
    Records::of(request)?.compare(view, host, false, delivered)
}

/// Compares objects with their records and repairs what differs, as far as no content has to change, under the lock of
/// the root. The report says what is left.
pub fn check_and_fix(root: &Root, request: &Request, caller: &Caller<'_>) -> Result<Report, CheckError> {
    let records = Records::of(request)?;
    must_have_database(root)?;
    let session = Session::begin(Ground::of(root)?, caller)?;
    records.compare(&View::live(root), &session.ground.host, true, &Delivered::default())
}

/// What objects are held against.
struct Records<'a> {
    request: &'a Request,
    /// None for the database.
    map: Option<Map>,
}

impl<'a> Records<'a> {
    fn of(request: &'a Request) -> Result<Self, CheckError> {
        Ok(Self { request, map: request.map.as_ref().map(Map::read).transpose()? })
    }

    fn lines(&self, view: &View<'_>) -> Result<(Vec<Line>, Unknown), CheckError> {
        let scope = &self.request.scope;
        if let Some(map) = &self.map {
            return map.lines(view, scope);
        }
        scope.lines(view, self.request.workers)
    }

    fn compare(
        &self,
        view: &View<'_>,
        host: &Root,
        fixes: bool,
        delivered: &Delivered,
    ) -> Result<Report, CheckError> {
        let root = view.root();
        let accounts = owners_of(view, host);
        if accounts.is_err() {
            // What is wrong with the records is said before it.
            self.lines(view)?;
        }
        let accounts = accounts?;
        let Request { aspects, scope, workers, .. } = self.request;
        let follows_links = self.map.is_none();
        let accounts = accounts.as_ref();
        let comparison = Comparison { root, accounts, aspects: *aspects, delivered, follows_links };
        if self.map.is_none() && !fixes && !aspects.exclusive {
            let compared = scope.each(view, *workers, || {
                let mut walk = comparison.walk();
                move |line: Line| Checked { findings: walk.findings(&line), path: line.path }
            })?;
            if let Some((checked, unknown)) = compared {
                return Ok(Report { checked, unknown });
            }
        }
        let (lines, unknown) = self.lines(view)?;
        let mut checked = if fixes {
            fix::fix_all(&comparison, &lines)
        } else {
            in_parallel(&comparison, &lines, *workers)
        };
        if aspects.exclusive {
            checked.extend(exclusive::hidden(view, &comparison, &lines, fixes)?);
        }
        Ok(Report { checked, unknown })
    }
}

/// The accounts of a root; none where owners are recorded only.
fn owners_of(view: &View<'_>, host: &Root) -> Result<Option<Accounts>, CheckError> {
    let is_unprivileged = view.look(&places::unprivileged())?.is_some();
    Ok((!is_unprivileged).then(|| accounts_of(view.root(), host)).transpose()?)
}

/// Compares all objects by so many threads; the answer has the order of the lines, however many there are.
fn in_parallel(comparison: &Comparison<'_>, lines: &[Line], workers: usize) -> Vec<Checked> {
    let shares: Vec<&[Line]> = lines.chunks(SHARE).collect();
    let checked = side_by_side(workers, shares.len(), || {
        let mut walk = comparison.walk();
        let shares = &shares;
        move |at| -> Vec<Checked> {
            let share = shares.get(at).copied().unwrap_or_default();
            share.iter().map(|line| walk.checked(line)).collect()
        }
    });
    checked.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;

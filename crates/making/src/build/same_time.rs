//! Files that programs take for the ones before them: other bytes, the same size and the same modification time.
//!
//! Python's `__pycache__`, make(1), rsync(1) and other programs compare size and time instead of bytes. Python rounds the
//! time down to a second, and a pkgmap has no more.

use std::collections::BTreeMap;
use std::fmt;

use super::delivery::object_at;
use super::previous::PreviousPatch;
use super::sparse::SparsePackage;
use crate::release::ReleasePackage;
use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::{ContentInfo, ObjectPath};

/// The number of paths that a finding names.
const MOST_NAMED: usize = 5;

/// Files of a package that look like the ones that they replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameTimeFinding {
    /// The package.
    pub package: String,
    /// The former files: those of the old release, or of an earlier revision, by its id.
    pub before: String,
    /// The files, sorted.
    pub paths: Vec<ObjectPath>,
}

impl fmt::Display for SameTimeFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, before, paths } = self;
        let named: Vec<String> = paths.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = match paths.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let (have, it) = if paths.len() == 1 { ("has", "it") } else { ("have", "them") };
        write!(
            f,
            "package {package}: {}{more} {have} other bytes than in {before}, and the same size and modification time; \
             programs that compare only these (Python's __pycache__, make, rsync) miss the change; give {it} a later time",
            named.join(", ")
        )
    }
}

/// Tells whether two files have different bytes, and nothing but their bytes tells them apart.
pub(crate) fn looks_same(one: &ContentInfo, other: &ContentInfo) -> bool {
    let is_known = one.size.is_some() && one.mtime.is_some() && one.cksum.is_some() && other.cksum.is_some();
    is_known && (one.size, one.mtime) == (other.size, other.mtime) && one.cksum != other.cksum
}

/// Finds such files in packages, each against that of the old release, and against the revision before.
pub(super) fn find_same_times<'p>(
    packages: impl Iterator<Item = (&'p SparsePackage, &'p ReleasePackage)>,
    previous: Option<&PreviousPatch>,
) -> Vec<SameTimeFinding> {
    let mut found = Vec::new();
    for (sparse, old) in packages {
        let against = |before: &str, looks_same: &dyn Fn(&ReleaseObject) -> bool| {
            let objects = sparse.delivered.values().map(|delivered| &delivered.object);
            let paths: Vec<_> =
                objects.filter(|object| looks_same(object)).map(|object| object.path.clone()).collect();
            let (package, before) = (sparse.pkg.to_string(), before.to_owned());
            (!paths.is_empty()).then_some(SameTimeFinding { package, before, paths })
        };
        found.extend(against("the old release", &|new| {
            object_at(&old.objects, &new.path).is_some_and(|old| replaces_unseen(old, new))
        }));
        let Some(previous) = previous else { continue };
        let same = |package: &&super::previous::PreviousPackage| package.pkg == sparse.pkg.as_str();
        let files: BTreeMap<&ObjectPath, &ContentInfo> =
            previous.packages.iter().filter(same).flat_map(|package| &package.files).collect();
        found.extend(against(previous.id.as_str(), &|new| {
            let info = new.content_info();
            info.is_some_and(|info| files.get(&new.path).is_some_and(|old| looks_same(old, &info)))
        }));
    }
    found
}

/// Does the same for two objects of releases, whose digests are known.
fn replaces_unseen(old: &ReleaseObject, new: &ReleaseObject) -> bool {
    let (Some(before), Some(after)) = (old.content(), new.content()) else { return false };
    before.size == after.size && before.digest != after.digest && old.mtime.seconds == new.mtime.seconds
}

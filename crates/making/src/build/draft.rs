//! A patch, complete except for the bytes of its files. Makes all decisions and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fmt, io};

use chrono::DateTime;
use patchadm_inputs::native::FIXED_IN;
use patchadm_inputs::side_file::main_file;
use patchadm_releases::{ReleaseObject, compare};
use patchadm_rootfs::RootError;
use patchadm_svr4::format::datastream::DatastreamError;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::package::{ContentInfo, ObjectPath, PathError, escape};
use patchadm_svr4::patch::PatchId;
use regex::Regex;

use super::abi::{AbiCheck, AbiError, AbiFinding};
use super::delivery::{OtherPatch, Overlap, PackageDelivery, TwoLists, deliver_moved, object_at, overlaps};
use super::pairs::{PackagePair, PairError, UnpairedPackage, pair};
use super::previous::PreviousPatch;
use super::sparse::{SparseError, SparsePackage};
use super::{BuildRequest, PatchLists};
use crate::release::{Release, ReleasePackage};

/// Can be written any number of times.
#[derive(Debug)]
pub struct PatchDraft<'r> {
    pub id: PatchId,
    /// Seconds since 1970.
    pub date: i64,
    /// Sorted by PKG; each changes something.
    pub packages: Vec<DraftedPackage<'r>>,
    /// By name.
    pub beside: BTreeMap<String, Vec<u8>>,
    /// Including those of the previous revision.
    pub lists: PatchLists,
    /// Packages that only one release has.
    pub unpaired: Vec<UnpairedPackage>,
    /// Scripts of other package formats, as `NAME: SCRIPT`.
    pub scripts_left_out: Vec<String>,
    pub findings: Vec<BuildFinding>,
}

/// A sparse package and the releases with its content.
#[derive(Debug)]
pub struct DraftedPackage<'r> {
    pub sparse: SparsePackage,
    pub old: &'r ReleasePackage,
    pub new: &'r ReleasePackage,
}

/// A finding that does not stop the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildFinding {
    Abi(AbiFinding),
    /// Files that look like the replaced ones.
    SameTime(SameTimeFinding),
    /// The new release may be incomplete.
    ManyDeletions(ManyDeletionsFinding),
    /// Files that patchadm put beside locally modified ones.
    SideFiles(SideFilesFinding),
}

struct PreparedPair<'r> {
    pair: PackagePair<'r>,
    old: Vec<ReleaseObject>,
    new: Vec<ReleaseObject>,
}

impl PreparedPair<'_> {
    fn lists(&self) -> TwoLists<'_> {
        TwoLists { old: &self.old, new: &self.new }
    }
}

/// Makes the patch from one release to the other.
///
/// It contains `previous`, an earlier revision, and must not overlap with `others`, which may provide features for its
/// objects. Content is only read to examine libraries.
pub fn draft_patch<'r>(
    from: &'r Release,
    to: &'r Release,
    previous: Option<&PreviousPatch>,
    others: &[OtherPatch],
    request: &BuildRequest,
) -> Result<PatchDraft<'r>, BuildError> {
    check_id(request, previous)?;
    let pairs = pair(from, to, &request.naming)?;
    let chosen = |pair: PackagePair<'r>| {
        let old = request.choices.applied(&pair.old.objects);
        let new = request.choices.applied(&pair.new.objects);
        PreparedPair { pair, old, new }
    };
    let prepared: Vec<PreparedPair<'r>> = pairs.pairs.into_iter().map(chosen).collect();
    let deliveries = deliveries(&prepared, previous, request)?;
    let mut lists = request.lists.clone();
    if let Some(previous) = previous {
        lists.unite(&previous.lists);
    }
    let named: Vec<_> = prepared.iter().map(|one| &one.pair.pkg).zip(&deliveries).collect();
    overlaps(&request.id, &lists, others, &named)?;
    let packages = drafted(&prepared, deliveries, &lists, request)?;
    if packages.is_empty() {
        return Err(BuildError::NothingChanged { from: from.name.clone(), to: to.name.clone() });
    }
    let findings = libraries(&packages, to, others, request)?.into_iter().map(BuildFinding::Abi);
    let beside_old = packages.iter().map(|drafted| (&drafted.sparse, drafted.old));
    let same_times = find_same_times(beside_old, previous).into_iter().map(BuildFinding::SameTime);
    let deletions = packages.iter().filter_map(ManyDeletionsFinding::of).map(BuildFinding::ManyDeletions);
    let side_files = packages.iter().filter_map(SideFilesFinding::of).map(BuildFinding::SideFiles);
    let findings = findings.chain(same_times).chain(deletions).chain(side_files).collect();
    let scripts_left_out = scripts_left_out(&packages);
    let sparse: Vec<&SparsePackage> = packages.iter().map(|drafted| &drafted.sparse).collect();
    let beside = BTreeMap::from([
        (readme_name(request), readme(request, &lists, &sparse)?),
        ("patchinfo".to_owned(), patchinfo(request, &lists, &sparse)),
    ]);
    Ok(PatchDraft {
        id: request.id.clone(),
        date: request.date,
        packages,
        beside,
        lists,
        unpaired: pairs.unpaired,
        scripts_left_out,
        findings,
    })
}

fn drafted<'r>(
    prepared: &[PreparedPair<'r>],
    deliveries: Vec<PackageDelivery>,
    lists: &PatchLists,
    request: &BuildRequest,
) -> Result<Vec<DraftedPackage<'r>>, BuildError> {
    let mut packages = Vec::new();
    for (prepared, delivery) in prepared.iter().zip(deliveries) {
        if !delivery.is_empty() {
            let sparse = SparsePackage::of(&prepared.pair, delivery, lists, request)?;
            packages.push(DraftedPackage { sparse, old: prepared.pair.old, new: prepared.pair.new });
        }
    }
    Ok(packages)
}

fn libraries(
    packages: &[DraftedPackage<'_>],
    to: &Release,
    others: &[OtherPatch],
    request: &BuildRequest,
) -> Result<Vec<AbiFinding>, BuildError> {
    let mut abi = AbiCheck::default();
    for drafted in packages {
        abi.look_at(drafted.old, drafted.new, &drafted.sparse)?;
    }
    let findings = abi.findings(to, others)?;
    match findings.iter().find(|finding| finding.is_break()) {
        Some(broken) if !request.allow_abi_break => Err(BuildError::AbiBreak(Box::new(broken.clone()))),
        _ => Ok(findings),
    }
}

/// Rejects an id that a restricted patch cannot have, or that is no later revision.
fn check_id(request: &BuildRequest, previous: Option<&PreviousPatch>) -> Result<(), BuildError> {
    if let Some(pattern) = &request.restricted {
        let bad = |_| BuildError::Pattern(pattern.clone());
        if !Regex::new(pattern).map_err(bad)?.is_match(request.id.base()) {
            return Err(BuildError::NotRestricted { id: request.id.clone(), pattern: pattern.clone() });
        }
    }
    match previous {
        Some(previous) if !request.id.is_later_than(&previous.id) => {
            Err(BuildError::NoLaterRevision { id: request.id.clone(), previous: previous.id.clone() })
        }
        _ => Ok(()),
    }
}

fn deliveries(
    prepared: &[PreparedPair<'_>],
    previous: Option<&PreviousPatch>,
    request: &BuildRequest,
) -> Result<Vec<PackageDelivery>, BuildError> {
    let mut deliveries: Vec<(PackageDelivery, TwoLists<'_>)> = prepared
        .iter()
        .map(|one| {
            let lists = one.lists();
            (PackageDelivery::of(&compare(lists.old, lists.new, request.compare), lists), lists)
        })
        .collect();
    for package in previous.iter().flat_map(|previous| &previous.packages) {
        let same = |pair: &PackagePair<'_>| {
            pair.pkg.as_str() == package.pkg && pair.arch == package.arch && pair.version == package.version
        };
        let at = prepared.iter().position(|one| same(&one.pair));
        let Some((delivery, lists)) = at.and_then(|at| deliveries.get_mut(at)) else {
            return Err(BuildError::PreviousPackage {
                pkg: package.pkg.clone(),
                arch: package.arch.clone(),
                version: package.version.clone(),
            });
        };
        delivery.contain(package, *lists);
    }
    deliver_moved(&mut deliveries);
    Ok(deliveries.into_iter().map(|(delivery, _)| delivery).collect())
}

fn scripts_left_out(packages: &[DraftedPackage<'_>]) -> Vec<String> {
    let of_package = |drafted: &DraftedPackage<'_>| {
        let name = drafted.new.name.clone().unwrap_or_else(|| drafted.new.origin.clone());
        drafted.new.scripts.iter().map(move |script| format!("{name}: {script}")).collect::<Vec<_>>()
    };
    packages.iter().flat_map(of_package).collect::<BTreeSet<_>>().into_iter().collect()
}

/// A patch that deletes more than half of the old release: perhaps the new one has only its changed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyDeletionsFinding {
    pub package: String,
    pub deleted: usize,
    /// Objects of the old release.
    pub objects: usize,
}

impl ManyDeletionsFinding {
    fn of(drafted: &DraftedPackage<'_>) -> Option<Self> {
        let (deleted, objects) = (drafted.sparse.deleted.len(), drafted.old.objects.len());
        let package = drafted.sparse.pkg.to_string();
        (deleted > objects / 2).then_some(Self { package, deleted, objects })
    }
}

impl fmt::Display for ManyDeletionsFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, deleted, objects } = self;
        write!(
            f,
            "package {package}: the patch deletes {deleted} of the {objects} objects of the old release; \
             the new release must be complete, not only its changed files"
        )
    }
}

/// Leftovers of a root that was patched, `PATH.edited-ID` and `PATH.patch-ID`, which are in the patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideFilesFinding {
    pub package: String,
    pub paths: Vec<ObjectPath>,
}

impl SideFilesFinding {
    fn of(drafted: &DraftedPackage<'_>) -> Option<Self> {
        let DraftedPackage { sparse, old, new } = drafted;
        let is_object = |path: &ObjectPath| {
            object_at(&old.objects, path).is_some() || object_at(&new.objects, path).is_some()
        };
        let is_beside = |path: &&ObjectPath| main_file(path).is_some_and(|main| is_object(&main));
        let paths = sparse.delivered.keys().chain(&sparse.deleted);
        let paths: Vec<ObjectPath> = paths.filter(is_beside).cloned().collect();
        (!paths.is_empty()).then_some(Self { package: sparse.pkg.to_string(), paths })
    }
}

impl fmt::Display for SideFilesFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, paths } = self;
        let named: Vec<String> = paths.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = match paths.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let (is, it) = if paths.len() == 1 { ("is a copy", "it") } else { ("are copies", "them") };
        write!(
            f,
            "package {package}: {}{more} {is} that patchadm put beside a locally modified file; leave {it} out with `--exclude`",
            named.join(", ")
        )
    }
}

// Python (`__pycache__`), make(1) and rsync(1) compare size and time, and miss a change that keeps both. Python rounds
// the time down to a second, as a pkgmap does.

const MOST_NAMED: usize = 5;

/// Files that look like the replaced ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameTimeFinding {
    pub package: String,
    /// The old release, or the id of an earlier revision.
    pub before: String,
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
            "package {package}: {}{more} {have} different contents from {before}, but the same size and modification time; \
             programs that compare only these (Python's __pycache__, make, rsync) miss the change; give {it} a later time",
            named.join(", ")
        )
    }
}

/// True if only their bytes distinguish two files.
pub(crate) fn looks_same(one: &ContentInfo, other: &ContentInfo) -> bool {
    let is_known = one.size.is_some() && one.mtime.is_some() && one.cksum.is_some() && other.cksum.is_some();
    is_known && (one.size, one.mtime) == (other.size, other.mtime) && one.cksum != other.cksum
}

fn find_same_times<'p>(
    packages: impl Iterator<Item = (&'p SparsePackage, &'p ReleasePackage)>,
    previous: Option<&PreviousPatch>,
) -> Vec<SameTimeFinding> {
    let mut found = Vec::new();
    for (sparse, old) in packages {
        let against = |before: &str, looks_same: &dyn Fn(&ReleaseObject) -> bool| {
            let objects = sparse.delivered.values().map(|delivered| &delivered.object);
            let installed =
                |object: &ReleaseObject| shown(sparse, &object.path).unwrap_or_else(|_| object.path.clone());
            let paths: Vec<_> = objects.filter(|object| looks_same(object)).map(installed).collect();
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

fn replaces_unseen(old: &ReleaseObject, new: &ReleaseObject) -> bool {
    let (Some(before), Some(after)) = (old.content(), new.content()) else { return false };
    before.size == after.size && before.digest != after.digest && old.mtime.seconds == new.mtime.seconds
}

/// Nothing new exists after such an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Sparse(#[from] SparseError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Abi(#[from] AbiError),
    #[error("{from} and {to} do not differ: there is nothing to deliver")]
    NothingChanged { from: String, to: String },
    /// The id is no later revision of `previous`.
    #[error("{id} is not a later revision of {previous}")]
    NoLaterRevision { id: PatchId, previous: PatchId },
    /// Neither release has a package of the earlier revision in the required version.
    #[error(
        "the revision before it has package {pkg} of architecture {arch} and version {version}, but the releases do not"
    )]
    PreviousPackage { pkg: String, arch: String, version: String },
    #[error("{id} is not the id of a restricted patch: its base does not match {pattern}")]
    NotRestricted { id: PatchId, pattern: String },
    #[error("<{0}> is not a pattern for the bases of restricted patches")]
    Pattern(String),
    #[error(transparent)]
    Overlap(#[from] Box<Overlap>),
    #[error("{0}")]
    AbiBreak(Box<AbiFinding>),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} is a directory, not a patch; it is not replaced", .0.display())]
    Foreign(PathBuf),
    #[error("{origin}: {error}")]
    Read { origin: String, error: io::Error },
    #[error("{origin} changed while it was read: {path}")]
    Changed { origin: String, path: String },
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Datastream(#[from] DatastreamError),
    #[error("{path} has {size} bytes, which do not fit into a {form}")]
    TooLarge { path: String, size: u64, form: &'static str },
    #[error("<{0}> is not UTF-8, and zip archives support no other names")]
    Name(String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

const PATCHINFO_VERSION: &str = "1.0";

const INSTALL_REQUIREMENTS: [(&str, &str); 4] = [
    ("reconfigimmediate", "Reconfigure immediately after installing this patch"),
    ("rebootimmediate", "Reboot immediately after installing this patch"),
    ("reconfigafter", "Reconfigure after installing this patch"),
    ("rebootafter", "Reboot after installing this patch"),
];

fn readme_name(request: &BuildRequest) -> String {
    format!("README.{}", request.id)
}

fn readme(
    request: &BuildRequest,
    lists: &PatchLists,
    packages: &[&SparsePackage],
) -> Result<Vec<u8>, PathError> {
    let date = DateTime::from_timestamp(request.date, 0).unwrap_or_default().format("%b/%d/%y");
    let text = &request.readme;
    let mut arches: Vec<&str> = packages.iter().map(|package| package.arch.as_str()).collect();
    arches.sort_unstable();
    arches.dedup();
    let asked =
        INSTALL_REQUIREMENTS.iter().find(|(word, _)| request.properties.iter().any(|own| own == word));
    let mut out = format!("Patch-ID# {}\n", request.id);
    let corrected: Vec<String> = text.bugs.iter().cloned().chain(lists.fixes.to_strings()).collect();
    for (label, value) in [
        ("Keywords", text.keywords.join(" ")),
        ("Synopsis", text.synopsis.clone().unwrap_or_default()),
        ("Date", date.to_string()),
        ("Install Requirements", asked.map(|(_, text)| (*text).to_owned()).unwrap_or_default()),
        ("Relevant Architectures", arches.join(" ")),
        ("Bugs fixed with this patch", lines(&corrected)),
        ("Patches accumulated and obsoleted by this patch", lists.obsoletes.to_string()),
        ("Patches which conflict with this patch", lists.incompatibles.to_string()),
        ("Patches required with this patch", lists.requires.joined(" ")),
        ("Obsoleted by", String::new()),
    ] {
        let line = format!("{label}: {value}");
        out.push_str(line.trim_end());
        out.push_str("\n\n");
    }
    out.push_str("Files included with this patch:\n");
    let mut out = out.into_bytes();
    for package in packages {
        put_files(&mut out, package)?;
    }
    Ok(out)
}

fn lines(entries: &[String]) -> String {
    std::iter::once("").chain(entries.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
}

fn put_files(out: &mut Vec<u8>, package: &SparsePackage) -> Result<(), PathError> {
    let delivered = package.delivered.iter().map(|(path, delivered)| (path, Some(&delivered.object)));
    let mut all: Vec<_> = delivered.chain(package.deleted.iter().map(|path| (path, None))).collect();
    all.sort_by_key(|(path, _)| *path);
    for (path, object) in all {
        out.extend_from_slice(&escape(shown(package, path)?.as_bytes()));
        match object {
            None => out.extend_from_slice(b" (deleted)"),
            Some(object) => {
                if let Some(content) = object.content() {
                    out.extend_from_slice(format!(" {}", content.size).as_bytes());
                }
            }
        }
        out.push(b'\n');
    }
    Ok(())
}

/// The usual path of installation.
fn shown(package: &SparsePackage, path: &ObjectPath) -> Result<ObjectPath, PathError> {
    package.basedir.join(path.relative())
}

fn patchinfo(request: &BuildRequest, lists: &PatchLists, packages: &[&SparsePackage]) -> Vec<u8> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let mut arch: Vec<String> = packages.iter().map(|package| package.arch.clone()).collect();
    arch.sort();
    arch.dedup();
    let corrects = packages.iter().map(|SparsePackage { pkg, arch, version, .. }| {
        format!("{arch}:{pkg}:{version}").replace(char::is_whitespace, "_")
    });
    PatchinfoFile {
        version: PATCHINFO_VERSION.to_owned(),
        patch_id: request.id.to_string(),
        corrects: corrects.collect(),
        arch,
        properties: request.properties.clone(),
        obsoletes: words(lists.obsoletes.to_string()),
        requires: words(lists.requires.joined(" ")),
        incompat: words(lists.incompatibles.to_string()),
        fixes: lists.fixes.to_strings(),
        other: request.fixed_in.iter().map(|fixed| (FIXED_IN, fixed.to_string())).collect(),
        ..PatchinfoFile::default()
    }
    .write()
}

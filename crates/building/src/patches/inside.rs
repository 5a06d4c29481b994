//! The judge of a trial, inside the sandbox: compares the tree with the new packages, later with its earlier state.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::{fmt, io, slice};

use patchadm_bulk_values::result::Blake3Digest;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::{DatabaseError, RecordView};
use patchadm_making::release::{ReleaseError, ReleasePackage, is_kept_attribute, objects_at, open_packages};
use patchadm_releases::{
    ChangeKind, CompareOptions, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep, compare,
};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, Timestamp, accounts_of};
use patchadm_svr4::format::contents::{owner_names, path_of};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile};
use patchadm_svr4::package::{Accounts, ContentsLine, ObjectPath, PathError};
use patchadm_svr4::places;
use patchadm_svr4::places::OWN_LOG;
use serde::{Deserialize, Serialize};

use crate::base::PLACES;
use crate::name_list::first_names;
use crate::tree_copy::{HeldNames, digest_of_file};

/// In bytes.
const NOTED: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct TrialSnapshot {
    tree: TreeSnapshot,
    records: RecordState,
}

impl TrialSnapshot {
    fn read(root: &Root) -> Result<Self, TrialServeError> {
        Ok(Self { tree: TreeSnapshot::read(root)?, records: RecordState::read(root)? })
    }
}

/// Judges as ordered, and writes the result after the order. An obstacle to the comparison is also a result, because
/// only packages have written there.
pub fn serve_trial(mut order: File) -> Result<(), TrialServeError> {
    let mut text = Vec::new();
    order.read_to_end(&mut text)?;
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, before) = text.split_at(end);
    let unread = |error: serde_json::Error| TrialServeError::Order(error.to_string());
    let trial: TrialOrder = serde_json::from_slice(line).map_err(unread)?;
    let mut state = Vec::new();
    let lost = |error: &TrialServeError| format!("the tree cannot be examined: {error}");
    let judged = match trial.step {
        TrialStep::Installed => Root::open(Path::new("/"))
            .map_err(TrialServeError::from)
            .and_then(|root| first_change(&root, Path::new(PACKAGES), &trial))
            .or_else(|error| Ok(Some(TrialDifference { package: None, how: error.to_string() })))
            .map(|changed| TrialResult { failure: None, changed }),
        TrialStep::Before => Root::open(Path::new("/"))
            .map_err(TrialServeError::from)
            .and_then(|root| TrialSnapshot::read(&root))
            .and_then(|seen| Ok(serde_json::to_writer(&mut state, &seen).map_err(io::Error::from)?))
            .map(|()| TrialResult::default()),
        TrialStep::Added => failure_of(other_than_packages(&trial)),
        TrialStep::Outside => {
            let before = serde_json::from_slice(before).map_err(unread)?;
            failure_of(changed_outside(&before, &trial))
        }
        TrialStep::Removed => {
            let before = serde_json::from_slice(before).map_err(unread)?;
            failure_of(other_than_before(&before, trial.layers))
        }
        TrialStep::Failed => failure_of(tell_own_log().map(|()| None)),
    };
    let result = judged.unwrap_or_else(|error| TrialResult { failure: Some(lost(&error)), changed: None });
    // A value of strings: serializing it cannot fail.
    let mut bytes = serde_json::to_vec(&result).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend(state);
    Ok(order.write_all(&bytes)?)
}

fn failure_of(failure: Result<Option<String>, TrialServeError>) -> Result<TrialResult, TrialServeError> {
    failure.map(|failure| TrialResult { failure, changed: None })
}

fn other_than_packages(order: &TrialOrder) -> Result<Option<String>, TrialServeError> {
    let differences = compare_with_packages(&Root::open(Path::new("/"))?, Path::new(PACKAGES), order)?;
    let failed = || format!("the patched tree differs from the new packages: {}", summary(&differences));
    Ok((!differences.is_empty()).then(failed))
}

fn changed_outside(before: &TrialSnapshot, order: &TrialOrder) -> Result<Option<String>, TrialServeError> {
    let root = Root::open(Path::new("/"))?;
    let mut own = BTreeSet::new();
    for files in [&order.released, &order.expected] {
        let files = files.iter().filter(|file| order.own.files.contains(*file)).cloned();
        own.extend(objects_of(Path::new(PACKAGES), &files.collect::<Vec<_>>())?.into_keys());
    }
    let resolver = root.resolver();
    let places = own.iter().map(|path| resolver.locate_object(path)).collect::<Result<Vec<_>, _>>()?;
    own.extend(places);
    let now = TrialSnapshot::read(&root)?;
    if let Some(name) = before.records.changed_beside(&now.records, &order.own.names) {
        return Ok(Some(format!("it changes the records of {name}")));
    }
    let changed = before.tree.changed_outside(&now.tree, &own);
    Ok(changed.map(|path| format!("it changes {path}, which it does not deliver")))
}

fn other_than_before(before: &TrialSnapshot, layers: usize) -> Result<Option<String>, TrialServeError> {
    let root = Root::open(Path::new("/"))?;
    let mut differences = before.tree.differences(&TreeSnapshot::read(&root)?);
    differences.extend(changed_files(&root, &before.tree, layers)?);
    differences.extend(before.records.differences(&RecordState::read(&root)?));
    let failed = || format!("its backout does not restore the tree: {}", summary(&differences));
    Ok((!differences.is_empty()).then(failed))
}

fn tell(line: fmt::Arguments<'_>) {
    // The trial goes on if nobody reads the log.
    let _ = writeln!(io::stdout(), "==> {line}");
}

fn tell_own_log() -> Result<(), TrialServeError> {
    let path = ObjectPath::new(OWN_LOG.as_bytes())?;
    let Some(dir) =
        Root::open(Path::new("/"))?.dir_of_object(&path.parent().unwrap_or_else(ObjectPath::root))?
    else {
        return Ok(());
    };
    let Some((mut log, seen)) = dir.open_seen(path.name())? else { return Ok(()) };
    log.seek(SeekFrom::Start(seen.size.saturating_sub(NOTED)))?;
    let mut end = Vec::new();
    log.take(NOTED).read_to_end(&mut end)?;
    tell(format_args!("{OWN_LOG} ends with:\n{}", String::from_utf8_lossy(&end).trim_end()));
    Ok(())
}

fn summary(differences: &[String]) -> String {
    for difference in differences {
        tell(format_args!("{difference}"));
    }
    first_names(differences)
}

pub(in crate::patches) const PACKAGES: &str = "/packages";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) enum TrialStep {
    /// The expected packages are installed and unmodified.
    Installed,
    /// Only records the state of the tree.
    Before,
    /// After adding the patches, the tree must equal the expected packages.
    Added,
    /// After a command, all but the own objects and records of its patches must be as in the state in the order.
    Outside,
    /// After removing the patches, the tree must equal the state in the order.
    Removed,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialOrder {
    pub(in crate::patches) step: TrialStep,
    pub(in crate::patches) expected: Vec<String>,
    pub(in crate::patches) released: Vec<String>,
    pub(in crate::patches) own: OwnPackages,
    /// Only root can set owners.
    pub(in crate::patches) has_owners: bool,
    pub(in crate::patches) layers: usize,
}

/// The packages of a watched command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct OwnPackages {
    /// Some of those in the order.
    pub(in crate::patches) files: BTreeSet<String>,
    pub(in crate::patches) names: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialResult {
    pub(in crate::patches) failure: Option<String>,
    /// Without patches: the first object that differs from its package.
    pub(in crate::patches) changed: Option<TrialDifference>,
}

impl TrialResult {
    pub(in crate::patches) fn failed(why: String) -> Self {
        Self { failure: Some(why), changed: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::patches) struct TrialDifference {
    /// `None` for a record, or an obstacle.
    pub(in crate::patches) package: Option<usize>,
    pub(in crate::patches) how: String,
}

/// Mount point of the trial's layer. Lower layers are mounted at numbers, the uppermost first.
pub(in crate::patches) const TOUCHED: &str = ".touched";
pub(in crate::patches) const LOWER: &str = ".lower";

/// Excluded from the comparison: temporary files, and the records, whose content is compared separately.
const LEFT_OUT: [&str; 3] = ["tmp", "var/tmp", "var/sadm"];

#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "ObjectStates", try_from = "ObjectStates")]
pub(super) struct TreeSnapshot(BTreeMap<ObjectPath, SnapshotObject>);

type ObjectStates = Vec<(Vec<u8>, SnapshotObject)>;

impl From<TreeSnapshot> for ObjectStates {
    fn from(state: TreeSnapshot) -> Self {
        state.0.into_iter().map(|(path, object)| (path.as_bytes().to_vec(), object)).collect()
    }
}

impl TryFrom<ObjectStates> for TreeSnapshot {
    type Error = PathError;

    fn try_from(objects: ObjectStates) -> Result<Self, PathError> {
        let objects = objects.into_iter().map(|(path, object)| Ok((ObjectPath::new(&path)?, object)));
        objects.collect::<Result<_, _>>().map(Self)
    }
}

type ExtendedAttributes = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotObject {
    file_type: FileType,
    owner: (u32, u32),
    mode: Option<u32>,
    file: Option<(u64, Timestamp)>,
    target: Option<Vec<u8>>,
    device: (u32, u32),
    /// Without those of the machine.
    attributes: ExtendedAttributes,
    /// The ctime, which cannot be set. None for a directory.
    changed: Option<Timestamp>,
}

impl SnapshotObject {
    /// True if a backout has restored it.
    fn is_as(&self, before: &Self) -> bool {
        (self.file_type, self.owner, self.mode, self.file, self.device)
            == (before.file_type, before.owner, before.mode, before.file, before.device)
            && (&self.target, &self.attributes) == (&before.target, &before.attributes)
    }
}

impl TreeSnapshot {
    /// Reads a tree without mounted file systems.
    pub(super) fn read(root: &Root) -> Result<Self, RootError> {
        let mut objects = BTreeMap::new();
        let mount = root.dir(&ObjectPath::root())?.itself()?.mount;
        each_object(root, &mut |dir, name, seen| {
            if seen.mount != mount {
                return Ok(());
            }
            let (is_file, is_link) =
                (seen.file_type == FileType::Regular, seen.file_type == FileType::Symlink);
            let object = SnapshotObject {
                file_type: seen.file_type,
                owner: (seen.uid, seen.gid),
                mode: (!is_link).then_some(seen.mode.bits()),
                file: is_file.then_some((seen.size, seen.mtime)),
                target: if is_link { Some(dir.read_link(name)?) } else { None },
                device: seen.device,
                attributes: attributes(dir, name)?,
                changed: (seen.file_type != FileType::Directory).then_some(seen.ctime),
            };
            objects.insert(dir.at(name), object);
            Ok(())
        })?;
        Ok(Self(objects))
    }

    /// Returns each path whose state differs, and the difference.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, before) in &self.0 {
            match after.0.get(path) {
                None => found.push(format!("{path} is missing")),
                Some(now) if !now.is_as(before) => found.push(format!("{path} is not as it was")),
                Some(_) => {}
            }
        }
        let new = after.0.keys().filter(|path| !self.0.contains_key(*path));
        found.extend(new.map(|path| format!("{path} is new")));
        found
    }

    /// Returns the first object that is new, gone or another one, except at these paths. A directory above them may be new
    /// or gone.
    fn changed_outside(&self, after: &Self, paths: &BTreeSet<ObjectPath>) -> Option<ObjectPath> {
        let all: BTreeSet<&ObjectPath> = self.0.keys().chain(after.0.keys()).collect();
        let is_above = |path: &ObjectPath| {
            paths.range(path.lowest_below()..).next().is_some_and(|own| own.is_below(path))
        };
        let is_outside = |path: &ObjectPath| match (self.0.get(path), after.0.get(path)) {
            (Some(before), Some(now)) => before != now,
            (Some(one), None) | (None, Some(one)) => one.file_type != FileType::Directory || !is_above(path),
            (None, None) => false,
        };
        all.into_iter().find(|path| !paths.contains(*path) && is_outside(path)).cloned()
    }

    fn is_file(&self, path: &ObjectPath) -> bool {
        self.0.get(path).is_some_and(|object| object.file_type == FileType::Regular)
    }
}

fn attributes(dir: &Dir, name: &[u8]) -> Result<ExtendedAttributes, RootError> {
    Ok(dir.xattrs(name)?.into_iter().filter(|(name, _)| is_kept_attribute(name)).collect())
}

/// Returns the changed files in the trial's layer. All others lie in the read-only layers below.
fn changed_files(root: &Root, before: &TreeSnapshot, layers: usize) -> Result<Vec<String>, RootError> {
    let (touched, mut paths) = (Root::open(&Path::new("/").join(TOUCHED))?, Vec::new());
    each_object(&touched, &mut |dir, name, _| {
        let path = dir.at(name);
        if before.is_file(&path) {
            paths.push(path);
        }
        Ok(())
    })?;
    let lower = (0..layers).map(|number| Root::open(&Path::new("/").join(LOWER).join(number.to_string())));
    let lower = lower.collect::<Result<Vec<_>, _>>()?;
    let mut changed = Vec::new();
    for path in paths {
        for layer in &lower {
            let Some(was) = digest_at(layer, &path)? else { continue };
            if digest_at(root, &path)? != Some(was) {
                changed.push(format!("{path} has different contents"));
            }
            break;
        }
    }
    Ok(changed)
}

fn digest_at(root: &Root, path: &ObjectPath) -> Result<Option<Blake3Digest>, RootError> {
    let Some(parent) = path.parent() else { return Ok(None) };
    let dir = match root.dir_if_there(&parent) {
        // Something else may be in the place of the directory.
        Err(error) if !error.is_refused_access() => return Ok(None),
        dir => dir?,
    };
    let Some(dir) = dir else { return Ok(None) };
    if dir.look(path.name())?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    let file = dir.open_regular(path.name())?;
    digest_of_file(&file, |error| dir.read_error(path.name(), error)).map(Some)
}

type VisitTreeObject<'v> = dyn FnMut(&Dir, &[u8], &ObjectStatus) -> Result<(), RootError> + 'v;

fn each_object(root: &Root, visit: &mut VisitTreeObject<'_>) -> Result<(), RootError> {
    let mount = root.dir(&ObjectPath::root())?.itself()?.mount;
    let (mut open, mut held) = (vec![(ObjectPath::root(), 0)], HeldNames::new());
    while let Some((path, bytes)) = open.pop() {
        held.give_back(bytes);
        let dir = match root.dir(&path) {
            // Packages cannot change objects that even the root of the sandbox cannot see.
            Err(error) if error.is_refused_access() => continue,
            dir => dir?,
        };
        let (names, here) = held.read(&dir)?;
        for name in names {
            let at = dir.at(&name);
            if is_left_out(&at) {
                continue;
            }
            let Some(seen) = dir.look(&name)? else { continue };
            visit(&dir, &name, &seen)?;
            if seen.file_type == FileType::Directory && seen.mount == mount {
                let bytes = held.take_directory(at.as_bytes().len(), &dir)?;
                open.push((at, bytes));
            }
        }
        held.give_back(here);
    }
    Ok(())
}

fn is_left_out(path: &ObjectPath) -> bool {
    let shown = path.relative();
    let names = PLACES.iter().chain(&LEFT_OUT).chain(&[TOUCHED, LOWER]);
    names.into_iter().any(|name| shown == name.as_bytes())
}

/// The largest `contents` in bytes, as in the checks of installations.
const LARGEST_CONTENTS: u64 = 256 << 20;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RecordState {
    contents: Blake3Digest,
    /// A digest of the lines of each package.
    lines: BTreeMap<String, Blake3Digest>,
    packages: BTreeMap<String, Vec<(String, Vec<u8>)>>,
}

impl RecordState {
    pub(super) fn read(root: &Root) -> Result<Self, RootError> {
        let contents = root.read(&places::contents(), LARGEST_CONTENTS)?.unwrap_or_default();
        let lines = contents.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
        let lines: Vec<&[u8]> = lines.collect();
        let (contents, lines) = (Blake3Digest::of(&lines.concat()), digests_by_owner(&lines));
        let mut packages = BTreeMap::new();
        if let Some(dir) = root.dir_if_there(&places::packages())? {
            for name in HeldNames::new().read(&dir)?.0 {
                if dir.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
                    continue;
                }
                let Some(text) = dir.dir(&name)?.read_regular(b"pkginfo", LARGEST_FILE as u64)? else {
                    continue;
                };
                packages.insert(String::from_utf8_lossy(&name).into_owned(), said(&text));
            }
        }
        Ok(Self { contents, lines, packages })
    }

    /// Returns a package besides these whose records are others.
    fn changed_beside<'s>(&'s self, after: &'s Self, own: &BTreeSet<String>) -> Option<&'s str> {
        let is_own = |name: &str| {
            own.iter().any(|own| {
                name.strip_prefix(&**own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let names = [self, after].map(|state| state.packages.keys().chain(state.lines.keys()));
        let is_changed = |name: &&String| {
            self.packages.get(*name) != after.packages.get(*name)
                || self.lines.get(*name) != after.lines.get(*name)
        };
        let changed = names.into_iter().flatten().filter(|name| !is_own(name)).find(is_changed);
        changed.map(String::as_str)
    }

    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.contents != after.contents {
            found.push(format!("{} differs", places::contents()));
        }
        for name in self
            .packages
            .keys()
            .chain(after.packages.keys().filter(|name| !self.packages.contains_key(*name)))
        {
            if self.packages.get(name) != after.packages.get(name) {
                found.push(format!("the pkginfo of {name} differs"));
            }
        }
        found
    }
}

/// Returns a digest of the lines of each package. A shared object counts only with its path: others may join and set it.
fn digests_by_owner(lines: &[&[u8]]) -> BTreeMap<String, Blake3Digest> {
    let mut digests: BTreeMap<String, Blake3Digest> = BTreeMap::new();
    for line in lines {
        let line = line.trim_ascii_end();
        let owners: Vec<&[u8]> = owner_names(line).into_iter().flatten().collect();
        let is_directory = ContentsLine::parse(line).is_ok_and(|line| line.object.ftype.is_directory());
        let text = if is_directory || owners.len() > 1 { path_of(line) } else { line };
        for owner in owners {
            let digest = digests.entry(String::from_utf8_lossy(owner).into_owned());
            let digest = digest.or_insert_with(|| Blake3Digest::of(b""));
            *digest = Blake3Digest::of(&[digest.hex().as_bytes(), text].concat());
        }
    }
    digests
}

/// Returns a package's parameters, except those that a removed patch may leave.
fn said(pkginfo: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(file) = ParamFile::parse(pkginfo) else { return vec![(String::new(), pkginfo.to_vec())] };
    let is_left = |name: &str, value: &[u8]| {
        (value.is_empty() && matches!(name, "PATCHLIST" | "PATCH_OBSOLETES"))
            || (name.starts_with("PATCH_INFO_") && value == b"backed out")
    };
    let params = file.params();
    let kept = params.iter().filter(|(name, value)| !is_left(name, value));
    kept.map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// Classes whose files are installed unmodified. Scripts of other classes may change files.
const AS_THEY_ARE: [&str; 3] = ["", "none", "preserve"];

/// Compares the tree with the new packages, at all paths of the released and the new ones.
fn compare_with_packages(
    root: &Root,
    packages: &Path,
    order: &TrialOrder,
) -> Result<Vec<String>, TrialServeError> {
    let mut paths: BTreeSet<ObjectPath> = BTreeSet::new();
    paths.extend(objects_of(packages, &order.released)?.into_keys());
    let expected = objects_of(packages, &order.expected)?;
    let differences = differences(root, expected, paths, order.has_owners)?;
    Ok(differences.into_iter().map(|(_, difference)| difference).collect())
}

/// Returns the first object that differs from its package or record. An obstacle counts too: only packages wrote there.
fn first_change(
    root: &Root,
    packages: &Path,
    order: &TrialOrder,
) -> Result<Option<TrialDifference>, TrialServeError> {
    let expected = objects_of(packages, &order.expected)?;
    let paths: Vec<ObjectPath> = expected.keys().cloned().collect();
    let of_tree = |error: &dyn fmt::Display| TrialDifference { package: None, how: error.to_string() };
    let changed = match differences(root, expected, BTreeSet::new(), order.has_owners) {
        Ok(differences) => differences.into_iter().next(),
        Err(TrialServeError::Tree(error)) => return Ok(Some(of_tree(&error))),
        Err(error) => return Err(error),
    };
    let changed = match changed {
        None => match unrecorded(root, &paths) {
            Ok(path) => path.map(|path| (path.clone(), format!("{path} is no longer recorded"))),
            Err(error) => return Ok(Some(of_tree(&error))),
        },
        changed => changed,
    };
    let Some((path, how)) = changed else { return Ok(None) };
    for (number, file) in order.expected.iter().enumerate() {
        if objects_of(packages, slice::from_ref(file))?.contains_key(&path) {
            return Ok(Some(TrialDifference { package: Some(number), how }));
        }
    }
    Ok(Some(TrialDifference { package: None, how }))
}

fn unrecorded<'p>(root: &Root, paths: &'p [ObjectPath]) -> Result<Option<&'p ObjectPath>, DatabaseError> {
    let resolver = root.resolver();
    let mut places = BTreeSet::new();
    for path in paths {
        places.extend([path.clone(), resolver.locate_object(path)?]);
    }
    let lines = lines_of_paths(&RecordView::live(root), &places)?;
    for path in paths {
        if !lines.contains_key(path) && !lines.contains_key(&resolver.locate_object(path)?) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn differences(
    root: &Root,
    mut expected: BTreeMap<ObjectPath, ReleaseObject>,
    mut paths: BTreeSet<ObjectPath>,
    has_owners: bool,
) -> Result<Vec<(ObjectPath, String)>, TrialServeError> {
    paths.extend(expected.keys().cloned());
    let paths: Vec<ObjectPath> = paths.into_iter().collect();
    let mut found = objects_at(root, &paths).map_err(TrialServeError::Tree)?;
    let accounts = accounts_of(root, root)?;
    for object in &mut found {
        if let Some(expected) = expected.get_mut(&object.path) {
            align(expected, object, has_owners.then_some(&accounts));
        }
    }
    let expected: Vec<ReleaseObject> = expected.into_values().collect();
    let is_directory = |path: &ObjectPath| {
        found
            .iter()
            .any(|object| object.path == *path && matches!(object.kind, ReleaseObjectKind::Directory { .. }))
    };
    let changes = compare(&expected, &found, CompareOptions::default()).changes;
    let described = changes.iter().filter_map(|change| {
        let described = match &change.kind {
            ChangeKind::Deleted => format!("{} is missing", change.path),
            // A directory may be that of others, too.
            ChangeKind::Added if is_directory(&change.path) => return None,
            ChangeKind::Added => format!("{} is still there", change.path),
            ChangeKind::Replaced(differences) => format!("{}: {differences}", change.path),
        };
        Some((change.path.clone(), described))
    });
    Ok(described.collect())
}

/// Returns the installed objects of packages. A directory of several packages only has to be a directory.
fn objects_of(
    packages: &Path,
    files: &[String],
) -> Result<BTreeMap<ObjectPath, ReleaseObject>, TrialServeError> {
    let entries: Vec<PathBuf> = files.iter().map(|file| packages.join(file)).collect();
    let release = open_packages("the packages", &entries, 1, &|_| true)?;
    let mut objects: BTreeMap<ObjectPath, ReleaseObject> = BTreeMap::new();
    let mut groups = 0;
    for package in &release.packages {
        let base = base_of(package)?;
        let mut highest = groups;
        for object in &package.objects {
            let mut object = object.clone();
            object.path = base.join(object.path.relative())?;
            if let ReleaseObjectKind::File { links: Some(LinkGroup(group)), .. } = &mut object.kind {
                *group += groups;
                highest = highest.max(*group + 1);
            }
            objects.insert(object.path.clone(), object);
        }
        groups = highest;
    }
    Ok(objects)
}

fn base_of(package: &ReleasePackage) -> Result<ObjectPath, TrialServeError> {
    let base = package.svr4.as_ref().and_then(|svr4| svr4.params.get("BASEDIR")).map(<[u8]>::trim_ascii);
    match base {
        None | Some(b"") => Ok(ObjectPath::root()),
        Some(base) => Ok(ObjectPath::new(base)?),
    }
}

/// Drops differences that a tree cannot express or an installation may cause.
fn align(expected: &mut ReleaseObject, found: &mut ReleaseObject, accounts: Option<&Accounts>) {
    let as_is = AS_THEY_ARE.contains(&&*expected.class);
    match (&mut expected.kind, &found.kind) {
        (
            ReleaseObjectKind::File { content, upkeep, .. },
            ReleaseObjectKind::File { content: of_tree, .. },
        ) => {
            *upkeep = Upkeep::default();
            if !as_is {
                content.clone_from(of_tree);
            }
        }
        (ReleaseObjectKind::Directory { exclusive }, _) => *exclusive = false,
        _ => {}
    }
    let is_user = |owner: &ObjectOwner| {
        owner.name.as_ref().is_some_and(|name| accounts.is_some_and(|all| all.uid(name).is_some()))
    };
    let is_group = |owner: &ObjectOwner| {
        owner.name.as_ref().is_some_and(|name| accounts.is_some_and(|all| all.gid(name).is_some()))
    };
    if !is_user(&expected.owner) {
        expected.owner = found.owner.clone();
    }
    if !is_group(&expected.group) {
        expected.group = found.group.clone();
    }
    // Extended attributes of packages are only those of other formats.
    expected.xattrs.clone_from(&found.xattrs);
}

#[derive(Debug, thiserror::Error)]
pub enum TrialServeError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Package(#[from] ReleaseError),
    #[error("{0}")]
    Tree(ReleaseError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the order cannot be read: {0}")]
    Order(String),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_differs_is_named_and_what_is_temporary_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["opt/a", "tmp", "var/sadm/pkg"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("opt/a/gone"), "1").unwrap();
        fs::write(dir.path().join("opt/a/longer"), "1").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let before = TreeSnapshot::read(&root).unwrap();
        fs::write(dir.path().join("tmp/new"), "1").unwrap();
        fs::write(dir.path().join("var/sadm/pkg/new"), "1").unwrap();
        assert_eq!(before.differences(&TreeSnapshot::read(&root).unwrap()), Vec::<String>::new());
        fs::remove_file(dir.path().join("opt/a/gone")).unwrap();
        fs::write(dir.path().join("opt/a/longer"), "22").unwrap();
        fs::write(dir.path().join("opt/new"), "1").unwrap();
        assert_eq!(
            before.differences(&TreeSnapshot::read(&root).unwrap()),
            ["/opt/a/gone is missing", "/opt/a/longer is not as it was", "/opt/new is new"]
        );
    }

    #[test]
    fn what_changes_outside_the_places_of_packages_is_found_with_the_time_of_its_change() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["opt", "tmp", "var/sadm"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let made = dir.path().join("opt/made");
        fs::write(&made, "1").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let paths = BTreeSet::from([ObjectPath::new(b"/opt/new/own").unwrap()]);
        let before = TreeSnapshot::read(&root).unwrap();
        fs::create_dir(dir.path().join("opt/new")).unwrap();
        for path in ["opt/new/own", "tmp/file", "var/sadm/file"] {
            fs::write(dir.path().join(path), "1").unwrap();
        }
        let after = TreeSnapshot::read(&root).unwrap();
        assert_eq!(before.changed_outside(&after, &paths).map(|path| path.to_string()), None);
        // The same size, and the same time as before.
        let time = fs::metadata(&made).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&made, "2").unwrap();
        File::options().write(true).open(&made).unwrap().set_modified(time).unwrap();
        let changed = TreeSnapshot::read(&root).unwrap();
        assert_eq!(after.differences(&changed), Vec::<String>::new());
        let found = |now: &TreeSnapshot| after.changed_outside(now, &paths).map(|path| path.to_string());
        assert_eq!(found(&changed).as_deref(), Some("/opt/made"));
        fs::write(dir.path().join("a"), "").unwrap();
        assert_eq!(found(&TreeSnapshot::read(&root).unwrap()).as_deref(), Some("/a"));
    }

    #[test]
    fn records_that_change_are_found_if_they_are_those_of_another_package() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("var/sadm").join(path);
        for path in ["install", "pkg/one", "pkg/two"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let read = |pkginfo: &str, lines: &[&str]| {
            fs::write(at("pkg/one/pkginfo"), pkginfo).unwrap();
            fs::write(at("install/contents"), lines.concat()).unwrap();
            RecordState::read(&Root::open(dir.path()).unwrap()).unwrap()
        };
        let (opt, shared) = ("/opt d none 0755 root root one\n", "/opt d none 0755 root root one two\n");
        let one = "/opt/one f none 0644 root root 1 1 1 one\n";
        let two = "/opt/two f none 0644 root root 1 1 1 two\n";
        let before = read("PKG=one\n", &[opt, one]);
        let found = |pkginfo: &str, lines: &[&str]| {
            let after = read(pkginfo, lines);
            before.changed_beside(&after, &BTreeSet::from(["two".to_owned()])).map(str::to_owned)
        };
        assert_eq!(found("PKG=one\n", &[shared, one, two]), None);
        assert_eq!(found("PKG=one\nPATCHLIST=one-01\n", &[opt, one]).as_deref(), Some("one"));
        assert_eq!(found("PKG=one\n", &[opt]).as_deref(), Some("one"), "gone");
        let other = "/opt/one f none 0644 root root 2 1 1 one\n";
        assert_eq!(found("PKG=one\n", &[opt, other]).as_deref(), Some("one"));
        fs::remove_dir_all(at("pkg/one")).unwrap();
        let after = RecordState::read(&Root::open(dir.path()).unwrap()).unwrap();
        assert_eq!(before.changed_beside(&after, &BTreeSet::new()), Some("one"));
    }

    #[test]
    fn an_attribute_that_is_gone_or_another_is_a_difference() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "1").unwrap();
        let set =
            |value: &[u8]| rustix::fs::setxattr(&file, "user.origin", value, rustix::fs::XattrFlags::empty());
        if set(b"here").is_err() {
            return; // a file system without attributes
        }
        let root = Root::open(dir.path()).unwrap();
        let before = TreeSnapshot::read(&root).unwrap();
        assert_eq!(before.differences(&TreeSnapshot::read(&root).unwrap()), Vec::<String>::new());
        set(b"there").unwrap();
        assert_eq!(before.differences(&TreeSnapshot::read(&root).unwrap()), ["/file is not as it was"]);
        rustix::fs::removexattr(&file, "user.origin").unwrap();
        assert_eq!(before.differences(&TreeSnapshot::read(&root).unwrap()), ["/file is not as it was"]);
    }
}

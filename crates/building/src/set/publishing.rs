//! Publishes, reads and verifies sets, and changes the links to the current and released one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::resolve::NameHolders;
use patchadm_inputs::sha256::{Sha256, Sha256Sum};
use patchadm_rootfs::{Dir, FileType, RootError, cores, side_by_side};
use patchadm_svr4::package::Mode;
use rustix::io::Errno;
use serde::Serialize;

use super::selection::{EarlierSet, SetEntry};
use super::{
    CURRENT, FILES, MANIFEST, PACKAGES, RELEASED, SETS, SetError, SetFile, SetInput, SetManifest, lead,
    number_behind,
};
use crate::name_list::first_clauses;
use crate::report_files::{ReportReadError, read_report};
use crate::space::must_have_room;
use crate::tree_copy::{copy_file, each_part};
use crate::work::{BulkWork, PROGRAM, made};

pub(crate) const LARGEST_MANIFEST: u64 = 256 << 20;

/// Room of a manifest for its files.
pub(super) struct ManifestRoom<'a> {
    input: &'a SetInput<'a>,
    /// Bytes without files.
    empty: u64,
    /// Maximum bytes of all files.
    pub(super) most: u64,
}

impl<'a> ManifestRoom<'a> {
    pub(super) fn new(input: &'a SetInput<'a>, most: u64) -> Self {
        let empty = empty_manifest(input).write().len() as u64;
        Self { input, empty, most: most.saturating_sub(empty) }
    }

    /// Bytes of an entry's files.
    pub(super) fn share(&self, entry: &SetEntry) -> u64 {
        let mut manifest = empty_manifest(self.input);
        // All sums have the same length.
        let files = entry.files.iter().map(|file| (file.path.clone(), set_file(entry, Sha256Sum::default())));
        manifest.files.extend(files);
        manifest.write().len() as u64 - self.empty
    }
}

fn empty_manifest(input: &SetInput<'_>) -> SetManifest {
    SetManifest { set: input.run, date: input.date.to_owned(), files: BTreeMap::new() }
}

/// Fills a set and points `current` at it. The size of the manifest is limited.
pub(super) fn publish_within(
    work: &BulkWork,
    input: &SetInput<'_>,
    entries: &[SetEntry],
    most: u64,
) -> Result<(), SetError> {
    let sets = work.directory(SETS)?;
    sets.remove_leftovers(PROGRAM)?;
    let (private, dir) = sets.make_private(PROGRAM)?;
    let name = input.run.to_string();
    let done = fill(&dir, input, entries, most)
        .and_then(|manifest| enter(work, &sets, &private, (&name, &manifest)));
    if done.is_err() {
        // The earlier error is reported; the leftovers are removed later.
        let _ = sets.remove_tree(&private);
    }
    done?;
    Ok(lead(&sets, CURRENT, &name)?)
}

fn fill(dir: &Dir, input: &SetInput<'_>, entries: &[SetEntry], most: u64) -> Result<SetManifest, SetError> {
    let mut manifest = empty_manifest(input);
    let mut filled: Vec<Dir> = Vec::new();
    let packages = made(dir, PACKAGES.as_bytes())?;
    for entry in entries {
        let mut own: Option<Dir> = None;
        for file in &entry.files {
            let (directory, name) = file.path.rsplit_once('/').unwrap_or((PACKAGES, &file.path));
            let place = match directory.strip_prefix(FILES).and_then(|rest| rest.strip_prefix('/')) {
                None => &packages,
                Some(package) => match &mut own {
                    Some(own) => own,
                    own => own.insert(made(&made(dir, FILES.as_bytes())?, package.as_bytes())?),
                },
            };
            put_file((&file.directory, &file.name), place, name.as_bytes())?;
            let sum = match file.sum {
                // The earlier set's file may have been changed.
                Some(sum) if entry.is_kept => {
                    must_have_sum(place, name.as_bytes(), &sum, || file.directory.join(&file.name))?;
                    sum
                }
                Some(sum) => sum,
                None => sum_of(place, name.as_bytes())?,
            };
            manifest.files.insert(file.path.clone(), set_file(entry, sum));
        }
        filled.extend(own);
    }
    let text = manifest.write();
    // An unreadable manifest would block all later sets.
    SetManifest::parse(&text).map_err(|reason| SetError::Unreadable(input.run, reason))?;
    if text.len() as u64 > most {
        let reason = format!("{MANIFEST} would have {} bytes, more than {most}", text.len());
        return Err(SetError::Unreadable(input.run, reason));
    }
    must_have_room(dir, text.len() as u64)?;
    let mut file = dir.create(MANIFEST.as_bytes())?;
    file.put(&text)?;
    file.set_mode(Mode::of(0o644))?;
    file.sync()?;
    for filled in &filled {
        filled.sync()?;
    }
    if dir.look(FILES.as_bytes())?.is_some() {
        dir.dir(FILES.as_bytes())?.sync()?;
    }
    packages.sync()?;
    dir.set_own_mode(Mode::of(0o755))?;
    dir.sync()?;
    Ok(manifest)
}

fn set_file(entry: &SetEntry, sum: Sha256Sum) -> SetFile {
    SetFile {
        run: entry.run,
        key: entry.key,
        package: entry.package.clone(),
        location: entry.location.clone(),
        is_restricted: entry.is_restricted,
        sum,
    }
}

/// Adds a hard link if possible, otherwise a copy.
pub(crate) fn put_file((directory, file): (&Path, &str), to: &Dir, name: &[u8]) -> Result<(), RootError> {
    let from = Dir::of_host(directory)?;
    match to.make_link(name, &from, file.as_bytes()) {
        Err(error) if is_beyond_links(&error) => {
            copy_file(&from, file.as_bytes(), to, name)?;
            to.set_mode(name, Mode::of(0o644))?;
            to.open_writable(name)?.map_or(Ok(()), |copy| copy.sync())
        }
        linked => linked,
    }
}

/// True if a hard link is impossible: other file system, too many links, or not permitted.
fn is_beyond_links(error: &RootError) -> bool {
    let errno = error.errno();
    [Errno::XDEV, Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS]
        .iter()
        .any(|one| errno == Some(*one))
}

fn sum_of(dir: &Dir, name: &[u8]) -> Result<Sha256Sum, RootError> {
    let mut sum = Sha256::new();
    let add = |bytes: &[u8]| {
        sum.update(bytes);
        Ok(())
    };
    each_part(&dir.open_regular(name)?, |error| dir.read_error(name, error), add)?;
    Ok(sum.finalize())
}

/// The error names `path`.
fn must_have_sum(
    dir: &Dir,
    name: &[u8],
    sum: &Sha256Sum,
    path: impl Fn() -> PathBuf,
) -> Result<(), SetError> {
    let damaged = |reason: &str| Err(SetError::Damaged { path: path(), reason: reason.to_owned() });
    if dir.look(name)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return damaged("it does not exist, or is not a file");
    }
    if sum_of(dir, name)? == *sum {
        Ok(())
    } else {
        damaged("its SHA-256 sum differs from the sum in MANIFEST")
    }
}

pub(crate) fn verify_set(
    set: &EarlierSet,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<(), SetError> {
    let top = Dir::of_host(&set.path)?;
    for directory in [PACKAGES, FILES] {
        if top.look(directory.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        for name in files_below(&top.dir(directory.as_bytes())?)? {
            let path = format!("{directory}/{name}");
            if !set.manifest.files.contains_key(&path) {
                let reason = "MANIFEST does not name it".to_owned();
                return Err(SetError::Damaged { path: set.path.join(path), reason });
            }
        }
    }
    let files: Vec<(&String, &SetFile)> = set.manifest.files.iter().collect();
    let verified = side_by_side(cores(), files.len(), || {
        |at: usize| {
            let Some((path, file)) = files.get(at) else { return Ok(()) };
            if let Some(signal) = interrupt() {
                return Err(SetError::Interrupted(signal));
            }
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            let mut dir = top.again()?;
            for part in above.split('/').filter(|part| !part.is_empty()) {
                dir = dir.dir(part.as_bytes())?;
            }
            must_have_sum(&dir, name.as_bytes(), &file.sum, || set.path.join(path))
        }
    });
    verified.into_iter().collect()
}

fn files_below(top: &Dir) -> Result<Vec<String>, RootError> {
    let (mut found, mut open) = (Vec::new(), vec![(top.again()?, String::new())]);
    while let Some((dir, above)) = open.pop() {
        for name in dir.names()? {
            let path = format!("{above}{}", String::from_utf8_lossy(&name));
            match dir.look(&name)?.map(|seen| seen.file_type) {
                Some(FileType::Directory) => open.push((dir.dir(&name)?, format!("{path}/"))),
                _ => found.push(path),
            }
        }
    }
    Ok(found)
}

/// Moves a filled directory into place. An equal one of an interrupted run stays.
fn enter(
    work: &BulkWork,
    sets: &Dir,
    private: &[u8],
    (name, manifest): (&str, &SetManifest),
) -> Result<(), SetError> {
    if sets.look(name.as_bytes())?.is_none() {
        sets.move_to(private, sets, name.as_bytes())?;
        return Ok(sets.sync()?);
    }
    let there = read_set(work, manifest.set)?.map(|set| set.manifest);
    if there.is_none_or(|there| there.files != manifest.files) {
        sets.exchange(private, sets, name.as_bytes())?;
        sets.sync()?;
    }
    Ok(sets.remove_tree(private)?)
}

pub(super) fn set_behind(work: &BulkWork, link: &str) -> Result<Option<EarlierSet>, SetError> {
    match number_behind(&work.directory(SETS)?, link)? {
        Some(number) => read_set(work, number),
        None => Ok(None),
    }
}

/// Returns the owners of names: locations of the newest set.
pub(crate) fn name_holders(work: &BulkWork) -> Result<NameHolders, SetError> {
    let set = set_behind(work, CURRENT)?;
    let files = set.iter().flat_map(|set| set.manifest.files.values());
    Ok(NameHolders::new(files.map(|file| (&*file.package, &*file.location))))
}

pub(crate) fn read_set(work: &BulkWork, number: u64) -> Result<Option<EarlierSet>, SetError> {
    let (sets, name) = (work.directory(SETS)?, number.to_string());
    if sets.look(name.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(None);
    }
    let path = work.path.join(SETS).join(&name);
    let damaged = |reason: String| SetError::Damaged { path: path.join(MANIFEST), reason };
    let text = sets.dir(name.as_bytes())?.read_regular(MANIFEST.as_bytes(), LARGEST_MANIFEST)?;
    let text = text.ok_or_else(|| damaged("it does not exist".to_owned()))?;
    let manifest = SetManifest::parse(&text).map_err(damaged)?;
    if manifest.set != number {
        return Err(damaged(format!("it belongs to set {}", manifest.set)));
    }
    Ok(Some(EarlierSet { path, manifest }))
}

const PATCHES: &[u8] = b"patches";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReleasedSet {
    pub run: u64,
    pub packages: u64,
    /// The number under which existing patches were put aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches_moved: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum SetReleaseError {
    #[error("run {0} has no set")]
    NoSet(u64),
    #[error("there are patches from the set that was released before")]
    HasPatches,
    /// A tree with faults, or packages left out for more than a conflict.
    #[error(
        "the set of run {run} is missing packages: {}; fix them and run again, or release it anyway with `--force`",
        first_clauses(.faults)
    )]
    Faults {
        run: u64,
        /// Packages with reasons.
        faults: Vec<String>,
    },
    #[error(transparent)]
    Report(#[from] ReportReadError),
    #[error(transparent)]
    Set(#[from] SetError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Releases a run's set after verifying it.
///
/// A set of a faulty tree is refused, and any set while patches from another set exist, unless it `is_forced`: then
/// those move to `patches.<n>`.
pub fn release(
    work: &BulkWork,
    run: u64,
    is_forced: bool,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<ReleasedSet, SetReleaseError> {
    let set = read_set(work, run)?.ok_or(SetReleaseError::NoSet(run))?;
    if !is_forced {
        must_be_without_faults(work, run)?;
    }
    verify_set(&set, interrupt)?;
    let sets = work.directory(SETS)?;
    let is_another = number_behind(&sets, RELEASED)? != Some(run);
    let patches_moved = if is_another { put_patches_aside(work, is_forced)? } else { None };
    lead(&sets, RELEASED, &run.to_string())?;
    let packages: std::collections::BTreeSet<&str> =
        set.manifest.files.values().map(|file| file.package.as_str()).collect();
    Ok(ReleasedSet { run, packages: packages.len() as u64, patches_moved })
}

/// A pruned report does not block the release.
fn must_be_without_faults(work: &BulkWork, run: u64) -> Result<(), SetReleaseError> {
    match read_report(work, run).map(|report| report.faults()) {
        Err(ReportReadError::None(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(faults) if faults.is_empty() => Ok(()),
        Ok(faults) => Err(SetReleaseError::Faults { run, faults }),
    }
}

fn put_patches_aside(work: &BulkWork, moves_patches: bool) -> Result<Option<u32>, SetReleaseError> {
    if work.dir.look(PATCHES)?.is_none_or(|seen| seen.file_type != FileType::Directory)
        || work.dir.dir(PATCHES)?.names()?.is_empty()
    {
        return Ok(None);
    }
    if !moves_patches {
        return Err(SetReleaseError::HasPatches);
    }
    let mut number = 1;
    while work.dir.look(format!("patches.{number}").as_bytes())?.is_some() {
        number += 1;
    }
    work.dir.move_to(PATCHES, &work.dir, format!("patches.{number}").as_bytes())?;
    work.dir.sync()?;
    Ok(Some(number))
}

//! The pkginfo facts of packages that a run leaves for the stamp of `contents`: those of the previous stamp, with the
//! changes of the plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::bound_packages::{BoundPackage, BoundPackages};
use crate::plan::{Action, Plan, RecordChange, TreeContent};
use crate::records::{RecordView, ViewError};
use patchadm_rootfs::{Digest, FileType};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The largest pkginfo that is read.
pub(super) const LARGEST: u64 = patchadm_svr4::format::params::LARGEST_FILE as u64;

/// Returns the packages as run number `run` leaves them.
pub(super) fn after(view: &RecordView<'_>, plan: &Plan, run: u64) -> Result<BoundPackages, ViewError> {
    let mut bound = view.last_records().map(|last| last.packages().clone()).unwrap_or_default();
    for (package, change) in changes(plan) {
        if change.is_gone {
            bound.remove(&package);
        }
        let known = bound.get_mut(&package);
        match (change.pkginfo, known) {
            (Some(pkginfo), known) => {
                let given_up = known.as_ref().map(|known| known.given_up.clone()).unwrap_or_default();
                let was_spooled = known.map(|known| known.is_spooled);
                let is_spooled = match change.is_spooled {
                    Some(is_spooled) => is_spooled,
                    // A copy that has gone since stays missed.
                    None => was_spooled == Some(true) || is_spooled(view, &package)?,
                };
                bound.set(package, BoundPackage { run, pkginfo, is_spooled, given_up });
            }
            (None, Some(known)) => known.is_spooled = change.is_spooled.unwrap_or(known.is_spooled),
            (None, None) => {}
        }
    }
    give_up(&mut bound, view, plan, run)?;
    Ok(bound)
}

/// What a plan does to the records of one package.
#[derive(Default)]
struct PackageChange {
    /// The digest of the last pkginfo that the plan writes.
    pkginfo: Option<Digest>,
    /// Whether there is a spooled copy afterwards; `None` if the plan does not touch it.
    is_spooled: Option<bool>,
    /// Whether the directory is removed, even if it is made again later.
    is_gone: bool,
}

/// Returns what a plan does to each package, in the order of its records.
fn changes(plan: &Plan) -> BTreeMap<PkgInst, PackageChange> {
    let mut changes: BTreeMap<PkgInst, PackageChange> = BTreeMap::new();
    let mut note = |path: &ObjectPath, bytes: Option<&[u8]>| {
        let Some(package) = package_of(path) else { return };
        let (pkginfo, map) = (places::pkginfo(&package), places::delivered_pkgmap(&package));
        let change = changes.entry(package).or_default();
        match bytes {
            Some(bytes) if *path == pkginfo => change.pkginfo = Some(Digest::of(bytes)),
            _ if *path == map => change.is_spooled = Some(bytes.is_some()),
            None if pkginfo.is_below(path) => {
                *change = PackageChange { is_gone: true, ..PackageChange::default() }
            }
            None if map.is_below(path) => change.is_spooled = Some(false),
            _ => {}
        }
    };
    for record in &plan.records {
        match record {
            RecordChange::Write { path, bytes, .. } => note(path, Some(bytes)),
            RecordChange::RemoveFile(path) | RecordChange::RemoveTree(path) => note(path, None),
            RecordChange::AddTree { path, files } => {
                for file in files.iter().filter(|file| is_bound(path, &file.name)) {
                    if let (TreeContent::Bytes(bytes), Ok(path)) = (&file.content, path.join(&file.name)) {
                        note(&path, Some(bytes));
                    }
                }
            }
            _ => {}
        }
    }
    changes
}

/// Returns whether a file of a new directory is bound.
fn is_bound(directory: &ObjectPath, name: &[u8]) -> bool {
    let is_of_packages = directory.is_below(&places::packages());
    is_of_packages && (name == b"pkginfo" || name.ends_with(b"pkgmap"))
}

/// Returns the package whose records include a path.
pub(super) fn package_of(path: &ObjectPath) -> Option<PkgInst> {
    let packages = places::packages();
    let below = path.is_below(&packages).then(|| path.as_bytes().get(packages.as_bytes().len() + 1..))??;
    let name = below.split(|byte| *byte == b'/').next()?;
    PkgInst::new(std::str::from_utf8(name).ok()?).ok()
}

/// Notes the lines that a plan takes from its packages while the objects stay, and forgets those that it gives back.
fn give_up(bound: &mut BoundPackages, view: &RecordView<'_>, plan: &Plan, run: u64) -> Result<(), ViewError> {
    if plan.contents.is_empty() {
        return Ok(());
    }
    let deletes = plan.changes.iter().filter(|change| matches!(change.action, Action::Delete));
    let deleted: BTreeSet<&ObjectPath> = deletes.map(|change| &change.path).collect();
    let new = new_packages(plan);
    for package in plan.packages.iter().filter(|package| !new.contains(package)) {
        let taken: Vec<&ObjectPath> = plan
            .contents
            .iter()
            .filter(|(path, line)| {
                line.as_ref().is_none_or(|line| !line.is_owned_by(package)) && !deleted.contains(path)
            })
            .map(|(path, _)| path)
            .collect();
        if !taken.is_empty() && bound.get(package).is_none() {
            // A package about which nothing is known yet is bound as it is.
            let Some(now) = view.read(&places::pkginfo(package), LARGEST)? else { continue };
            let is_spooled = is_spooled(view, package)?;
            let (pkginfo, given_up) = (Digest::of(&now), BTreeSet::new());
            bound.set(package.clone(), BoundPackage { run, pkginfo, is_spooled, given_up });
        }
        let Some(known) = bound.get_mut(package) else { continue };
        known.given_up.extend(taken.into_iter().cloned());
        for (path, line) in &plan.contents {
            if line.as_ref().is_some_and(|line| line.is_owned_by(package)) {
                known.given_up.remove(path);
            }
        }
    }
    Ok(())
}

/// Returns the packages whose directories a plan makes: they had no line that it could take.
fn new_packages(plan: &Plan) -> BTreeSet<PkgInst> {
    let made = plan.records.iter().filter_map(|record| match record {
        RecordChange::AddTree { path, .. } => {
            package_of(path).filter(|package| places::package(package) == *path)
        }
        _ => None,
    });
    made.collect()
}

/// Returns whether a package currently has a copy of its pkgmap.
fn is_spooled(view: &RecordView<'_>, package: &PkgInst) -> Result<bool, ViewError> {
    let seen = view.look(&places::delivered_pkgmap(package))?;
    Ok(seen.is_some_and(|seen| seen.file_type == FileType::Regular))
}

//! The records of an installed package: of a new instance, over an installed one, or in place of damaged records or
//! another version's.

use std::collections::BTreeSet;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_svr4::package::{Mode, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchMacros, PatchRecords};

use super::remove::patch_directories;
use crate::plan::clock::Now;
use crate::plan::parameters::{merged, note_update, patch_of_info, speak_for_last_patch};
use crate::plan::records::{INSTALL_LOCK, NewRecord, REMOVAL_LOCK, RecordChanges, package_path};
use crate::plan::refusal::Reason;
use crate::plan::scripts::{is_passing, is_recorded};
use crate::plan::target::{PackageTarget, classes};
use crate::plan::{LedgerChange, RecordChange, TreeContent, TreeFile, records, target};

/// A package with a damaged record: its installed state is unknown, and its patches end.
#[derive(Clone, Debug, Default)]
pub struct DamagedPackage {
    /// The fault of the record.
    pub reason: String,
    /// The package has a directory in the database.
    pub is_there: bool,
    /// The files in that directory.
    pub installed: Installed,
    /// Save directories of patches, by name.
    pub saved: Vec<String>,
    /// Patches that end: those of the ledger, and those with only a save directory.
    pub ended: Vec<String>,
}

impl DamagedPackage {
    pub(super) fn notes(&self, package: &PkgInst) -> Vec<String> {
        let mut notes =
            vec![format!("package {package}: its record was damaged and is rebuilt ({})", self.reason)];
        if !self.ended.is_empty() {
            notes.push(format!(
                "patches of package {package} end with its old record, and can be applied again: {}",
                self.ended.join(" ")
            ));
        }
        notes
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RecordedBefore<'a> {
    Nothing,
    /// The package overwrites it.
    Instance(&'a Installed),
    /// Goes completely.
    OtherVersion(&'a Installed),
    /// Created again.
    Damaged(&'a DamagedPackage),
}

/// A new instance is one tree, with an `install` directory even if that is empty. For an installed one, only changed
/// files are written.
pub(super) fn package_records(
    target: &PackageTarget<'_>,
    before: RecordedBefore<'_>,
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let package = &target.package;
    let stays = |name: &str| is_recorded(name) && !is_passing(name);
    let files = records::files(package, target.image, &target.params, stays)?;
    let patches = |ids: &str| patch_directories(package, ids, inventory);
    Ok(match before {
        RecordedBefore::Nothing => vec![new_directory(package, files)?],
        RecordedBefore::Instance(old) => {
            let mut changes = RecordChanges::of(package, old, files)?.changes;
            changes.push(RecordChange::Ledger(LedgerChange::of(package)));
            changes
        }
        RecordedBefore::OtherVersion(old) => {
            let mut changes = replaced(target, old, old.saves.keys(), files)?;
            if let Some(lock) = lock_of(old) {
                changes.push(RecordChange::RemoveFile(package_path(package, lock.as_bytes())?));
            }
            changes.extend(patches(&old.params.text("PATCHLIST"))?);
            changes.push(anew(package));
            changes
        }
        RecordedBefore::Damaged(damaged) => {
            let mut changes = if damaged.is_there {
                replaced(target, &damaged.installed, &damaged.saved, files)?
            } else {
                vec![new_directory(package, files)?]
            };
            changes.extend(patches(&damaged.ended.join(" "))?);
            changes.push(anew(package));
            changes
        }
    })
}

/// Replaces the whole directory. Patches end; class script data stays for remaining classes.
fn replaced<'s>(
    target: &PackageTarget<'_>,
    old: &Installed,
    saved: impl IntoIterator<Item = &'s String>,
    files: Vec<NewRecord>,
) -> Result<Vec<RecordChange>, Reason> {
    let of_classes: Vec<String> =
        classes(&target.params).iter().map(|class| format!("save/{class}/")).collect();
    in_place(&target.package, old, saved, files, &of_classes)
}

pub(in crate::plan) fn in_place<'s>(
    package: &PkgInst,
    old: &Installed,
    saved: impl IntoIterator<Item = &'s String>,
    files: Vec<NewRecord>,
    kept: &[String],
) -> Result<Vec<RecordChange>, Reason> {
    let mut staying: BTreeSet<Vec<u8>> = files.iter().map(|file| file.name.clone().into_bytes()).collect();
    let is_kept = |name: &&Vec<u8>| kept.iter().any(|directory| name.starts_with(directory.as_bytes()));
    staying.extend(old.records.keys().filter(is_kept).cloned());
    let mut changes = RecordChanges::of(package, old, files)?.changes;
    let is_empty = |directory: &&Vec<u8>| {
        let inside = [directory, &b"/"[..]].concat();
        // A directory in the place of a new record goes
        let is_record = staying.contains(*directory);
        *directory != b"install" && !is_record && !staying.iter().any(|name| name.starts_with(&inside))
    };
    let mut gone: Vec<Vec<u8>> = Vec::new();
    for directory in old.directories.iter().filter(is_empty) {
        if !is_inside(directory, &gone) {
            changes.push(RecordChange::RemoveTree(package_path(package, directory)?));
            gone.push(directory.clone());
        }
    }
    for name in old.records.keys().filter(|name| !staying.contains(*name) && !is_inside(name, &gone)) {
        changes.push(RecordChange::RemoveFile(package_path(package, name)?));
    }
    for id in saved {
        changes.push(RecordChange::RemoveTree(package_path(package, format!("save/{id}").as_bytes())?));
    }
    Ok(changes)
}

fn lock_of(old: &Installed) -> Option<&'static str> {
    let lock = if old.interruption.is_locked { INSTALL_LOCK } else { REMOVAL_LOCK };
    old.partial.then_some(lock)
}

fn is_inside(name: &[u8], directories: &[Vec<u8>]) -> bool {
    let rest = |directory: &Vec<u8>| name.strip_prefix(directory.as_slice());
    directories.iter().filter_map(rest).any(|rest| rest.starts_with(b"/"))
}

fn new_directory(package: &PkgInst, files: Vec<NewRecord>) -> Result<RecordChange, Reason> {
    let files = files.into_iter().map(|file| TreeFile {
        name: file.name.into_bytes(),
        content: TreeContent::Bytes(file.bytes),
        mode: Mode::of(0o644),
        mtime: file.mtime,
    });
    // pkgadd(1M) makes it for every package
    let install = TreeFile {
        name: b"install".to_vec(),
        content: TreeContent::Directory,
        mode: Mode::of(0o755),
        mtime: None,
    };
    Ok(RecordChange::AddTree { path: package_path(package, b"")?, files: files.chain([install]).collect() })
}

/// Starts without patches; the old ledger is not read.
fn anew(package: &PkgInst) -> RecordChange {
    RecordChange::Ledger(LedgerChange { is_anew: true, ..LedgerChange::of(package) })
}

pub fn is_of_patch(delivered: &Params) -> bool {
    target::is_patch(delivered)
}

/// Returns the parameters of a package that was installed at `now` and never patched. Its environment and the answers
/// of its scripts are not known.
pub fn installed_params(package: &PkgInst, delivered: &Params, now: &Now) -> Params {
    merged(package, &Params::new(), delivered, &Params::new(), now)
}

/// Returns the parameters that an undo archive saved. `PATCH_INFO` of the patches that it left out follows the first
/// one that it has, because they all stand there unless they are moved.
pub fn with_patch_info(found: &Params, left_out: Vec<(String, Vec<u8>)>) -> Params {
    let mut whole = Params::with_room_of(found);
    let mut left_out = left_out.into_iter();
    for (name, value) in found.iter() {
        whole.push(name, value);
        if patch_of_info(name).is_some() {
            left_out.by_ref().for_each(|(name, value)| whole.push(&name, value));
        }
    }
    left_out.for_each(|(name, value)| whole.push(&name, value));
    whole
}

/// Returns the parameters of a package after a patch that was applied at `now`, computed from the earlier ones; `None`
/// if the delivered parameters are not those of that patch. The answers of its scripts are not known.
pub fn patched_params(
    package: &PkgInst,
    old: &Params,
    delivered: &Params,
    id: &PatchId,
    separator: &str,
    now: &Now,
) -> Option<Params> {
    let macros = PatchMacros::from_params(delivered, separator).ok()??;
    let mut applied = PatchRecords::from_params(package, old, separator).ok()?;
    if macros.id != *id || !applied.record_applied(id, macros.installed(&now.patch_date(), &now.host)) {
        return None;
    }
    let mut new = merged(package, old, delivered, &Params::new(), now);
    note_update(&mut new);
    speak_for_last_patch(&mut new, delivered, id.as_str(), &macros.obsoletes.to_string());
    applied.write(id, &mut new);
    Some(new)
}

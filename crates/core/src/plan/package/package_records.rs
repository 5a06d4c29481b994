//! The records of a package that is installed: of a new instance, over those of an installed one, or in the place of damaged
//! ones.

use std::collections::BTreeSet;

use super::remove::patch_directories;
use crate::inventory::{Installed, Inventory};
use crate::plan::ledger::LedgerChange;
use crate::plan::records::{self, NewRecord, RecordChanges, package_path};
use crate::plan::refusal::Reason;
use crate::plan::scripts::{is_passing, is_recorded};
use crate::plan::target::PackageTarget;
use crate::plan::{RecordChange, TreeContent, TreeFile};
use patchadm_svr4::package::{Mode, PkgInst};

/// A package whose record is damaged: nothing is known of what is installed, and its patches end.
#[derive(Clone, Debug, Default)]
pub struct DamagedPackage {
    /// What is wrong with the record.
    pub reason: String,
    /// Whether the package has a directory in the database.
    pub is_there: bool,
    /// The files in that directory.
    pub installed: Installed,
    /// The save directories of patches, by name.
    pub saved: Vec<String>,
    /// The patches that end, as the ledger has them, and those that have nothing but a save directory.
    pub ended: Vec<String>,
}

impl DamagedPackage {
    /// What is said of it.
    pub(super) fn notes(&self, package: &PkgInst) -> Vec<String> {
        let mut notes =
            vec![format!("package {package}: its record was damaged and is made anew ({})", self.reason)];
        if !self.ended.is_empty() {
            notes.push(format!(
                "patches of package {package} end with its old record, and can be applied again: {}",
                self.ended.join(" ")
            ));
        }
        notes
    }

    /// The changes of its directory: what is installed takes the place of what is there, and nothing of a patch stays.
    fn records(
        &self,
        package: &PkgInst,
        files: Vec<NewRecord>,
        inventory: &Inventory,
    ) -> Result<Vec<RecordChange>, Reason> {
        let names: BTreeSet<Vec<u8>> = files.iter().map(|file| file.name.clone().into_bytes()).collect();
        let mut changes = RecordChanges::of(package, &self.installed, files)?.changes;
        for name in self.installed.records.keys().filter(|name| !names.contains(*name)) {
            changes.push(RecordChange::RemoveFile(package_path(package, name)?));
        }
        for id in &self.saved {
            changes.push(RecordChange::RemoveTree(package_path(package, format!("save/{id}").as_bytes())?));
        }
        changes.extend(patch_directories(package, &self.ended.join(" "), inventory)?);
        Ok(changes)
    }
}

/// The directory of a new instance as one tree, with an `install` even where nothing is in it, or the changed files of
/// an installed one. Scripts that only an installation has a use for are not among them.
pub(super) fn package_records(
    target: &PackageTarget<'_>,
    old: Option<&Installed>,
    damaged: Option<&DamagedPackage>,
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let stays = |name: &str| is_recorded(name) && !is_passing(name);
    let files = records::files(&target.package, target.image, &target.params, stays)?;
    if let Some(old) = old {
        let mut changes = RecordChanges::of(&target.package, old, files)?.changes;
        changes.push(RecordChange::Ledger(LedgerChange::of(&target.package)));
        return Ok(changes);
    }
    if let Some(damaged) = damaged.filter(|damaged| damaged.is_there) {
        let mut changes = damaged.records(&target.package, files, inventory)?;
        changes.push(anew(&target.package));
        return Ok(changes);
    }
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
    let path = package_path(&target.package, b"")?;
    let mut changes = vec![RecordChange::AddTree { path, files: files.chain([install]).collect() }];
    if let Some(damaged) = damaged {
        changes.extend(patch_directories(&target.package, &damaged.ended.join(" "), inventory)?);
        changes.push(anew(&target.package));
    }
    Ok(changes)
}

/// The ledger of a package that no patch is applied to; what is there is not looked at.
fn anew(package: &PkgInst) -> RecordChange {
    RecordChange::Ledger(LedgerChange { is_anew: true, ..LedgerChange::of(package) })
}

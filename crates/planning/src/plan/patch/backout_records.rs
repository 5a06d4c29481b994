//! The records of a package while patches go from it: its parameters and record files, patch by patch.

use std::collections::BTreeMap;

use super::backout_input::{BackoutArchive, Later};
use super::handing_down::{Before, Left, Package, TakenRecords};
use super::interrupted;
use super::later::{AppliedPackages, ListedPatches};
use super::projected_root::ProjectedRoot;
use crate::plan::clock::Now;
use crate::plan::ledger::LedgerChange;
use crate::plan::parameters;
use crate::plan::records::{package_path, reactivate, save_of};
use crate::plan::refusal::Reason;
use crate::plan::{RecordChange, UndoPart};
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{Manifest, encode};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_svr4::format::params;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchRecords};
use patchadm_svr4::places;

/// A package whose records go back, one patch after another.
pub(super) struct RecordsBefore<'a> {
    package: &'a PkgInst,
    separator: &'a str,
    /// Its patches.
    pub(super) listed: ListedPatches<'a>,
    /// What it records of those that are there still.
    applied: PatchRecords,
    /// The permissions of its pkginfo, once a patch has gone.
    pkginfo: Option<Mode>,
    /// Whether the patch that made the package has gone, and the package with it.
    is_gone: bool,
    /// The package after the patches that went so far.
    root: ProjectedRoot,
    /// What has become different so far, its pkginfo apart.
    changes: Vec<RecordChange>,
    /// What patches that stay take over.
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

/// What is left of a package whose patches have gone.
pub(super) struct RecordsAfter<'a> {
    /// All its patches.
    pub(super) listed: ListedPatches<'a>,
    /// What becomes of its records.
    pub(super) changes: Vec<RecordChange>,
    /// What patches that stay take over.
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

impl<'a> RecordsBefore<'a> {
    /// The package as it is.
    pub(super) fn of(among: &AppliedPackages<'a>, package: &'a PkgInst, now: &Now) -> Result<Self, Reason> {
        let packages = among.inventory.packages.get_key_value(package);
        let packages =
            packages.map(|(name, installed)| (name.clone(), installed.clone())).into_iter().collect();
        let inventory = Inventory { packages, ..Inventory::default() };
        let root = ProjectedRoot::new(inventory, Touched::default(), now.timestamp());
        let applied = among.applied(package)?;
        let listed = ListedPatches::of(package, &applied.list, &among.going, among.known);
        Ok(Self {
            package,
            separator: among.separator,
            listed,
            applied,
            pkginfo: None,
            is_gone: false,
            root,
            changes: Vec::new(),
            taken: BTreeMap::new(),
        })
    }

    /// The parameters of the package after the patches that went so far.
    pub(super) fn params(&self) -> Option<&Params> {
        Some(&self.root.inventory.packages.get(self.package)?.params)
    }

    /// The package after the patches that went. Its pkginfo is written once, however many they are.
    pub(super) fn after(self) -> Result<RecordsAfter<'a>, Reason> {
        let Self { package, listed, pkginfo, is_gone, root, mut changes, taken, .. } = self;
        let installed = root.inventory.packages.get(package).filter(|_| !is_gone);
        if let (Some(mode), Some(installed)) = (pkginfo, installed) {
            changes.push(RecordChange::Write {
                path: package_path(package, b"pkginfo")?,
                bytes: params::write(&installed.params),
                mode,
                mtime: None,
            });
        }
        Ok(RecordsAfter { listed, changes, taken })
    }

    /// Takes a patch out; the parameters then.
    pub(super) fn back_out(&mut self, id: &PatchId, archive: &BackoutArchive<'_>) -> Result<Params, Reason> {
        let (params, changes, taken) = self.records(id, archive)?;
        for change in &changes {
            self.root.record(change);
        }
        if let Some(installed) = self.root.inventory.packages.get_mut(self.package) {
            installed.params = params.clone();
        }
        self.changes.extend(changes);
        for (later, taken) in taken {
            self.taken.entry(later).or_default().add(taken);
        }
        Ok(params)
    }

    /// The records as they were before a patch.
    fn records(&mut self, id: &PatchId, archive: &BackoutArchive<'_>) -> Result<RecordsLeft, Reason> {
        let (package, separator) = (self.package, self.separator);
        let installed = self.root.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        let later = &self.listed.later(id);
        let old = old_params(package, archive)?;
        let heir = later.first().filter(|(_, manifest)| manifest.is_some());
        let told = archive.manifest.filter(|_| heir.is_some()).map(|manifest| info_of_others(manifest, &old));
        let set_by_unknown = |name: &str| set_by_unknown(name, later, &installed.params, id);
        let set_later = |name: &str| set_by_known(name, later) || set_by_unknown(name);
        let mut left = Left::default();
        let mut new = match archive.manifest {
            Some(manifest) => {
                let before = Before::of(manifest, old, archive.records);
                left = Package { name: package, installed }.hand_down(manifest, &before, later)?;
                let is_set = |name: &str| left.set_again.contains(name) || set_by_unknown(name);
                let (current, names) = (&installed.params, &manifest.header.parameters);
                let mut new = parameters::taken_back(current, &before.params, names, is_set);
                if let Some(classes) = &left.classes {
                    new.set("CLASSES", classes);
                }
                new
            }
            None => parameters::taken_back_from_foreign(&installed.params, &old, set_later),
        };
        self.applied.record_backed_out(id);
        self.applied.write(id, &mut new);
        parameters::forget_overtaken(id, &mut new);
        let mode = |files: &BTreeMap<Vec<u8>, RecordFile>| Some(files.get(&b"pkginfo"[..])?.mode);
        let known = mode(archive.records).or(self.pkginfo).or_else(|| mode(&installed.records));
        self.pkginfo = known.or(Some(Mode::of(0o644)));
        let mut changes = reactivate(package, installed, id, separator)?;
        if let Some((name, _)) = save_of(installed, id, separator) {
            let save = package_path(package, format!("save/{name}").as_bytes())?;
            changes.push(RecordChange::RemoveTree(save));
        }
        changes.extend(interrupted::forget(package, installed, id, separator)?);
        changes.extend(left.changes);
        if archive.manifest.is_some_and(|manifest| manifest.header.made_package()) {
            if let Some((heir, _)) = later.first() {
                left.taken.entry(heir.clone()).or_default().makes_package = true;
            } else {
                self.is_gone = true;
                changes.push(RecordChange::RemoveTree(places::package(package)));
            }
        }
        if let (Some((heir, _)), Some(told)) = (heir, told) {
            left.taken.entry(heir.clone()).or_default().patch_info.extend(told);
        }
        changes.push(RecordChange::Ledger(LedgerChange::of(package)));
        Ok((new, changes, left.taken))
    }
}

/// Parameters afterwards, changes, and what patches that stay take over.
type RecordsLeft = (Params, Vec<RecordChange>, BTreeMap<PatchId, TakenRecords>);

/// The parameters before the patch: the saved pkginfo, or that of a foreign backout package.
fn old_params(package: &PkgInst, archive: &BackoutArchive<'_>) -> Result<Params, Reason> {
    let Some(file) = archive.records.get(&b"pkginfo"[..]) else {
        return match archive.manifest {
            None => Ok(archive.image.params.clone()),
            Some(manifest) if manifest.header.made_package() => Ok(archive.image.params.clone()),
            Some(_) => Err(Reason::BadUndoData {
                package: package.clone(),
                reason: "the saved pkginfo is missing".to_owned(),
            }),
        };
    };
    params::read(&file.bytes).map_err(|error| Reason::BadUndoData {
        package: package.clone(),
        reason: format!("the saved pkginfo: {error}"),
    })
}

/// The lines of applied patches that an archive has, in its manifest or in the pkginfo that it saved.
pub fn info_of_others(manifest: &Manifest, old: &Params) -> BTreeMap<String, String> {
    let list = old.text("PATCHLIST");
    let saved = list.split_whitespace().filter_map(|id| {
        let value = old.get(&format!("{}{id}", parameters::PATCH_INFO))?;
        Some((id.to_owned(), encode(value)))
    });
    saved.chain(manifest.header.patch_info.clone()).collect()
}

/// Whether a later patch with a manifest has set a parameter again.
fn set_by_known(name: &str, later: &Later<'_>) -> bool {
    let mut manifests = later.iter().filter_map(|(_, manifest)| *manifest);
    manifests.any(|manifest| manifest.header.parameters.iter().any(|set| set == name))
}

/// Whether a later patch without manifest has set a parameter again: of such a one only the usual words are known.
fn set_by_unknown(name: &str, later: &Later<'_>, current: &Params, id: &PatchId) -> bool {
    let unknown = later.iter().any(|(_, manifest)| manifest.is_none());
    let last = current.text("SUNW_PATCHID");
    unknown && parameters::is_word_of_last_patch(name) && last.as_ref() != id.as_str()
}

/// The changes of several patches as one run makes them: the last word on each file counts, and of a directory that goes
/// nothing else is said.
pub(super) fn fold(changes: Vec<RecordChange>) -> Vec<RecordChange> {
    let mut folded: Vec<RecordChange> = Vec::new();
    for change in changes {
        match &change {
            RecordChange::RemoveTree(path) => folded.retain(|known| {
                let is_in = |at: &ObjectPath| at == path || at.is_below(path);
                let from = if let RecordChange::Move { from, .. } = known { is_in(from) } else { false };
                !is_in(known.path()) && !from
            }),
            RecordChange::Ledger(new) => {
                let known = folded.iter_mut().find_map(|known| match known {
                    RecordChange::Ledger(known) if known.path == new.path => Some(known),
                    _ => None,
                });
                if let Some(known) = known {
                    known.add(new);
                    continue;
                }
            }
            RecordChange::Undo { .. } => {
                add_undo(&mut folded, change);
                continue;
            }
            _ => folded
                .retain(|known| known.path() != change.path() || matches!(known, RecordChange::Move { .. })),
        }
        folded.push(change);
    }
    folded
}

/// Adds a file of undo data that is written anew, which another change may rename or write at the same time.
fn add_undo(folded: &mut Vec<RecordChange>, mut change: RecordChange) {
    let RecordChange::Undo { path, part, .. } = &mut change else { return };
    for known in folded.iter_mut() {
        match known {
            RecordChange::Move { from, to } if from == path => {
                *path = to.clone();
                *known = RecordChange::RemoveFile(from.clone());
            }
            _ => {}
        }
    }
    let written =
        folded.iter().position(|known| matches!(known, RecordChange::Write { path: at, .. } if at == path));
    if let Some(RecordChange::Write { bytes, .. }) = written.map(|at| folded.remove(at))
        && let (UndoPart::Pointer(pointer), Ok(new)) = (part, RemoteArchive::parse(&bytes))
    {
        *pointer = new;
    }
    folded.push(change);
}

//! The records of a package during a backout: its parameters and record files, patch by patch.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{UndoManifest, encode};
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_svr4::format::params;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchRecords};
use patchadm_svr4::places;

use super::backout_input::{BackoutArchive, Later};
use super::interrupted;
use super::later::{AppliedPackages, ListedPatches};
use super::projected_root::ProjectedRoot;
use crate::plan::clock::Now;
use crate::plan::parameters::{is_patch_record, union_of_classes};
use crate::plan::records::{package_path, reactivate, save_of, unmake};
use crate::plan::refusal::Reason;
use crate::plan::target::classes;
use crate::plan::{LedgerChange, RecordChange, UndoPart, parameters};

pub(super) struct RecordsBefore<'a> {
    package: &'a PkgInst,
    separator: &'a str,
    pub(super) listed: ListedPatches<'a>,
    applied: PatchRecords,
    /// Of pkginfo, once a patch has gone.
    pkginfo: Option<Mode>,
    /// The patch that created the package has gone.
    is_gone: bool,
    root: ProjectedRoot,
    changes: Vec<RecordChange>,
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

pub(super) struct RecordsAfter<'a> {
    pub(super) listed: ListedPatches<'a>,
    pub(super) changes: Vec<RecordChange>,
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

impl<'a> RecordsBefore<'a> {
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

    pub(super) fn params(&self) -> Option<&Params> {
        Some(&self.root.inventory.packages.get(self.package)?.params)
    }

    /// pkginfo is written once, for all patches together.
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
                let before = SavedByPatch::of(manifest, old, archive.records);
                left = RecordedPackage { name: package, installed }.hand_down(manifest, &before, later)?;
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

type RecordsLeft = (Params, Vec<RecordChange>, BTreeMap<PatchId, TakenRecords>);

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
    params::parse(&file.bytes).map_err(|error| Reason::BadUndoData {
        package: package.clone(),
        reason: format!("the saved pkginfo: {error}"),
    })
}

/// Returns the lines of applied patches that an archive has, in its manifest or in the pkginfo that it saved.
pub fn info_of_others(manifest: &UndoManifest, old: &Params) -> BTreeMap<String, String> {
    let list = old.text("PATCHLIST");
    let saved = list.split_whitespace().filter_map(|id| {
        let value = old.get(&format!("{}{id}", parameters::PATCH_INFO))?;
        Some((id.to_owned(), encode(value)))
    });
    saved.chain(manifest.header.patch_info.clone()).collect()
}

fn set_by_known(name: &str, later: &Later<'_>) -> bool {
    let mut manifests = later.iter().filter_map(|(_, manifest)| *manifest);
    manifests.any(|manifest| manifest.header.parameters.iter().any(|set| set == name))
}

/// Without a manifest, only the usual names are known.
fn set_by_unknown(name: &str, later: &Later<'_>, current: &Params, id: &PatchId) -> bool {
    let unknown = later.iter().any(|(_, manifest)| manifest.is_none());
    let last = current.text("SUNW_PATCHID");
    unknown && parameters::is_word_of_last_patch(name) && last.as_ref() != id.as_str()
}

/// The last change of a file counts, and a removed directory swallows the changes below it.
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

// An archive has parameters and record files as its patch found them, with the changes of earlier patches. If an
// earlier patch goes first, its saved values go to the next patch that set the parameter or wrote the record, and
// `rewrite` writes that archive anew. CLASSES has the classes of the package and of every patch.

const CLASSES: &str = "CLASSES";

/// `None` for a file that did not exist. Names of directories end with `/`.
pub(super) type RecordsFound = BTreeMap<Vec<u8>, Option<RecordFile>>;

/// The values that a staying patch inherits, as the going patch found them.
#[derive(Clone, Debug, Default)]
pub(super) struct TakenRecords {
    pub(super) parameters: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) records: RecordsFound,
    /// Lines that only the going patch's undo data has
    /// ([`ManifestHeader::patch_info`](patchadm_changeset::format::manifest::ManifestHeader::patch_info)).
    pub(super) patch_info: BTreeMap<String, String>,
    pub(super) makes_package: bool,
}

#[derive(Clone, Copy)]
struct RecordedPackage<'a> {
    name: &'a PkgInst,
    installed: &'a Installed,
}

#[derive(Debug)]
struct SavedByPatch {
    params: Params,
    records: RecordsFound,
}

#[derive(Debug, Default)]
struct Left {
    set_again: BTreeSet<String>,
    classes: Option<String>,
    changes: Vec<RecordChange>,
    taken: BTreeMap<PatchId, TakenRecords>,
}

type TakenOver = BTreeMap<usize, TakenRecords>;

impl TakenRecords {
    /// The earlier patch wins.
    pub(super) fn add(&mut self, earlier: Self) {
        self.parameters.extend(earlier.parameters);
        self.records.extend(earlier.records);
        self.patch_info.extend(earlier.patch_info);
        self.makes_package |= earlier.makes_package;
    }
}

impl SavedByPatch {
    fn of(manifest: &UndoManifest, params: Params, records: &BTreeMap<Vec<u8>, RecordFile>) -> Self {
        let saved = records.iter().filter(|(name, _)| name.as_slice() != b"pkginfo");
        let made = manifest.header.made_records.iter().map(|name| (name.clone().into_bytes(), None));
        let mut found: RecordsFound = made.collect();
        found.extend(saved.map(|(name, file)| (name.clone(), Some(file.clone()))));
        Self { params, records: found }
    }
}

impl RecordedPackage<'_> {
    /// Passes the old state to the next patch that set or wrote it, or restores it.
    fn hand_down(
        &self,
        manifest: &UndoManifest,
        before: &SavedByPatch,
        later: &Later<'_>,
    ) -> Result<Left, Reason> {
        let mut left = Left::default();
        let mut taken = TakenOver::new();
        hand_down_parameters(manifest, &before.params, later, &mut left, &mut taken);
        classes_without(manifest, &before.params, later, &mut left, &mut taken);
        self.records(&before.records, later, &mut left, &mut taken)?;
        for (at, taken) in taken {
            // The changes of a patch without a known manifest stay.
            let known = later.get(at).filter(|(_, manifest)| manifest.is_some());
            left.taken.extend(known.map(|(id, _)| (id.clone(), taken)));
        }
        Ok(left)
    }

    fn records(
        &self,
        before: &RecordsFound,
        later: &Later<'_>,
        left: &mut Left,
        taken: &mut TakenOver,
    ) -> Result<(), Reason> {
        let mut unmade = Vec::new();
        for (name, file) in before {
            let next = later.iter().position(|(_, manifest)| manifest.is_none_or(|next| writes(next, name)));
            match (next, file) {
                (Some(at), _) => {
                    taken.entry(at).or_default().records.insert(name.clone(), file.clone());
                }
                (None, Some(file)) => left.changes.push(RecordChange::Write {
                    path: package_path(self.name, name)?,
                    bytes: file.bytes.to_vec(),
                    mode: file.mode,
                    mtime: Some(file.mtime),
                }),
                (None, None) => unmade.extend(String::from_utf8(name.clone()).ok()),
            }
        }
        left.changes.extend(unmake(self.name, self.installed, &unmade)?);
        Ok(())
    }
}

/// Removes a parameter that later patches only clear by omission.
fn hand_down_parameters(
    manifest: &UndoManifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    let is_own = |name: &&String| !is_patch_record(name) && *name != CLASSES;
    for name in manifest.header.parameters.iter().filter(is_own) {
        let value = before.get(name);
        for (at, (_, manifest)) in later.iter().enumerate() {
            let header = manifest.map(|manifest| &manifest.header);
            let Some(header) = header.filter(|header| header.parameters.contains(name)) else { continue };
            let taken = taken.entry(at).or_default();
            taken.parameters.insert(name.clone(), value.map(<[u8]>::to_vec));
            if value.is_some() || !header.silent.contains(name) {
                left.set_again.insert(name.clone());
                break;
            }
        }
    }
}

fn classes_without(
    manifest: &UndoManifest,
    before: &Params,
    later: &Later<'_>,
    left: &mut Left,
    taken: &mut TakenOver,
) {
    left.set_again.insert(CLASSES.to_owned());
    let brought = |manifest: &UndoManifest| {
        let text = manifest.header.classes.as_deref()?;
        Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let of_later = later.iter().map(|(_, manifest)| brought((*manifest)?));
    // All stay if the archive of one patch does not list the classes that it brought.
    let (Some(own), Some(of_later)) = (brought(manifest), of_later.collect::<Option<Vec<_>>>()) else {
        return;
    };
    let mut all = classes(before);
    if own.iter().all(|class| all.contains(class)) {
        return;
    }
    for (at, brought) in of_later.into_iter().enumerate() {
        if brought.iter().any(|class| !all.contains(class)) {
            let value = all.join(" ").into_bytes();
            taken.entry(at).or_default().parameters.insert(CLASSES.to_owned(), Some(value));
        }
        all = union_of_classes(all, &brought);
    }
    left.classes = Some(all.join(" "));
}

/// True as well for an archive that does not list its records.
fn writes(manifest: &UndoManifest, name: &[u8]) -> bool {
    let is_it = |known: &String| {
        known.as_bytes() == name || name.ends_with(b"/") && known.as_bytes().starts_with(name)
    };
    let header = &manifest.header;
    header.made_records.iter().any(is_it)
        || header.records.as_ref().is_none_or(|records| records.iter().any(is_it))
}

//! What comes back live of the packages from which patches go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::backout_input::{BackoutArchive, GoingPatch, LaterUndo};
use super::handing_down::TakenRecords;
use super::later::ListedPatches;
use super::middle::chains::{Chains, Run};
use super::restore::Restoring;
use super::taking_over::TakingOver;
use crate::plan::RecordChange;
use crate::plan::records::patch_path;
use crate::plan::refusal::Reason;
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// One package of a backout, while it is planned.
pub(super) struct GoingPackage<'a> {
    pub(super) package: &'a PkgInst,
    /// The patches that go from it, the last applied first, each with its archive and what comes back of records.
    pub(super) patches: Vec<(&'a PatchId, &'a BackoutArchive<'a>)>,
    /// All its patches.
    pub(super) listed: ListedPatches<'a>,
    /// The files that scripts take back.
    pub(super) by_script: BTreeSet<ObjectPath>,
    /// What patches that stay take over of parameters and record files.
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

impl<'a> GoingPackage<'a> {
    /// Its chains, from the first patch that goes.
    pub(super) fn chains(&self) -> Chains<'a> {
        self.listed.chains(&self.manifests())
    }

    /// Its chains, from the first patch of the package, also where none goes.
    pub(super) fn all_chains(&self) -> Chains<'a> {
        self.listed.all_chains(&self.manifests())
    }

    fn manifests(&self) -> BTreeMap<&'a PatchId, &'a Manifest> {
        let manifests = self.patches.iter().filter_map(|(id, archive)| Some((*id, archive.manifest?)));
        manifests.collect()
    }

    /// The package with the undo data of patches that stay, `later` of all packages.
    pub(super) fn taking_over<'g>(
        &'g self,
        later: &'g [LaterUndo<'g>],
        inventory: &'g Inventory,
        separator: &'g str,
    ) -> TakingOver<'g> {
        TakingOver {
            package: self.package,
            archives: self.patches.iter().map(|(_, archive)| *archive).collect(),
            taken: &self.taken,
            later,
            inventory,
            separator,
        }
    }

    /// What comes back live, patch by patch: the last applied first.
    pub(super) fn live<'g>(&'g self, chains: &Chains<'_>) -> Vec<LivePatch<'g, 'a>> {
        let place = |id: &PatchId| chains.order.iter().position(|patch| patch.id == *id);
        let (mut live, mut runs) = (Vec::new(), HashMap::<usize, Vec<&Run<'_>>>::new());
        for run in chains.runs.iter().filter(|run| run.heir.is_none()) {
            runs.entry(run.content_saver().unwrap_or(run.first()).at).or_default().push(run);
        }
        for (id, archive) in &self.patches {
            let (Some(at), Some(manifest)) = (place(id), archive.manifest) else { continue };
            let mut objects: Vec<ObjectRecord> = chains.others(at).into_iter().cloned().collect();
            let mut last = HashMap::new();
            for run in runs.remove(&at).unwrap_or_default() {
                let record = live_record(run);
                let is_another = run.saver().is_some() && run.last().at != at;
                let after = chains.order.get(run.last().at).filter(|_| is_another);
                if let (Some(after), Some(path)) = (after, record.object_path()) {
                    last.insert(path, after.id.clone());
                }
                objects.push(record);
            }
            objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            let manifest = Manifest { header: manifest.header.clone(), objects, shlibs: Vec::new() };
            live.push(LivePatch { going: self, id, archive, manifest, last });
        }
        live
    }
}

/// What comes back of one patch.
pub(super) struct LivePatch<'g, 'a> {
    going: &'g GoingPackage<'a>,
    id: &'a PatchId,
    archive: &'a BackoutArchive<'a>,
    manifest: Manifest,
    /// The last patch that had a path, where that is another one.
    last: HashMap<ObjectPath, PatchId>,
}

impl LivePatch<'_, '_> {
    /// The restoration of it.
    pub(super) fn restoring(&self) -> Restoring<'_> {
        let files = self.archive.image.files();
        Restoring {
            id: self.id,
            package: self.going.package,
            index: self.archive.index,
            saved: files.map(|entry| (&entry.path, entry.object.content)).collect(),
            manifest: &self.manifest,
            bound: self.archive.is_bound,
            native: self.archive.native,
            later: self.going.listed.later(self.id),
            last: self.last.clone(),
            by_script: self.going.by_script.clone(),
        }
    }
}

/// What a run found, and what it left.
fn live_record(run: &Run<'_>) -> ObjectRecord {
    let (first, last) = (run.first().record, run.last().record);
    let saver = run.content_saver().map_or(first, |link| link.record);
    // Where no patch changed the object, only its line comes back.
    let became = if saver.is_untouched() { saver.was.clone() } else { last.became.clone() };
    ObjectRecord {
        line: first.line.clone(),
        new_line: last.new_line.clone(),
        became,
        kept: saver.kept,
        was: run.before().or_else(|| saver.was.clone()),
        ..saver.clone()
    }
}

/// The directories of patches that go, under each spelling of an id.
pub(super) fn patch_directories<'p>(
    going: impl IntoIterator<Item = &'p GoingPatch>,
    archives: &[BackoutArchive<'_>],
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let delivered = archives.iter().filter_map(|archive| archive.manifest);
    let mut names: BTreeSet<&str> = delivered.map(|manifest| manifest.header.patch.as_str()).collect();
    names.extend(going.into_iter().map(|patch| patch.id.as_str()));
    let paths: Vec<_> = names.into_iter().map(patch_path).collect::<Result<_, _>>()?;
    let there = paths.into_iter().filter(|path| inventory.live.contains_key(path));
    Ok(there.map(RecordChange::RemoveTree).collect())
}

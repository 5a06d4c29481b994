//! A patch package by package, for scripts that run between the changes of their own package. Its one plan is divided
//! again: objects and records go to the package that brings them, a line of several packages to the last of them.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_svr4::places;
use serde::Serialize;

use patchadm_changeset::format::escaped::as_text;
use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList};

use super::engine::{Bookkeeping, ChosenScripts, PlannedScript, ScriptReason};
use crate::plan::clock::Now;
use crate::plan::kept_libraries::{KeptSettlement, LibraryReport};
use crate::plan::package::install::IntendedInstall;
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::{Action, Change, Plan, RecordChange, TreeContent, UndoArchive};

#[derive(Clone, Debug)]
pub struct PatchPlan {
    /// As the program performs it.
    pub plan: Plan,
    /// In the order of processing.
    pub parts: Vec<PackagePlan>,
    /// Scripts of the patch itself.
    pub hooks: Vec<PlannedScript>,
    pub no_undo: bool,
    /// The patch is applied already, and only its files are installed again.
    pub again: bool,
    /// Locally modified objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Missing recorded objects that are made again.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays (backout only).
    pub moved: Vec<MovedObject>,
    /// Changes to the patch lists of its packages.
    pub lists: Vec<PatchListChange>,
    /// Only if libraries were examined.
    pub libraries: Option<LibraryReport>,
    /// Kept objects present before and after.
    pub staying: BTreeMap<ObjectPath, Live>,
}

/// A patch is added to a package's PATCHLIST or removed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchListChange {
    pub package: PkgInst,
    pub patch: PatchId,
    /// `None` if it follows from the change of an earlier patch.
    pub before: Option<PatchList>,
}

/// An object found by a backed-out patch that the undo data of another patch restores from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MovedObject {
    #[serde(skip)]
    pub from: PatchId,
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    #[serde(serialize_with = "as_text")]
    pub to: PatchId,
}

#[derive(Clone, Debug)]
pub struct PackagePlan {
    pub package: PkgInst,
    /// In the image, or among the archives.
    pub index: usize,
    /// As the program keeps the records; empty in a run of several patches, which has no scripts.
    pub params: Params,
    pub chosen: ChosenScripts,
    /// Everything that it delivers.
    pub mapped: Vec<MappedObject>,
    pub deletes: BTreeSet<ObjectPath>,
    /// The plan restores the package completely from a manifest of the program. It counts then, and not the objects
    /// that its scripts restore.
    pub restores: bool,
}

impl PackagePlan {
    /// Returns the files of classes whose script belongs to the package, which decides about their content.
    pub fn by_own_scripts(&self) -> BTreeSet<ObjectPath> {
        let own: BTreeSet<&str> = self.chosen.own_classes().collect();
        let files = self.mapped.iter().filter(|one| one.ftype.is_regular());
        files.filter(|one| own.contains(one.class.as_str())).map(|one| one.path.clone()).collect()
    }

    fn known_to_scripts(&self) -> impl Iterator<Item = &ObjectPath> {
        let by_script = self.chosen.planned.iter().filter(|script| {
            !self.restores && matches!(script.why, ScriptReason::Own | ScriptReason::System)
        });
        let classes: BTreeSet<&str> = by_script.filter_map(|script| script.name.strip_prefix("i.")).collect();
        let files = self.mapped.iter().filter(|one| one.ftype.is_regular());
        files.filter(move |one| classes.contains(one.class.as_str())).map(|one| &one.path)
    }
}

pub(super) fn missing(
    inventory: &Inventory,
    changes: &[Box<Change>],
    notes: &mut Vec<String>,
) -> Vec<ObjectPath> {
    let is_made_again = |change: &&Change| {
        matches!(change.action, Action::Add(_))
            && change.old.is_none()
            && inventory.lines.contains_key(&change.path)
    };
    let missing = changes.iter().map(Box::as_ref).filter(is_made_again).map(|change| change.path.clone());
    let missing: Vec<ObjectPath> = missing.collect();
    notes.extend(
        missing.iter().map(|path| format!("{} was missing; the run creates it again", inventory.show(path))),
    );
    missing
}

/// Path, bytes and objects of the held copies. Backing scripts out needs a second copy.
pub(super) fn held(parts: &[PackagePlan], inventory: &Inventory) -> Vec<(ObjectPath, u64, u64)> {
    let of_part = |part: &PackagePlan| {
        let copies = 1 + u64::from(part.restores && part.chosen.bookkeeping == Bookkeeping::Scripts);
        let paths = part.mapped.iter().map(|mapped| &mapped.path).chain(&part.deletes);
        let size = |path: &ObjectPath| {
            let size = inventory.live.get(path)?.size()?;
            Some((path.clone(), size.saturating_mul(copies), copies))
        };
        paths.filter_map(size).collect::<Vec<_>>()
    };
    parts.iter().flat_map(of_part).collect()
}

impl PatchPlan {
    /// Keeps libraries that the plan would remove, and treats kept ones as settled.
    pub fn keep_libraries(&mut self, settlement: &KeptSettlement) {
        settlement.apply(&mut self.plan);
        self.staying = settlement.staying();
        for part in &mut self.parts {
            part.deletes.retain(|path| !settlement.unmade.contains(path));
        }
    }

    /// Frees parameters, which only scripts use: the plan is one of many in a run without scripts.
    pub fn forget_parameters(&mut self) {
        for part in &mut self.parts {
            part.params = Params::new();
        }
    }

    /// Frees a record that a later patch of the run writes again.
    pub fn forget_record(&mut self, path: &ObjectPath) {
        let of_path = self.plan.records.iter_mut().filter(|record| record.path() == path);
        for record in of_path {
            if let RecordChange::Write { bytes, .. } = record {
                *bytes = Vec::new();
            }
        }
    }

    /// Returns the files whose content only a class action script knows.
    pub fn known_to_scripts(&self) -> BTreeSet<ObjectPath> {
        self.parts.iter().flat_map(PackagePlan::known_to_scripts).cloned().collect()
    }

    pub fn has_scripts(&self) -> bool {
        !self.hooks.is_empty() || self.parts.iter().any(|part| part.chosen.has_scripts())
    }

    /// Returns every script in the order of execution; those of packages stand between those of the patch.
    pub fn scripts(&self) -> Vec<PlannedScript> {
        let (before, after): (Vec<_>, Vec<_>) =
            self.hooks.iter().cloned().partition(|hook| hook.name.starts_with("pre"));
        let packages = self.parts.iter().flat_map(|part| part.chosen.planned.iter().cloned());
        before.into_iter().chain(packages).chain(after).collect()
    }

    /// Returns the part of the plan for one package, as an installation of its own.
    pub fn intended(&self, part: &PackagePlan, now: &Now) -> IntendedInstall {
        let (plan, owners) = (&self.plan, self.owners());
        let mine: Vec<_> =
            plan.changes.iter().filter(|change| change.package == part.package).cloned().collect();
        let place = plan.undo.iter().position(|undo| undo.package == part.package);
        let own = place.and_then(|place| plan.undo.get(place)).filter(|_| !self.rewrites_undo());
        let undo: Vec<UndoArchive> = own.cloned().into_iter().collect();
        let records = plan.records.iter().filter(|record| is_of(record, &part.package) && !is_undo(record));
        let contents = plan
            .contents
            .iter()
            .filter(|(path, line)| {
                let owner = owners.get(path).copied().or_else(|| self.fallback(line.as_deref()));
                owner == Some(&part.package)
            })
            .map(|(path, line)| (path.clone(), line.clone()))
            .collect();
        let plan = Plan {
            packages: vec![part.package.clone()],
            changes: mine,
            records: records.cloned().map(renumbered).collect(),
            contents,
            trailer: now.trailer("pkgadd", &part.package),
            undo,
            versions: Vec::new(),
            space: Vec::new(),
            discard: Vec::new(),
            notes: Vec::new(),
            ..plan.clone()
        };
        IntendedInstall {
            plan,
            params: part.params.clone(),
            scripts: part.chosen.scripts.clone(),
            mapped: part.mapped.clone(),
            passing: part.chosen.passing.clone(),
        }
    }

    /// Returns the part for the patch as a whole, after all packages, with rewritten undo data of staying patches.
    pub fn remainder(&self) -> Plan {
        let of_package = |record: &RecordChange| self.parts.iter().any(|part| is_of(record, &part.package));
        // The patch does nothing for packages of kept libraries.
        let is_another = |package: &PkgInst| !self.parts.iter().any(|part| part.package == *package);
        let others = self.plan.changes.iter().filter(|change| is_another(&change.package));
        let owners = self.owners();
        let lines =
            self.plan.contents.iter().filter(|(path, _)| owners.get(path).copied().is_some_and(is_another));
        let records = self.plan.records.iter().filter(|record| is_undo(record) || !of_package(record));
        Plan {
            changes: others.cloned().collect(),
            records: records.cloned().collect(),
            contents: lines.map(|(path, line)| (path.clone(), line.clone())).collect(),
            undo: if self.rewrites_undo() { self.plan.undo.clone() } else { Vec::new() },
            space: Vec::new(),
            notes: Vec::new(),
            ..self.plan.clone()
        }
    }

    fn rewrites_undo(&self) -> bool {
        self.plan.records.iter().any(is_undo)
    }

    fn owners(&self) -> BTreeMap<&ObjectPath, &PkgInst> {
        let mut owners: BTreeMap<&ObjectPath, &PkgInst> = BTreeMap::new();
        for change in &self.plan.changes {
            owners.insert(&change.path, &change.package);
        }
        for part in &self.parts {
            let mapped = part.mapped.iter().map(|mapped| &mapped.path);
            owners.extend(mapped.chain(&part.deletes).map(|path| (path, &part.package)));
        }
        owners
    }

    fn fallback(&self, line: Option<&ContentsLine>) -> Option<&PkgInst> {
        let owns = |part: &&PackagePlan| line.is_some_and(|line| line.is_owned_by(&part.package));
        self.parts.iter().rfind(owns).or(self.parts.last()).map(|part| &part.package)
    }
}

fn is_of(record: &RecordChange, package: &PkgInst) -> bool {
    record.path().is_below(&places::package(package))
}

fn is_undo(record: &RecordChange) -> bool {
    matches!(record, RecordChange::Undo { .. })
}

fn renumbered(mut record: RecordChange) -> RecordChange {
    if let RecordChange::AddTree { files, .. } = &mut record {
        for file in files {
            match &mut file.content {
                TreeContent::Undo(place) | TreeContent::UndoDigest(place) | TreeContent::Manifest(place) => {
                    *place = 0;
                }
                TreeContent::Bytes(_)
                | TreeContent::AroundRun(..)
                | TreeContent::Copied(_)
                | TreeContent::Directory => {}
            }
        }
    }
    record
}

//! The objects of all packages of a patch, each with its place in the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::ApplyPlanner;
use super::announcements::announcements;
use super::packages::{Patched, by_path};
use crate::plan::Action;
use crate::plan::edits::Edits;
use crate::plan::links::sources_first;
use crate::plan::objects::Handling;
use crate::plan::parameters::kept_out;
use crate::plan::patch::maker_notes::maker_notes;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::Reason;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{Ftype, ObjectPath};
use patchadm_svr4::patch::PatchId;

/// A patch whose objects have their places.
pub(super) struct PlacedPatch<'a> {
    pub(super) draft: PlanBuilder<'a>,
    pub(super) packages: Vec<Patched<'a>>,
}

impl ApplyPlanner<'_> {
    /// Gives all objects a place, and says what is to be said of them.
    pub(super) fn place<'p>(
        &'p self,
        mut packages: Vec<Patched<'p>>,
        edits: &Edits<'_>,
    ) -> Result<PlacedPatch<'p>, Reason> {
        let mut draft = PlanBuilder::new(self.inventory);
        draft.accounts_may_come = packages.iter().any(|package| package.chosen.scripts.preinstall);
        draft.notes.clone_from(&self.validated.notes);
        draft.notes.extend(self.image.signature.verdict.note());
        for found in &self.validated.matches {
            let delivered = self.image.packages.get(found.index);
            draft
                .notes
                .extend(delivered.map(|image| kept_out(&found.package, &image.params)).unwrap_or_default());
        }
        draft.local = edits.local_attributes();
        self.place_objects(&mut draft, &packages, edits)?;
        self.note_paths(&mut draft, &packages, edits);
        let announced = announcements(&draft, &self.validated.facts.id);
        draft.notes.extend(announced);
        for package in packages.iter().filter(|_| self.options.is_rehearsal) {
            draft.notes.extend(maker_notes(self.inventory, &package.target, &package.wanted)?);
        }
        draft.date(self.now.timestamp());
        for package in &mut packages {
            package.forget_wanted();
            package.placed.delivered.add_open(edits.kept_attributes());
        }
        Ok(PlacedPatch { draft, packages })
    }

    /// Gives the objects of all packages a place, then the other names of files, and takes away what goes.
    fn place_objects(
        &self,
        draft: &mut PlanBuilder<'_>,
        patched: &[Patched<'_>],
        edits: &Edits<'_>,
    ) -> Result<(), Reason> {
        let all = by_path(patched);
        for (package, wanted) in all.iter().filter(|(_, wanted)| wanted.object.ftype != Ftype::Link) {
            self.go_on()?;
            let handling = match edits.handling(&wanted.path) {
                Handling::Ordinary if package.is_by_script(wanted) => Handling::ByScript,
                decided => decided,
            };
            draft.place(&package.target, wanted, &handling)?;
        }
        for (package, wanted) in sources_first(all) {
            self.go_on()?;
            draft.link(&package.target, wanted, &edits.handling(&wanted.path))?;
        }
        for package in patched {
            for path in &package.target.image.deletes {
                self.go_on()?;
                delete_object(draft, package, &package.target.resolve(path)?, edits)?;
            }
        }
        draft.relink()?;
        draft.finish()
    }

    fn note_paths(&self, draft: &mut PlanBuilder<'_>, packages: &[Patched<'_>], edits: &Edits<'_>) {
        for path in &edits.touched {
            let path = self.inventory.show(path);
            draft.notes.push(format!("{path} has another modification time than is recorded"));
        }
        let left_out: BTreeSet<&ObjectPath> =
            packages.iter().flat_map(|package| package.left_out.keys()).collect();
        for path in left_out {
            let path = self.inventory.show(path);
            draft.notes.push(format!("{path} was not there when its package was registered, and stays away"));
        }
        let facts = &self.validated.facts;
        let related = |other: &PatchId| {
            other.same_base(&facts.id)
                || facts.obsoletes.iter().any(|entry| entry.same_base(other))
                || facts.requires.iter().any(|needed| needed.ids().iter().any(|id| id.same_base(other)))
        };
        let mut overlaps: BTreeMap<PatchId, Vec<String>> = BTreeMap::new();
        // A directory that stays is no overlap.
        let changes = draft.changes.values().filter(|one| !matches!(one.action, Action::Attributes(_)));
        for path in changes.map(|one| &one.path) {
            let patches = self.inventory.patched_by.get(path).into_iter().flatten();
            let others = patches.filter_map(|other| PatchId::parse(other, &self.policy.separator).ok());
            for other in others.filter(|other| !related(other)) {
                overlaps.entry(other).or_default().push(self.inventory.show(path).to_string());
            }
        }
        for (other, paths) in overlaps {
            let paths = paths.join(", ");
            draft.notes.push(format!("overlap with {other}, which is not related: {paths}"));
        }
    }
}

/// Takes an object away that a package deletes.
fn delete_object(
    draft: &mut PlanBuilder<'_>,
    package: &Patched<'_>,
    path: &ObjectPath,
    edits: &Edits<'_>,
) -> Result<(), Reason> {
    let target = &package.target;
    match edits.handling(path) {
        Handling::Beside(_) => {
            let shown = draft.inventory.show(path);
            draft.notes.push(format!("{shown} stays: it was edited"));
            draft.kept.insert(path.clone());
            return Ok(());
        }
        Handling::Leave => return Ok(()),
        Handling::CopyFirst(suffix) => {
            if let Some(old) = draft.old(path).filter(|live: &&Live| !live.is_directory()) {
                draft
                    .keep_copy(&target.package, path, old, &suffix)
                    .map_err(|problem| target.refuse(path, problem))?;
            }
        }
        Handling::Ordinary | Handling::ByScript | Handling::LinkStays => {}
    }
    draft.check_reserved(path).map_err(|problem| target.refuse(path, problem))?;
    draft.delete(&target.package, path)
}

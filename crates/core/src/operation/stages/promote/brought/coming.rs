//! What goes live from a stage: the patches that follow those of the root, compared with both trees, and new packages.

use std::collections::{BTreeMap, BTreeSet};

use super::changed_paths::{ChangedPaths, ComparedSides, found_by};
use super::failure::BroughtFailure;
use super::packages::{ContinuedList, only_staged};
use super::records::BroughtRecords;
use super::source::RecordSource;
use super::undo_data::StagedPatch;
use crate::operation::record_damage::must_agree;
use crate::operation::stages::kept_objects::without_kept;
use patchadm_inputs::database::contents::{ContentsLines, lines_of_packages};
use patchadm_inputs::database::{DatabaseError, RecordView, marker};
use patchadm_planning::plan::promotion::{NewPackage, NewPatches};
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

impl RecordSource<'_> {
    /// Returns what goes live. `base` has the packages of the base in force, and `own` the promotions of this stage that the
    /// root has. Before anything else, the records of the stage must agree, as those of a root that is changed.
    pub(in crate::operation::stages) fn brought(
        &self,
        base: Option<&BTreeMap<PkgInst, String>>,
        own: &BTreeSet<PatchId>,
        sides: &ComparedSides<'_>,
    ) -> Result<BroughtRecords, BroughtFailure> {
        let (of_stage, live) = (&self.databases.0, self.databases.1);
        let is_nobody = |_: &PkgInst| false;
        must_agree(&RecordView::live(&self.from.root), self.from.root.workers(), self.interrupt, is_nobody)?;
        let only = only_staged((of_stage, live), base, own)?;
        let is_any_patched = !only.patched.is_empty() || only.new.values().any(|patches| !patches.is_empty());
        if is_any_patched && marker(&self.from.root)? != marker(self.to)? {
            return Err(BroughtReason::OtherMarker.into());
        }
        let mut brought = BroughtRecords { versions: of_stage.versions(), ..BroughtRecords::default() };
        let mut order = Vec::new();
        for (package, list) in &only.patched {
            let (of, patches) = self.package(package, list)?;
            for (place, (id, patch)) in list.patches.iter().zip(patches).enumerate() {
                order.push((patch.run, place, id, package, patch));
            }
            brought.patches.packages.insert(package.clone(), of);
        }
        let (mut of_new, mut of_new_packages) = (Vec::new(), Vec::new());
        let names = only.new.keys().cloned().collect();
        let lines = lines_of_packages(&RecordView::live(&self.from.root), &names);
        let mut lines = lines.map_err(DatabaseError::from)?;
        for (package, ids) in &only.new {
            let lines = lines.remove(package).unwrap_or_default();
            let (new, patches) = self.new_package((package, lines), ids, sides, &mut of_new)?;
            of_new_packages.extend(ids.iter().zip(patches).map(|(id, patch)| (id, package, patch)));
            brought.new_packages.insert(package.clone(), new);
        }
        order.sort_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        let mut changed = ChangedPaths::default();
        for (_, _, id, package, patch) in &order {
            changed.add(id, package, patch);
        }
        let of_known = order.iter().map(|(run, place, id, ..)| (*run, *place, PatchId::clone(id)));
        of_new.extend(of_known);
        of_new.sort();
        for (_, _, id) in of_new {
            if !brought.patches.ids.contains(&id) {
                brought.patches.ids.push(id);
            }
        }
        brought.patches.objects = changed.compared(sides)?;
        self.lines(&changed, &mut brought.patches)?;
        let of_known = order.iter().map(|(_, _, id, package, patch)| (*id, *package, patch));
        let of_new = of_new_packages.iter().map(|(id, package, patch)| (*id, *package, patch));
        for (id, package, patch) in of_known.chain(of_new) {
            self.must_put_back((id, package), patch, &brought)?;
        }
        self.must_agree(&brought)?;
        brought.leave_new_owners_to_their_packages();
        self.directories(&mut brought.patches)?;
        Ok(brought)
    }

    /// Returns a package that the root lacks, with its lines, and its patches; `order` gets the run and the place of each.
    fn new_package(
        &self,
        (package, lines): (&PkgInst, ContentsLines),
        ids: &[PatchId],
        sides: &ComparedSides<'_>,
        order: &mut Vec<(u64, usize, PatchId)>,
    ) -> Result<(NewPackage, Vec<StagedPatch>), BroughtFailure> {
        let own = lines
            .into_iter()
            .filter_map(|(path, line)| Some((path, without_kept(line, &self.databases.0.kept)?)));
        let lines = own.collect();
        if ids.is_empty() {
            let patched = NewPatches::default();
            return Ok((NewPackage { staged: self.installed(package)?, lines, patched }, Vec::new()));
        }
        let list = ContinuedList { patches: ids.to_vec(), list: ids.to_vec() };
        let (of, patches) = self.package(package, &list)?;
        let mut changed = ChangedPaths::default();
        for (place, (id, patch)) in ids.iter().zip(&patches).enumerate() {
            order.push((patch.run, place, id.clone()));
            changed.add(id, package, patch);
        }
        let patched = NewPatches {
            ids: of.patches,
            objects: changed.compared_with_stage(sides)?,
            found: found_by(&patches),
            saves: of.saves,
            lines: of.lines,
        };
        Ok((NewPackage { staged: of.staged, lines, patched }, patches))
    }
}

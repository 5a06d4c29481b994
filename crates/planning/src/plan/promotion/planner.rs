//! The plan of a promotion, from decided paths to changes, lines and records.

use std::collections::BTreeSet;

use super::finished::{FinishedParts, finished};
use super::input::PromotionInput;
use super::lines::record_lines;
use super::local_package::{self, local_name};
use super::new_packages::record_new_packages;
use super::objects::plan_objects;
use super::records::{PackageRecorder, PromotionRecords};
use crate::plan::Plan;
use crate::plan::clock::Now;
use crate::plan::patch::backout_proof::must_have_way_back;
use crate::plan::patch::validate::must_be_as_adopted;
use crate::plan::plan_builder::{NativeRule, PlanBuilder};
use crate::plan::refusal::{Command, Reason, Refusal};
use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::AppliedPatches;

/// Plans a promotion until a signal comes. `applied` are the patch records of the packages in `inventory`, which holds every path that is taken
/// or goes, and the records of the packages that own one.
pub fn promote(
    input: &PromotionInput<'_>,
    inventory: &Inventory,
    applied: &AppliedPatches,
    separator: &str,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<Plan, Refusal> {
    let planner = Planner { input, inventory, applied, separator, now, interrupt };
    planner.plan().map_err(|reason| reason.shown(inventory).of(Command::Promote, &input.record.id))
}

struct Planner<'a> {
    input: &'a PromotionInput<'a>,
    inventory: &'a Inventory,
    applied: &'a AppliedPatches,
    separator: &'a str,
    now: &'a Now,
    /// Asks for a signal, between the passes.
    interrupt: Interrupt<'a>,
}

impl Planner<'_> {
    fn plan(&self) -> Result<Plan, Reason> {
        let base = self.input.record.id.base();
        let local = local_name(base)?;
        local_package::is_installed(&local, base, self.inventory)?;
        let owner = |path: &ObjectPath| self.owner(path).unwrap_or_else(|| local.clone());
        let packages = self.packages(&local, &owner);
        must_be_as_adopted(&packages, self.inventory)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.native_rule = NativeRule::Note;
        self.go_on()?;
        plan_objects(&mut draft, self.input, &owner)?;
        self.go_on()?;
        record_lines(&mut draft, self.input, &owner);
        record_new_packages(&mut draft, self.input)?;
        draft.relink()?;
        draft.finish()?;
        self.go_on()?;
        let recorder = PackageRecorder {
            input: self.input,
            inventory: self.inventory,
            applied: self.applied,
            separator: self.separator,
            now: self.now,
        };
        let PromotionRecords { changes: records, undo } = recorder.record(&draft, &packages)?;
        let last = packages.last().unwrap_or(&local).clone();
        let patches = vec![self.input.record.id.to_string()];
        let parts =
            FinishedParts { command: Command::Promote, patches, packages, records, undo, last: &last };
        let plan = finished(draft, parts, self.now)?;
        self.go_on()?;
        let context = (self.separator, self.now, self.interrupt);
        must_have_way_back(&plan, &self.input.record.id, self.inventory, context)?;
        Ok(plan)
    }

    /// Fails if a signal came.
    fn go_on(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    /// Returns the package that a path is recorded for: the first on its line.
    fn owner(&self, path: &ObjectPath) -> Option<PkgInst> {
        let new = || self.input.new_packages.values().find_map(|package| package.lines.get(path));
        let line = self.inventory.lines.get(path).or_else(new)?;
        line.owners.first().map(|owner| owner.package.clone())
    }

    /// Returns the packages of the promotion: the local one, and those that own something that comes or goes.
    fn packages(&self, local: &PkgInst, owner: &dyn Fn(&ObjectPath) -> PkgInst) -> Vec<PkgInst> {
        let paths = self.input.taken.keys().chain(&self.input.deleted);
        let owners = paths.map(owner).chain(self.input.new_packages.keys().cloned());
        let owners: BTreeSet<PkgInst> = owners.filter(|package| package != local).collect();
        std::iter::once(local.clone()).chain(owners).collect()
    }
}

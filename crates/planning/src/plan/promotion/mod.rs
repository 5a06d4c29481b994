//! A promotion: the state of a stage becomes a patch of the root like any other. `three_way` has decided the taken and
//! deleted objects. Paths without a package go to one local package, which the first promotion of a name makes.
//!
//! ```text
//!   patches of the stage ──► stage_patches ─────────────────────┐
//!   taken, deleted ──► objects and lines ──► records ──► Plan ──┴──► promote: one Plan
//! ```

mod input;
mod objects;
mod records;
mod stage_patches;

pub use input::{
    BroughtObject, BroughtPackage, BroughtPatches, FoundByPatch, NamesOfFiles, NewPackage, NewPatches,
    PatchDirectory, PromotionInput, PromotionSettings, TakenObject, local_name, local_package,
};
pub use stage_patches::bring_records;

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{Inode, Interrupt, Live};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

use crate::plan::Plan;
use crate::plan::clock::Now;
use crate::plan::patch::backout_proof::must_have_way_back;
use crate::plan::patch::combine::{Single, combine_two};
use crate::plan::patch::validate::{applied_to, must_be_as_adopted};
use crate::plan::plan_builder::{NativeRule, PlanBuilder};
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::script_schedule::frame;
use input::is_local_installed;
use objects::{plan_objects, record_lines, record_new_packages};
use records::{PackageRecorder, PromotionRecords};
use stage_patches::{FinishedParts, bring, finished, record_files};

/// Plans until a signal comes. `applied` are the patch records of the packages in `inventory`, which holds every taken
/// or deleted path, and the records of their owners.
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
    interrupt: Interrupt<'a>,
}

impl Planner<'_> {
    fn plan(&self) -> Result<Plan, Reason> {
        let base = self.input.record.id.base();
        let local = local_name(base)?;
        is_local_installed(&local, base, self.inventory)?;
        let owner = |path: &ObjectPath| self.owner(path).unwrap_or_else(|| local.clone());
        let packages = self.packages(&local, &owner);
        must_be_as_adopted(&packages, self.inventory)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.native_rule = NativeRule::Note;
        self.check_interrupt()?;
        plan_objects(&mut draft, self.input, &owner)?;
        self.check_interrupt()?;
        record_lines(&mut draft, self.input, &owner);
        record_new_packages(&mut draft, self.input)?;
        draft.relink()?;
        draft.finish()?;
        self.check_interrupt()?;
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
        self.check_interrupt()?;
        let context = (self.separator, self.now, self.interrupt);
        must_have_way_back(&plan, &self.input.record.id, self.inventory, context)?;
        Ok(plan)
    }

    fn check_interrupt(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    fn owner(&self, path: &ObjectPath) -> Option<PkgInst> {
        let new = || self.input.new_packages.values().find_map(|package| package.lines.get(path));
        let line = self.inventory.lines.get(path).or_else(new)?;
        line.owners.first().map(|owner| owner.package.clone())
    }

    fn packages(&self, local: &PkgInst, owner: &dyn Fn(&ObjectPath) -> PkgInst) -> Vec<PkgInst> {
        let paths = self.input.taken.keys().chain(&self.input.deleted);
        let owners = paths.map(owner).chain(self.input.new_packages.keys().cloned());
        let owners: BTreeSet<PkgInst> = owners.filter(|package| package != local).collect();
        std::iter::once(local.clone()).chain(owners).collect()
    }
}

#[derive(Debug)]
pub struct PlannedPromotion {
    /// The plan of the run.
    pub plan: Plan,
    /// A plan for each patch, the promotion last; empty if no patches are brought.
    pub portions: Vec<Plan>,
}

/// Plans until a signal comes. `inventory` and `applied` are as for [`promote`], with the objects that the brought
/// patches changed.
pub fn promote_bringing(
    input: &PromotionInput<'_>,
    brought: &BroughtPatches,
    inventory: &Inventory,
    applied: &AppliedPatches,
    (separator, now): (&str, &Now),
    interrupt: Interrupt<'_>,
) -> Result<PlannedPromotion, Refusal> {
    let (theirs, mut own) = divided(input, brought);
    let refuse = |reason: Reason| reason.shown(inventory).of(Command::Promote, &input.record.id);
    let Some(first) = bring(brought, &theirs, inventory, now).map_err(refuse)? else {
        own.directories.clone_from(&brought.directories);
        let plan = promote(&own, inventory, applied, separator, now, interrupt)?;
        let portions =
            if brought.ids.is_empty() { Vec::new() } else { portions(&[&plan], &plan, (brought, input)) };
        return Ok(PlannedPromotion { plan, portions });
    };
    let made: BTreeMap<ObjectPath, Live> = made(&theirs);
    let after = projected(inventory, brought, &first, &made);
    let packages: Vec<_> = after.packages.iter().collect();
    let applied = AppliedPatches::new(applied_to(&packages, separator).map_err(refuse)?);
    let second = promote(&own, &after, &applied, separator, now, interrupt)?;
    let nothing = BTreeMap::new();
    let first_of = Single { plan: &first, made: &made, packages: 0 };
    let second_of = Single { plan: &second, made: &nothing, packages: 0 };
    let plan = combine_two(first_of, second_of);
    let mut portions = portions(&[&first, &second], &second, (brought, input));
    if let Some(own) = portions.last_mut() {
        own.space.clone_from(&plan.space);
    }
    Ok(PlannedPromotion { plan, portions })
}

fn divided<'a>(
    input: &PromotionInput<'a>,
    brought: &BroughtPatches,
) -> (PromotionInput<'a>, PromotionInput<'a>) {
    let is_theirs = |path: &ObjectPath| brought.objects.contains_key(path);
    let (mut theirs, mut own) = (input.clone(), input.clone());
    theirs.taken.retain(|path, _| is_theirs(path));
    theirs.deleted.retain(is_theirs);
    own.taken.retain(|path, _| !is_theirs(path));
    own.deleted.retain(|path| !is_theirs(path));
    (theirs, own)
}

/// Each object gets an inode of its own.
fn made(theirs: &PromotionInput<'_>) -> BTreeMap<ObjectPath, Live> {
    let numbered = theirs.taken.iter().zip(1..);
    let object = |((path, taken), number): ((&ObjectPath, &TakenObject<'_>), u64)| {
        let inode = Inode { number: u64::MAX - number, born: None };
        (path.clone(), Live { inode, ..taken.object.clone() })
    };
    numbered.map(object).collect()
}

fn projected(
    inventory: &Inventory,
    brought: &BroughtPatches,
    plan: &Plan,
    made: &BTreeMap<ObjectPath, Live>,
) -> Inventory {
    let mut after = inventory.clone();
    after.names = None;
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    for path in brought.objects.keys() {
        match made.get(path) {
            Some(live) => drop(after.live.insert(path.clone(), live.clone())),
            None if changed.contains(path) => drop(after.live.remove(path)),
            None => {}
        }
    }
    for (path, line) in &plan.contents {
        match line {
            Some(line) => drop(after.lines.insert(path.clone(), (**line).clone())),
            None => drop(after.lines.remove(path)),
        }
    }
    for (package, of) in &brought.packages {
        let Some(installed) = after.packages.get_mut(package) else { continue };
        let (params, files) = record_files(of, installed);
        installed.records.extend(files.into_iter().map(|(name, file)| (name.to_vec(), file)));
        installed.params = params;
    }
    after
}

fn portions(
    plans: &[&Plan],
    own: &Plan,
    (brought, input): (&BroughtPatches, &PromotionInput<'_>),
) -> Vec<Plan> {
    let of_new =
        |path: &ObjectPath| input.new_packages.values().find_map(|package| package.patched.objects.get(path));
    let last = |path: &ObjectPath| brought.objects.get(path).or_else(|| of_new(path));
    let of_patch = |id: &PatchId| {
        let is_its = |path: &ObjectPath| last(path).is_some_and(|object| object.patch == *id);
        let changes = plans.iter().flat_map(|plan| &plan.changes);
        let known = brought.packages.iter().filter(|(_, package)| package.patches.contains(id));
        let new = input.new_packages.iter().filter(|(_, package)| package.patched.ids.contains(id));
        let packages = known.map(|(name, _)| name).chain(new.map(|(name, _)| name));
        Plan {
            patches: vec![id.to_string()],
            changes: changes.filter(|change| is_its(&change.path)).cloned().collect(),
            packages: packages.cloned().collect(),
            ..frame(own)
        }
    };
    let mut all: Vec<Plan> = brought.ids.iter().map(of_patch).collect();
    let mut own = own.clone();
    own.changes.retain(|change| last(&change.path).is_none());
    all.push(own);
    all
}

//! The effect of `patchadd`: one plan for all installed packages of a patch. All refusals come first, in the order of
//! patchadd(1M).
//!
//! ```text
//!   validate ─► packages ─► edited ─► placing ─► recording ─► space, proof of a backout ─► plan
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{
    FIXED_IN, NativeManager, NativeRegistration, differing_of, fixed_in_parameter,
};
use patchadm_inputs::policy::{Edited, Policy};
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_rootfs::{Interrupt, Live, LiveKind};
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, FIXES, FixRecord, PatchId, PatchMacros, PatchRecords};

use super::backout_proof::must_have_way_back;
use super::engine::{Bookkeeping, ChosenScripts, PlannedScript, Role, applying};
use super::patch_plan::{PackagePlan, PatchListChange, PatchPlan};
use super::undo::{DeliveredPaths, Undoing, tree_file};
use super::validate::{ApplyOptions, Facts, MatchedPackage, Validated, validate};
use super::{interrupted, patch_plan, snapshot};
use crate::plan::clock::Now;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::links::sources_first;
use crate::plan::parameters::{
    is_stored, kept_out, merged, note_update, set_by, silent_among, speak_for_last_patch,
};
use crate::plan::placing::Handling;
use crate::plan::plan_builder::{PlanBuilder, native_owner};
use crate::plan::records::{RecordChanges, package_path, patch_path};
use crate::plan::refusal::{Command, Reason, Refusal, Wording};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::scripts::is_kept;
use crate::plan::target::{PackageTarget, Wanted, base_directory};
use crate::plan::{
    Action, Body, Change, LedgerChange, LedgerPatch, Plan, RecordChange, TreeContent, UndoArchive,
    UndoFormat, records, space,
};

/// Plans until a signal comes. `applied` are the patch records of the packages in `inventory`, or the error of reading
/// them.
pub fn apply(
    image: &Image,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    options: &ApplyOptions,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<PatchPlan, Refusal> {
    let facts =
        Facts::of(image, &policy.separator).map_err(|reason| reason.of(Command::Patchadd, &image.name))?;
    let id = facts.id.clone();
    let refuse = |reason: Reason| reason.shown(inventory).of(Command::Patchadd, &id);
    let validated = validate(image, facts, inventory, applied.clone(), policy, options).map_err(refuse)?;
    let applied = applied.map_err(refuse)?;
    let validated = &validated;
    let application = ApplyPlanner { image, inventory, applied, policy, options, now, validated, interrupt };
    application.plan().map_err(refuse)
}

struct ApplyPlanner<'a> {
    image: &'a Image,
    inventory: &'a Inventory,
    applied: &'a AppliedPatches,
    policy: &'a Policy,
    options: &'a ApplyOptions,
    now: &'a Now,
    validated: &'a Validated,
    interrupt: Interrupt<'a>,
}

impl ApplyPlanner<'_> {
    /// Each pass works on the result of the one before.
    fn plan(&self) -> Result<PatchPlan, Reason> {
        let hooks = self.options.scripts.hooks(applying(&self.image.hooks))?;
        let packages = self.packages()?;
        let edits = self.edits(&packages)?;
        let placed = self.place(packages, &edits)?;
        self.check_interrupt()?;
        let recorded = self.record(placed)?;
        self.check_interrupt()?;
        self.finish(recorded, hooks)
    }

    fn check_interrupt(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    fn id(&self) -> &PatchId {
        &self.validated.facts.id
    }
}

struct Patched<'a> {
    target: PackageTarget<'a>,
    installed: &'a Installed,
    delivered: &'a PatchMacros,
    wanted: Vec<Wanted<'a>>,
    /// Replaces `wanted` once the objects are placed.
    placed: PlacedObjects,
    set: Vec<String>,
    /// Names that the patch clears by omission.
    silent: Vec<String>,
    chosen: ChosenScripts,
    /// Objects that were missing when the native package was registered: excluded by its manager, or deleted by an
    /// administrator. They stay away.
    left_out: BTreeMap<ObjectPath, Ftype>,
}

#[derive(Default)]
struct PlacedObjects {
    delivered: DeliveredPaths,
    mapped: Vec<MappedObject>,
}

impl ApplyPlanner<'_> {
    fn packages(&self) -> Result<Vec<Patched<'_>>, Reason> {
        let patched = |found| self.check_interrupt().and_then(|()| self.patched(found));
        self.validated.matches.iter().map(patched).collect()
    }

    fn patched(&self, found: &MatchedPackage) -> Result<Patched<'_>, Reason> {
        let missing = || Reason::NotInstalled(vec![found.package.to_string()]);
        let image = self.image.packages.get(found.index).ok_or_else(missing)?;
        let delivered = self.validated.facts.packages.get(found.index).ok_or_else(missing)?;
        let installed = self.inventory.packages.get(&found.package).ok_or_else(missing)?;
        let old = &installed.params;
        let mut new = merged(&found.package, old, &image.params, &Params::new(), self.now);
        note_update(&mut new);
        speak_for_last_patch(&mut new, &image.params, self.id().as_str(), &delivered.obsoletes.to_string());
        let answers = self.options.answers.get(&found.index);
        for (name, value) in answers.into_iter().flat_map(Params::iter) {
            if is_stored(name) {
                new.set(name, value);
            }
        }
        self.record_fixed_in(image, &mut new);
        self.record_fixes(&found.package, delivered, &mut new);
        let set = set_by(old, &new, &image.params);
        let silent = silent_among(&set, &image.params, &delivered.obsoletes, answers);
        self.record_patch(&found.package, delivered, &mut new);
        let chosen = self.options.scripts.about(&found.package, image, &new, Role::Patch)?;
        let target =
            PackageTarget::new(found.package.clone(), found.index, image, new)?.in_root(self.inventory)?;
        let differing = differing_of(old);
        let mut wanted = target.wanted()?;
        self.must_be_for_base_directory(&target, &wanted, image)?;
        let left_out = self.left_out(&target, &wanted, &differing);
        wanted.retain(|wanted| !left_out.contains_key(&wanted.path));
        let placed = PlacedObjects::default();
        Ok(Patched { target, installed, delivered, wanted, placed, set, silent, chosen, left_out })
    }

    /// A relocated package is patched where it is: one object of the package, or in one of its directories, is enough.
    fn must_be_for_base_directory(
        &self,
        target: &PackageTarget<'_>,
        wanted: &[Wanted<'_>],
        image: &PackageImage,
    ) -> Result<(), Reason> {
        let installed = &target.basedir;
        let delivered = base_directory(&image.params).unwrap_or_else(|_| ObjectPath::root());
        if *installed == delivered || wanted.is_empty() {
            return Ok(());
        }
        let deletes = image.deletes.iter().map(|path| target.resolve(path)).collect::<Result<Vec<_>, _>>()?;
        let belongs = |path: &ObjectPath| {
            let line = self.inventory.lines.get(path);
            line.is_some_and(|line| line.is_owned_by(&target.package))
        };
        let files = wanted.iter().filter(|one| !one.object.ftype.is_directory()).map(|one| &one.path);
        let belongs_somewhere =
            |path: &ObjectPath| belongs(path) || path.parent().is_some_and(|above| belongs(&above));
        if files.chain(&deletes).any(belongs_somewhere) {
            return Ok(());
        }
        Err(Reason::OtherBaseDirectory {
            package: target.package.clone(),
            installed: installed.to_string(),
            delivered: delivered.to_string(),
        })
    }

    /// A missing directory is still created if an object below it is delivered.
    fn left_out(
        &self,
        target: &PackageTarget<'_>,
        wanted: &[Wanted<'_>],
        differing: &BTreeSet<ObjectPath>,
    ) -> BTreeMap<ObjectPath, Ftype> {
        let (mut left_out, mut needed) = (BTreeMap::new(), BTreeSet::new());
        if differing.is_empty() || self.inventory.manager(&target.package).is_none() {
            return left_out;
        }
        let paths: BTreeMap<&ObjectPath, Ftype> =
            wanted.iter().map(|wanted| (&wanted.path, wanted.object.ftype)).collect();
        for (path, ftype) in paths.into_iter().rev() {
            let is_absent = !self.inventory.live.contains_key(path) && differing.contains(path);
            if is_absent && !needed.contains(path) {
                left_out.insert(path.clone(), ftype);
            } else {
                needed.extend(std::iter::successors(path.parent(), ObjectPath::parent));
            }
        }
        left_out
    }

    /// Under the id of the patch: the next patch sets its own.
    fn record_fixed_in(&self, image: &PackageImage, new: &mut Params) {
        let of_package = image.params.text(FIXED_IN);
        let of_patch = self.image.patchinfo.as_ref().map(|patchinfo| patchinfo.other.text(FIXED_IN));
        new.remove(FIXED_IN);
        let texts = [Some(of_package), of_patch];
        let said = texts.into_iter().flatten().find(|text| !text.trim().is_empty());
        if let Some(said) = said {
            new.set(&fixed_in_parameter(self.id().as_str()), said.trim());
        }
    }

    /// Under the id of the patch: the next patch sets its own.
    fn record_fixes(&self, package: &PkgInst, delivered: &PatchMacros, new: &mut Params) {
        new.remove(FIXES);
        let record = FixRecord { fixes: delivered.fixes.clone(), sha256: self.image.sha256.clone() };
        record.write(self.spelled(package), new);
    }

    /// The id as spelled in the records of the package.
    fn spelled(&self, package: &PkgInst) -> &PatchId {
        let known = self.applied.records_of(package);
        let id = known.and_then(|records| records.infos.get_key_value(self.id()));
        id.map_or(self.id(), |(id, _)| id)
    }

    fn record_patch(&self, package: &PkgInst, delivered: &PatchMacros, new: &mut Params) {
        let installed = patchadm_svr4::patch::InstalledInfo {
            date: self.now.patch_date(),
            host: self.now.host.clone(),
            obsoletes: delivered.obsoletes.clone(),
            requires: delivered.requires.clone(),
            incompatibles: delivered.incompatibles.clone(),
        };
        let known = self.applied.records_of(package);
        match known {
            Some(records) => records.write_applied(self.id(), installed, new),
            None => PatchRecords::new(package.clone()).write_applied(self.id(), installed, new),
        };
    }
}

impl Patched<'_> {
    /// An edited file of such a class is left to the script.
    fn is_by_script(&self, wanted: &Wanted<'_>) -> bool {
        let chosen = &self.chosen;
        chosen.bookkeeping == Bookkeeping::Program
            && wanted.object.ftype.is_regular()
            && chosen.scripts.classes.contains_key(wanted.object.class.as_str())
    }

    /// Frees memory for the manifest of the undo archive.
    fn forget_wanted(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        let mapped = wanted.iter().map(MappedObject::of).collect();
        self.placed = PlacedObjects { delivered: DeliveredPaths::of(&wanted), mapped };
    }

    fn part(self) -> Result<PackagePlan, Reason> {
        let target = self.target;
        let deletes = target.image.deletes.iter().map(|path| target.resolve(path));
        let deletes = deletes.collect::<Result<_, _>>()?;
        Ok(PackagePlan {
            package: target.package,
            index: target.index,
            params: target.params,
            chosen: self.chosen,
            mapped: self.placed.mapped,
            deletes,
            restores: false,
        })
    }
}

/// By path over all packages: one package may create the directory of another's object.
fn by_path<'p, 'a>(patched: &'p [Patched<'a>]) -> Vec<(&'p Patched<'a>, &'p Wanted<'a>)> {
    let wanted =
        patched.iter().flat_map(|package| package.wanted.iter().map(move |wanted| (package, wanted)));
    let mut all: Vec<_> = wanted.collect();
    all.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    all
}

impl ApplyPlanner<'_> {
    fn edits(&self, patched: &[Patched<'_>]) -> Result<Edits<'_>, Reason> {
        let saved = !self.validated.no_undo && !self.validated.again;
        let choice = if self.validated.again {
            // Without undo data nothing could say later that a file was kept
            let overridden = self.options.edits.overridden.clone();
            EditChoice { general: Edited::Replace, overridden, ..EditChoice::default() }
        } else {
            self.options.edits.clone()
        };
        let mut edits = Edits::new(self.inventory, choice, self.id().as_str(), saved);
        self.note_moves(patched, &mut edits)?;
        for (package, wanted) in by_path(patched) {
            self.check_interrupt()?;
            let name = &package.target.package;
            if !wanted.object.ftype.is_directory() {
                self.must_not_be_foreign(&package.target, &wanted.path)?;
            }
            if package.is_by_script(wanted) {
            } else if self.validated.again && self.is_anothers(wanted) {
                edits.leave(&wanted.path);
            } else {
                let is_by_scripts = package.chosen.bookkeeping == Bookkeeping::Scripts;
                edits.consider((name, is_by_scripts), &wanted.path, Some(&wanted.object))?;
            }
            edits.consider_attributes(name, wanted)?;
        }
        for package in patched {
            for (path, ftype) in &package.left_out {
                if !ftype.is_directory() {
                    self.must_not_be_foreign(&package.target, path)?;
                }
                edits.leave(path);
            }
        }
        for package in patched {
            for path in &package.target.image.deletes {
                self.check_interrupt()?;
                let path = package.target.resolve(path)?;
                // A link that another package owns stays: for example `/lib`, where the package has a directory.
                let is_file =
                    |live: &Live| !live.is_directory() && !matches!(live.kind, LiveKind::Symlink(_));
                if self.inventory.live.get(&path).is_some_and(is_file) {
                    self.must_not_be_foreign(&package.target, &path)?;
                }
                if let Some(to) = edits.moved_to(&path) {
                    edits.follow(&path, &to);
                } else {
                    let is_by_scripts = package.chosen.bookkeeping == Bookkeeping::Scripts;
                    edits.consider((&package.target.package, is_by_scripts), &path, None)?;
                }
            }
        }
        edits.check()?;
        self.refuse_keeping(patched, &edits)?;
        Ok(edits)
    }

    fn note_moves(&self, patched: &[Patched<'_>], edits: &mut Edits<'_>) -> Result<(), Reason> {
        let place = |path: &ObjectPath| self.inventory.physical.get(path);
        for package in patched.iter().filter(|package| !package.target.image.deletes.is_empty()) {
            let delivered: HashMap<&ObjectPath, &ObjectPath> = package
                .wanted
                .iter()
                .filter_map(|wanted| Some((place(&wanted.path)?, &wanted.path)))
                .collect();
            for path in &package.target.image.deletes {
                let from = package.target.resolve(path)?;
                if let Some(to) =
                    place(&from).and_then(|place| delivered.get(place)).filter(|to| **to != &from)
                {
                    edits.note_move(&package.target.package, &from, to);
                }
            }
        }
        Ok(())
    }

    fn must_not_be_foreign(&self, target: &PackageTarget<'_>, path: &ObjectPath) -> Result<(), Reason> {
        match self.inventory.foreign_owner(&target.package, path) {
            Some(owner) => Err(target.refuse(path, native_owner(owner))),
            None => Ok(()),
        }
    }

    /// Scripts that install objects themselves cannot keep edited files.
    fn refuse_keeping(&self, patched: &[Patched<'_>], edits: &Edits<'_>) -> Result<(), Reason> {
        let by_scripts = patched.iter().filter(|one| one.chosen.bookkeeping == Bookkeeping::Scripts);
        for package in by_scripts {
            let deletes = package.target.image.deletes.iter().map(|path| package.target.resolve(path));
            let deletes: Vec<ObjectPath> = deletes.collect::<Result<_, _>>()?;
            let mut paths = package.wanted.iter().map(|wanted| &wanted.path).chain(&deletes);
            if let Some(path) = paths.find(|path| matches!(edits.handling(path), Handling::Beside(_))) {
                let (path, name) = (self.inventory.show(path), &package.target.package);
                return Err(Reason::ScriptsUnsafe(format!(
                    "{path} was edited and is to be kept, which the scripts of package {name} cannot do"
                )));
            }
        }
        Ok(())
    }

    fn is_anothers(&self, wanted: &Wanted<'_>) -> bool {
        let object = self.inventory.lines.get(&wanted.path).map(|line| &line.object);
        object.is_none_or(|object| {
            object.ftype != wanted.object.ftype
                || object.content != wanted.object.content
                || object.target != wanted.object.target
        })
    }
}

struct PlacedPatch<'a> {
    draft: PlanBuilder<'a>,
    packages: Vec<Patched<'a>>,
}

impl ApplyPlanner<'_> {
    fn place<'p>(
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
        draft.replaced_edits = edits.replaced.iter().cloned().collect();
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

    fn place_objects(
        &self,
        draft: &mut PlanBuilder<'_>,
        patched: &[Patched<'_>],
        edits: &Edits<'_>,
    ) -> Result<(), Reason> {
        let all = by_path(patched);
        for (package, wanted) in all.iter().filter(|(_, wanted)| wanted.object.ftype != Ftype::Link) {
            self.check_interrupt()?;
            let handling = match edits.handling(&wanted.path) {
                Handling::Ordinary if package.is_by_script(wanted) => Handling::ByScript,
                decided => decided,
            };
            draft.place(&package.target, wanted, &handling)?;
        }
        for (package, wanted) in sources_first(all) {
            self.check_interrupt()?;
            draft.link(&package.target, wanted, &edits.handling(&wanted.path))?;
        }
        for package in patched {
            for path in &package.target.image.deletes {
                self.check_interrupt()?;
                delete_object(draft, package, &package.target.resolve(path)?, edits)?;
            }
        }
        draft.relink()?;
        draft.finish()
    }

    fn note_paths(&self, draft: &mut PlanBuilder<'_>, packages: &[Patched<'_>], edits: &Edits<'_>) {
        for path in &edits.touched {
            let path = self.inventory.show(path);
            draft.notes.push(format!("the modification time of {path} differs from its record"));
        }
        let left_out: BTreeSet<&ObjectPath> =
            packages.iter().flat_map(|package| package.left_out.keys()).collect();
        for path in left_out {
            let path = self.inventory.show(path);
            draft
                .notes
                .push(format!("{path} did not exist when its package was registered, and is not installed"));
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

struct RecordedPatch<'a> {
    draft: PlanBuilder<'a>,
    packages: Vec<Patched<'a>>,
    records: Vec<RecordChange>,
    undo: Vec<UndoArchive>,
}

impl ApplyPlanner<'_> {
    fn record<'p>(&self, placed: PlacedPatch<'p>) -> Result<RecordedPatch<'p>, Reason> {
        let PlacedPatch { mut draft, packages } = placed;
        let (mut records, mut undo) = (Vec::new(), Vec::new());
        if self.validated.again {
            draft.notes.push(format!("{} is already applied; its files are reinstalled", self.id()));
        } else {
            (records, undo) = self.records(&draft, &packages)?;
            draft.notes.extend(self.why_archive(&packages).map(str::to_owned));
        }
        records.extend(self.traces_of_interruption()?);
        Ok(RecordedPatch { draft, packages, records, undo })
    }

    fn traces_of_interruption(&self) -> Result<Vec<RecordChange>, Reason> {
        let mut changes = Vec::new();
        for MatchedPackage { package, .. } in &self.validated.matches {
            if let Some(installed) = self.inventory.packages.get(package) {
                changes.extend(interrupted::forget(package, installed, self.id(), &self.policy.separator)?);
            }
        }
        Ok(changes)
    }

    fn records(
        &self,
        draft: &PlanBuilder<'_>,
        patched: &[Patched<'_>],
    ) -> Result<(Vec<RecordChange>, Vec<UndoArchive>), Reason> {
        let mut changes = Vec::new();
        let mut undo = Vec::new();
        let format = self.why_archive(patched).map_or(self.options.undo_format, |_| UndoFormat::default());
        for package in patched {
            let target = &package.target;
            let files = records::files(&target.package, target.image, &target.params, is_kept)?;
            let mut records = RecordChanges::of(&target.package, package.installed, files)?;
            records.date(self.now.timestamp());
            let (name, id) = (&target.package, self.id());
            let (obsoletes, separator) = (&package.delivered.obsoletes, &self.policy.separator);
            changes.extend(records::supersede(name, package.installed, id, obsoletes, separator)?);
            changes.push(self.save(draft, package, (&records, format), &mut undo)?);
            changes.extend(records.changes);
            let patch = LedgerPatch {
                patch: id.as_str().to_owned(),
                is_without_undo: self.validated.no_undo,
                native: NativeRegistration::named_version(&target.params),
            };
            changes.push(RecordChange::Ledger(LedgerChange::of_application(name, patch)));
        }
        changes.extend(self.patch_directory()?);
        Ok((changes, undo))
    }

    /// Explains a change of the undo format: scripts may change old files in place, and not every build writes every
    /// format.
    fn why_archive(&self, patched: &[Patched<'_>]) -> Option<&'static str> {
        if self.validated.no_undo {
            return None;
        }
        match self.options.undo_format {
            UndoFormat::Files => {}
            format if format.is_written() => return None,
            UndoFormat::Xz => {
                return Some("this build does not write xz, so the undo data is compressed with gzip");
            }
            _ => return Some("this build does not write zst, so the undo data is compressed with gzip"),
        }
        let has_scripts = |package: &Patched<'_>| package.chosen.has_scripts();
        let runs_scripts = patched.iter().any(has_scripts) || applying(&self.image.hooks).next().is_some();
        let by_scripts = runs_scripts.then_some("scripts run, so the undo data is an archive");
        self.options.only_archives.or(by_scripts)
    }

    fn save(
        &self,
        draft: &PlanBuilder<'_>,
        package: &Patched<'_>,
        (changed, format): (&RecordChanges, UndoFormat),
        undo: &mut Vec<UndoArchive>,
    ) -> Result<RecordChange, Reason> {
        let target = &package.target;
        let is_saved = records::save_of(package.installed, self.id(), &self.policy.separator).is_some();
        if is_saved && !self.options.ignores_rules {
            return Err(Reason::StaleSave(target.package.clone()));
        }
        let undoing = Undoing {
            id: self.id(),
            obsoletes: &package.delivered.obsoletes,
            old: &package.installed.params,
            saves: &package.installed.saves,
            set: &package.set,
            silent: &package.silent,
            format,
            directory: self.options.undo_dir.as_deref(),
            saves_nothing: self.validated.no_undo,
            runs_scripts: package.chosen.has_scripts() || applying(&self.image.hooks).next().is_some(),
        };
        let archive = undoing.archive(draft, target, &package.placed.delivered, changed)?;
        let files = undoing.saved_files(&archive.place, undo.len())?;
        undo.push(archive);
        let path = package_path(&target.package, format!("save/{}", self.id()).as_bytes())?;
        Ok(RecordChange::AddTree { path, files })
    }

    fn signed_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let Some(signed) = &self.image.signature.files else { return Vec::new() };
        let mut files = vec![("MANIFEST".to_owned(), signed.manifest.clone(), 0o644)];
        if let Some((format, text)) = &signed.signature {
            files.push((format!("MANIFEST{}", format.ending()), text.clone(), 0o644));
        }
        files
    }

    fn patch_directory(&self) -> Result<Vec<RecordChange>, Reason> {
        let path = patch_path(self.id().as_str())?;
        let readme = self.image.readme.as_ref();
        let patchinfo = self.image.patchinfo.as_ref().map(PatchinfoFile::write);
        let hooks = &self.image.hooks;
        let files = [
            (format!("README.{}", self.id()), readme.map(|(_, text)| text), 0o644),
            ("patchinfo".to_owned(), patchinfo.as_ref(), 0o644),
            ("prebackout".to_owned(), hooks.prebackout.as_ref(), 0o755),
            ("postbackout".to_owned(), hooks.postbackout.as_ref(), 0o755),
        ];
        let files = files.into_iter().filter_map(|(name, text, mode)| Some((name, text?.clone(), mode)));
        let files = files.chain(self.signed_files());
        if !self.inventory.live.contains_key(&path) {
            let files =
                files.map(|(name, text, mode)| tree_file(&name, TreeContent::Bytes(text), mode)).collect();
            return Ok(vec![RecordChange::AddTree { path, files }]);
        }
        let write = |(name, bytes, mode): (String, Vec<u8>, u32)| {
            let path = path.join(name.as_bytes()).map_err(|error| Reason::BadId(error.to_string()))?;
            Ok(RecordChange::Write { path, bytes, mode: Mode::of(mode), mtime: None })
        };
        files.map(write).collect()
    }

    fn finish(&self, recorded: RecordedPatch<'_>, hooks: Vec<PlannedScript>) -> Result<PatchPlan, Reason> {
        let RecordedPatch { mut draft, packages, records, undo } = recorded;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let missing = patch_plan::missing(self.inventory, &changes, &mut draft.notes);
        if !self.options.ignores_rules {
            self.refuse_scripts_after_interruption(&packages)?;
        }
        let parts: Vec<PackagePlan> = packages.into_iter().map(Patched::part).collect::<Result<_, _>>()?;
        let has_scripts = parts.iter().any(|part| part.chosen.has_scripts());
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let snapshots = snapshot::expected(&undo, &parts);
        let archives: Vec<&UndoArchive> = undo.iter().chain(&snapshots).collect();
        let mut space = space::needs(self.inventory, &changes, &records, &archives, &held);
        if has_scripts || !hooks.is_empty() {
            space = space::with_requests(space);
        }
        if !self.options.ignores_rules {
            space::enough(&space)?;
        }
        let last = self.validated.matches.last().map(|found| &found.package);
        let last = last.ok_or(Reason::NotInstalled(Vec::new()))?;
        let plan = Plan {
            command: Command::Patchadd.name(),
            patches: vec![self.id().to_string()],
            packages: self.validated.matches.iter().map(|found| found.package.clone()).collect(),
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.now.trailer("pkgadd", last),
            undo,
            versions: Vec::new(),
            space,
            discard: Vec::new(),
            notes: draft.notes,
            merges: draft.merges,
            signature: self.image.signature.record(),
            direction: crate::plan::Direction::Forward,
        };
        let context = (&*self.policy.separator, self.now, self.interrupt);
        if !self.options.ignores_rules {
            must_have_way_back(&plan, self.id(), self.inventory, context)?;
        }
        let (no_undo, again) = (self.validated.no_undo, self.validated.again);
        Ok(PatchPlan {
            plan,
            parts,
            hooks,
            no_undo,
            again,
            replaced_edits: draft.replaced_edits,
            missing,
            moved: Vec::new(),
            lists: self.lists(),
            libraries: None,
            staying: BTreeMap::new(),
        })
    }

    fn lists(&self) -> Vec<PatchListChange> {
        let of = |package: &PkgInst| {
            let records = self.applied.records_of(package);
            let before = records.map(|records| records.list.clone()).unwrap_or_default();
            PatchListChange { package: package.clone(), patch: self.id().clone(), before: Some(before) }
        };
        self.validated.matches.iter().map(|found| of(&found.package)).collect()
    }

    fn refuse_scripts_after_interruption(&self, packages: &[Patched<'_>]) -> Result<(), Reason> {
        for package in packages.iter().filter(|package| package.chosen.has_scripts()) {
            let (name, installed) = (&package.target.package, package.installed);
            interrupted::refuse_scripts(name, installed, self.id(), &self.policy.separator)?;
        }
        Ok(())
    }
}

/// Notes about native operations that fail while a patch is applied: dpkg's messages would not name the patch.
fn announcements(draft: &PlanBuilder<'_>, id: &PatchId) -> Vec<String> {
    let directory = draft.changes.values().find_map(|change| kept_directory(draft, change));
    let shared: Vec<(&ObjectPath, String)> =
        draft.changes.values().filter_map(|change| shared_file(draft, change)).collect();
    let root = draft.inventory.prefix.as_ref().map_or_else(|| "/".to_owned(), ToString::to_string);
    let remove = Wording::of_verbs(Path::new(&root)).removal(id.as_str());
    let first = format!("back {id} out before ({remove})");
    let mut notes = Vec::new();
    if let Some((directory, package)) = directory {
        notes.push(format!(
            "{id} adds a file to {directory}, a directory that only {package} has: if a later version of {package} replaces the \
             directory by a symbolic link, dpkg refuses that version with `directory '{directory}' contains files not owned by \
             package {package}, cannot switch to symlink`; {first}"
        ));
    }
    if let Some((path, package)) = shared.first() {
        let more = match shared.len() {
            1 => String::new(),
            number => format!(" (and {} more)", number - 1),
        };
        notes.push(format!(
            "{path}{more} is shared by all architectures of {package}, and {id} replaces it: dpkg refuses another architecture \
             with `trying to overwrite shared '{path}', which is different from other instances of package {package}`; {first}"
        ));
    }
    notes
}

fn kept_directory(draft: &PlanBuilder<'_>, change: &Change) -> Option<(ObjectPath, String)> {
    let Action::Add(_) = &change.action else { return None };
    let origin = draft
        .inventory
        .native_origin(&change.package)
        .filter(|origin| origin.manager == NativeManager::Dpkg)?;
    // No package replaces a directory such as /etc.
    let directory = change.path.parent().filter(|directory| directory.relative().contains(&b'/'))?;
    let is_alone = draft.inventory.native_owners.is_own_alone(&directory, &origin);
    is_alone.then_some((directory, origin.name))
}

fn shared_file<'c>(draft: &PlanBuilder<'_>, change: &'c Change) -> Option<(&'c ObjectPath, String)> {
    let Action::Replace(new) = &change.action else { return None };
    let owners = &draft.inventory.native_owners;
    let origin =
        draft.inventory.native_origin(&change.package).filter(|origin| owners.is_multi_arch(origin))?;
    let is_shared = !matches!(new.body, Body::Directory)
        && owners.is_own_alone(&change.path, &origin)
        && !change.path.as_bytes().split(|&byte| byte == b'/').any(is_of_one_architecture);
    is_shared.then_some((&change.path, origin.name))
}

fn is_of_one_architecture(name: &[u8]) -> bool {
    let words: Vec<&[u8]> = name.split(|&byte| byte == b'-').collect();
    match words.as_slice() {
        [_, kernel, _] => [&b"linux"[..], b"kfreebsd"].contains(kernel),
        [_, system] => *system == b"gnu",
        _ => false,
    }
}

const MOST_PATHS: usize = 5;

fn maker_notes(
    inventory: &Inventory,
    target: &PackageTarget<'_>,
    wanted: &[Wanted<'_>],
) -> Result<Vec<String>, Reason> {
    let package = &target.package;
    let is_same = |one: &&Wanted<'_>| inventory.lines.get(&one.path).is_some_and(|line| is_equal(one, line));
    let same: Vec<&ObjectPath> = wanted.iter().filter(is_same).map(|one| &one.path).collect();
    let resolved = |path: &PackagePath| target.resolve(path);
    let deletes: Vec<ObjectPath> = target.image.deletes.iter().map(resolved).collect::<Result<_, _>>()?;
    let is_absent =
        |path: &&ObjectPath| !inventory.lines.contains_key(*path) && !inventory.live.contains_key(*path);
    let absent: Vec<&ObjectPath> = deletes.iter().filter(is_absent).collect();
    let mut notes = Vec::new();
    if !same.is_empty() {
        let paths = listed(inventory, &same);
        notes.push(format!("package {package}: delivered as recorded, without a change: {paths}"));
    }
    if !absent.is_empty() {
        let paths = listed(inventory, &absent);
        let are = if absent.len() == 1 { "is" } else { "are" };
        notes.push(format!("package {package}: the patch deletes {paths}, which {are} not installed"));
    }
    Ok(notes)
}

fn is_equal(wanted: &Wanted<'_>, line: &ContentsLine) -> bool {
    let (new, old) = (&wanted.object, &line.object);
    let is_known = new.content.size.is_some() && new.content.cksum.is_some();
    let is_content = new.content.size == old.content.size && new.content.cksum == old.content.cksum;
    let is_as_before = is_content && new.attributes == old.attributes;
    new.ftype.is_regular() && old.ftype.is_regular() && is_known && is_as_before
}

fn listed(inventory: &Inventory, paths: &[&ObjectPath]) -> String {
    let shown = paths.iter().take(MOST_PATHS).map(|path| inventory.show(path).to_string());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(MOST_PATHS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_one_architecture_have_its_triplet() {
        for name in ["x86_64-linux-gnu", "arm-linux-gnueabihf", "i386-gnu", "x86_64-kfreebsd-gnu"] {
            assert!(is_of_one_architecture(name.as_bytes()), "{name}");
        }
        for name in ["doc", "linux", "libc6-dev", "util-linux", "util-linux-extra-doc", ""] {
            assert!(!is_of_one_architecture(name.as_bytes()), "{name}");
        }
    }
}

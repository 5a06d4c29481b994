//! `patchadd`: what one patch does to a root.
//!
//! All packages of the patch that are installed are one plan. Every reason to refuse is found before there is one,
//! in the order of patchadd(1M): `validate` asks the rules, then come scripts, edited files, the objects and the
//! space.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::policy::{Edited, Policy};
use patchadm_inputs::source::Image;
use patchadm_rootfs::Live;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::package::{Ftype, Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchMacros, PatchRecords};

use super::apply_options::ApplyOptions;
use super::backout_proof::must_have_way_back;
use super::engine::{Bookkeeping, ChosenScripts, Role, applying};
use super::interrupted;
use super::maker_notes::maker_notes;
use super::patch_plan::{self, PackagePlan, PatchPlan};
use super::snapshot;
use super::undo::{DeliveredPaths, Undoing, tree_file};
use super::validate::{Facts, Match, Validated, validate};
use crate::plan::clock::Now;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::ledger::LedgerChange;
use crate::plan::links::sources_first;
use crate::plan::objects::Handling;
use crate::plan::parameters::{is_stored, kept_out, merged, set_by, silent_among, speak_for_last_patch};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{self, RecordChanges, package_path, patch_path};
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::scripts::is_kept;
use crate::plan::target::{PackageTarget, Wanted};
use crate::plan::{Action, Plan, RecordChange, TreeContent, UndoArchive, space};

/// Plans the application of a patch. `applied` are the patch records of the packages in `inventory`, or why they cannot
/// be read.
pub fn apply(
    image: &Image,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    options: &ApplyOptions,
    now: &Now,
) -> Result<PatchPlan, Refusal> {
    let facts =
        Facts::of(image, &policy.separator).map_err(|reason| reason.of(Command::Patchadd, &image.name))?;
    let id = facts.id.clone();
    let refuse = |reason: Reason| reason.shown(inventory).of(Command::Patchadd, &id);
    let validated = validate(image, facts, inventory, applied.clone(), policy, options).map_err(refuse)?;
    let applied = applied.map_err(refuse)?;
    let application = ApplyPlanner { image, inventory, applied, policy, options, now, validated: &validated };
    application.plan().map_err(refuse)
}

/// A patch that the rules let in.
struct ApplyPlanner<'a> {
    image: &'a Image,
    inventory: &'a Inventory,
    applied: &'a AppliedPatches,
    policy: &'a Policy,
    options: &'a ApplyOptions,
    now: &'a Now,
    validated: &'a Validated,
}

/// A package of the patch, with its old and new parameters.
struct Patched<'a> {
    target: PackageTarget<'a>,
    installed: &'a Installed,
    delivered: &'a PatchMacros,
    wanted: Vec<Wanted<'a>>,
    /// The same, as scripts and the undo archive are told of them: what is left of them when they have been placed.
    placed: PlacedObjects,
    /// The names that the patch sets.
    set: Vec<String>,
    /// Those of them of which it says nothing.
    silent: Vec<String>,
    /// Its scripts.
    chosen: ChosenScripts,
}

/// The objects of a package once they have a place in the plan.
#[derive(Default)]
struct PlacedObjects {
    delivered: DeliveredPaths,
    mapped: Vec<MappedObject>,
}

impl ApplyPlanner<'_> {
    fn plan(&self) -> Result<PatchPlan, Reason> {
        let choice = &self.options.scripts;
        let hooks = choice.hooks(applying(&self.image.hooks))?;
        let mut patched: Vec<Patched<'_>> =
            self.validated.matches.iter().map(|found| self.patched(found)).collect::<Result<_, _>>()?;
        let mut draft = self.draft(&patched)?;
        patched.iter_mut().for_each(Patched::forget_wanted);
        let (mut records, undo) = if self.validated.again {
            draft.notes.push(format!("{} is applied already; its files are installed again", self.id()));
            (Vec::new(), Vec::new())
        } else {
            self.records(&draft, &patched)?
        };
        records.extend(self.traces_of_interruption()?);
        let changes: Vec<_> = draft.changes.into_values().collect();
        let missing = patch_plan::missing(self.inventory, &changes, &mut draft.notes);
        self.refuse_scripts_after_interruption(&patched)?;
        let parts: Vec<PackagePlan> = patched.into_iter().map(Patched::part).collect::<Result<_, _>>()?;
        let has_scripts = parts.iter().any(|part| part.chosen.has_scripts());
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let snapshots = snapshot::expected(&undo, &parts);
        let archives: Vec<&UndoArchive> = undo.iter().chain(&snapshots).collect();
        let mut space = space::needs(self.inventory, &changes, &records, &archives, &held);
        if has_scripts || !hooks.is_empty() {
            space = space::with_requests(space);
        }
        space::enough(&space)?;
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
            signature: self.image.signature.record(),
            direction: crate::plan::Direction::Forward,
        };
        must_have_way_back(&plan, self.id(), self.inventory, (&self.policy.separator, self.now))?;
        let (no_undo, again) = (self.validated.no_undo, self.validated.again);
        Ok(PatchPlan {
            plan,
            parts,
            hooks,
            no_undo,
            again,
            missing,
            moved: Vec::new(),
            libraries: None,
            staying: BTreeMap::new(),
        })
    }

    /// The objects of all packages, and what is to be said of them.
    fn draft(&self, patched: &[Patched<'_>]) -> Result<PlanBuilder<'_>, Reason> {
        let edits = self.edits(patched)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.accounts_may_come = patched.iter().any(|package| package.chosen.scripts.preinstall);
        draft.notes.clone_from(&self.validated.notes);
        draft.notes.extend(self.image.signature.verdict.note());
        for found in &self.validated.matches {
            let delivered = self.image.packages.get(found.index);
            draft
                .notes
                .extend(delivered.map(|image| kept_out(&found.package, &image.params)).unwrap_or_default());
        }
        Self::place(&mut draft, patched, &edits)?;
        self.note_paths(&mut draft, &edits);
        for package in patched.iter().filter(|_| self.options.is_rehearsal) {
            draft.notes.extend(maker_notes(self.inventory, &package.target, &package.wanted)?);
        }
        draft.date(self.now.timestamp());
        Ok(draft)
    }

    /// Refuses scripts in packages to which another patch was left half applied.
    fn refuse_scripts_after_interruption(&self, patched: &[Patched<'_>]) -> Result<(), Reason> {
        for package in patched.iter().filter(|package| package.chosen.has_scripts()) {
            let (name, installed) = (&package.target.package, package.installed);
            interrupted::refuse_scripts(name, installed, self.id(), &self.policy.separator)?;
        }
        Ok(())
    }

    /// What an unfinished application of the same patch left, which goes when the patch is installed as a whole.
    fn traces_of_interruption(&self) -> Result<Vec<RecordChange>, Reason> {
        let mut changes = Vec::new();
        for Match { package, .. } in &self.validated.matches {
            if let Some(installed) = self.inventory.packages.get(package) {
                changes.extend(interrupted::forget(package, installed, self.id(), &self.policy.separator)?);
            }
        }
        Ok(changes)
    }

    fn id(&self) -> &PatchId {
        &self.validated.facts.id
    }

    fn patched(&self, found: &Match) -> Result<Patched<'_>, Reason> {
        let missing = || Reason::NotInstalled(vec![found.package.to_string()]);
        let image = self.image.packages.get(found.index).ok_or_else(missing)?;
        let delivered = self.validated.facts.packages.get(found.index).ok_or_else(missing)?;
        let installed = self.inventory.packages.get(&found.package).ok_or_else(missing)?;
        let old = &installed.params;
        let mut new = merged(&found.package, old, &image.params, &Params::new(), self.now);
        speak_for_last_patch(&mut new, &image.params, self.id().as_str(), &delivered.obsoletes.to_string());
        let answers = self.options.answers.get(&found.index);
        for (name, value) in answers.into_iter().flat_map(Params::iter) {
            if is_stored(name) {
                new.set(name, value);
            }
        }
        let set = set_by(old, &new, &image.params);
        let silent = silent_among(&set, &image.params, &delivered.obsoletes, answers);
        self.record_patch(&found.package, delivered, &mut new);
        let chosen = self.options.scripts.about(&found.package, image, &new, Role::Patch)?;
        let target = PackageTarget::new(found.package.clone(), found.index, image, new)?;
        let wanted = target.wanted()?;
        let placed = PlacedObjects::default();
        Ok(Patched { target, installed, delivered, wanted, placed, set, silent, chosen })
    }

    /// PATCHLIST, `PATCH_OBSOLETES` and the `PATCH_INFO` line.
    fn record_patch(&self, package: &PkgInst, delivered: &PatchMacros, new: &mut Params) {
        let installed = patchadm_svr4::patch::InstalledInfo {
            date: self.now.patch_date(),
            host: self.now.host.clone(),
            obsoletes: delivered.obsoletes.clone(),
            requires: delivered.requires.clone(),
            incompatibles: delivered.incompatibles.clone(),
        };
        let known = self.applied.packages().iter().find(|records| records.package == *package);
        match known {
            Some(records) => records.write_applied(self.id(), installed, new),
            None => PatchRecords::none(package.clone()).write_applied(self.id(), installed, new),
        };
    }

    /// Decides about edited files; refuses where one stops the patch.
    fn edits(&self, patched: &[Patched<'_>]) -> Result<Edits<'_>, Reason> {
        let saved = !self.validated.no_undo && !self.validated.again;
        let choice = if self.validated.again {
            // no undo data is written, so nothing could say later that a file was kept
            let overridden = self.options.edits.overridden.clone();
            EditChoice { general: Edited::Replace, overridden, ..EditChoice::default() }
        } else {
            self.options.edits.clone()
        };
        let mut edits = Edits::new(self.inventory, choice, self.id().as_str(), saved);
        for (package, wanted) in by_path(patched) {
            if package.is_by_script(wanted) {
                continue;
            }
            if self.validated.again && self.is_anothers(wanted) {
                edits.leave(&wanted.path);
            } else {
                edits.consider(&package.target.package, &wanted.path, Some(&wanted.object))?;
            }
        }
        for package in patched {
            for path in &package.target.image.deletes {
                edits.consider(&package.target.package, &package.target.resolve(path)?, None)?;
            }
        }
        edits.check()?;
        self.refuse_keeping(patched, &edits)?;
        Ok(edits)
    }

    /// Scripts that install and delete the objects know nothing of edited files that are to be kept.
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

    /// Whether a path no longer has what this patch delivered, because another patch came after it.
    fn is_anothers(&self, wanted: &Wanted<'_>) -> bool {
        let object = self.inventory.lines.get(&wanted.path).map(|line| &line.object);
        object.is_none_or(|object| {
            object.ftype != wanted.object.ftype
                || object.content != wanted.object.content
                || object.target != wanted.object.target
        })
    }

    fn note_paths(&self, draft: &mut PlanBuilder<'_>, edits: &Edits<'_>) {
        for path in &edits.touched {
            let path = self.inventory.show(path);
            draft.notes.push(format!("{path} has another modification time than is recorded"));
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

    fn place(draft: &mut PlanBuilder<'_>, patched: &[Patched<'_>], edits: &Edits<'_>) -> Result<(), Reason> {
        let all = by_path(patched);
        for (package, wanted) in all.iter().filter(|(_, wanted)| wanted.object.ftype != Ftype::Link) {
            let handling = match edits.handling(&wanted.path) {
                Handling::Ordinary if package.is_by_script(wanted) => Handling::ByScript,
                decided => decided,
            };
            draft.place(&package.target, wanted, &handling)?;
        }
        for (package, wanted) in sources_first(all) {
            draft.link(&package.target, wanted, &edits.handling(&wanted.path))?;
        }
        for package in patched {
            for path in &package.target.image.deletes {
                Self::delete(draft, package, &package.target.resolve(path)?, edits)?;
            }
        }
        draft.relink()?;
        draft.finish()
    }

    fn delete(
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

    /// The records of all packages and of the patch, and the undo archives.
    fn records(
        &self,
        draft: &PlanBuilder<'_>,
        patched: &[Patched<'_>],
    ) -> Result<(Vec<RecordChange>, Vec<UndoArchive>), Reason> {
        let mut changes = Vec::new();
        let mut undo = Vec::new();
        for package in patched {
            let target = &package.target;
            let files = records::files(&target.package, target.image, &target.params, is_kept)?;
            let mut records = RecordChanges::of(&target.package, package.installed, files)?;
            records.date(self.now.timestamp());
            let (name, id) = (&target.package, self.id());
            let (obsoletes, separator) = (&package.delivered.obsoletes, &self.policy.separator);
            changes.extend(records::supersede(name, package.installed, id, obsoletes, separator)?);
            changes.push(self.save(draft, package, &records, &mut undo)?);
            changes.extend(records.changes);
            let ledger = LedgerChange::of_application(name, id.as_str(), self.validated.no_undo);
            changes.push(RecordChange::Ledger(ledger));
        }
        changes.extend(self.patch_directory()?);
        Ok((changes, undo))
    }

    /// The save directory of a package, with its undo archive, the pointer to it, or the manifest alone.
    fn save(
        &self,
        draft: &PlanBuilder<'_>,
        package: &Patched<'_>,
        changed: &RecordChanges,
        undo: &mut Vec<UndoArchive>,
    ) -> Result<RecordChange, Reason> {
        let target = &package.target;
        if records::save_of(package.installed, self.id(), &self.policy.separator).is_some() {
            return Err(Reason::StaleSave(target.package.clone()));
        }
        let undoing = Undoing {
            id: self.id(),
            obsoletes: &package.delivered.obsoletes,
            old: &package.installed.params,
            saves: &package.installed.saves,
            set: &package.set,
            silent: &package.silent,
            format: self.options.undo_format,
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

    /// The manifest by which the patch was trusted, and its signature.
    fn signed_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let Some(signed) = &self.image.signature.files else { return Vec::new() };
        let mut files = vec![("MANIFEST".to_owned(), signed.manifest.clone(), 0o644)];
        if let Some((format, text)) = &signed.signature {
            files.push((format!("MANIFEST{}", format.ending()), text.clone(), 0o644));
        }
        files
    }

    /// `var/sadm/patch/<id>` with the README, the patchinfo and the scripts that patchrm(1M) runs.
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
}

impl Patched<'_> {
    /// Whether a script of the package's own puts the object there, so that an edited one is that script's matter.
    fn is_by_script(&self, wanted: &Wanted<'_>) -> bool {
        let chosen = &self.chosen;
        chosen.bookkeeping == Bookkeeping::Program
            && wanted.object.ftype.is_regular()
            && chosen.scripts.classes.contains_key(wanted.object.class.as_str())
    }

    /// Lets go of the objects, which have a place in the plan, before the manifest of the undo archive needs memory.
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

/// The objects of all packages by path: what one package has in a directory may need another to make it.
fn by_path<'p, 'a>(patched: &'p [Patched<'a>]) -> Vec<(&'p Patched<'a>, &'p Wanted<'a>)> {
    let wanted =
        patched.iter().flat_map(|package| package.wanted.iter().map(move |wanted| (package, wanted)));
    let mut all: Vec<_> = wanted.collect();
    all.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    all
}

//! The plan of a backout: what becomes of objects, lines, records, and of the undo data of patches that stay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, UndoSources};
use super::backout_live::{GoingPackage, LivePatch, patch_directories};
use super::backout_records::{RecordsAfter, RecordsBefore, fold};
use super::engine::{BACKING_OUT, Bookkeeping, Role};
use super::foreign;
use super::interrupted;
use super::later::{Among, AppliedPackages, changed_elsewhere};
use super::middle::chains::Chains;
use super::patch_plan::{self, PackagePlan, PatchListChange, PatchPlan};
use super::restore::{Restoring, restore};
use super::taking_over::{Rewritten, TakingOver};
use super::validate::must_be_as_adopted;
use crate::plan::clock::Now;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{Command, HandOnProblem, Reason};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::target::PackageTarget;
use crate::plan::{Plan, RecordChange, UndoArchive, space};
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// A backout that is planned.
pub(super) struct Backout<'a> {
    /// The patches, the last applied first.
    pub(super) going: &'a [GoingPatch],
    pub(super) sources: UndoSources<'a>,
    /// Whether the patch is applied to a package beside these.
    pub(super) is_elsewhere: bool,
    /// Whether it is the installation of a backout package, which writes no other archive anew.
    pub(super) is_installed: bool,
    pub(super) inventory: &'a Inventory,
    pub(super) policy: &'a Policy,
    pub(super) options: &'a BackOutOptions,
    pub(super) now: &'a Now,
    /// Asks for a signal: between passes, and between the objects of one.
    pub(super) interrupt: Interrupt<'a>,
}

impl<'a> Backout<'a> {
    pub(super) fn plan(&self) -> Result<PatchPlan, Reason> {
        must_be_as_adopted(self.packages(), self.inventory)?;
        let here = BACKING_OUT.into_iter().filter(|name| self.options.hooks.contains(*name));
        let hooks = self.options.scripts.hooks(here)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.notes.clone_from(&self.options.notes);
        let (mut parts, mut records, mut packages) = (Vec::new(), Vec::new(), Vec::new());
        for package in self.packages() {
            self.go_on()?;
            let (going, mut own, changes) = self.package(package, &mut draft)?;
            records.extend(changes);
            parts.append(&mut own);
            packages.push(going);
        }
        let has_scripts = !hooks.is_empty() || parts.iter().any(|part| part.chosen.has_scripts());
        let mut rewritten = Rewritten::default();
        self.objects(&mut draft, &packages, has_scripts, &mut rewritten)?;
        if !self.is_elsewhere {
            records.extend(self.patch_directories()?);
        }
        records.append(&mut rewritten.records);
        self.go_on()?;
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let moved = std::mem::take(&mut rewritten.moved);
        let mut plan = self.finished(draft, fold(records), rewritten, &held)?;
        if has_scripts {
            plan.space = space::with_requests(plan.space);
            space::enough(&plan.space)?;
        }
        let missing = patch_plan::missing(self.inventory, &plan.changes, &mut plan.notes);
        Ok(PatchPlan {
            plan,
            parts,
            hooks,
            no_undo: false,
            again: false,
            missing,
            moved,
            lists: self.lists()?,
            libraries: None,
            staying: BTreeMap::new(),
        })
    }

    /// Fails if a signal came.
    fn go_on(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    /// The packages, in the order in which the patches have them.
    fn packages(&self) -> Vec<&'a PkgInst> {
        let mut packages: Vec<&PkgInst> = Vec::new();
        for package in self.going.iter().flat_map(|patch| &patch.packages) {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        packages
    }

    /// The patches that go.
    fn ids(&self) -> BTreeSet<&'a PatchId> {
        self.going.iter().map(|patch| &patch.id).collect()
    }

    /// A patch among those of a package.
    fn among(&self, id: &'a PatchId) -> Among<'a> {
        Among { id, all: self.applied_packages() }
    }

    fn applied_packages(&self) -> AppliedPackages<'a> {
        AppliedPackages {
            inventory: self.inventory,
            separator: &self.policy.separator,
            known: &self.options.later,
            going: self.ids(),
        }
    }

    /// How the lists of patches change.
    fn lists(&self) -> Result<Vec<PatchListChange>, Reason> {
        let (among, mut known, mut lists) = (self.applied_packages(), BTreeSet::new(), Vec::new());
        for patch in self.going {
            for package in &patch.packages {
                let is_first = known.insert(package);
                let before = is_first.then(|| among.applied(package)).transpose()?;
                let before = before.map(|records| records.list);
                lists.push(PatchListChange { package: package.clone(), patch: patch.id.clone(), before });
            }
        }
        Ok(lists)
    }

    /// One package: the patches that go from it, with their scripts, and its records as they were.
    fn package(
        &self,
        package: &'a PkgInst,
        draft: &mut PlanBuilder<'_>,
    ) -> Result<(GoingPackage<'a>, Vec<PackagePlan>, Vec<RecordChange>), Reason> {
        let mut patches = Vec::new();
        for patch in self.going.iter().filter(|patch| patch.packages.contains(package)) {
            let mut archives = self.sources.archives.iter();
            let is_it =
                |archive: &&BackoutArchive<'_>| archive.package == package && *archive.patch == patch.id;
            let archive = archives.find(is_it).ok_or_else(|| Reason::NoUndoData(package.clone()))?;
            if let Some(manifest) = archive.manifest {
                self.check_header(&patch.id, package, manifest)?;
            }
            patches.push((&patch.id, archive));
        }
        let mut before = RecordsBefore::of(&self.applied_packages(), package, self.now)?;
        // Between packages the order of application may differ.
        patches.sort_by_cached_key(|(id, _)| std::cmp::Reverse(before.listed.place(id)));
        let (mut parts, mut by_script) = (Vec::new(), BTreeSet::new());
        for (id, archive) in &patches {
            let params = before.back_out(id, archive)?;
            let part = self.part(package, archive, params)?;
            let installed = self.inventory.packages.get(package).filter(|_| part.chosen.has_scripts());
            if let Some(installed) = installed {
                interrupted::refuse_scripts(package, installed, id, &self.policy.separator)?;
            }
            if archive.manifest.is_none() && part.chosen.bookkeeping == Bookkeeping::Program {
                let how = "restored from an archive without manifest, as its pkgmap says";
                draft.notes.push(format!("package {package}: {how}"));
            }
            by_script.extend(part.by_own_scripts());
            parts.push(part);
        }
        let RecordsAfter { listed, changes, taken } = before.after()?;
        Ok((GoingPackage { package, patches, listed, by_script, taken }, parts, changes))
    }

    /// Objects and lines as they were, and the undo data of patches that stay.
    fn objects(
        &self,
        draft: &mut PlanBuilder<'_>,
        packages: &[GoingPackage<'a>],
        has_scripts: bool,
        rewritten: &mut Rewritten,
    ) -> Result<(), Reason> {
        let mut all = Vec::new();
        for going in packages {
            all.push((going, going.chains()));
        }
        let told = all.iter().flat_map(|(_, chains)| chains.leaving());
        changed_elsewhere(told, &self.options.elsewhere)?;
        for (going, chains) in &all {
            self.go_on()?;
            self.judge(going.package, chains, has_scripts)?;
            self.taking_over(going).rewrite(chains, rewritten)?;
            for (id, archive) in going.patches.iter().filter(|(_, archive)| archive.manifest.is_none()) {
                let later = going.listed.later(id);
                foreign::restore(draft, id, going.package, archive.index, archive, &later)?;
            }
        }
        let mut live = Vec::new();
        for (going, chains) in &all {
            live.extend(going.live(chains));
        }
        let restorings: Vec<Restoring<'_>> = live.iter().map(LivePatch::restoring).collect();
        restore(draft, &restorings, self.interrupt)?;
        for (going, chains) in &all {
            self.taking_over(going).keep_edited(draft, chains)?;
        }
        Ok(())
    }

    fn judge(&self, package: &PkgInst, chains: &Chains<'_>, has_scripts: bool) -> Result<(), Reason> {
        let Some(first) = self.going.first() else { return Ok(()) };
        self.among(&first.id).judged(package, chains, self.options)?.refuse()?;
        let in_the_way = chains.runs.iter().find_map(|run| Some((run, run.heir?)));
        let Some((run, heir)) = in_the_way.filter(|_| has_scripts || self.is_installed) else {
            return Ok(());
        };
        let by = chains.order.get(heir.at).map(|patch| patch.id.to_string());
        match ObjectPath::new(&decode(run.path())) {
            Ok(path) if self.is_installed => Err(Reason::ChangedLater { path, by }),
            Ok(path) => {
                let by = by.unwrap_or_default();
                Err(Reason::NotHandedOn { path, by, why: HandOnProblem::Scripts })
            }
            Err(_) => Err(Reason::NotApplied),
        }
    }

    fn taking_over<'g>(&'g self, going: &'g GoingPackage<'a>) -> TakingOver<'g> {
        going.taking_over(self.sources.later, self.inventory, &self.policy.separator)
    }

    /// The plan, when every package has said what becomes of its objects and records. `held` is what copies need.
    fn finished(
        &self,
        mut draft: PlanBuilder<'_>,
        records: Vec<RecordChange>,
        rewritten: Rewritten,
        held: &[(ObjectPath, u64, u64)],
    ) -> Result<Plan, Reason> {
        draft.relink()?;
        draft.finish()?;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let archives: Vec<&UndoArchive> = rewritten.undo.iter().collect();
        let mut extra = held.to_vec();
        // A version passes through the stage, which is where the records are.
        let passing = rewritten.versions.iter().map(|version| version.member.size);
        extra.extend(passing.map(|size| (patchadm_svr4::places::own_directory(), size, 1)));
        let space = space::needs(self.inventory, &changes, &records, &archives, &extra);
        space::enough(&space)?;
        let packages: Vec<PkgInst> = self.packages().into_iter().cloned().collect();
        let last = packages.last().ok_or(Reason::NotApplied)?;
        let used_up = self.sources.archives.iter().filter_map(|archive| archive.outside);
        Ok(Plan {
            command: Command::Patchrm.name(),
            patches: self.going.iter().map(|patch| patch.id.to_string()).collect(),
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.now.trailer("pkgadd", last),
            packages,
            undo: rewritten.undo,
            versions: rewritten.versions,
            space,
            discard: used_up.map(Path::to_owned).chain(rewritten.discard).collect(),
            signature: None,
            merges: Vec::new(),
            direction: crate::plan::Direction::Back,
            notes: draft.notes,
        })
    }

    /// A package with its scripts.
    fn part(
        &self,
        package: &PkgInst,
        archive: &BackoutArchive<'_>,
        params: Params,
    ) -> Result<PackagePlan, Reason> {
        let is_ours = archive.manifest.is_some() && archive.made_by_scripts.is_none();
        let role = if is_ours { Role::Ours } else { Role::Foreign };
        let (image, index) = (archive.made_by_scripts.unwrap_or(archive.image), archive.index);
        let chosen = self.options.scripts.about(package, image, &params, role)?;
        let target = PackageTarget::new(package.clone(), index, image, params)?;
        let objects = if is_ours { target.saved()? } else { target.wanted()? };
        let mapped = objects.iter().map(MappedObject::of).collect();
        let deletes = image.deletes.iter().map(|path| target.resolve(path));
        let deletes = deletes.collect::<Result<_, _>>()?;
        let (package, restores) = (package.clone(), archive.manifest.is_some());
        // Of several patches none runs scripts, and the parameters would be those of all patches once for each of them.
        let params = if self.going.len() > 1 { Params::new() } else { target.params };
        Ok(PackagePlan { package, index, params, chosen, mapped, deletes, restores })
    }

    /// The directories of the patches, under each spelling of an id.
    fn patch_directories(&self) -> Result<Vec<RecordChange>, Reason> {
        patch_directories(self.going, self.sources.archives, self.inventory)
    }

    /// An archive must be that of this patch and package: another one would put strange files here. That it is this
    /// root's is said by the ledger, whatever root its header names: a root may get another marker.
    fn check_header(&self, id: &PatchId, package: &PkgInst, manifest: &Manifest) -> Result<(), Reason> {
        let header = &manifest.header;
        let bad = |reason: String| Err(Reason::BadUndoData { package: package.clone(), reason });
        let patch = PatchId::parse(&header.patch, &self.policy.separator);
        if header.package != package.as_str() || patch.as_ref() != Ok(id) {
            return bad(format!("it is that of patch {} and package {}", header.patch, header.package));
        }
        Ok(())
    }
}

//! `patchrm`: what backing a patch out does to a root.
//!
//! First the rules ([`may_back_out`]), before any archive is read; then, with the archives ([`back_out`]), objects,
//! lines and records as they were. A path that a later patch changed again is never touched: the backout is refused
//! and names that patch. What an administrator wrote since is kept as `PATH.edited-<id>`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::inventory::Inventory;
use crate::policy::Policy;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_svr4::format::params;
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

use super::backout_input::{BackOutOptions, BackoutArchive, Later};
use super::engine::{BACKING_OUT, Bookkeeping, Role};
use super::foreign;
use super::handing_down::Left;
use super::interrupted::{self, why_interrupted};
use super::later::Among;
use super::patch_plan::{self, PackagePlan, PatchPlan};
use super::restore::{Restoring, restore};
use crate::plan::clock::Now;
use crate::plan::ledger::LedgerChange;
use crate::plan::parameters;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{has_undo_data, package_path, patch_path, reactivate, save_of};
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::target::PackageTarget;
use crate::plan::{Plan, RecordChange, space};

/// Asks the rules: applied, not superseded, not needed, with undo data. The packages that the patch is applied to,
/// whose archives [`back_out`] needs, in the order of the inventory. `applied` are the patch records of the packages in
/// `inventory`, or why they cannot be read; with `force` a patch may be superseded or obsoleted.
pub fn may_back_out(
    id: &PatchId,
    inventory: &Inventory,
    applied: Result<AppliedPatches, Reason>,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Refusal> {
    let rules = || {
        let applied = applied?;
        let mut packages = inventory.packages.iter();
        let half = |(package, installed)| why_interrupted(package, installed, id, &policy.separator);
        match packages.find_map(half) {
            Some(reason) => Err(reason),
            None => may_go(id, &applied, inventory, policy, force),
        }
    };
    rules().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// The same rules where it is known which patches are applied, and that this one was not left half applied.
fn may_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Reason> {
    let Some(patch) = applied.get(id) else {
        return Err(
            progressive(id, inventory, &policy.separator).map_or(Reason::NotApplied, Reason::NoUndoData)
        );
    };
    match applied.superseded(id).filter(|_| !force) {
        Some(Superseded::Revision(by)) => return Err(Reason::Superseded(by.clone())),
        Some(Superseded::Obsoletion(by)) => {
            return Err(Reason::Obsoleted { by: by.by.cloned(), entry: by.entry.clone() });
        }
        None => {}
    }
    let unmet = applied.dependents_after_removal(id);
    let can_go_first = |by: &PatchId| applied.dependents_after_removal(by).is_empty();
    let first = unmet.iter().find(|one| can_go_first(&one.patch)).or(unmet.first());
    if let Some(unmet) = first.cloned() {
        return Err(Reason::Needed { by: unmet.patch, requirement: unmet.requirement });
    }
    for package in &patch.packages {
        let installed = inventory.packages.get(package);
        if !installed.is_some_and(|installed| has_undo_data(installed, id, &policy.separator)) {
            return Err(Reason::NoUndoData(package.clone()));
        }
    }
    Ok(patch.packages.clone())
}

/// The packages from which a patch could go as far as the records of the applied ones say, if it was not left half
/// applied; else the refusal.
pub fn packages_to_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Vec<PkgInst>, Refusal> {
    let may_go = may_go(id, applied, inventory, policy, false);
    may_go.map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// The package instance that is this patch, of the old progressive kind: it names itself so and has no record of
/// having been patched.
fn progressive(id: &PatchId, inventory: &Inventory, separator: &str) -> Option<PkgInst> {
    let mut packages = inventory.packages.iter();
    let is_patch = |params: &Params| {
        let own = params.text("SUNW_PATCHID");
        PatchId::parse(&own, separator).as_ref() == Ok(id)
            && params.get(&format!("PATCH_INFO_{own}")).is_none()
    };
    packages.find(|(_, installed)| is_patch(&installed.params)).map(|(package, _)| package.clone())
}

/// Plans the backout of a patch from the packages that [`may_back_out`] named. `archives` has one for each.
pub fn back_out(
    id: &PatchId,
    packages: Vec<PkgInst>,
    archives: &[BackoutArchive<'_>],
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    now: &Now,
) -> Result<PatchPlan, Refusal> {
    let backout = Backout { id, archives, is_elsewhere: false, inventory, policy, options, now };
    backout.plan(packages).map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Plans how a patch is taken out of the package of `archive` alone, as an installation of its backout package does it.
/// Asked is which later patch has a path; what other patches need is for the user of pkgadd(1M) to decide. With
/// `is_elsewhere` the patch is applied to other packages as well.
pub fn back_out_of_package(
    id: &PatchId,
    archive: BackoutArchive<'_>,
    is_elsewhere: bool,
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    now: &Now,
) -> Result<PatchPlan, Refusal> {
    let packages = vec![archive.package.clone()];
    let backout = Backout { id, archives: &[archive], is_elsewhere, inventory, policy, options, now };
    backout.plan(packages).map_err(|reason| reason.shown(inventory).of(Command::Pkgadd, archive.package))
}

struct Backout<'a> {
    id: &'a PatchId,
    archives: &'a [BackoutArchive<'a>],
    /// Whether the patch is applied to a package beside these.
    is_elsewhere: bool,
    inventory: &'a Inventory,
    policy: &'a Policy,
    options: &'a BackOutOptions,
    now: &'a Now,
}

impl Backout<'_> {
    fn plan(&self, packages: Vec<PkgInst>) -> Result<PatchPlan, Reason> {
        let choice = &self.options.scripts;
        let here = BACKING_OUT.into_iter().filter(|name| self.options.hooks.contains(*name));
        let hooks = choice.hooks(here)?;
        let mut parts = Vec::new();
        let mut draft = PlanBuilder::new(self.inventory);
        draft.notes.clone_from(&self.options.notes);
        let mut records = Vec::new();
        let mut restorings = Vec::new();
        let manifests = self.manifests(&packages)?;
        for package in &packages {
            let mut archives = self.archives.iter().enumerate();
            let (index, archive) = archives
                .find(|(_, archive)| archive.package == package)
                .ok_or_else(|| Reason::NoUndoData(package.clone()))?;
            let later = self.among().later(package)?;
            let (params, changes) = self.records(package, archive, &later)?;
            records.extend(changes);
            let part = self.part(package, index, archive, params)?;
            if let Some(installed) =
                self.inventory.packages.get(package).filter(|_| part.chosen.has_scripts())
            {
                interrupted::refuse_scripts(package, installed, self.id, &self.policy.separator)?;
            }
            if archive.manifest.is_none() && part.chosen.bookkeeping == Bookkeeping::Program {
                let how = "restored from an archive without manifest, as its pkgmap says";
                draft.notes.push(format!("package {package}: {how}"));
            }
            let by_script = part.by_own_scripts();
            parts.push(part);
            match archive.manifest.and(manifests.get(package)) {
                Some(manifest) => {
                    self.check_header(package, manifest)?;
                    let files = archive.image.files();
                    let saved = files.map(|entry| (&entry.path, entry.object.content)).collect();
                    restorings.push(Restoring {
                        id: self.id,
                        package,
                        index,
                        saved,
                        manifest,
                        bound: archive.is_bound,
                        later,
                        by_script,
                    });
                }
                None => foreign::restore(&mut draft, self.id, package, index, archive, &later)?,
            }
        }
        restore(&mut draft, &restorings, &self.options.elsewhere)?;
        if !self.is_elsewhere {
            records.extend(self.patch_directories()?);
        }
        let has_scripts = parts.iter().any(|part| part.chosen.has_scripts());
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let mut plan = self.finished(draft, records, packages, &held)?;
        if !hooks.is_empty() || has_scripts {
            plan.space = space::with_requests(plan.space);
            space::enough(&plan.space)?;
        }
        let missing = patch_plan::missing(self.inventory, &plan.changes, &mut plan.notes);
        Ok(PatchPlan { plan, parts, hooks, no_undo: false, again: false, missing })
    }

    /// The manifests that are restored from: with what earlier patches have handed down.
    fn manifests(&self, packages: &[PkgInst]) -> Result<BTreeMap<PkgInst, Cow<'_, Manifest>>, Reason> {
        let mut manifests = BTreeMap::new();
        for archive in self.archives.iter().filter(|archive| packages.contains(archive.package)) {
            let Some(manifest) = archive.manifest else { continue };
            manifests.insert(archive.package.clone(), self.among().manifest(archive.package, manifest)?);
        }
        Ok(manifests)
    }

    /// The patch among the others.
    fn among(&self) -> Among<'_> {
        let separator = &self.policy.separator;
        Among { id: self.id, inventory: self.inventory, separator, known: &self.options.later }
    }

    /// The plan, when every package has said what becomes of its objects and records. `held` is what copies need.
    fn finished(
        &self,
        mut draft: PlanBuilder<'_>,
        records: Vec<RecordChange>,
        packages: Vec<PkgInst>,
        held: &[(ObjectPath, u64, u64)],
    ) -> Result<Plan, Reason> {
        draft.relink()?;
        draft.finish()?;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let space = space::needs(self.inventory, &changes, &records, &[], held);
        space::enough(&space)?;
        let last = packages.last().ok_or(Reason::NotApplied)?;
        Ok(Plan {
            command: Command::Patchrm.name(),
            patches: vec![self.id.to_string()],
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.now.trailer("pkgadd", last),
            packages,
            undo: Vec::new(),
            versions: Vec::new(),
            space,
            discard: self.archives.iter().filter_map(|archive| archive.outside).map(Path::to_owned).collect(),
            signature: None,
            notes: draft.notes,
        })
    }

    /// A package with its scripts.
    fn part(
        &self,
        package: &PkgInst,
        index: usize,
        archive: &BackoutArchive<'_>,
        params: Params,
    ) -> Result<PackagePlan, Reason> {
        let is_ours = archive.manifest.is_some() && archive.made_by_scripts.is_none();
        let role = if is_ours { Role::Ours } else { Role::Foreign };
        let image = archive.made_by_scripts.unwrap_or(archive.image);
        let chosen = self.options.scripts.about(package, image, &params, role)?;
        let target = PackageTarget::new(package.clone(), index, image, params)?;
        let mapped = target.wanted()?.iter().map(MappedObject::of).collect();
        let deletes = image.deletes.iter().map(|path| target.resolve(path));
        let deletes = deletes.collect::<Result<_, _>>()?;
        let (package, restores) = (package.clone(), archive.manifest.is_some());
        Ok(PackagePlan { package, index, params: target.params, chosen, mapped, deletes, restores })
    }

    /// The directory of the patch, under each spelling of its id.
    fn patch_directories(&self) -> Result<Vec<RecordChange>, Reason> {
        let delivered = self.archives.iter().filter_map(|archive| archive.manifest);
        let mut names: BTreeSet<&str> = delivered.map(|manifest| manifest.header.patch.as_str()).collect();
        names.insert(self.id.as_str());
        let paths: Vec<_> = names.into_iter().map(patch_path).collect::<Result<_, _>>()?;
        let there = paths.into_iter().filter(|path| self.inventory.live.contains_key(path));
        Ok(there.map(RecordChange::RemoveTree).collect())
    }

    /// An archive must be that of this patch and package: another one would put strange files here. That it is this
    /// root's is said by the ledger, whatever root its header names: a root may get another marker.
    fn check_header(&self, package: &PkgInst, manifest: &Manifest) -> Result<(), Reason> {
        let header = &manifest.header;
        let bad = |reason: String| Err(Reason::BadUndoData { package: package.clone(), reason });
        let patch = PatchId::parse(&header.patch, &self.policy.separator);
        if header.package != package.as_str() || patch.as_ref() != Ok(self.id) {
            return bad(format!("it is that of patch {} and package {}", header.patch, header.package));
        }
        Ok(())
    }

    /// The records of a package as they were.
    fn records(
        &self,
        package: &PkgInst,
        archive: &BackoutArchive<'_>,
        later: &Later<'_>,
    ) -> Result<(Params, Vec<RecordChange>), Reason> {
        let installed = self.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        let old = old_params(package, archive)?;
        let set_by_unknown = |name: &str| set_by_unknown(name, later, &installed.params, self.id);
        let set_later = |name: &str| set_by_known(name, later) || set_by_unknown(name);
        let mut left = Left::default();
        let mut new = match archive.manifest {
            Some(manifest) => {
                let of = self.among().handing_down(package)?;
                let before = of.before(self.id, manifest, old, archive.records)?;
                left = of.hand_down(manifest, &before, later)?;
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
        let mut applied = self.among().applied(package)?;
        applied.record_backed_out(self.id);
        applied.write(self.id, &mut new);
        let file = archive.records.get(&b"pkginfo"[..]).or(installed.records.get(&b"pkginfo"[..]));
        let mut changes = vec![RecordChange::Write {
            path: package_path(package, b"pkginfo")?,
            bytes: params::write(&new),
            mode: file.map_or(patchadm_svr4::package::Mode::of(0o644), |file| file.mode),
            mtime: None,
        }];
        let separator = &self.policy.separator;
        changes.extend(reactivate(package, installed, self.id, separator)?);
        if let Some((name, _)) = save_of(installed, self.id, separator) {
            changes.push(RecordChange::RemoveTree(package_path(package, format!("save/{name}").as_bytes())?));
        }
        changes.extend(interrupted::forget(package, installed, self.id, separator)?);
        changes.extend(left.changes);
        changes.push(RecordChange::Ledger(LedgerChange::of(package)));
        Ok((new, changes))
    }
}

/// The parameters before the patch: the saved pkginfo, or that of a foreign backout package.
fn old_params(package: &PkgInst, archive: &BackoutArchive<'_>) -> Result<Params, Reason> {
    let Some(file) = archive.records.get(&b"pkginfo"[..]) else {
        return match archive.manifest {
            None => Ok(archive.image.params.clone()),
            Some(_) => Err(Reason::BadUndoData {
                package: package.clone(),
                reason: "the saved pkginfo is missing".to_owned(),
            }),
        };
    };
    let parsed = ParamFile::parse(&file.bytes).map_err(|error| Reason::BadUndoData {
        package: package.clone(),
        reason: format!("the saved pkginfo: {error}"),
    })?;
    Ok(parsed.params())
}

/// Whether a later patch with a manifest has set a parameter again.
fn set_by_known(name: &str, later: &Later<'_>) -> bool {
    let mut manifests = later.iter().filter_map(|(_, manifest)| *manifest);
    manifests.any(|manifest| manifest.header.parameters.iter().any(|set| set == name))
}

/// Whether a later patch without manifest has set a parameter again: of such a one only the usual words are known.
fn set_by_unknown(name: &str, later: &Later<'_>, current: &Params, id: &PatchId) -> bool {
    let unknown = later.iter().any(|(_, manifest)| manifest.is_none());
    let last = current.text("SUNW_PATCHID");
    unknown && parameters::is_word_of_last_patch(name) && last.as_ref() != id.as_str()
}

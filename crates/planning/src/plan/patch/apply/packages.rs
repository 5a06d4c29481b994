//! The packages of a patch, each with its old and new parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::ApplyPlanner;
use crate::plan::parameters::{is_stored, merged, note_update, set_by, silent_among, speak_for_last_patch};
use crate::plan::patch::engine::{Bookkeeping, ChosenScripts, Role};
use crate::plan::patch::patch_plan::PackagePlan;
use crate::plan::patch::undo::DeliveredPaths;
use crate::plan::patch::validate::Match;
use crate::plan::refusal::Reason;
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::target::{PackageTarget, Wanted, base_directory};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{FIXED_IN, differing_of, fixed_in_parameter};
use patchadm_inputs::source::PackageImage;
use patchadm_svr4::package::{Ftype, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{FIXES, FixRecord, PatchId, PatchMacros, PatchRecords};

/// A package of the patch, with its old and new parameters.
pub(super) struct Patched<'a> {
    pub(super) target: PackageTarget<'a>,
    pub(super) installed: &'a Installed,
    pub(super) delivered: &'a PatchMacros,
    pub(super) wanted: Vec<Wanted<'a>>,
    /// The same, as scripts and the undo archive are told of them: what is left of them when they have been placed.
    pub(super) placed: PlacedObjects,
    /// The names that the patch sets.
    pub(super) set: Vec<String>,
    /// Those of them of which it says nothing.
    pub(super) silent: Vec<String>,
    /// Its scripts.
    pub(super) chosen: ChosenScripts,
    /// The objects that its native package lists and that were not there when it was registered either: its manager was told to
    /// leave them out, or an administrator deleted them. They stay away.
    pub(super) left_out: BTreeMap<ObjectPath, Ftype>,
}

/// The objects of a package once they have a place in the plan.
#[derive(Default)]
pub(super) struct PlacedObjects {
    pub(super) delivered: DeliveredPaths,
    pub(super) mapped: Vec<MappedObject>,
}

impl ApplyPlanner<'_> {
    /// The packages of the patch that are installed, in its order.
    pub(super) fn packages(&self) -> Result<Vec<Patched<'_>>, Reason> {
        let patched = |found| self.go_on().and_then(|()| self.patched(found));
        self.validated.matches.iter().map(patched).collect()
    }

    fn patched(&self, found: &Match) -> Result<Patched<'_>, Reason> {
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

    /// Refuses a patch that is made for another base directory, unless an object of it belongs to the package or to a
    /// directory of the package: a package that was relocated is patched where it is.
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

    /// Returns what is missing now and was missing when its package was registered. `differing` are the paths that were not as
    /// delivered then. A directory comes all the same if something in it does.
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
        // Paths below a directory sort after it.
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

    /// The native versions that have the fix, as the package or the patch says, under the name of the patch: the next one
    /// says its own.
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

    /// What the patch fixes, and which patch that is, under its name as PATCHLIST will have it: the next one says its own.
    fn record_fixes(&self, package: &PkgInst, delivered: &PatchMacros, new: &mut Params) {
        new.remove(FIXES);
        let record = FixRecord { fixes: delivered.fixes.clone(), sha256: self.image.sha256.clone() };
        record.write(self.spelled(package), new);
    }

    /// The id as the records of a package spell it: a patch that comes back keeps the spelling of its history.
    fn spelled(&self, package: &PkgInst) -> &PatchId {
        let known = self.applied.packages().iter().find(|records| records.package == *package);
        let id = known.and_then(|records| records.infos.get_key_value(self.id()));
        id.map_or(self.id(), |(id, _)| id)
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
}

impl Patched<'_> {
    /// Whether a script of the package's own puts the object there, so that an edited one is that script's matter.
    pub(super) fn is_by_script(&self, wanted: &Wanted<'_>) -> bool {
        let chosen = &self.chosen;
        chosen.bookkeeping == Bookkeeping::Program
            && wanted.object.ftype.is_regular()
            && chosen.scripts.classes.contains_key(wanted.object.class.as_str())
    }

    /// Lets go of the objects, which have a place in the plan, before the manifest of the undo archive needs memory.
    pub(super) fn forget_wanted(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        let mapped = wanted.iter().map(MappedObject::of).collect();
        self.placed = PlacedObjects { delivered: DeliveredPaths::of(&wanted), mapped };
    }

    pub(super) fn part(self) -> Result<PackagePlan, Reason> {
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
pub(super) fn by_path<'p, 'a>(patched: &'p [Patched<'a>]) -> Vec<(&'p Patched<'a>, &'p Wanted<'a>)> {
    let wanted =
        patched.iter().flat_map(|package| package.wanted.iter().map(move |wanted| (package, wanted)));
    let mut all: Vec<_> = wanted.collect();
    all.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    all
}

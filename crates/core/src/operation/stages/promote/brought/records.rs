//! The records that go live from the package database of a stage, their decisions, and what has to be surveyed for them.

use std::collections::BTreeMap;

use crate::operation::stages::tree::Tree;
use crate::three_way::{Outcome, Outcomes};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::promotion::{BroughtPatches, NewPackage};
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// The records that go live from the package database of a stage.
#[derive(Debug, Default)]
pub(in crate::operation::stages) struct BroughtRecords {
    /// The patches.
    pub(in crate::operation::stages) patches: BroughtPatches,
    /// The packages that only the stage has.
    pub(in crate::operation::stages) new_packages: BTreeMap<PkgInst, NewPackage>,
    /// The packages of the stage with their versions.
    pub(in crate::operation::stages) versions: BTreeMap<PkgInst, String>,
}

impl BroughtRecords {
    /// Takes packages that are new out of the lines that patches changed: their own lines add them, and a backout of the
    /// promotion removes them there.
    pub(super) fn leave_new_owners_to_their_packages(&mut self) {
        let is_new = |package: &PkgInst| self.new_packages.contains_key(package);
        for (_, line) in self.patches.lines.values_mut() {
            if let Some(known) = line {
                known.owners.retain(|owner| !is_new(&owner.package));
            }
            *line = line.take().filter(|line| !line.owners.is_empty());
        }
    }

    /// Returns whether a path is an object of a patch or package that comes.
    pub(in crate::operation::stages) fn has(&self, path: &ObjectPath) -> bool {
        let is_of_new = |package: &NewPackage| package.lines.contains_key(path);
        self.patches.objects.contains_key(path) || self.new_packages.values().any(is_of_new)
    }

    /// Decides about the paths that patches changed: the state of the stage comes.
    pub(in crate::operation::stages) fn decide(&self, outcomes: &mut Outcomes, live: &Tree) {
        for (path, object) in &self.patches.objects {
            let is_on_root = live.object(path).is_some();
            match (object.is_there, is_on_root) {
                (true, _) => drop(outcomes.insert(path.clone(), Outcome::Take)),
                (false, true) => drop(outcomes.insert(path.clone(), Outcome::Delete)),
                (false, false) => drop(outcomes.remove(path)),
            }
        }
    }

    /// Refuses a path that a patch of a new package changed if another object stays on the root there.
    pub(in crate::operation::stages) fn must_be_taken(
        &self,
        outcomes: &Outcomes,
    ) -> Result<(), BroughtReason> {
        let objects = self.new_packages.values().flat_map(|package| &package.patched.objects);
        for (path, object) in objects.filter(|(_, object)| object.is_there) {
            let outcome = outcomes.get(path);
            if outcome.is_some_and(|outcome| !outcome.is_taken() && *outcome != Outcome::TakeTime) {
                return Err(BroughtReason::NotAsFound { patch: object.patch.clone(), path: path.clone() });
            }
        }
        Ok(())
    }

    /// Adds what has to be surveyed.
    pub(in crate::operation::stages) fn touch(&self, touched: &mut Touched, stage: &Tree) {
        let objects = |path: &_| stage.object(path).map(|object| &object.live);
        touched.paths.extend(self.patches.paths().cloned());
        touched.not_directories.extend(self.patches.not_directories(objects));
        touched.packages.extend(self.patches.packages.keys().cloned());
        touched.paths.extend(self.new_packages.values().flat_map(|package| package.lines.keys().cloned()));
    }

    /// Returns whether nothing comes.
    pub(in crate::operation::stages) fn is_empty(&self) -> bool {
        self.patches.packages.is_empty() && self.new_packages.is_empty()
    }
}

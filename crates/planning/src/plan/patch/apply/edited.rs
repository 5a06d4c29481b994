//! Edited files among the objects of a patch.

use std::collections::HashMap;

use super::ApplyPlanner;
use super::packages::{Patched, by_path};
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::objects::Handling;
use crate::plan::patch::engine::Bookkeeping;
use crate::plan::plan_builder::native_owner;
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted};
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::ObjectPath;

impl ApplyPlanner<'_> {
    /// Decides about edited files; refuses where one stops the patch.
    pub(super) fn edits(&self, patched: &[Patched<'_>]) -> Result<Edits<'_>, Reason> {
        let saved = !self.validated.no_undo && !self.validated.again;
        let choice = if self.validated.again {
            // no undo data is written, so nothing could say later that a file was kept
            let overridden = self.options.edits.overridden.clone();
            EditChoice { general: Edited::Replace, overridden, ..EditChoice::default() }
        } else {
            self.options.edits.clone()
        };
        let mut edits = Edits::new(self.inventory, choice, self.id().as_str(), saved);
        self.note_moves(patched, &mut edits)?;
        for (package, wanted) in by_path(patched) {
            self.go_on()?;
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
                self.go_on()?;
                let path = package.target.resolve(path)?;
                // A link that another package owns stays: `/lib`, say, where the package has a directory.
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

    /// Finds the objects that a package deletes at one path and delivers at another path to the same place.
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

    /// Refuses a path that another native package owns now; whether its file was edited does not matter then.
    fn must_not_be_foreign(&self, target: &PackageTarget<'_>, path: &ObjectPath) -> Result<(), Reason> {
        match self.inventory.foreign_owner(&target.package, path) {
            Some(owner) => Err(target.refuse(path, native_owner(owner))),
            None => Ok(()),
        }
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
}

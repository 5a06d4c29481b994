//! The objects that a package takes away: the paths of its `deletes` file, or all of them when it is removed.
//!
//! An object goes only if it is recorded for the package and has no other owner. A path that another package owns as
//! well stays and loses an owner. A path that no package owns stays and is reported.

use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

use super::Action;
use super::plan_builder::{PlanBuilder, below, turns};
use super::refusal::{ObjectProblem, Reason};

impl PlanBuilder<'_> {
    /// Tells whether a path lies in a directory that becomes something else, so that it has to go first.
    pub(super) fn is_in_turned(&self, path: &ObjectPath) -> bool {
        path.ancestors_bytes().any(|above| self.changes.get(above).is_some_and(|change| turns(change)))
    }

    /// Takes a package out of the line of a path; whether other packages own it still.
    pub(super) fn disown(&mut self, package: &PkgInst, path: &ObjectPath, mut line: ContentsLine) -> bool {
        line.owners.retain(|owner| owner.package != *package);
        let is_shared = !line.owners.is_empty();
        self.set_line(package, path, Some(line).filter(|_| is_shared));
        is_shared
    }

    /// Tells whether a path is a symbolic link to a directory, by which the package has other objects (merged `/usr`).
    fn stands_for_directory(&self, path: &ObjectPath) -> bool {
        let is_link = self.old(path).is_some_and(|live| matches!(live.kind, LiveKind::Symlink(_)));
        is_link && below(&self.inventory.physical, path).next().is_some()
    }

    /// Takes a path away from a package.
    pub(super) fn delete(&mut self, package: &PkgInst, path: &ObjectPath) -> Result<(), Reason> {
        if self.changes.contains_key(path) {
            // the package delivers what it deletes: the delivered object counts
            return Ok(());
        }
        let Some(line) = self.line(path).cloned() else {
            if self.old(path).is_some() && !self.stands_for_directory(path) {
                let path = self.inventory.show(path);
                self.notes.push(format!("{path} stays: no package owns it"));
            }
            return Ok(());
        };
        if !line.is_owned_by(package) {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to another package"));
            return Ok(());
        }
        let recorded = line.object.ftype;
        if self.disown(package, path, line) {
            return Ok(());
        }
        let Some(old) = self.old(path) else { return Ok(()) };
        if !old.is_directory()
            && let Some(owner) = self.inventory.foreign_owner(package, path)
        {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to {}", owner.with_manager()));
            return Ok(());
        }
        if self.is_setting(path) {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to the settings of patchadm(8)"));
            return Ok(());
        }
        if old.is_directory() {
            let stays = old.obstacle.is_some() || path.relative().is_empty();
            // under its other name it goes already
            let goes = self.claim(package, path).is_err();
            if !stays && !goes {
                self.change(package, path, Action::RemoveDirectory);
            }
            return Ok(());
        }
        if recorded.is_directory() && self.inventory.linked_directory(path).is_some() {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it is a symbolic link that leads to a directory"));
            return Ok(());
        }
        // By another path to its place it goes already, or another object comes there.
        if self.claim(package, path).is_err() {
            return Ok(());
        }
        self.check_obstacle(path).map_err(|problem: ObjectProblem| Reason::Object {
            package: package.clone(),
            path: path.to_string(),
            problem,
        })?;
        self.change(package, path, Action::Delete);
        Ok(())
    }
}

//! Changes that the caller may not make: nobody but root makes them, or not in such a directory.

use patchadm_rootfs::Live;
use patchadm_svr4::package::{Mode, ObjectPath};

use super::PlanBuilder;
use crate::plan::refusal::ObjectProblem;
use crate::plan::unprivileged;
use crate::plan::{Action, Body, Change};

impl PlanBuilder<'_> {
    /// Refuses changes without privileges in a directory of another user, even where it is writable: its owner could
    /// remove or replace its contents at any moment.
    pub(super) fn check_ownership(&self, change: &Change) -> Result<(), ObjectProblem> {
        if self.inventory.privileged {
            return Ok(());
        }
        let directory = match change.action {
            Action::Attributes(_) => Some(change.path.clone()),
            _ => self.place_of(&change.path).parent(),
        };
        match directory.filter(|at| self.old(at).is_some_and(|live| live.uid != self.inventory.caller.0)) {
            Some(at) => Err(ObjectProblem::ForeignDirectory(at)),
            None => self.check_writable(change).and_then(|()| self.check_for_root(change)),
        }
    }

    /// Without privileges nothing is made that only root can make, nor brought back.
    fn check_for_root(&self, change: &Change) -> Result<(), ObjectProblem> {
        let caller = self.inventory.caller;
        match (&change.action, change.old.as_deref()) {
            (Action::Add(new) | Action::Replace(new), _) => {
                let source = match &new.body {
                    Body::Link(source) => self.old(source),
                    _ => None,
                };
                unprivileged::check_new(new, source, caller)
            }
            (Action::Attributes(new), Some(old)) => unprivileged::check_attributes(new, old, caller),
            _ => Ok(()),
        }
    }

    /// A directory that its owner may not write to lets only root rename anything into it, out of it, or itself
    /// (rename(2)).
    fn check_writable(&self, change: &Change) -> Result<(), ObjectProblem> {
        let closed = |mode: Mode| mode.bits() & 0o300 != 0o300;
        let is_closed = |live: &Live| live.is_directory() && closed(live.mode);
        let refused =
            |at| Err(ObjectProblem::Obstacle { at, obstacle: "may not be written to by its owner" });
        if let Action::Add(new) | Action::Replace(new) = &change.action
            && matches!(new.body, Body::Directory)
            && closed(new.mode)
            && !self.is_below_new_directory(&change.path)
        {
            return Err(ObjectProblem::NotPermitted("a directory that its owner may not write to"));
        }
        if matches!(change.action, Action::Replace(_)) && change.old.as_deref().is_some_and(is_closed) {
            return refused(change.path.clone());
        }
        let parent = self.place_of(&change.path).parent();
        let above = parent.filter(|_| !matches!(change.action, Action::Attributes(_)));
        let becomes_closed = |at: &ObjectPath| match self.changes.get(at).map(|change| &change.action) {
            Some(Action::Attributes(new)) => new.mode.is_some_and(closed),
            _ => false,
        };
        match above {
            Some(at) if self.old(&at).is_some_and(is_closed) || becomes_closed(&at) => refused(at),
            _ => Ok(()),
        }
    }
}

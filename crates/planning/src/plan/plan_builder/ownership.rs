//! Changes that the caller may not make: nobody but root makes them, not in such a directory, or not to what belongs to
//! another package of dpkg or rpm.

use std::collections::BTreeMap;

use patchadm_inputs::native::NativeOwner;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{Mode, ObjectPath};

use super::{PlanBuilder, refuse};
use crate::plan::refusal::{ObjectProblem, Reason};
use crate::plan::unprivileged;
use crate::plan::{Action, Body, Change};

/// The rule for paths that a package of dpkg or rpm owns and the package of the change does not stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::plan) enum NativeRule {
    /// They are not changed.
    #[default]
    Refuse,
    /// A package that was not adopted may change them: `conflict` of the admin file and the choice for edited files decide, and
    /// a note names the owner.
    Note,
}

impl<'a> PlanBuilder<'a> {
    /// Refuses changes of what other native packages own now. A note names each owner where a change is made all the same.
    pub(super) fn check_native_owners(&mut self) -> Result<(), Reason> {
        let mut noted: BTreeMap<&NativeOwner, Vec<&ObjectPath>> = BTreeMap::new();
        for change in self.changes.values() {
            let owner = self.foreign_owner_of(change).map_err(|problem| refuse(change, problem))?;
            if let Some(owner) = owner {
                noted.entry(owner).or_default().push(&change.path);
            }
        }
        let notes: Vec<String> = noted
            .iter()
            .map(|(owner, paths)| {
                let owner = owner.with_manager();
                match paths.as_slice() {
                    [first, _, ..] => {
                        let (first, more) = (self.inventory.show(first), paths.len() - 1);
                        format!("{first} and {more} more belong to {owner}")
                    }
                    paths => {
                        let paths: Vec<String> =
                            paths.iter().map(|path| self.inventory.show(path).to_string()).collect();
                        format!("{} belongs to {owner}", paths.join(", "))
                    }
                }
            })
            .collect();
        self.notes.extend(notes);
        Ok(())
    }

    /// Returns the other native package that owns what a change is about, where the change may be made; refuses the change
    /// where it may not. Directories are shared: a package may need one, and none is removed that any native package owns (see
    /// `full_directories`).
    fn foreign_owner_of(&self, change: &Change) -> Result<Option<&'a NativeOwner>, ObjectProblem> {
        let is_directory = change.old.as_deref().is_none_or(Live::is_directory)
            && match &change.action {
                Action::Add(new) | Action::Replace(new) => matches!(new.body, Body::Directory),
                Action::RemoveDirectory => true,
                Action::Attributes(_) | Action::Delete => false,
            };
        if is_directory {
            return Ok(None);
        }
        let origin = self.inventory.native_origin(&change.package);
        if let Some(reason) = self.inventory.native_owners.unreadable().first().filter(|_| origin.is_some()) {
            return Err(ObjectProblem::OwnerUnknown(reason.clone()));
        }
        let is_in_place = matches!(change.action, Action::Attributes(_));
        let is_live_directory = change.old.as_deref().is_some_and(Live::is_directory);
        // The attributes of a directory are those of every package that has it.
        let is_noted =
            origin.is_none() && (self.native_rule == NativeRule::Note || is_in_place && is_live_directory);
        if let Some(owner) = self.inventory.foreign_owner(&change.package, &change.path) {
            return if is_noted { Ok(Some(owner)) } else { Err(native_owner(owner)) };
        }
        let old = change.old.as_deref().filter(|_| is_in_place);
        match old.and_then(|old| self.inventory.foreign_name(&change.package, old)) {
            Some((_, owner)) if is_noted => Ok(Some(owner)),
            Some((name, owner)) => Err(ObjectProblem::NativeName {
                name: name.clone(),
                owner: owner.to_string(),
                manager: owner.origin.manager.name(),
            }),
            None => Ok(None),
        }
    }
}

/// Returns the problem with an object that another native package owns.
pub(in crate::plan) fn native_owner(owner: &NativeOwner) -> ObjectProblem {
    ObjectProblem::NativeOwner { owner: owner.to_string(), manager: owner.origin.manager.name() }
}

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

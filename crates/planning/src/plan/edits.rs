//! Local edits: the objects that an administrator has changed, and what a patch does with them.
//!
//! An object counts as edited when its bytes differ from those in `contents` and the undo manifests. An unrecorded
//! object is the administrator's own. Attributes stop nothing. Types `e` and `v` are made to be edited: they never stop
//! a patch, but the edited file is kept beside the new one.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentsLine, Ftype, Object, ObjectPath, PkgInst};

use super::objects::Handling;
use super::refusal::Reason;

/// The user's choice for edited files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditChoice {
    /// In general.
    pub general: Edited,
    /// These are replaced, regardless of the general choice.
    pub overridden: BTreeSet<ObjectPath>,
    /// These are kept, regardless of the general choice.
    pub preserved: BTreeSet<ObjectPath>,
}

impl EditChoice {
    /// Returns the treatment of a path.
    pub fn of(&self, path: &ObjectPath) -> Edited {
        if self.preserved.contains(path) {
            Edited::Keep
        } else if self.overridden.contains(path) {
            Edited::Replace
        } else {
            self.general
        }
    }
}

/// The decisions about all paths of a patch.
#[derive(Debug)]
pub(super) struct Edits<'a> {
    inventory: &'a Inventory,
    choice: EditChoice,
    /// The patch.
    id: &'a str,
    /// Whether the edited bytes will be in an undo archive.
    saved: bool,
    handling: BTreeMap<ObjectPath, Handling>,
    stops: BTreeSet<ObjectPath>,
    /// Paths that become directories.
    turned: BTreeSet<ObjectPath>,
    /// Paths whose time alone differs from the record.
    pub(super) touched: BTreeSet<ObjectPath>,
}

impl<'a> Edits<'a> {
    /// No decision yet.
    pub(super) fn new(inventory: &'a Inventory, choice: EditChoice, id: &'a str, saved: bool) -> Self {
        Self {
            inventory,
            choice,
            id,
            saved,
            handling: BTreeMap::new(),
            stops: BTreeSet::new(),
            turned: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Decides about an object that will be replaced (`Some`) or deleted. Directories come before their contents.
    /// `package` delivers or deletes it.
    pub(super) fn consider(
        &mut self,
        package: &PkgInst,
        path: &ObjectPath,
        wanted: Option<&Object>,
    ) -> Result<(), Reason> {
        let Some(live) = self.inventory.live.get(path) else { return Ok(()) };
        let becomes_directory = wanted.is_some_and(|wanted| wanted.ftype.is_directory());
        if becomes_directory
            && !self.choice.overridden.contains(path)
            && self.inventory.staying_link(package, path).is_some()
        {
            self.handling.insert(path.clone(), Handling::LinkStays);
            return Ok(());
        }
        if path.ancestors_bytes().any(|above| self.turned.contains(above)) {
            // reached through a link that becomes a directory: nothing is there then
            return Ok(());
        }
        let recorded = self.inventory.lines.get(path);
        if !live.is_directory() && becomes_directory {
            self.turned.insert(path.clone());
        }
        // a deletion takes away only what is recorded, and no link where a directory is
        let is_linked = self.inventory.linked_directory(path).is_some();
        if live.is_directory()
            || wanted.is_none() && (recorded.is_none() || is_linked)
            || self.inventory.identical.contains(path)
        {
            return Ok(());
        }
        match self.state(path, live, recorded) {
            Edit::None => return Ok(()),
            Edit::TimeOnly => {
                self.touched.insert(path.clone());
                return Ok(());
            }
            Edit::Edited => {}
        }
        let meant_for_it = |object: &Object| matches!(object.ftype, Ftype::Editable | Ftype::Volatile);
        let editable =
            recorded.is_some_and(|line| meant_for_it(&line.object)) || wanted.is_some_and(meant_for_it);
        let copy = !self.saved || editable;
        match self.choice.of(path) {
            Edited::Keep if !self.saved => return Err(Reason::KeepWithoutUndo(path.clone())),
            Edited::Keep => {
                let handling = Handling::Beside(format!("patch-{}", self.id));
                self.handling.insert(path.clone(), handling);
            }
            Edited::Stop if !editable => drop(self.stops.insert(path.clone())),
            Edited::Stop | Edited::Replace if copy => {
                let handling = Handling::CopyFirst(format!("edited-{}", self.id));
                self.handling.insert(path.clone(), handling);
            }
            Edited::Stop | Edited::Replace => {}
        }
        Ok(())
    }

    /// Leaves a path alone.
    pub(super) fn leave(&mut self, path: &ObjectPath) {
        self.handling.insert(path.clone(), Handling::Leave);
    }

    /// Refuses where an edited file stops the patch.
    pub(super) fn check(&self) -> Result<(), Reason> {
        if self.stops.is_empty() {
            return Ok(());
        }
        Err(Reason::Edited { paths: self.stops.iter().cloned().collect(), can_keep: self.saved })
    }

    /// Returns the treatment of a path.
    pub(super) fn handling(&self, path: &ObjectPath) -> Handling {
        self.handling.get(path).cloned().unwrap_or_default()
    }

    fn state(&self, path: &ObjectPath, live: &Live, recorded: Option<&ContentsLine>) -> Edit {
        let Some(object) = recorded.map(|line| &line.object) else { return Edit::Edited };
        match (&live.kind, object.ftype) {
            (LiveKind::Regular { size, cksum, b3 }, ftype) if ftype.is_regular() => {
                let content = object.content;
                let differs = content.size.is_some_and(|known| known != *size)
                    || content.cksum.is_some_and(|known| known != *cksum);
                let delivered = self.inventory.delivered.get(path);
                if differs || delivered.is_some_and(|digest| digest != b3) {
                    Edit::Edited
                } else if delivered.is_none()
                    && content.mtime.is_some_and(|mtime| mtime != live.mtime.seconds)
                {
                    Edit::TimeOnly
                } else {
                    Edit::None
                }
            }
            (LiveKind::Symlink(target), Ftype::Symlink) if object.target.as_ref() == Some(target) => {
                Edit::None
            }
            // a second name: what it holds is judged at the file that it names
            (_, Ftype::Link)
            | (LiveKind::Pipe, Ftype::Pipe)
            | (LiveKind::Device { .. }, Ftype::Block | Ftype::Character) => Edit::None,
            _ => Edit::Edited,
        }
    }
}

enum Edit {
    None,
    TimeOnly,
    Edited,
}

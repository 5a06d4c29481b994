//! Objects that an administrator has changed, and their treatment. An object is edited if its bytes differ from
//! `contents` and the undo manifests, or if its package was registered with bytes that the native package does not have
//! and no patch replaced it since. An unrecorded object is the administrator's, unless the patch moves it there: if
//! `/lib` leads to `usr/lib`, deleting `/lib/x` and delivering `/usr/lib/x` replaces one file.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::edited_of;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentInfo, ContentsLine, Ftype, Object, ObjectPath, PkgInst};

use super::links::root_of;
use super::local_attributes::{LocalAttributes, LocalObject};
use super::placing::Handling;
use super::plan_builder::below;
use super::refusal::{EditedAttribute, Reason};
use super::target::{Wanted, leads_to_itself};

/// For edited files of type `e` if the general choice is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EditableFiles {
    /// Keeps the edited file beside the new one (patchadd(1M)).
    #[default]
    Replace,
    /// They stay if undo data is saved and no script installs them; otherwise they are replaced (the default of verbs).
    Keep,
    /// They stop the patch like any other file.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditedKind {
    /// Not made to be edited.
    Ordinary,
    /// Type `e`.
    Editable,
    /// Type `v`, whose content changes by itself: the patch continues, and keeps the edited file beside the new one.
    Volatile,
}

impl EditedKind {
    fn of(objects: [Option<&Object>; 2]) -> Self {
        let is = |ftype| objects.iter().flatten().any(|object| object.ftype == ftype);
        match (is(Ftype::Volatile), is(Ftype::Editable)) {
            (true, _) => Self::Volatile,
            (false, true) => Self::Editable,
            (false, false) => Self::Ordinary,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditChoice {
    pub general: Edited,
    /// For files of type `e` if the general choice is to stop.
    pub editable: EditableFiles,
    /// Replaced regardless of the general choice.
    pub overridden: BTreeSet<ObjectPath>,
    /// Kept regardless of the general choice.
    pub preserved: BTreeSet<ObjectPath>,
    /// For the plan shown with a refusal: objects that would stop the patch are replaced.
    pub replaces_stops: bool,
}

impl EditChoice {
    pub fn of(&self, path: &ObjectPath) -> Edited {
        self.named(path).unwrap_or(self.general)
    }

    fn named(&self, path: &ObjectPath) -> Option<Edited> {
        if self.preserved.contains(path) {
            Some(Edited::Keep)
        } else if self.overridden.contains(path) {
            Some(Edited::Replace)
        } else {
            None
        }
    }

    fn of_kind(&self, path: &ObjectPath, kind: EditedKind, can_keep: bool) -> Edited {
        if let Some(choice) = self.named(path) {
            return choice;
        }
        let choice = match (self.general, kind, self.editable) {
            (Edited::Stop, EditedKind::Volatile, _) => Edited::Replace,
            (Edited::Stop, EditedKind::Editable, EditableFiles::Keep) if can_keep => Edited::Keep,
            (Edited::Stop, EditedKind::Editable, EditableFiles::Keep | EditableFiles::Replace) => {
                Edited::Replace
            }
            (general, ..) => general,
        };
        if choice == Edited::Stop && self.replaces_stops { Edited::Replace } else { choice }
    }
}

#[derive(Debug)]
pub(super) struct Edits<'a> {
    inventory: &'a Inventory,
    choice: EditChoice,
    id: &'a str,
    /// The edited bytes will be in an undo archive.
    saved: bool,
    handling: BTreeMap<ObjectPath, Handling>,
    stops: BTreeSet<ObjectPath>,
    /// Edited objects that are replaced or deleted, except those whose content changes by itself.
    pub(super) replaced: BTreeSet<ObjectPath>,
    turned: BTreeSet<ObjectPath>,
    pub(super) touched: BTreeSet<ObjectPath>,
    /// Objects that the patch moves: old path by new path. Both lead to the same place.
    moved_from: BTreeMap<ObjectPath, ObjectPath>,
    /// New path by old path.
    moved_to: BTreeMap<ObjectPath, ObjectPath>,
    /// Override the delivered ones.
    attributes: BTreeMap<ObjectPath, LocalAttributes>,
    attribute_stops: Vec<EditedAttribute>,
    /// By adopted package: files that were edited before it was registered, as its lines record them.
    edited_before: BTreeMap<PkgInst, BTreeMap<ObjectPath, ContentInfo>>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(inventory: &'a Inventory, choice: EditChoice, id: &'a str, saved: bool) -> Self {
        Self {
            inventory,
            choice,
            id,
            saved,
            handling: BTreeMap::new(),
            stops: BTreeSet::new(),
            replaced: BTreeSet::new(),
            turned: BTreeSet::new(),
            touched: BTreeSet::new(),
            moved_from: BTreeMap::new(),
            moved_to: BTreeMap::new(),
            attributes: BTreeMap::new(),
            attribute_stops: Vec::new(),
            edited_before: BTreeMap::new(),
        }
    }

    pub(super) fn note_move(&mut self, package: &PkgInst, from: &ObjectPath, to: &ObjectPath) {
        if self.inventory.lines.get(from).is_some_and(|line| line.is_owned_by(package)) {
            self.moved_from.insert(to.clone(), from.clone());
            self.moved_to.insert(from.clone(), to.clone());
        }
    }

    pub(super) fn moved_to(&self, from: &ObjectPath) -> Option<ObjectPath> {
        self.moved_to.get(from).cloned()
    }

    pub(super) fn follow(&mut self, from: &ObjectPath, to: &ObjectPath) {
        if let Handling::Beside(suffix) = self.handling(to) {
            self.handling.insert(from.clone(), Handling::Beside(suffix));
        }
    }

    pub(super) fn kept_attributes(&self) -> impl Iterator<Item = (&ObjectPath, String)> {
        self.attributes.iter().map(|(path, local)| (path, local.kept())).filter(|(_, kept)| !kept.is_empty())
    }

    /// Also finds the line of an object that the patch moves here.
    fn recorded(&self, path: &ObjectPath) -> Option<&'a ContentsLine> {
        let lines = &self.inventory.lines;
        lines.get(path).or_else(|| lines.get(self.moved_from.get(path)?))
    }

    pub(super) fn consider_attributes(
        &mut self,
        package: &PkgInst,
        wanted: &Wanted<'_>,
    ) -> Result<(), Reason> {
        let path = &wanted.path;
        let is_replaced =
            matches!(self.handling(path), Handling::Ordinary | Handling::CopyFirst(_) | Handling::ByScript);
        if !is_replaced || self.inventory.manager(package).is_none() {
            return Ok(());
        }
        let recorded = self.recorded(path).and_then(|line| match line.object.ftype {
            // A second name has the attributes of its file.
            Ftype::Link => self.inventory.lines.get(&root_of(&line.path, &self.inventory.lines)?),
            _ => Some(line),
        });
        let recorded = recorded.map(|line| &line.object);
        let kind = EditedKind::of([Some(&wanted.object), recorded]);
        // Attributes alone stay only on request.
        let choice = self.choice.of_kind(path, kind, false);
        let object = LocalObject { inventory: self.inventory, package, wanted, recorded, choice };
        let decided = object.attributes().map_err(|problem| Reason::Object {
            package: package.clone(),
            path: path.to_string(),
            problem,
        })?;
        let (attributes, stops) = decided;
        self.attribute_stops.extend(stops);
        if attributes != LocalAttributes::default() {
            self.attributes.insert(path.clone(), attributes);
        }
        Ok(())
    }

    pub(super) fn local_attributes(&self) -> BTreeMap<ObjectPath, LocalAttributes> {
        self.attributes.clone()
    }

    /// Decides about an object that is replaced (`Some`) or deleted. Directories must come before their contents.
    pub(super) fn consider(
        &mut self,
        (package, is_by_scripts): (&PkgInst, bool),
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
        // reached through a link that becomes a directory: nothing is there then
        let goes_first = path.ancestors_bytes().any(|above| self.turned.contains(above));
        if goes_first || wanted.is_some_and(|link| leads_to_itself(self.inventory, path, link).is_some()) {
            return Ok(());
        }
        let recorded = self.recorded(path);
        if !live.is_directory() && becomes_directory {
            self.turned.insert(path.clone());
        }
        // a deletion takes away only what is recorded, and no link where a directory is
        let is_linked = self.inventory.linked_directory(path).is_some();
        if live.is_directory() && !self.is_in_place_of_file(path, wanted, recorded)
            || wanted.is_none() && (recorded.is_none() || is_linked)
            || self.inventory.identical.contains(path)
        {
            return Ok(());
        }
        let is_registered_edit = recorded.is_some_and(|line| self.is_registered_edit(line));
        match self.state(live, recorded) {
            _ if is_registered_edit => {}
            LiveEdit::None => return Ok(()),
            LiveEdit::TimeOnly => {
                self.touched.insert(path.clone());
                return Ok(());
            }
            LiveEdit::Edited => {}
        }
        let kind = EditedKind::of([recorded.map(|line| &line.object), wanted]);
        let copy = !live.is_directory() && (!self.saved || kind != EditedKind::Ordinary);
        let choice = self.choice.of_kind(path, kind, self.saved && !is_by_scripts);
        if choice == Edited::Replace && kind != EditedKind::Volatile {
            self.replaced.insert(path.clone());
        }
        match choice {
            Edited::Keep if !self.saved => return Err(Reason::KeepWithoutUndo(path.clone())),
            Edited::Keep => {
                let handling = Handling::Beside(format!("patch-{}", self.id));
                self.handling.insert(path.clone(), handling);
            }
            Edited::Stop => drop(self.stops.insert(path.clone())),
            Edited::Replace if copy => {
                let handling = Handling::CopyFirst(format!("edited-{}", self.id));
                self.handling.insert(path.clone(), handling);
            }
            Edited::Replace => {}
        }
        Ok(())
    }

    /// True if the administrator put an empty directory in the place of an object that the patch replaces. The plan
    /// refuses one that holds something.
    fn is_in_place_of_file(
        &self,
        path: &ObjectPath,
        wanted: Option<&Object>,
        recorded: Option<&ContentsLine>,
    ) -> bool {
        wanted.is_some_and(|wanted| !wanted.ftype.is_directory())
            && recorded.is_some_and(|line| !line.object.ftype.is_directory())
            && below(&self.inventory.live, path).next().is_none()
    }

    pub(super) fn leave(&mut self, path: &ObjectPath) {
        self.handling.insert(path.clone(), Handling::Leave);
    }

    pub(super) fn check(&self) -> Result<(), Reason> {
        if self.stops.is_empty() && self.attribute_stops.is_empty() {
            return Ok(());
        }
        Err(Reason::Edited {
            paths: self.stops.iter().cloned().collect(),
            unowned: self.stops.iter().filter(|path| self.recorded(path).is_none()).cloned().collect(),
            attributes: self.attribute_stops.clone(),
            can_keep: self.saved,
        })
    }

    pub(super) fn handling(&self, path: &ObjectPath) -> Handling {
        self.handling.get(path).cloned().unwrap_or_default()
    }

    /// True if the line still records a file that was edited before its package was registered: its native package
    /// has other bytes, and no patch replaced it.
    fn is_registered_edit(&mut self, line: &ContentsLine) -> bool {
        let inventory = self.inventory;
        line.object.ftype.is_regular()
            && line.owners.iter().any(|owner| {
                let edits = self.edited_before.entry(owner.package.clone()).or_insert_with(|| {
                    let installed = inventory.packages.get(&owner.package);
                    installed.map(|installed| edited_of(&installed.params)).unwrap_or_default()
                });
                edits.get(&line.path) == Some(&line.object.content)
            })
    }

    fn state(&self, live: &Live, recorded: Option<&ContentsLine>) -> LiveEdit {
        let Some(ContentsLine { path, object, .. }) = recorded else { return LiveEdit::Edited };
        match (&live.kind, object.ftype) {
            (LiveKind::Directory, _) => LiveEdit::Edited,
            (LiveKind::Regular { size, cksum, b3 }, ftype) if ftype.is_regular() => {
                let content = object.content;
                let differs = content.size.is_some_and(|known| known != *size)
                    || content.cksum.is_some_and(|known| known != *cksum);
                let delivered = self.inventory.delivered.get(path);
                if differs || delivered.is_some_and(|digest| digest != b3) {
                    LiveEdit::Edited
                } else if delivered.is_none()
                    && content.mtime.is_some_and(|mtime| mtime != live.mtime.seconds)
                {
                    LiveEdit::TimeOnly
                } else {
                    LiveEdit::None
                }
            }
            (LiveKind::Symlink(target), Ftype::Symlink) if object.target.as_ref() == Some(target) => {
                LiveEdit::None
            }
            // a second name: what it holds is judged at the file that it names
            (_, Ftype::Link)
            | (LiveKind::Pipe, Ftype::Pipe)
            | (LiveKind::Device { .. }, Ftype::Block | Ftype::Character) => LiveEdit::None,
            _ => LiveEdit::Edited,
        }
    }
}

enum LiveEdit {
    None,
    TimeOnly,
    Edited,
}

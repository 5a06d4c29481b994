//! What a refresh knows of the paths at which the trees differ: their lines, what was requested, and the possible remains of
//! an interrupted refresh.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::stages::tree::{Tree, TreeObject};
use crate::three_way::PathFacts;
use patchadm_changeset::format::manifest::StateDifferences;
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::{Base, BaseObject};
use patchadm_planning::plan::edits::EditChoice;
use patchadm_rootfs::FileType;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath};

/// The records of the root about the paths at which the trees differ.
pub(super) struct RefreshFacts<'a> {
    pub(super) lines: &'a BTreeMap<ObjectPath, ContentsLine>,
    pub(super) choice: &'a EditChoice,
    /// The paths of packages of the stage that own nothing there on the root.
    pub(super) needed: &'a BTreeSet<ObjectPath>,
    /// The refresh that was interrupted, if one was.
    pub(super) unfinished: Option<UnfinishedRefresh<'a>>,
}

/// The remains of an interrupted refresh. Before it began, no path that both sides changed was undecided.
#[derive(Clone, Copy)]
pub(super) struct UnfinishedRefresh<'a> {
    pub(super) base: &'a Base,
    pub(super) stage: &'a Tree,
    pub(super) live: &'a Tree,
}

impl UnfinishedRefresh<'_> {
    /// Returns whether the stage may differ only because half of what belongs together was brought: the path is a directory
    /// without its attributes, or one of several names of a file whose other names came, went or are still to come.
    fn explains(&self, path: &ObjectPath) -> bool {
        let Some(stage) = self.stage.object(path).map(TreeObject::state) else { return false };
        let live = self.live.object(path).map(TreeObject::state);
        if stage.kind == FileType::Directory {
            return live.is_some_and(|live| live.kind == FileType::Directory);
        }
        let objects = &self.base.objects;
        let at = objects.binary_search_by(|object| object.path.cmp(path)).ok();
        let base = at.and_then(|at| objects.get(at)).and_then(BaseObject::object);
        live.iter().chain(base).any(|other| {
            let differ = StateDifferences::between(&stage, other);
            let permissions = differ.mode & 0o777;
            !differ.is_of_content() && permissions == 0 && !differ.mtime
        })
    }
}

impl PathFacts for RefreshFacts<'_> {
    fn choice(&self, path: &ObjectPath) -> Edited {
        let choice = self.choice.of(path);
        let is_half_brought = || self.unfinished.as_ref().is_some_and(|unfinished| unfinished.explains(path));
        let comes = self.comes_always(path) || choice == Edited::Stop && is_half_brought();
        if comes { Edited::Replace } else { choice }
    }

    // A volatile object always follows the live tree.
    fn comes_always(&self, path: &ObjectPath) -> bool {
        self.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Volatile)
    }

    fn is_volatile(&self, _: &ObjectPath) -> bool {
        false
    }

    fn is_needed(&self, path: &ObjectPath) -> bool {
        self.needed.contains(path)
    }

    fn is_edited(&self, _: &ObjectPath) -> bool {
        false
    }
}

//! A plan laid out over the disk: one item for each name that changes, in the order of the switch.

use crate::format::journal::Op;
use crate::ledgers::LedgerDraft;
use crate::plan::{AttributeChange, Change, CopiedRecord, NewObject, TreeFile, UndoPart};
use crate::transaction::tree::request::ExchangeRequest;
use crate::transaction::tree::survey::TreeSurvey;
use patchadm_rootfs::{Live, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};

/// One name that changes.
#[derive(Debug)]
pub(crate) struct LayoutItem<'p> {
    /// The op for the journal. Its new identity is filled in once the object is staged.
    pub(crate) op: Op,
    /// The object or record to stage, if any.
    pub(crate) new: Option<ToStage<'p>>,
    /// The live object of a package at the path, as seen by the survey.
    pub(crate) live: Option<&'p Live>,
    /// The path in the plan.
    pub(crate) client: ObjectPath,
    /// The path below the staged subtree of another item that is published with it. Such an item has no op of its
    /// own.
    pub(crate) inside: Option<Box<[u8]>>,
    /// Whether the item is staged in a directory that the run makes in place of another object, so that it has nothing
    /// to inherit from.
    pub(crate) is_folded: bool,
    /// The place in [`Layout::trees`] of the directory that it is staged in, if that is exchanged as a whole.
    pub(crate) tree: Option<usize>,
    /// The position in the switch.
    pub(super) rank: (u8, usize),
}

impl<'p> LayoutItem<'p> {
    /// Returns the object of a package that the item stages, if any.
    pub(crate) fn object(&self) -> Option<&'p NewObject> {
        match self.new {
            Some(ToStage::Object(new)) => Some(new),
            _ => None,
        }
    }

    /// Tells whether an object of a package is made for the item: a new one, or, in an exchanged directory, a copy of one
    /// that gets other attributes.
    pub(crate) fn is_made(&self) -> bool {
        let is_copied = || matches!(self.new, Some(ToStage::Attributes(_))) && self.tree.is_some();
        self.object().is_some() || is_copied()
    }
}

/// What an item stages.
#[derive(Debug)]
pub(crate) enum ToStage<'p> {
    /// An object of a package.
    Object(&'p NewObject),
    /// A record with these bytes.
    Bytes(&'p [u8], Mode, &'p Option<Timestamp>),
    /// A record with the bytes of another tree's file.
    Copied(&'p CopiedRecord, Mode),
    /// A record directory with its files.
    Tree(&'p [TreeFile]),
    /// A missing directory above a record.
    Directory,
    /// The merged `contents`.
    Contents,
    /// The stamp of the merged `contents`.
    ContentsStamp,
    /// A ledger. Its lines are known once the undo archives are written.
    Ledger(Box<dyn LedgerDraft + 'p>),
    /// A file that follows the undo archive with this index in the plan.
    Undo(usize, &'p UndoPart),
    /// New attributes of an object that stays.
    Attributes(&'p AttributeChange),
}

/// A directory whose changes should become visible at once.
#[derive(Debug)]
pub(crate) struct LaidTree {
    /// The request.
    pub(crate) request: ExchangeRequest,
    /// How its changes become visible.
    pub(crate) state: TreeState,
}

/// How the changes below a directory become visible, as far as the layout knows.
#[derive(Debug)]
pub(crate) enum TreeState {
    /// Nothing changes there so far.
    Untouched,
    /// The changes become visible one by one, for this reason.
    Renames(String),
    /// The changes become visible all at once.
    Exchange(Box<ExchangedTree>),
}

/// A directory that is exchanged as a whole.
#[derive(Debug)]
pub(crate) struct ExchangedTree {
    /// The domain of its directory.
    pub(crate) domain: usize,
    /// The staged name of the new directory.
    pub(crate) stage: String,
    /// The content of the directory.
    pub(crate) survey: TreeSurvey,
}

/// All items, in the order of the switch.
#[derive(Debug)]
pub(crate) struct Layout<'p> {
    /// The directories whose changes should become visible at once.
    pub(crate) trees: Vec<LaidTree>,
    /// The items. Folded ones follow the item they are staged in.
    pub(crate) items: Vec<LayoutItem<'p>>,
    /// The places of the items, in the order of their paths in the plan.
    pub(super) by_path: Vec<usize>,
    /// The changes of the plan.
    pub(super) changes: &'p [Box<Change>],
}

impl Layout<'_> {
    /// Returns the place of the item of a path of the plan, as the items were laid out.
    pub(crate) fn place_of(&self, path: &ObjectPath) -> Option<usize> {
        let client = |place: &usize| self.items.get(*place).map(|item| &item.client);
        let found = self.by_path.partition_point(|place| client(place) <= Some(path)).checked_sub(1)?;
        self.by_path.get(found).copied().filter(|place| client(place) == Some(path))
    }

    /// Returns the package of a path of the plan.
    pub(crate) fn package_of(&self, path: &ObjectPath) -> Option<&PkgInst> {
        self.changes.iter().find(|change| change.path == *path).map(|change| &change.package)
    }
}

/// The order of the switch: new objects, replaced ones (dynamic loader, libc, libraries, the rest), attributes of
/// directories, deletions, attributes of other objects, and the records last, `contents` first among them.
pub(super) mod turn {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const REPLACE: u8 = 1;
    /// Like the other replacements, and after them.
    pub(crate) const EXCHANGE: u8 = 4;
    pub(crate) const DIRECTORY_ATTRIBUTES: u8 = 5;
    pub(crate) const DELETE: u8 = 6;
    /// After replacements and deletions: these check the time of a file, which a change through another name may set
    /// anew.
    pub(crate) const ATTRIBUTES: u8 = 7;
    pub(crate) const CONTENTS: u8 = 8;
    pub(crate) const RECORD: u8 = 9;
    pub(crate) const REMOVE_DIRECTORY: u8 = 10;
}

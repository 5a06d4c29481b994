//! The inputs for planning a promotion.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::brought::{NewPackage, PatchDirectory};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::stage::PromotionRecord;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// A promotion whose paths are decided.
#[derive(Clone, Debug)]
pub struct PromotionInput<'a> {
    /// The objects that come, by path.
    pub taken: BTreeMap<ObjectPath, TakenObject<'a>>,
    /// The paths whose objects go.
    pub deleted: Vec<ObjectPath>,
    /// The files of the stage with several names within the promoted paths.
    pub stage_names: &'a NamesOfFiles,
    /// Those of the live tree.
    pub live_names: &'a NamesOfFiles,
    /// The directory of the stage, for messages.
    pub stage: String,
    /// The packages that only the stage has.
    pub new_packages: BTreeMap<PkgInst, NewPackage>,
    /// The directories of patches that were applied to new packages alone.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
    /// The record of the promotion; its packages and its run are not known before.
    pub record: PromotionRecord,
    /// The choices of the command.
    pub options: PromotionOptions,
}

/// An object of a stage that comes.
#[derive(Clone, Copy, Debug)]
pub struct TakenObject<'a> {
    /// The object.
    pub object: &'a Live,
    /// Whether only its modification time comes.
    pub time_only: bool,
    /// Whether another user could have made it.
    pub is_foreign: bool,
}

/// The choices of a promotion.
#[derive(Clone, Debug, Default)]
pub struct PromotionOptions {
    /// Whether owners, set-id bits and the attributes of `security` and `trusted` come from the stage. Else objects keep
    /// theirs, and new ones get the owners of their directory.
    pub owners: bool,
    /// Keep no undo data.
    pub no_undo: bool,
    /// Where undo archives go instead of the save directories; a path of the host.
    pub undo_dir: Option<PathBuf>,
    /// How undo archives are compressed.
    pub undo_format: UndoFormat,
}

/// The files of a tree that have several names in it.
#[derive(Clone, Debug, Default)]
pub struct NamesOfFiles {
    files: Vec<Vec<ObjectPath>>,
    file_of: HashMap<ObjectPath, usize>,
}

impl NamesOfFiles {
    /// Collects names, each with the number of its file.
    pub fn of(names: impl Iterator<Item = (ObjectPath, u32)>) -> Self {
        let mut by_number: BTreeMap<u32, Vec<ObjectPath>> = BTreeMap::new();
        for (path, number) in names {
            by_number.entry(number).or_default().push(path);
        }
        let mut found = Self::default();
        for mut names in by_number.into_values().filter(|names| names.len() > 1) {
            names.sort();
            let file = found.files.len();
            found.file_of.extend(names.iter().map(|path| (path.clone(), file)));
            found.files.push(names);
        }
        found
    }

    /// Returns all names of the file at a path, sorted; none if it has only this one.
    pub fn all(&self, path: &ObjectPath) -> &[ObjectPath] {
        let file = self.file_of.get(path).and_then(|file| self.files.get(*file));
        file.map(Vec::as_slice).unwrap_or_default()
    }

    /// Tells whether two paths are names of one file.
    pub fn are_one(&self, one: &ObjectPath, other: &ObjectPath) -> bool {
        one == other || self.all(one).contains(other)
    }
}

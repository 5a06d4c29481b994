//! Patches made of two releases: changed objects become sparse packages.
//!
//! [`draft_patch`] decides everything from lists in memory; [`write_patch`] writes the result in any readable form.
//! The same releases and request give the same bytes on every machine. A patch contains the revision before it, which may
//! be applied or not. Scripts of other package formats are named but never translated.

mod abi;
mod delivery;
mod draft;
mod pairs;
mod previous;
mod sparse;
mod writing;

use std::collections::BTreeMap;

use crate::release::Release;
use patchadm_inputs::native::FixedIn;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_releases::{CompareOptions, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_svr4::package::{ObjectPath, Word};
use patchadm_svr4::patch::{FixList, PatchId, PatchList, Requirements};

pub use abi::{
    AbiCheck, AbiError, AbiFinding, LibraryFeature, find_providers, needed_features, provided_features,
};
pub use delivery::{
    DeliveredObject, DeliveryReason, OtherPatch, Overlap, PackageDelivery, TwoLists, deliver_moved, object_at,
};
pub(crate) use draft::looks_same;
pub use draft::{
    BuildError, BuildFinding, DraftedPackage, ManyDeletionsFinding, PatchDraft, SameTimeFinding,
    SideFilesFinding, draft_patch,
};
pub use pairs::{
    PackagePair, PackagePairs, PairError, PairNaming, ReleaseSide, UnpairedPackage, pair, usual_name,
};
pub use previous::{PreviousError, PreviousPackage, PreviousPatch};
pub use sparse::{ChangeCounts, PackedFile, SparseError, SparsePackage};
pub use writing::{PatchDestination, PatchForm, WriteWatch, WrittenPatch, remove_unfinished, write_patch};

#[derive(Clone, Debug)]
pub struct BuildRequest {
    pub id: PatchId,
    /// Seconds since 1970.
    pub date: i64,
    /// For its packages.
    pub naming: PairNaming,
    pub choices: ListChoices,
    /// Differences that count as a change.
    pub compare: CompareOptions,
    /// BASEDIR for packages without one.
    pub basedir: ObjectPath,
    pub lists: PatchLists,
    /// Words of `SUNW_PATCH_PROPERTIES`.
    pub properties: Vec<String>,
    /// Native versions with its fix.
    pub fixed_in: Option<FixedIn>,
    pub readme: ReadmeText,
    /// Give every package the scripts for a pkgadd without patch support.
    pub with_scripts: bool,
    /// Class action scripts by name (`i.CLASS`); a package gets those of its classes.
    pub class_scripts: BTreeMap<String, Vec<u8>>,
    /// Pattern for the base of a restricted patch.
    pub restricted: Option<String>,
    /// Allow the loss of objects that unchanged ones need.
    pub allow_abi_break: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchLists {
    /// These must be applied.
    pub requires: Requirements,
    /// The patch contains these.
    pub obsoletes: PatchList,
    /// These must not be applied.
    pub incompatibles: PatchList,
    pub fixes: FixList,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadmeText {
    /// One line.
    pub synopsis: Option<String>,
    /// Unordered.
    pub keywords: Vec<String>,
    /// One line each.
    pub bugs: Vec<String>,
}

impl PatchLists {
    pub fn unite(&mut self, other: &Self) {
        let requires = self.requires.iter().chain(other.requires.iter()).cloned();
        self.requires = requires.collect();
        self.obsoletes.extend(other.obsoletes.iter().cloned());
        self.incompatibles.extend(other.incompatibles.iter().cloned());
        self.fixes.unite(&other.fixes);
    }
}

/// Applied to both releases alike, so that none of them is a change.
#[derive(Clone, Debug, Default)]
pub struct ListChoices {
    /// Left out recursively.
    pub exclude: Vec<PathGlob>,
    /// Files of type `e`.
    pub editable: Vec<PathGlob>,
    /// Files of type `v`.
    pub volatile: Vec<PathGlob>,
    /// The last matching pattern counts.
    pub classes: Vec<(PathGlob, Word)>,
    /// Owner and group of every object.
    pub owner: Option<(Word, Word)>,
}

impl ListChoices {
    /// Returns options with patterns that match no object of the releases.
    pub fn useless(&self, releases: [&Release; 2]) -> Vec<String> {
        let objects = || {
            releases.into_iter().flat_map(|release| &release.packages).flat_map(|package| &package.objects)
        };
        let options = [("--editable", &self.editable), ("--volatile", &self.volatile)];
        let globs = options.iter().flat_map(|(option, globs)| globs.iter().map(move |glob| (option, glob)));
        let useless = globs.filter(|(_, glob)| !objects().any(|object| glob.names(&object.path)));
        useless.map(|(option, glob)| format!("{option} {}", glob.as_str())).collect()
    }

    pub fn applied(&self, objects: &[ReleaseObject]) -> Vec<ReleaseObject> {
        let is_left_out =
            |object: &ReleaseObject| self.exclude.iter().any(|glob| glob.names_it_or_above(&object.path));
        let kept = objects.iter().filter(|object| !is_left_out(object));
        kept.map(|object| self.made(object.clone())).collect()
    }

    fn made(&self, mut object: ReleaseObject) -> ReleaseObject {
        let is_named = |globs: &[PathGlob]| globs.iter().any(|glob| glob.names(&object.path));
        let chosen = match () {
            () if is_named(&self.volatile) => Some(Upkeep::Volatile),
            () if is_named(&self.editable) => Some(Upkeep::Editable),
            () => None,
        };
        if let (ReleaseObjectKind::File { upkeep, .. }, Some(chosen)) = (&mut object.kind, chosen) {
            *upkeep = chosen;
        }
        if let Some((_, class)) = self.classes.iter().rev().find(|(glob, _)| glob.names(&object.path)) {
            object.class = class.clone();
        }
        if let Some((owner, group)) = &self.owner {
            object.owner = ObjectOwner { name: Some(owner.clone()), id: None };
            object.group = ObjectOwner { name: Some(group.clone()), id: None };
        }
        object
    }
}

#[cfg(test)]
mod tests;

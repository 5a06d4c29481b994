//! Libraries that are kept for programs that still need them: their faults, and the patches that are newer than they are.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::libraries::{
    KeptLibraryState, KeptLook, KeptState, LibrariesBeforePatches, PatchedRecords, look_at_kept,
};
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::inventory::{Installed, is_kept_package};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::never;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchRecords};

/// A finding about a kept library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFinding {
    /// The package that keeps it.
    pub package: PkgInst,
    /// Its SONAME, or the name of its file.
    pub library: String,
    /// Its path and those of the links that lead to it.
    pub paths: Vec<ObjectPath>,
    /// The fault.
    pub fault: KeptFault,
}

/// A fault of a kept library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptFault {
    /// It differs from what was kept.
    Changed,
    /// It does not exist.
    Missing,
    /// Nothing needs it.
    Unneeded,
    /// These objects find it in the place of a newer library that serves them.
    Shadows(Vec<ObjectPath>),
}

impl KeptFault {
    /// Returns the word of the JSON document.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unneeded => "unneeded",
            Self::Shadows(_) => "shadows",
        }
    }

    fn of(library: &KeptLibraryState) -> Vec<Self> {
        let state = match library.state {
            KeptState::Needed => None,
            KeptState::Unneeded => Some(Self::Unneeded),
            KeptState::Changed => Some(Self::Changed),
            KeptState::Missing => Some(Self::Missing),
        };
        let shadows = Some(Self::Shadows(library.misled.clone())).filter(|_| !library.misled.is_empty());
        // An object that finds it instead of another library does not need it: that is the worse of the two faults.
        let state = state.filter(|state| *state != Self::Unneeded || shadows.is_none());
        state.into_iter().chain(shadows).collect()
    }
}

/// The findings about kept libraries.
#[derive(Debug, Default)]
pub(super) struct FoundKept {
    pub(super) findings: Vec<KeptFinding>,
    pub(super) by_patch: LibrariesBeforePatches,
}

/// The root that is examined.
#[derive(Clone, Copy)]
pub(super) struct LookAtKept<'a> {
    pub(super) view: &'a RecordView<'a>,
    pub(super) ground: &'a RootAndPolicy,
    pub(super) now: &'a Now,
}

impl LookAtKept<'_> {
    /// Examines the root, if one of these packages keeps libraries. Returns the findings about the selected packages.
    pub(super) fn of<'p>(
        self,
        packages: impl Iterator<Item = (&'p PkgInst, &'p Installed, &'p PatchRecords)>,
        is_meant: impl Fn(&PkgInst) -> bool,
    ) -> Result<FoundKept, Failure> {
        let packages: Vec<_> = packages.collect();
        if !packages.iter().any(|(_, installed, _)| is_kept_package(&installed.params)) {
            return Ok(FoundKept::default());
        }
        let applied =
            AppliedPatches::new(packages.iter().map(|(_, _, applied)| (*applied).clone()).collect());
        let packages: BTreeMap<PkgInst, Installed> =
            packages.into_iter().map(|(name, installed, _)| (name.clone(), installed.clone())).collect();
        let look = look_at_kept(self.ground, (self.now, &never), false)?;
        let records = PatchedRecords {
            view: self.view,
            ground: Some(self.ground),
            separator: &self.ground.policy.separator,
            packages: &packages,
            applied: &applied,
        };
        Ok(FoundKept { findings: findings(&look, is_meant), by_patch: records.by_look(&look) })
    }
}

fn findings(look: &KeptLook, is_meant: impl Fn(&PkgInst) -> bool) -> Vec<KeptFinding> {
    let finding = |library: &KeptLibraryState, fault| KeptFinding {
        package: library.package.clone(),
        library: library.name.clone(),
        paths: library.paths.clone(),
        fault,
    };
    let meant = look.libraries.iter().filter(|library| is_meant(&library.package));
    meant
        .flat_map(|library| KeptFault::of(library).into_iter().map(move |fault| finding(library, fault)))
        .collect()
}

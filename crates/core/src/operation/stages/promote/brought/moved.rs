//! The packages that came to a root, or went from it, since a stage of it was made, and what both sides did to a package.

use std::collections::{BTreeMap, BTreeSet};

use super::packages::PackageDatabase;
use patchadm_planning::plan::promotion::local_package;
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The change of a package on the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageMove {
    /// It was installed.
    Installed,
    /// It was removed.
    Removed,
    /// Another version was installed in its place.
    Replaced,
}

/// A package that came to the root, or went from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedPackage {
    /// The package.
    pub package: PkgInst,
    /// Its change on the root.
    pub change: PackageMove,
    /// The reason why the records of the stage stay as they are; `None` if they follow.
    pub stays: Option<StayReason>,
}

/// The reason why the records of a package in a stage do not follow those of the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StayReason {
    /// The stage has an object of its own at a path of the package.
    #[error("the stage has an object of its own at {0}")]
    OwnObject(ObjectPath),
    /// A package that stays in the stage owns a path of the package.
    #[error("{path} is owned by package {owner}, which stays in the stage")]
    Owned {
        /// The path.
        path: ObjectPath,
        /// The package that stays.
        owner: PkgInst,
    },
    /// The undo data of a patch of the package lies outside the root.
    #[error("the undo data of patch {0} lies outside the root")]
    UndoOutside(PatchId),
    /// Its records, or what both sides did to it, forbid it.
    #[error("{0}")]
    Refused(BroughtReason),
}

/// The decisions of a refresh about the packages of a stage.
#[derive(Debug, Default)]
pub(in crate::operation::stages) struct MovedPackages {
    pub(in crate::operation::stages) all: Vec<MovedPackage>,
    /// The contents of the bases afterwards: the version of each package, `None` for one that is gone.
    pub(in crate::operation::stages) in_bases: BTreeMap<PkgInst, Option<String>>,
    /// The packages that both sides changed differently: no option resolves that.
    pub(in crate::operation::stages) conflicts: Vec<BroughtReason>,
}

/// The packages that differ between a root and the base of a stage.
#[derive(Debug, Default)]
pub(super) struct PackageMoves {
    /// The change of each package; `None` where both sides made the same change and only the bases do not have it yet.
    pub(super) all: BTreeMap<PkgInst, Option<PackageMove>>,
    /// The packages that both sides changed differently.
    pub(super) conflicts: Vec<BroughtReason>,
}

impl MovedPackage {
    /// Returns whether the records of the stage follow.
    pub fn is_brought(&self) -> bool {
        self.stays.is_none()
    }
}

impl From<BroughtReason> for StayReason {
    fn from(reason: BroughtReason) -> Self {
        match reason {
            BroughtReason::UndoOutside { patch, .. } => Self::UndoOutside(patch),
            reason => Self::Refused(reason),
        }
    }
}

impl PackageMoves {
    /// Compares root, stage and base.
    pub(super) fn between(
        live: &PackageDatabase,
        stage: &PackageDatabase,
        base: &BTreeMap<PkgInst, String>,
    ) -> Self {
        let (of_live, of_stage) = (live.versions(), stage.versions());
        let names = of_live.keys().chain(base.keys()).collect::<BTreeSet<_>>();
        let is_local = |package: &PkgInst| {
            let known = live.packages.get(package).or_else(|| stage.packages.get(package));
            known.is_some_and(|one| local_package(&one.params).is_some())
        };
        let mut moves = Self::default();
        for package in names.into_iter().filter(|package| !is_local(package)) {
            let versions = PackageVersions {
                base: base.get(package),
                live: of_live.get(package),
                stage: of_stage.get(package),
            };
            let change = match versions.compared(package) {
                Ok(RootsPackage::Same) => continue,
                Ok(RootsPackage::Known) => None,
                Ok(RootsPackage::Moved(change)) => Some(change),
                Err(conflict) => {
                    moves.conflicts.push(conflict);
                    continue;
                }
            };
            moves.all.insert(package.clone(), change);
        }
        moves
    }

    /// Returns the packages of which something goes from the stage.
    pub(super) fn going(&self) -> BTreeSet<PkgInst> {
        self.that(&[PackageMove::Removed, PackageMove::Replaced])
    }

    /// Returns the packages of which something comes from the root.
    pub(super) fn coming(&self) -> BTreeSet<PkgInst> {
        self.that(&[PackageMove::Installed, PackageMove::Replaced])
    }

    fn that(&self, wanted: &[PackageMove]) -> BTreeSet<PkgInst> {
        let is_wanted = |change: &Option<PackageMove>| change.is_some_and(|change| wanted.contains(&change));
        self.all.iter().filter(|(_, change)| is_wanted(change)).map(|(package, _)| package.clone()).collect()
    }
}

/// The change of a package on the root.
enum RootsPackage {
    /// No change.
    Same,
    /// A change that only the bases lack.
    Known,
    /// A change that comes into the stage.
    Moved(PackageMove),
}

/// The versions of a package.
struct PackageVersions<'a> {
    base: Option<&'a String>,
    live: Option<&'a String>,
    stage: Option<&'a String>,
}

impl PackageVersions<'_> {
    /// Returns the change of the package on the root.
    fn compared(&self, package: &PkgInst) -> Result<RootsPackage, BroughtReason> {
        let package = || package.clone();
        Ok(match (self.base, self.live, self.stage) {
            (None, Some(_), None) => RootsPackage::Moved(PackageMove::Installed),
            (None, Some(live), Some(stage)) if live == stage => RootsPackage::Known,
            (None, Some(live), Some(stage)) => {
                let (stage, live) = (stage.clone(), live.clone());
                return Err(BroughtReason::InstalledOnBoth { package: package(), stage, live });
            }
            (Some(_), None, None) => RootsPackage::Known,
            (Some(then), None, Some(stage)) if then == stage => RootsPackage::Moved(PackageMove::Removed),
            (Some(_), None, Some(stage)) => {
                return Err(BroughtReason::GoneAndReplaced { package: package(), stage: stage.clone() });
            }
            (Some(then), Some(live), Some(stage)) if live != then && stage == then => {
                RootsPackage::Moved(PackageMove::Replaced)
            }
            (Some(then), Some(live), Some(stage)) if live != then && live != stage => {
                let (stage, live) = (stage.clone(), live.clone());
                return Err(BroughtReason::OtherVersion { package: package(), stage, live });
            }
            (Some(then), Some(live), None) if live != then => {
                return Err(BroughtReason::PackageRemoved(package()));
            }
            _ => RootsPackage::Same,
        })
    }
}

//! A native package that is adopted.

use patchadm_inputs::native::NativeOrigin;
use patchadm_planning::plan::package::adopt::IntendedAdoption;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Software that was taken up, or that other packages own objects of.
pub(super) struct TakenUp {
    pub(super) intended: IntendedAdoption,
    /// Its files that differ from the records of the other package manager, as messages name them.
    pub(super) differing: Vec<ObjectPath>,
}

/// A native package that is adopted.
#[derive(Debug)]
pub struct AdoptedPackage {
    /// The package that it becomes.
    pub package: PkgInst,
    /// The native package.
    pub origin: NativeOrigin,
    /// The number of its objects.
    pub objects: usize,
    /// Its files that differ from the native records; they are adopted as they are.
    pub differing: Vec<ObjectPath>,
    /// Listed paths at which nothing is; they are left out.
    pub missing: Vec<ObjectPath>,
}

impl AdoptedPackage {
    /// Returns a package that was taken up without a conflict.
    pub(super) fn of(package: PkgInst, origin: NativeOrigin, taken_up: TakenUp) -> Self {
        let TakenUp { intended, differing } = taken_up;
        Self { package, origin, objects: intended.objects, differing, missing: intended.missing }
    }
}

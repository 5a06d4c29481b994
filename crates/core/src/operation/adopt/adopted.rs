//! A native package that is adopted.

use super::TakenUp;
use patchadm_inputs::native::NativeOrigin;
use patchadm_svr4::package::{ObjectPath, PkgInst};

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

//! The registrations of a root: for which native packages there is one, and what the next ones are called.

use std::collections::{BTreeMap, BTreeSet};

use super::software_list::SoftwareList;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{NativeClaims, NativePackage};
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;

/// The registrations of a root, and those that are planned.
pub(super) struct Registrations {
    claims: NativeClaims,
    /// The names that are taken.
    taken: BTreeSet<PkgInst>,
}

impl Registrations {
    /// Asks the package managers of a root about the packages that were adopted from them.
    pub(super) fn of(root: &Root, packages: &BTreeMap<PkgInst, Installed>) -> Self {
        let params = packages.iter().map(|(package, installed)| (package, &installed.params));
        Self { claims: NativeClaims::of(root, params), taken: packages.keys().cloned().collect() }
    }

    /// Returns the registration that stands for a package.
    pub(super) fn holder(&self, native: &NativePackage) -> Option<&PkgInst> {
        self.claims.holder(native)
    }

    /// Adds the registration of a package.
    pub(super) fn add(&mut self, package: &PkgInst, native: &NativePackage) {
        self.claims.add(package.clone(), native);
        self.taken.insert(package.clone());
    }

    /// Returns a package as software, called as its registration is, or will be.
    pub(super) fn software(&self, native: &NativePackage) -> SoftwareList {
        let pkg = match self.holder(native) {
            Some(package) => package.to_string(),
            None => self.free_name(native),
        };
        let origin = self.claims.origin_of(native);
        SoftwareList { pkg: Some(pkg), origin: Some(origin), ..SoftwareList::of_native(native) }
    }

    /// Returns a free name for a registration: the plain name, or an instance of it beside another package of the same name. If
    /// the plain name stands for a package of another name, the architecture is appended.
    fn free_name(&self, native: &NativePackage) -> String {
        let (manager, name) = (native.origin.manager, native.origin.name.as_str());
        let plain = manager.package_name(name);
        let holder = PkgInst::new(&plain).ok().filter(|package| self.taken.contains(package));
        match holder {
            None => plain,
            Some(package) if self.claims.has_name(native, &package) => native.instance_name(),
            Some(_) => manager.package_name(&format!("{name}-{}", native.arch)),
        }
    }
}

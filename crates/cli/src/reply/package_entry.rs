use std::collections::BTreeMap;

use serde::Serialize;

use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_inputs::native::{Distribution, NATIVE_VERSION, NativeChange, NativeIdentity, package_url};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};

/// An installed package in the document of `list`.
#[derive(Debug, Serialize)]
pub struct InstalledPackageEntry {
    package: String,
    name: Option<String>,
    version: String,
    arch: String,
    /// The manager that it was adopted from: `dpkg` or `rpm`.
    manager: Option<&'static str>,
    native: Option<NativeEntry>,
    /// The package URL, by which scanners know it.
    purl: String,
}

/// A package as its package manager knows it.
#[derive(Debug, Serialize)]
struct NativeEntry {
    name: String,
    version: String,
    arch: String,
}

impl InstalledPackageEntry {
    /// Gives a package that its manager upgraded since registration the present version.
    pub fn all(root: &Root, packages: &BTreeMap<PkgInst, Params>, overview: &NativeOverview) -> Vec<Self> {
        let distribution = Distribution::of(root);
        let entry = |(package, params): (&PkgInst, &Params)| match overview.changes.get(package) {
            Some(NativeChange::Upgraded { to, .. }) => {
                let mut now = params.clone();
                now.set(NATIVE_VERSION, to.as_str());
                Self::of(package, &now, distribution.as_ref())
            }
            _ => Self::of(package, params, distribution.as_ref()),
        };
        packages.iter().map(entry).collect()
    }

    fn of(package: &PkgInst, params: &Params, distribution: Option<&Distribution>) -> Self {
        let value = |name: &str| params.text(name).trim().to_owned();
        let native = NativeIdentity::of(params);
        Self {
            package: package.to_string(),
            name: Some(value("NAME")).filter(|name| !name.is_empty()),
            version: value("VERSION"),
            arch: value("ARCH"),
            manager: native.as_ref().map(|native| native.manager.name()),
            purl: package_url(package, params, distribution),
            native: native.map(|NativeIdentity { name, version, arch, .. }| NativeEntry {
                name,
                version,
                arch,
            }),
        }
    }
}

//! Software from a list, with everything that a package needs for its name.

use std::collections::BTreeMap;
use std::path::Path;

use super::registrations::Registrations;
use super::request::{AdoptRequest, AdoptSource, AdoptWishes};
use super::software_list::SoftwareList;
use super::tree;
use crate::operation::failure::Failure;
use crate::operation::mend::can_be_mended;
use crate::operation::packages::records::damaged_package;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_inputs::database::survey::packages_but;
use patchadm_inputs::database::{RecordView, all};
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::dpkg::paths_of;
use patchadm_inputs::native::{ADOPTED, FileSum, LONGEST_PKG, NativePackage};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_planning::plan::package::adopt::AdoptableSoftware;
use patchadm_planning::plan::package::package_records::DamagedPackage;
use patchadm_svr4::package::{Ftype, ObjectPath, Params, PkgInst};

/// The largest list of paths, in bytes.
const LARGEST_LIST: u64 = 256 << 20;

/// Listed software, and the facts about its files.
#[derive(Debug)]
pub(super) struct ListedSoftware {
    pub(super) software: AdoptableSoftware,
    /// The sums of its files according to another package manager.
    pub(super) sums: BTreeMap<ObjectPath, FileSum>,
    /// What is left of an earlier registration of it, whose record is damaged.
    pub(super) damaged: Option<DamagedPackage>,
    pub(super) notes: Vec<String>,
}

impl ListedSoftware {
    /// Reads the requested list, and applies the wishes of the caller.
    pub(super) fn of(
        ground: &RootAndPolicy,
        request: &AdoptRequest,
        caller: &Caller<'_>,
    ) -> Result<Self, Failure> {
        let root = &ground.root;
        let list = match &request.source {
            AdoptSource::Tree(top) => tree::listed(root, top, &request.wishes.basedir)?,
            AdoptSource::Paths(file) => paths_in(file)?,
            AdoptSource::Native(manager, name) => {
                let native = manager.package(root, name)?;
                let packages = packages_beside(ground, &possible_names(&native, &request.wishes))?;
                let list = Registrations::of(root, &packages).software(&native);
                let listed = Self::wished(list, &request.wishes)?;
                return listed.over_damaged(ground, caller);
            }
        };
        Self::wished(list, &request.wishes)
    }

    /// Finds the remains of an earlier registration whose record is damaged. Fails if the record can still be restored.
    fn over_damaged(self, ground: &RootAndPolicy, caller: &Caller<'_>) -> Result<Self, Failure> {
        let package = &self.software.package;
        let damaged = damaged_package(&ground.root, package)?;
        if damaged.is_some() && can_be_mended(ground, caller, package)? {
            all::params_of(&RecordView::live(&ground.root), package)?;
        }
        Ok(Self { damaged, ..self })
    }

    /// Applies the wishes of the caller to a list.
    pub(super) fn wished(mut list: SoftwareList, wishes: &AdoptWishes) -> Result<Self, Failure> {
        list.paths.retain(|path, _| !wishes.exclude.iter().any(|glob| glob.names_it_or_above(path)));
        for (path, ftype) in &mut list.paths {
            let is_named = |globs: &[PathGlob]| globs.iter().any(|glob| glob.names(path));
            if is_named(&wishes.volatile) {
                *ftype = Ftype::Volatile;
            } else if is_named(&wishes.editable) {
                *ftype = Ftype::Editable;
            }
        }
        let (package, params) = called(&list, wishes)?;
        let software = AdoptableSoftware {
            package,
            params,
            environment: wishes.environment.clone(),
            paths: list.paths,
            must_be_there: list.must_be_there,
        };
        Ok(Self { software, sums: list.sums, damaged: None, notes: list.notes })
    }
}

/// Returns the names that the registration of a package may get.
fn possible_names(native: &NativePackage, wishes: &AdoptWishes) -> Vec<PkgInst> {
    let usual = || vec![native.origin.manager.package_name(&native.origin.name), native.instance_name()];
    let names = wishes.pkg.as_ref().map_or_else(usual, |pkg| vec![pkg.clone()]);
    names.iter().filter_map(|name| PkgInst::new(name).ok()).collect()
}

/// Returns the packages, without those of these names whose records are damaged.
pub(super) fn packages_beside(
    ground: &RootAndPolicy,
    names: &[PkgInst],
) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
    let is_damaged = |package: &PkgInst| names.contains(package);
    Ok(packages_but(&RecordView::live(&ground.root), is_damaged)?)
}

/// Returns the package and its parameters.
fn called(list: &SoftwareList, wishes: &AdoptWishes) -> Result<(PkgInst, Params), Failure> {
    let lacks = |what: &str| Failure::BadFile(format!("nothing says {what} of the package; name one"));
    let pkg = wishes.pkg.as_ref().or(list.pkg.as_ref()).ok_or_else(|| lacks("the name"))?;
    let version = wishes.version.as_ref().or(list.version.as_ref()).ok_or_else(|| lacks("the version"))?;
    let bad =
        |reason: &str| Failure::BadFile(format!("<{pkg}> is no package name: {reason}; name one with --pkg"));
    let package = PkgInst::new(pkg).map_err(|error| bad(error.reason))?;
    if package.abbreviation().len() > LONGEST_PKG {
        return Err(bad("it has more than 32 characters"));
    }
    // Only a native package can be there several times.
    if list.origin.is_none() && package.abbreviation() != package.as_str() {
        return Err(bad("it has a full stop"));
    }
    let arch = wishes.arch.as_ref().or(list.arch.as_ref()).map_or("all", String::as_str);
    let title = wishes.name.as_ref().or(list.title.as_ref()).unwrap_or(pkg);
    let values = [
        ("PKG", package.abbreviation()),
        ("NAME", title.as_str()),
        ("ARCH", arch),
        ("VERSION", version.as_str()),
        ("CATEGORY", "application"),
        ("CLASSES", "none"),
        (ADOPTED, list.adopted),
    ];
    let mut params = Params::new();
    for (name, value) in values {
        if value.contains(['\n', '\0']) || value.trim().is_empty() {
            return Err(Failure::BadFile(format!("{} is no value of {name}", value.escape_debug())));
        }
        params.set(name, value.trim());
    }
    params.set("BASEDIR", wishes.basedir.as_bytes());
    if let Some(origin) = &list.origin {
        origin.write(&mut params);
    }
    if let Some(registration) = &list.registration {
        registration.write(&mut params);
    }
    Ok((package, params))
}

/// Returns the paths in a file of the host, one a line. Each must exist.
fn paths_in(file: &Path) -> Result<SoftwareList, Failure> {
    let bad = |reason: String| Failure::BadFile(format!("{}: {reason}", file.display()));
    let text = read_start(file, LARGEST_LIST).map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > LARGEST_LIST {
        return Err(bad("it is larger than 256 MiB".to_owned()));
    }
    let paths = paths_of(&text).map_err(bad)?.into_iter().map(|path| (path, Ftype::File)).collect();
    Ok(SoftwareList { adopted: "paths", paths, must_be_there: true, ..SoftwareList::default() })
}

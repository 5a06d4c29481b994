//! The subject of a change before the root is surveyed: the paths and packages that its planner will ask for.

use std::collections::BTreeMap;

use super::patch::engine::{Role, ScriptChoice, applying};
use super::patch::validate::InstalledVersions;
use super::records::patch_path;
use super::target::{PackageTarget, Wanted, symlink_target};
use patchadm_changeset::format::manifest::{UndoManifest, decode};
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_svr4::package::{Ftype, ObjectPath, Params, PkgInst};

/// A delivered file to be compared with the existing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileToCompare<'a> {
    /// Index in the image.
    pub package: usize,
    /// Its line in the pkgmap.
    pub entry: &'a patchadm_svr4::format::pkgmap::PkgmapEntry,
    pub path: ObjectPath,
}

/// The paths of those packages of `image` that are installed. Invalid packages are skipped: the planner refuses them.
pub fn touched_by_patch(image: &Image, id: &str, installed: &BTreeMap<PkgInst, Installed>) -> Touched {
    let mut touched = Touched::default();
    touched.paths.extend(patch_path(id).ok());
    let installed = InstalledVersions::of(installed);
    for (index, package) in image.packages.iter().enumerate() {
        for (inst, old) in installed.like(&package.params) {
            add_package(&mut touched, inst, index, package, &old.params);
        }
    }
    touched
}

/// Adds the paths that installing `image` as `inst` touches; `params` give BASEDIR.
pub fn add_package(
    touched: &mut Touched,
    inst: &PkgInst,
    index: usize,
    image: &PackageImage,
    params: &Params,
) {
    touched.packages.insert(inst.clone());
    let Some(target) = target(inst, index, image, params) else { return };
    for wanted in target.wanted().unwrap_or_default() {
        if !wanted.object.ftype.is_directory() {
            touched.not_directories.insert(wanted.path.clone());
        }
        touched.paths.extend(link_source(&wanted));
        touched.paths.extend(directory_of_target(&wanted));
        touched.paths.insert(wanted.path);
    }
    for path in image.deletes.iter().filter_map(|path| target.resolve(path).ok()) {
        touched.not_directories.insert(path.clone());
        touched.paths.insert(path);
    }
}

/// Adds the paths of a backout whose archive has no manifest: those that the backout package delivers.
pub fn add_foreign_backout(
    touched: &mut Touched,
    package: &PkgInst,
    id: &str,
    image: &PackageImage,
    params: &Params,
) {
    touched.paths.extend(patch_path(id).ok());
    add_package(touched, package, 0, image, params);
}

/// Adds every path that the manifest names as changed, and the copies beside them.
pub fn add_backout(touched: &mut Touched, package: &PkgInst, manifest: &UndoManifest) {
    touched.packages.insert(package.clone());
    touched.paths.extend(patch_path(&manifest.header.patch).ok());
    for object in manifest.objects.iter().filter(|object| !object.is_as_found()) {
        let bytes = decode(&object.path);
        let beside = [&bytes[..], format!(".patch-{}", manifest.header.patch).as_bytes()].concat();
        for path in [ObjectPath::new(&bytes), ObjectPath::new(&beside)].into_iter().flatten() {
            touched.not_directories.insert(path.clone());
            touched.paths.insert(path);
        }
    }
}

pub fn delivered_files<'i>(
    image: &'i Image,
    installed: &BTreeMap<PkgInst, Installed>,
    inventory: &Inventory,
) -> Vec<FileToCompare<'i>> {
    let mut files = Vec::new();
    let installed = InstalledVersions::of(installed);
    for (index, package) in image.packages.iter().enumerate() {
        for (inst, old) in installed.like(&package.params) {
            let target = target(inst, index, package, &old.params);
            // The planner refuses paths without a place there.
            let Some(Ok(target)) = target.map(|target| target.in_root(inventory)) else { continue };
            let wanted = target.wanted().unwrap_or_default();
            let regular = wanted.into_iter().filter(|wanted| wanted.object.ftype.is_regular());
            files.extend(regular.map(|wanted| FileToCompare {
                package: index,
                entry: wanted.entry,
                path: wanted.path,
            }));
        }
    }
    files
}

/// Returns true if a patch brings scripts that would run, as far as the installed packages' parameters tell. A patch
/// that is refused for its scripts brings none.
pub fn brings_scripts(
    image: &Image,
    installed: &BTreeMap<PkgInst, Installed>,
    choice: &ScriptChoice,
) -> bool {
    if applying(&image.hooks).next().is_some() {
        return true;
    }
    let installed = InstalledVersions::of(installed);
    image.packages.iter().enumerate().any(|(index, package)| {
        installed.like(&package.params).any(|(inst, old)| {
            let target = target(inst, index, package, &old.params);
            let chosen = target.map(|target| choice.about(inst, package, &target.params, Role::Patch));
            chosen.and_then(Result::ok).is_some_and(|chosen| chosen.has_scripts())
        })
    })
}

fn target<'a>(
    inst: &PkgInst,
    index: usize,
    image: &'a PackageImage,
    params: &Params,
) -> Option<PackageTarget<'a>> {
    let mut all = params.clone();
    for (name, value) in image.params.iter() {
        match name {
            "CLASSES" => {
                let classes = format!("{} {}", params.text("CLASSES"), String::from_utf8_lossy(value));
                all.set("CLASSES", classes);
            }
            _ if all.get(name).is_none() => all.set(name, value),
            _ => {}
        }
    }
    PackageTarget::new(inst.clone(), index, image, all).ok()
}

fn link_source(wanted: &Wanted<'_>) -> Option<ObjectPath> {
    let target = wanted.object.target.as_ref().filter(|_| wanted.object.ftype == Ftype::Link)?;
    wanted.path.link_source(target).ok()
}

/// Returns the directory of a symbolic link's target with the same name. If both directories are one, the link would
/// point to itself.
fn directory_of_target(wanted: &Wanted<'_>) -> Option<ObjectPath> {
    let target = wanted.object.target.as_ref().filter(|_| wanted.object.ftype == Ftype::Symlink)?;
    let target = symlink_target(&wanted.path, target)?;
    target
        .parent()
        .filter(|directory| target.name() == wanted.path.name() && !directory.relative().is_empty())
}

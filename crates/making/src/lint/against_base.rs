//! Checks of a patch against the release that it is for.

use std::collections::BTreeSet;

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{LintPackage, LintSubject};
use crate::build::{looks_same, object_at, usual_name};
use crate::release::{Release, ReleasePackage};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// The parameters about zones, which a patch takes over from the package it is for.
const ZONES: [&str; 3] = ["SUNW_PKG_ALLZONES", "SUNW_PKG_HOLLOW", "SUNW_PKG_THISZONE"];

/// Compares every package with the one of the release that has its name.
pub(super) fn check(subject: &LintSubject<'_>, base: &Release, found: &mut LintFindings) {
    let paths = |package: &ReleasePackage| -> BTreeSet<Vec<u8>> {
        package.objects.iter().map(|object| object.path.as_bytes().to_vec()).collect()
    };
    let known: Vec<(&ReleasePackage, BTreeSet<Vec<u8>>)> =
        base.packages.iter().map(|package| (package, paths(package))).collect();
    for package in &subject.packages {
        let Some(own) = own_package(package, base) else {
            say_why_there_is_none(package, base, found);
            continue;
        };
        check_parameters(package, own, found);
        check_times(package, own, found);
        let (own, others): (Vec<_>, Vec<_>) = known.iter().partition(|(known, _)| std::ptr::eq(*known, own));
        if let [(_, own_paths)] = own[..] {
            check_paths(package, own_paths, &others, found);
        }
    }
}

/// Returns the package of a release that a package of the patch is for: that of its name and architecture, or the tree
/// that is the whole release.
pub(super) fn own_package<'b>(package: &LintPackage<'_>, base: &'b Release) -> Option<&'b ReleasePackage> {
    if let [tree] = &base.packages[..]
        && tree.name.is_none()
    {
        return Some(tree);
    }
    let (name, arch) = package.name();
    base.packages.iter().find(|base| is_named(base, &name) && base.arch.as_deref() == Some(&arch))
}

/// Tells whether a package of a release has this name as an SVR4 package.
fn is_named(package: &ReleasePackage, name: &str) -> bool {
    package.name.as_deref().is_some_and(|own| usual_name(package.form, own) == name)
}

fn say_why_there_is_none(package: &LintPackage<'_>, base: &Release, found: &mut LintFindings) {
    let (name, arch) = package.name();
    let named = base.packages.iter().filter(|base| is_named(base, &name));
    let archs: Vec<&str> = named.filter_map(|base| base.arch.as_deref()).collect();
    if archs.is_empty() {
        let text = format!("{} has no package {name}", base.name);
        found.of_package(LintCode::Version, package.directory(), text);
    } else {
        let text = format!("ARCH is {arch}, {} has {}", base.name, archs.join(" "));
        found.of_package(LintCode::Arch, package.directory(), text);
    }
}

fn check_parameters(package: &LintPackage<'_>, base: &ReleasePackage, found: &mut LintFindings) {
    let version = package.image.params.text("VERSION");
    if let Some(expected) = base.version.as_deref().filter(|expected| *expected != version.trim()) {
        let text = format!("VERSION is {}, the base has {expected}", version.trim());
        found.of_package(LintCode::Version, package.directory(), text);
    }
    let Some(svr4) = &base.svr4 else { return };
    for name in ZONES {
        let [ours, theirs] =
            [&package.image.params, &svr4.params].map(|params| params.text(name).trim().to_owned());
        if ours != theirs {
            let text = format!("it is <{ours}>, the base has <{theirs}>");
            found.of_path(LintCode::Zone, package.directory(), &name, text);
        }
    }
}

/// Finds files that only their bytes tell from those of the base.
fn check_times(package: &LintPackage<'_>, base: &ReleasePackage, found: &mut LintFindings) {
    for entry in package.objects.values().filter(|entry| entry.object.ftype.is_regular()) {
        let Ok(path) = ObjectPath::new(&in_release(&entry.path)) else { continue };
        let looks_same = object_at(&base.objects, &path).is_some_and(|old| {
            old.content_info().is_some_and(|content| looks_same(&content, &entry.object.content))
        });
        if looks_same {
            let text = "the base has it with other bytes, and this size and modification time";
            found.of_path(LintCode::SameTime, package.directory(), &entry.path, text);
        }
    }
}

fn check_paths(
    package: &LintPackage<'_>,
    own: &BTreeSet<Vec<u8>>,
    others: &[&(&ReleasePackage, BTreeSet<Vec<u8>>)],
    found: &mut LintFindings,
) {
    for path in package.deletes.values().filter(|path| !own.contains(&in_release(path))) {
        let text = "it is deleted, and the package of the base does not have it";
        found.of_path(LintCode::OutsidePackage, package.directory(), path, text);
    }
    let objects = package.objects.values().filter(|entry| !entry.object.ftype.is_directory());
    for entry in objects {
        let path = in_release(&entry.path);
        let owner = others.iter().find(|(_, paths)| !own.contains(&path) && paths.contains(&path));
        if let Some((owner, _)) = owner {
            let text =
                format!("it belongs to {} of the base", owner.name.as_deref().unwrap_or(&owner.origin));
            found.of_path(LintCode::OutsidePackage, package.directory(), &entry.path, text);
        }
    }
}

/// Returns a path as releases write it: below the base directory, as an absolute one.
pub(super) fn in_release(path: &PackagePath) -> Vec<u8> {
    if path.is_absolute() { path.as_bytes().to_vec() } else { [b"/", path.as_bytes()].concat() }
}

//! Checks of a patch against the release that it is for.

use std::collections::BTreeSet;

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{LintPackage, LintSubject};
use crate::release::{Release, ReleaseForm, ReleasePackage};
use patchadm_svr4::package::PackagePath;

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
        let (name, arch) = package.name();
        let named: Vec<_> =
            known.iter().filter(|(base, _)| name_of(base).as_deref() == Some(&name)).collect();
        if named.is_empty() {
            let text = format!("{} has no package {name}", base.name);
            found.of_package(LintCode::Version, package.directory(), text);
            continue;
        }
        let same = named.iter().find(|(base, _)| base.arch.as_deref() == Some(&arch));
        let Some((own, own_paths)) = same else {
            let archs: Vec<&str> = named.iter().filter_map(|(base, _)| base.arch.as_deref()).collect();
            let text = format!("ARCH is {arch}, {} has {}", base.name, archs.join(" "));
            found.of_package(LintCode::Arch, package.directory(), text);
            continue;
        };
        check_parameters(package, own, found);
        let others = known.iter().filter(|(base, _)| !std::ptr::eq(*base, *own));
        check_paths(package, own_paths, &others.collect::<Vec<_>>(), found);
    }
}

/// Returns the name that a package of a release has as an SVR4 package.
fn name_of(package: &ReleasePackage) -> Option<String> {
    let name = package.name.as_deref()?;
    let prefix = match package.form {
        ReleaseForm::Deb => "DEB",
        ReleaseForm::Rpm => "RPM",
        ReleaseForm::Tree | ReleaseForm::Tar | ReleaseForm::Svr4 => return Some(name.to_owned()),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '+' | '-') { c } else { '-' };
    Some(format!("{prefix}{}", name.chars().map(plain).collect::<String>()))
}

fn check_parameters(package: &LintPackage<'_>, base: &ReleasePackage, found: &mut LintFindings) {
    let version = package.image.params.text("VERSION");
    let expected = base.version.as_deref().unwrap_or_default();
    if version.trim() != expected {
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
fn in_release(path: &PackagePath) -> Vec<u8> {
    if path.is_absolute() { path.as_bytes().to_vec() } else { [b"/", path.as_bytes()].concat() }
}

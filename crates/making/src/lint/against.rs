//! Checks of a patch against its release (parameters, paths, libraries), earlier revisions and other patches.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};

use super::findings::{LintCode, LintFindings};
use super::subject::{ComparedPatch, LintPackage, LintSubject};
use crate::build::{AbiCheck, AbiError, looks_same, object_at, usual_name};
use crate::release::{Release, ReleasePackage};
use patchadm_inputs::source::{Image, Source, SourceError, SourceProblem};
use patchadm_svr4::package::{ObjectPath, PackagePath};

const ZONES: [&str; 3] = ["SUNW_PKG_ALLZONES", "SUNW_PKG_HOLLOW", "SUNW_PKG_THISZONE"];

pub(super) fn check_against_base(subject: &LintSubject<'_>, base: &Release, found: &mut LintFindings) {
    let mut owners = PathOwners::new();
    for (index, package) in base.packages.iter().enumerate() {
        for object in &package.objects {
            owners.entry(object.path.as_bytes()).or_default().push(index);
        }
    }
    for package in &subject.packages {
        let Some(own) = own_package(package, base) else {
            say_why_there_is_none(package, base, found);
            continue;
        };
        check_parameters(package, own, found);
        check_times(package, own, found);
        check_paths(package, own, (base, &owners), found);
    }
}

/// The packages of the release that have a path: ascending indices.
type PathOwners<'b> = HashMap<&'b [u8], Vec<usize>>;

/// The release's package of that name and architecture, or a tree that is the whole release.
pub(super) fn own_package<'b>(package: &LintPackage<'_>, base: &'b Release) -> Option<&'b ReleasePackage> {
    if let [tree] = &base.packages[..]
        && tree.name.is_none()
    {
        return Some(tree);
    }
    let (name, arch) = package.name();
    base.packages.iter().find(|base| is_named(base, &name) && base.arch.as_deref() == Some(&arch))
}

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

fn check_times(package: &LintPackage<'_>, base: &ReleasePackage, found: &mut LintFindings) {
    for entry in package.objects.values().filter(|entry| entry.object.ftype.is_regular()) {
        let Ok(path) = ObjectPath::new(&in_release(&entry.path)) else { continue };
        let looks_same = object_at(&base.objects, &path).is_some_and(|old| {
            old.content_info().is_some_and(|content| looks_same(&content, &entry.object.content))
        });
        if looks_same {
            let text = "the base has different contents with the same size and modification time";
            found.of_path(LintCode::SameTime, package.directory(), &entry.path, text);
        }
    }
}

fn check_paths(
    package: &LintPackage<'_>,
    own: &ReleasePackage,
    (base, owners): (&Release, &PathOwners<'_>),
    found: &mut LintFindings,
) {
    let owners = |path: &[u8]| {
        let indices = owners.get(path).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(move |index| base.packages.get(*index))
    };
    let is_own = |path: &[u8]| owners(path).any(|owner| std::ptr::eq(owner, own));
    for path in package.deletes.values().filter(|path| !is_own(&in_release(path))) {
        let text = "it is deleted, and the package of the base does not have it";
        found.of_path(LintCode::OutsidePackage, package.directory(), path, text);
    }
    let objects = package.objects.values().filter(|entry| !entry.object.ftype.is_directory());
    for entry in objects {
        let path = in_release(&entry.path);
        if is_own(&path) {
            continue;
        }
        if let Some(owner) = owners(&path).next() {
            let text =
                format!("it belongs to {} of the base", owner.name.as_deref().unwrap_or(&owner.origin));
            found.of_path(LintCode::OutsidePackage, package.directory(), &entry.path, text);
        }
    }
}

pub(super) fn in_release(path: &PackagePath) -> Vec<u8> {
    if path.is_absolute() { path.as_bytes().to_vec() } else { [b"/", path.as_bytes()].concat() }
}

/// Examines libraries of the patch, and those of the release if something goes. Unreadable files are no findings.
pub(super) fn check_libraries(
    (source, image): (&Source, &Image),
    subject: &LintSubject<'_>,
    base: &Release,
    found: &mut LintFindings,
) -> Result<(), SourceError> {
    let mut libraries = AbiCheck::default();
    for package in &subject.packages {
        if let Some(own) = own_package(package, base) {
            libraries.goes(own, changed_paths(package)).map_err(of_release)?;
        }
    }
    source.stream_checked(image, &mut |_, _| true, &mut |package, path, _, data: &mut dyn Read| {
        let name = image.packages.get(package).map_or("", |package| &package.directory);
        let looked = libraries.comes(&format!("{name}: {path}"), data);
        let read = looked.and_then(|()| io::copy(data, &mut io::sink()).map(drop));
        read.map_err(|error| of_file(source.path(), Some(path.to_string()), error))
    })?;
    for finding in libraries.breaks(base).map_err(of_release)? {
        found.of_patch(LintCode::Abi, finding);
    }
    Ok(())
}

fn changed_paths(package: &LintPackage<'_>) -> BTreeSet<ObjectPath> {
    let delivered = package.objects.values().map(|entry| &entry.path);
    let paths = delivered.chain(package.deletes.values().copied());
    paths.filter_map(|path| ObjectPath::new(&in_release(path)).ok()).collect()
}

fn of_release(error: AbiError) -> SourceError {
    match error {
        AbiError::Source(error) => error,
        AbiError::Read { origin, error } => of_file(origin.as_ref(), None, error),
    }
}

fn of_file(path: &std::path::Path, file: Option<String>, error: io::Error) -> SourceError {
    SourceError { path: path.to_owned(), problem: SourceProblem::Io { file, error } }
}

/// The depot may contain the patch itself.
pub(super) fn check_against_depot(
    subject: &LintSubject<'_>,
    depot: &[ComparedPatch],
    found: &mut LintFindings,
) {
    let Some(own) = subject.as_compared_patch() else { return };
    for other in depot.iter().filter(|other| other.id != own.id) {
        if own.id.is_later_than(&other.id) {
            check_cumulative(subject, other, found);
            check_times_of_earlier(subject, other, found);
        } else if !own.id.same_base(&other.id) && !own.is_related_to(other) {
            check_overlap(subject, other, found);
        }
    }
}

pub(super) fn check_cumulative(subject: &LintSubject<'_>, earlier: &ComparedPatch, found: &mut LintFindings) {
    for (name, paths) in &earlier.packages {
        let package = subject.packages.iter().find(|package| package.name() == *name);
        let Some(package) = package else {
            let text = format!("{} changes package {}", earlier.id, name.0);
            found.of_patch(LintCode::Cumulative, text);
            continue;
        };
        if earlier.versions.get(name).is_some_and(|version| *version != package.version()) {
            // No root gets both.
            continue;
        }
        let has =
            |path: &ObjectPath| package.objects.contains_key(path) || package.deletes.contains_key(path);
        for path in paths.keys().filter(|path| !has(path)) {
            let text = format!("{} delivers or deletes it", earlier.id);
            found.of_path(LintCode::Cumulative, package.directory(), path, text);
        }
    }
}

fn check_times_of_earlier(subject: &LintSubject<'_>, earlier: &ComparedPatch, found: &mut LintFindings) {
    for package in &subject.packages {
        let Some(files) = earlier.files.get(&package.name()) else { continue };
        for (path, entry) in &package.objects {
            if files.get(path).is_some_and(|before| looks_same(before, &entry.object.content)) {
                let text =
                    format!("{} has different contents with the same size and modification time", earlier.id);
                found.of_path(LintCode::SameTime, package.directory(), &entry.path, text);
            }
        }
    }
}

fn check_overlap(subject: &LintSubject<'_>, other: &ComparedPatch, found: &mut LintFindings) {
    for package in &subject.packages {
        let Some(paths) = other.packages.get(&package.name()) else { continue };
        for (path, entry) in &package.objects {
            if !entry.object.ftype.is_directory() && paths.get(path) == Some(&true) {
                let text = format!("{} delivers it as well", other.id);
                found.of_path(LintCode::Overlap, package.directory(), &entry.path, text);
            }
        }
    }
}

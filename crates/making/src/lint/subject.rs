//! A patch to check: its packages, with paths of installation.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::{LintCode, LintFindings};
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{ContentInfo, ObjectPath, PackagePath, PathError, variables};
use patchadm_svr4::patch::{PatchId, PatchList, PatchMacros, Requirement, Requirements};
use patchadm_svr4::places;

pub(super) const SEPARATOR: &str = "-";

#[derive(Debug)]
pub(super) struct LintSubject<'i> {
    pub(super) image: &'i Image,
    /// `None` unless its packages agree about one.
    pub(super) id: Option<PatchId>,
    pub(super) packages: Vec<LintPackage<'i>>,
}

#[derive(Debug)]
pub(super) struct LintPackage<'i> {
    pub(super) image: &'i PackageImage,
    pub(super) objects: BTreeMap<ObjectPath, &'i PkgmapEntry>,
    pub(super) deletes: BTreeMap<ObjectPath, &'i PackagePath>,
    pub(super) macros: Option<PatchMacros>,
}

/// Facts about another patch.
#[derive(Clone, Debug)]
pub struct ComparedPatch {
    pub id: PatchId,
    /// Contained patches.
    pub obsoletes: PatchList,
    /// Including alternatives.
    pub requires: Requirements,
    /// Packages by name and architecture, with all delivered or deleted paths; true for a delivered non-directory.
    pub packages: BTreeMap<(String, String), BTreeMap<ObjectPath, bool>>,
    /// Versions of the packages, by the same names.
    pub versions: BTreeMap<(String, String), String>,
    /// Size, sum and time of delivered files, by the same names.
    pub files: BTreeMap<(String, String), BTreeMap<ObjectPath, ContentInfo>>,
}

impl<'i> LintSubject<'i> {
    pub(super) fn of(image: &'i Image, found: &mut LintFindings) -> Self {
        let packages: Vec<_> = image.packages.iter().map(|package| LintPackage::of(package, found)).collect();
        let ids: BTreeSet<&PatchId> =
            packages.iter().filter_map(|package| Some(&package.macros.as_ref()?.id)).collect();
        let id = ids.first().filter(|_| ids.len() == 1).map(|id| (*id).clone());
        Self { image, id, packages }
    }

    pub(super) fn as_compared_patch(&self) -> Option<ComparedPatch> {
        let id = self.id.clone()?;
        let macros = || self.packages.iter().filter_map(|package| package.macros.as_ref());
        let obsoletes: PatchList = macros().flat_map(|macros| macros.obsoletes.iter().cloned()).collect();
        let requires: Vec<String> = macros().map(|macros| macros.requires.joined(" ")).collect();
        let mut packages: BTreeMap<_, BTreeMap<ObjectPath, bool>> = BTreeMap::new();
        let mut files: BTreeMap<_, BTreeMap<ObjectPath, ContentInfo>> = BTreeMap::new();
        let versions = self.packages.iter().map(|package| (package.name(), package.version())).collect();
        for package in &self.packages {
            let paths = packages.entry(package.name()).or_default();
            paths.extend(package.deletes.keys().map(|path| (path.clone(), false)));
            let objects = package.objects.iter();
            paths.extend(objects.map(|(path, entry)| (path.clone(), !entry.object.ftype.is_directory())));
            let regular = package.objects.iter().filter(|(_, entry)| entry.object.ftype.is_regular());
            let contents = regular.map(|(path, entry)| (path.clone(), entry.object.content));
            files.entry(package.name()).or_default().extend(contents);
        }
        let requires = Requirements::parse(&requires.join(" "), SEPARATOR).ok()?;
        Some(ComparedPatch { id, obsoletes, requires, packages, versions, files })
    }
}

impl ComparedPatch {
    /// `None` if its packages name no patch, or several.
    pub fn of(image: &Image) -> Option<Self> {
        LintSubject::of(image, &mut LintFindings::default()).as_compared_patch()
    }

    /// True if one of the two requires or obsoletes a revision of the other.
    pub(super) fn is_related_to(&self, other: &Self) -> bool {
        let names = |one: &Self, id: &PatchId| {
            one.obsoletes.iter().any(|each| each.same_base(id))
                || one.requires.iter().flat_map(Requirement::ids).any(|each| each.same_base(id))
        };
        names(self, &other.id) || names(other, &self.id)
    }
}

impl<'i> LintPackage<'i> {
    fn of(image: &'i PackageImage, found: &mut LintFindings) -> Self {
        let mut wrong = |path: &PackagePath, text: &str| {
            found.of_path(LintCode::Path, &image.directory, path, text);
        };
        let macros = PatchMacros::from_params(&image.params, SEPARATOR).ok().flatten();
        let mut package = Self { image, objects: BTreeMap::new(), deletes: BTreeMap::new(), macros };
        let mut twice = Vec::new();
        let base = base_directory(image);
        for entry in image.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            match resolve(image, &base, &entry.path) {
                Err(error) => wrong(&entry.path, &error.to_string()),
                Ok(path) => {
                    if let Some(reason) = reserved(&path) {
                        wrong(&entry.path, reason);
                    }
                    if package.objects.insert(path, entry).is_some() {
                        twice.push(&entry.path);
                    }
                }
            }
        }
        for path in &image.deletes {
            match resolve(image, &base, path) {
                Err(error) => wrong(path, &error.to_string()),
                Ok(resolved) => {
                    if let Some(reason) = reserved(&resolved) {
                        wrong(path, reason);
                    }
                    package.deletes.insert(resolved, path);
                }
            }
        }
        for path in twice {
            found.of_path(
                LintCode::Duplicate,
                &image.directory,
                path,
                "the package has another object at this path",
            );
        }
        package
    }

    pub(super) fn name(&self) -> (String, String) {
        let text = |name| self.image.params.text(name).trim().to_owned();
        (text("PKG"), text("ARCH"))
    }

    pub(super) fn version(&self) -> String {
        self.image.params.text("VERSION").trim().to_owned()
    }

    pub(super) fn directory(&self) -> &'i str {
        &self.image.directory
    }
}

fn base_directory(package: &PackageImage) -> Result<ObjectPath, PathError> {
    match package.params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => Ok(ObjectPath::root()),
        Some(base) => ObjectPath::new(base),
    }
}

fn resolve(
    package: &PackageImage,
    base: &Result<ObjectPath, PathError>,
    path: &PackagePath,
) -> Result<ObjectPath, PathError> {
    let base = base.as_ref().map_err(PathError::clone)?;
    path.resolve(base, |name| variables::value(&package.params, name))
}

fn reserved(path: &ObjectPath) -> Option<&'static str> {
    let records = [places::BELOW_PACKAGES, places::BELOW_PATCHES, places::BELOW_OWN_DIRECTORY];
    if path.relative().is_empty() {
        Some("it is the root directory")
    } else if records.iter().any(|below| path.as_bytes().starts_with(below.as_bytes()))
        || [places::CONTENTS, places::PKGLOG].iter().any(|file| path.as_bytes() == file.as_bytes())
    {
        Some("it is a record of the package database")
    } else if path.as_bytes().starts_with(b"/etc/patchadm/") {
        Some("it is a setting of the root")
    } else {
        None
    }
}

//! Paths and lists of the previous revision.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::PatchLists;
use patchadm_inputs::format::objects_file::{GivenAttributes, OBJECTS, ObjectsFile, ObjectsFileError};
use patchadm_inputs::source::{Extent, Image, Origin, PackageImage, SourceError, open};
use patchadm_svr4::package::{ContentInfo, Ftype, ObjectPath, PackagePath, PathError};
use patchadm_svr4::patch::{PatchId, PatchMacros, PatchMacrosError};

const SEPARATOR: &str = PatchId::SEPARATOR;

#[derive(Clone, Debug)]
pub struct PreviousPatch {
    pub id: PatchId,
    /// Other patches that its packages name.
    pub lists: PatchLists,
    pub packages: Vec<PreviousPackage>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousPackage {
    pub pkg: String,
    pub arch: String,
    pub version: String,
    /// Delivered and deleted, below the base directory.
    pub paths: BTreeSet<ObjectPath>,
    /// Paths that may have extended attributes from it or an earlier revision.
    pub with_xattrs: BTreeSet<ObjectPath>,
    /// Size, sum and time of delivered files.
    pub files: BTreeMap<ObjectPath, ContentInfo>,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreviousError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0} is not a patch: package {1} does not say to which patch it belongs")]
    NoPatch(String, String),
    #[error("{patch}, package {package}: {error}")]
    Macros { patch: String, package: String, error: Box<PatchMacrosError> },
    /// Its packages name different patches.
    #[error("{0} has packages of two patches, {1} and {2}")]
    TwoIds(String, PatchId, PatchId),
    /// A path depends on the machine of the installation, or lies outside the base directory.
    #[error("{patch}, package {package}: path <{path}> does not lie below the base directory")]
    Outside {
        patch: String,
        package: String,
        /// As in the pkgmap.
        path: PackagePath,
    },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{patch}, package {package}: install/{OBJECTS}: {reason}")]
    Objects { patch: String, package: String, reason: ObjectsFileError },
}

impl PreviousPatch {
    /// Reads a patch of any form, without content.
    pub fn read(path: &Path) -> Result<Self, PreviousError> {
        let (_, image) = open(Origin::Path(path), Extent::Everything)?;
        Self::of(&image, &path.display().to_string())
    }

    /// `name` is used in messages.
    pub fn of(image: &Image, name: &str) -> Result<Self, PreviousError> {
        let mut found: Option<Self> = None;
        for package in &image.packages {
            let macros = macros_of(package, name)?;
            let patch = found.get_or_insert_with(|| Self {
                id: macros.id.clone(),
                lists: PatchLists::default(),
                packages: Vec::new(),
            });
            if patch.id != macros.id {
                return Err(PreviousError::TwoIds(name.to_owned(), patch.id.clone(), macros.id));
            }
            patch.lists.unite(&PatchLists {
                requires: macros.requires,
                obsoletes: macros.obsoletes,
                incompatibles: macros.incompatibles,
                fixes: macros.fixes,
            });
            patch.packages.push(PreviousPackage::of(package, name)?);
        }
        found.ok_or_else(|| PreviousError::NoPatch(name.to_owned(), String::new()))
    }
}

pub(super) fn macros_of(package: &PackageImage, name: &str) -> Result<PatchMacros, PreviousError> {
    let macros =
        PatchMacros::from_params(&package.params, SEPARATOR).map_err(|error| PreviousError::Macros {
            patch: name.to_owned(),
            package: package.directory.clone(),
            error: Box::new(error),
        })?;
    macros.ok_or_else(|| PreviousError::NoPatch(name.to_owned(), package.directory.clone()))
}

impl PreviousPackage {
    pub(super) fn of(package: &PackageImage, name: &str) -> Result<Self, PreviousError> {
        let basedir = package.params.get("BASEDIR").and_then(|basedir| ObjectPath::new(basedir).ok());
        let basedir = basedir.unwrap_or_else(ObjectPath::root);
        let place = |path: &PackagePath| {
            below(&basedir, path)?.ok_or_else(|| PreviousError::Outside {
                patch: name.to_owned(),
                package: package.directory.clone(),
                path: path.clone(),
            })
        };
        let entries = package.pkgmap.entries.iter().filter(|entry| !entry.is_information());
        let paths = entries.map(|entry| &entry.path).chain(&package.deletes);
        let unreadable = |reason| PreviousError::Objects {
            patch: name.to_owned(),
            package: package.directory.clone(),
            reason,
        };
        let objects = package.install.get(OBJECTS).map(|text| ObjectsFile::parse(text)).transpose();
        let given = objects.map_err(unreadable)?.unwrap_or_default().objects;
        let says_any = |given: &GivenAttributes| given.xattrs.is_some();
        let said = given.iter().filter(|(_, given)| says_any(given)).map(|(path, _)| path);
        // Even without attributes now, an earlier revision may have given some.
        let is_silent =
            |ftype: Ftype| matches!(ftype, Ftype::Symlink | Ftype::Pipe | Ftype::Block | Ftype::Character);
        let silent = package.pkgmap.entries.iter().filter(|entry| is_silent(entry.object.ftype));
        let with_xattrs = said.chain(silent.map(|entry| &entry.path)).chain(&package.deletes);
        let text = |name| package.params.text(name).into_owned();
        let regular = package.pkgmap.entries.iter().filter(|entry| entry.object.ftype.is_regular());
        let files = regular.map(|entry| Ok((place(&entry.path)?, entry.object.content)));
        let mut found = Self {
            pkg: text("PKG"),
            arch: text("ARCH"),
            version: text("VERSION"),
            paths: paths.map(place).collect::<Result<_, _>>()?,
            with_xattrs: with_xattrs.map(place).collect::<Result<_, _>>()?,
            files: files.collect::<Result<_, PreviousError>>()?,
        };
        found.add_other_names(package.pkgmap.entries.iter().filter_map(|entry| {
            let path = place(&entry.path).ok().filter(|_| entry.object.ftype == Ftype::Link)?;
            let file = path.link_source(entry.object.target.as_deref()?).ok()?;
            Some((path, file))
        }));
        Ok(found)
    }

    /// All names of a file share its attributes.
    fn add_other_names(&mut self, links: impl Iterator<Item = (ObjectPath, ObjectPath)>) {
        let mut links: Vec<_> = links.collect();
        loop {
            let with_xattrs = &mut self.with_xattrs;
            let known = links.len();
            links.retain(|(path, file)| {
                let has_any = with_xattrs.contains(file);
                if has_any {
                    with_xattrs.insert(path.clone());
                }
                !has_any
            });
            if links.len() == known {
                return;
            }
        }
    }
}

fn below(basedir: &ObjectPath, path: &PackagePath) -> Result<Option<ObjectPath>, PathError> {
    let names_variable = |part: &[u8]| part.starts_with(b"$") && part.len() > 1;
    if path.as_bytes().split(|&byte| byte == b'/').any(names_variable) {
        return Ok(None);
    }
    if !path.is_absolute() {
        return ObjectPath::root().join(path.as_bytes()).map(Some);
    }
    let there = ObjectPath::new(path.as_bytes())?;
    if !there.is_below(basedir) {
        return Ok(None);
    }
    let rest = there.as_bytes().get(basedir.as_bytes().len()..).unwrap_or_default();
    ObjectPath::root().join(rest.strip_prefix(b"/").unwrap_or(rest)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::format::pkgmap::Pkgmap;
    use patchadm_svr4::package::Params;

    fn package(params: &[(&str, &str)], pkgmap: &str) -> PackageImage {
        let usual = [("PKG", "ACMEweb"), ("ARCH", "all"), ("VERSION", "2.0")];
        let params: Params = usual.iter().chain(params).copied().collect();
        PackageImage::without_source(params, Pkgmap::parse(pkgmap.as_bytes()).unwrap())
    }

    fn patch(packages: Vec<PackageImage>) -> Result<PreviousPatch, PreviousError> {
        let mut image = Image::without_source("900-01");
        image.packages = packages;
        PreviousPatch::of(&image, "900-01")
    }

    #[test]
    fn the_paths_of_a_revision_are_what_it_delivers_and_deletes_below_the_base_directory() {
        let lines = ": 1 4\n1 f none bin/a 0755 root bin 1 97 0\n1 l none bin/b=c\n1 l none bin/c=../bin/a\n\
                     1 d none /opt/web/etc 0755 root bin\n1 f none /opt/web/x 0755 root bin 1 97 0\n1 i pkginfo 1 1 1\n";
        let macros = [("BASEDIR", "/opt/web"), ("SUNW_PATCHID", "900-01"), ("SUNW_OBSOLETES", "890-01")];
        let mut one = package(&macros, lines);
        one.deletes = vec![PackagePath::new(b"share/old").unwrap()];
        one.install.insert(
            OBJECTS.to_owned(),
            b"{\"objects\":1}\n{\"path\":\"bin/a\",\"xattrs\":{\"user.n\":\"00\"}}\n\
              {\"path\":\"/opt/web/x\",\"xattrs\":{}}\n"
                .to_vec(),
        );
        let patch = patch(vec![one]).unwrap();
        let found = &patch.packages[0];
        assert_eq!(format!("{:?}", found.paths), "{/bin/a, /bin/b, /bin/c, /etc, /share/old, /x}");
        assert_eq!(format!("{:?}", found.with_xattrs), "{/bin/a, /bin/b, /bin/c, /share/old, /x}");
        assert_eq!((patch.id.as_str(), patch.lists.obsoletes.to_string().as_str()), ("900-01", "890-01"));
    }

    #[test]
    fn what_is_no_patch_and_what_lies_elsewhere_is_refused() {
        let refused = |params: &[(&str, &str)], lines: &str| {
            patch(vec![package(params, lines)]).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[], ": 1 1\n"),
            "900-01 is not a patch: package ACMEweb does not say to which patch it belongs"
        );
        let macros = [("SUNW_PATCHID", "900-01"), ("BASEDIR", "/opt/web")];
        for path in ["/etc/x", "$ETC/x", "/opt/webx"] {
            let said = refused(&macros, &format!(": 1 1\n1 d none {path} 0755 root bin\n"));
            assert!(said.contains("does not lie below the base directory"), "{said}");
        }
    }
}

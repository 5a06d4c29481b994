//! Comparison of two patches by what they deliver: the records of their packages, their scripts, and the bytes of their
//! objects. The form in which a patch comes does not count: unpacked, an archive is the same patch.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use patchadm_inputs::cache::digest_of_file;
use patchadm_inputs::source::{self, Extent, Hooks, Origin, PackageImage, SourceError};
use patchadm_svr4::package::PackagePath;

/// What a patch delivers.
#[derive(PartialEq, Eq)]
struct PatchContent {
    /// By the names of the packages.
    packages: BTreeMap<String, PackageContent>,
    hooks: Hooks,
}

/// What a package of it delivers.
#[derive(PartialEq, Eq)]
struct PackageContent {
    pkginfo: Vec<u8>,
    pkgmap: Vec<u8>,
    information: BTreeMap<String, Vec<u8>>,
    /// The digests of its objects.
    objects: BTreeMap<PackagePath, String>,
}

/// A patch that cannot be read, whatever the reason.
struct Unreadable;

impl From<SourceError> for Unreadable {
    fn from(_: SourceError) -> Self {
        Self
    }
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Tells whether two files or directories deliver the same. What cannot be read is not the same.
pub(super) fn deliver_the_same(one: &Path, other: &Path) -> bool {
    matches!((content_of(one), content_of(other)), (Ok(one), Ok(other)) if one == other)
}

fn content_of(path: &Path) -> Result<PatchContent, Unreadable> {
    let (source, image) = source::open(Origin::Path(path), Extent::Everything)?;
    let content = |package: &PackageImage| PackageContent {
        pkginfo: package.pkginfo_bytes.clone(),
        pkgmap: package.pkgmap_bytes.clone(),
        information: package.install.clone(),
        objects: BTreeMap::new(),
    };
    let packages = image.packages.iter().map(|package| (package.directory.clone(), content(package)));
    let mut packages: BTreeMap<String, PackageContent> = packages.collect();
    let mut sink = |index: usize, path: &PackagePath, _, mut data: &mut dyn Read| -> Result<(), Unreadable> {
        let digest = digest_of_file(&mut data, |_| Ok::<(), Unreadable>(()))?.sha256;
        let package = image.packages.get(index).and_then(|package| packages.get_mut(&package.directory));
        if let Some(package) = package {
            package.objects.insert(path.clone(), digest);
        }
        Ok(())
    };
    source.stream(&image, &mut |_, _| true, &mut sink)?;
    Ok(PatchContent { packages, hooks: image.hooks.clone() })
}

//! Patches beside the new one: their deliveries, and the paths that both have.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use super::delivery::PackageDelivery;
use super::previous::{PreviousError, PreviousPackage, PreviousPatch};
use super::request::PatchLists;
use patchadm_inputs::source as open;
use patchadm_inputs::source::{Extent, Image, Origin, Source, SourceError, SourceProblem, patches_in};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

/// A patch beside the one that is made.
#[derive(Debug)]
pub struct OtherPatch {
    /// Its id, its lists and its paths.
    pub patch: PreviousPatch,
    source: Source,
    image: Image,
}

/// Two patches of different bases that have one path of a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{id} and {other} both have {path} of package {pkg}, and {more} more; neither requires nor obsoletes the other"
)]
pub struct Overlap {
    /// The patch that is made.
    pub id: PatchId,
    /// The other one.
    pub other: PatchId,
    /// The package.
    pub pkg: PkgInst,
    /// The first path that both have.
    pub path: ObjectPath,
    /// The number of other paths that both have.
    pub more: usize,
}

impl OtherPatch {
    /// Opens a patch, or each patch of a directory of patches, in the order of their names.
    pub fn open_all(operand: &Path) -> Result<Vec<Self>, PreviousError> {
        let names = if operand.is_dir() { patches_in(operand) } else { Vec::new() };
        if names.is_empty() {
            return Ok(vec![Self::open(operand)?]);
        }
        names.iter().map(|(name, _)| Self::open(&operand.join(name))).collect()
    }

    fn open(path: &Path) -> Result<Self, PreviousError> {
        let (source, image) = open(Origin::Path(path), Extent::Everything)?;
        let patch = PreviousPatch::of(&image, &path.display().to_string())?;
        Ok(Self { patch, source, image })
    }

    /// Hands the content of each file that it delivers to `look`.
    pub(super) fn each_file(
        &self,
        look: &mut dyn FnMut(&PackagePath, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), SourceError> {
        self.source.stream_checked(&self.image, &mut |_, _| true, &mut |_, path, _, data: &mut dyn Read| {
            let looked = look(path, data).and_then(|()| io::copy(data, &mut io::sink()).map(drop));
            looked.map_err(|error| SourceError {
                path: self.source.path().to_owned(),
                problem: SourceProblem::Io { file: Some(path.to_string()), error },
            })
        })
    }
}

/// Refuses a path that one of the others has as well, unless one of both patches names the other.
pub(super) fn overlaps(
    id: &PatchId,
    lists: &PatchLists,
    others: &[OtherPatch],
    packages: &[(&PkgInst, &PackageDelivery)],
) -> Result<(), Box<Overlap>> {
    for other in others.iter().map(|other| &other.patch) {
        if other.id.same_base(id) || names(lists, &other.id) || names(&other.lists, id) {
            continue;
        }
        for (pkg, delivery) in packages.iter().copied() {
            let theirs = other.packages.iter().filter(|package| package.pkg == pkg.as_str());
            let common: BTreeSet<&ObjectPath> =
                theirs.flat_map(|package| in_both(package, delivery)).collect();
            if let Some(path) = common.first() {
                return Err(Box::new(Overlap {
                    id: id.clone(),
                    other: other.id.clone(),
                    pkg: pkg.clone(),
                    path: (*path).clone(),
                    more: common.len() - 1,
                }));
            }
        }
    }
    Ok(())
}

/// Returns the paths that a patch changes and another one has, directories apart.
fn in_both<'a>(
    theirs: &'a PreviousPackage,
    delivery: &'a PackageDelivery,
) -> impl Iterator<Item = &'a ObjectPath> {
    let is_ours = |path: &&ObjectPath| match delivery.delivered.get(*path) {
        Some(delivered) => !delivered.object.is_directory(),
        None => delivery.deleted.contains(*path),
    };
    theirs.paths.iter().filter(is_ours)
}

/// Tells whether lists name a revision of a base.
fn names(lists: &PatchLists, id: &PatchId) -> bool {
    let required = lists.requires.iter().flat_map(Requirement::ids);
    required.chain(lists.obsoletes.iter()).any(|named| named.same_base(id))
}

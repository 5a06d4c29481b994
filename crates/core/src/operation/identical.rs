//! The installed files that have exactly the delivered bytes: only those are "already installed".
//!
//! Size and sum of the pkgmap are no proof. Bytes are compared, but only if everything else agrees.

use std::collections::BTreeMap;

use super::failure::Failure;
use patchadm_inputs::database::survey::fill_identical;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::{Image, Source};
use patchadm_planning::plan::concern::FileToCompare;
use patchadm_rootfs::Hashing;
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// Marks in the inventory the delivered files that exist byte for byte.
pub(super) fn mark_identical(
    source: &Source,
    image: &Image,
    files: Vec<FileToCompare<'_>>,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    let mut candidates: BTreeMap<(usize, PackagePath), ObjectPath> = BTreeMap::new();
    for file in files {
        let content = &file.entry.object.content;
        let Some(live) = inventory.live.get(&file.path) else { continue };
        if live.content_info() == Some(*content) {
            candidates.insert((file.package, file.entry.path.clone()), file.path);
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    let mut digests = Vec::new();
    let mut wanted = |package: usize, path: &PackagePath| candidates.contains_key(&(package, path.clone()));
    source.stream::<Failure>(image, &mut wanted, &mut |package, path, _, data| {
        let mut b3 = Hashing::new(std::io::sink());
        // A source that cannot be read is reported by `stream` itself.
        let read = std::io::copy(data, &mut b3);
        if let (Ok(_), Some(at)) = (read, candidates.get(&(package, path.clone()))) {
            digests.push((at.clone(), b3.finish().1));
        }
        Ok(())
    })?;
    fill_identical(inventory, digests);
    Ok(())
}

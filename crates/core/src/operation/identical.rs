//! Marks installed files that equal the delivered ones ("already installed"). Size and sum of the pkgmap prove nothing,
//! so bytes are compared if everything else agrees.

use std::collections::BTreeMap;

use super::failure::Failure;
use patchadm_inputs::database::survey::fill_identical;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::{Image, Source};
use patchadm_planning::plan::concern::FileToCompare;
use patchadm_rootfs::{Hashing, Interrupt, Live};
use patchadm_svr4::package::{ContentInfo, ObjectPath, PackagePath};

/// A signal ends it.
pub(super) fn mark_identical(
    source: &Source,
    image: &Image,
    files: Vec<FileToCompare<'_>>,
    (inventory, interrupt): (&mut Inventory, Interrupt<'_>),
) -> Result<(), Failure> {
    let mut candidates: BTreeMap<(usize, PackagePath), ObjectPath> = BTreeMap::new();
    for file in files {
        let content = file.entry.object.content;
        let Some(found) = inventory.live.get(&file.path).and_then(Live::content_info) else { continue };
        // A file without an owner has its own time.
        let is_owned = inventory.lines.contains_key(&file.path);
        if found == content || !is_owned && (ContentInfo { mtime: content.mtime, ..found }) == content {
            candidates.insert((file.package, file.entry.path.clone()), file.path);
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    let mut digests = Vec::new();
    let mut wanted = |package: usize, path: &PackagePath| candidates.contains_key(&(package, path.clone()));
    source.stream_until::<Failure>(image, &mut wanted, interrupt, &mut |package, path, _, data| {
        let mut b3 = Hashing::new(std::io::sink());
        // `stream` reports read errors.
        let read = std::io::copy(data, &mut b3);
        if let (Ok(_), Some(at)) = (read, candidates.get(&(package, path.clone()))) {
            digests.push((at.clone(), b3.finish().1));
        }
        Ok(())
    })?;
    fill_identical(inventory, digests);
    Ok(())
}

//! Which files of a patch need not be read before it is backed out, because they are still those that it put there.

use std::collections::BTreeMap;

use patchadm_changeset::format::undo_sidecars::{
    DELIVERED, DeliveredObject, DeliveredObjects, LARGEST_DELIVERED,
};
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, decode};
use patchadm_inputs::database::places;
use patchadm_rootfs::{KnownFile, Root, Sums};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// Returns the files that the list in the save directory `save` knows, with what the manifest says of their bytes. No list
/// that can be read knows none: all files are read.
pub(super) fn known_files(
    root: &Root,
    package: &PkgInst,
    save: &str,
    manifest: &Manifest,
) -> BTreeMap<ObjectPath, KnownFile> {
    let Some(DeliveredObjects(mut listed)) = list(root, package, save) else { return BTreeMap::new() };
    let known = manifest.objects.iter().filter_map(|record| {
        let path = ObjectPath::new(&decode(&record.path)).ok()?;
        let object = listed.remove(&path)?;
        Some((path, known_file(record, object)?))
    });
    known.collect()
}

fn list(root: &Root, package: &PkgInst, save: &str) -> Option<DeliveredObjects> {
    let path = places::save(package).join(save.as_bytes()).ok()?.join(DELIVERED).ok()?;
    DeliveredObjects::parse(&root.read(&path, LARGEST_DELIVERED).ok()??)
}

/// Returns what is known of a file, if list and manifest are about the same bytes.
fn known_file(record: &ObjectRecord, object: DeliveredObject) -> Option<KnownFile> {
    let became = record.became.as_ref().filter(|became| became.digest() == Some(object.b3))?;
    let line = ContentsLine::parse(&decode(record.new_line.as_deref()?)).ok()?;
    let content = line.object.content;
    let size = became.size.filter(|_| content.size == became.size)?;
    let sums = Sums { size, cksum: content.cksum?, b3: object.b3 };
    Some(KnownFile { inode: object.inode, mtime: became.mtime, ctime: object.changed, sums })
}

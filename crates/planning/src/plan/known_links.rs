//! Destinations of paths through the symbolic links of a root, and links that would point to themselves there.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{AtPath, Followed, LinkFollower, LinkMap, Live, LiveKind};
use patchadm_svr4::package::{Ftype, Object, ObjectPath};

pub(super) struct KnownLinks<'a>(pub(super) &'a BTreeMap<ObjectPath, Live>);

impl LinkMap for KnownLinks<'_> {
    fn at(&self, path: &[u8]) -> AtPath {
        match self.0.get(path).map(|live| &live.kind) {
            Some(LiveKind::Symlink(target)) => AtPath::Link(target.as_slice().into()),
            _ => AtPath::Other,
        }
    }
}

pub(super) fn place_of(links: &mut LinkFollower<KnownLinks<'_>>, path: &ObjectPath) -> ObjectPath {
    let mut place = || {
        let followed = links.follow(Followed::default(), path.parent_bytes()?, &mut false)?;
        ObjectPath::new(followed.path()).ok()?.join(path.name()).ok()
    };
    place().unwrap_or_else(|| path.clone())
}

/// The place of a link that would point to itself, because two directories are one on this root (`/bin`, `/usr/bin`).
pub(super) fn leads_to_itself(
    inventory: &Inventory,
    path: &ObjectPath,
    object: &Object,
) -> Option<ObjectPath> {
    let to = object.target.as_deref().filter(|_| object.ftype.is_link())?;
    let mut links = LinkFollower::new(KnownLinks(&inventory.live));
    let mut place_of = |path: &ObjectPath| {
        inventory.physical.get(path).cloned().unwrap_or_else(|| place_of(&mut links, path))
    };
    let place = place_of(path);
    let is_itself = if object.ftype == Ftype::Link {
        path.link_source(to).is_ok_and(|source| source != *path && place_of(&source) == place)
    } else {
        // A relative target starts in the directory that the package means; the system resolves it in the real one.
        let targets = [path, &place].into_iter().filter_map(|link| symlink_target(link, to));
        targets.filter(|to| to.name() == place.name()).any(|to| place_of(&to) == place)
    };
    is_itself.then_some(place)
}

/// Links on the way are not followed.
pub(super) fn symlink_target(link: &ObjectPath, to: &[u8]) -> Option<ObjectPath> {
    let mut at = if to.first() == Some(&b'/') { ObjectPath::root() } else { link.parent()? };
    for part in to.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        at = if part == b".." { at.parent().unwrap_or_else(ObjectPath::root) } else { at.join(part).ok()? };
    }
    Some(at)
}

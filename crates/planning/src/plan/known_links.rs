//! Where paths lead through the symbolic links of a root, and links that would lead to themselves there.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{Ftype, Object, ObjectPath};

/// The most links on one way, as the system follows them.
const MOST_LINKS: usize = 40;

/// The symbolic links among known objects.
pub(super) struct KnownLinks<'a>(pub(super) &'a BTreeMap<ObjectPath, Live>);

impl KnownLinks<'_> {
    /// Returns a path with the links among its parents followed, or unchanged if they lead in a circle.
    pub(super) fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        let place = || self.follow(&path.parent()?, &mut 0)?.join(path.name()).ok();
        place().unwrap_or_else(|| path.clone())
    }

    fn follow(&self, path: &ObjectPath, links: &mut usize) -> Option<ObjectPath> {
        let Some(parent) = path.parent() else { return Some(path.clone()) };
        let parent = self.follow(&parent, links)?;
        let here = parent.join(path.name()).ok()?;
        let Some(LiveKind::Symlink(target)) = self.0.get(&here).map(|live| &live.kind) else {
            return Some(here);
        };
        *links += 1;
        if *links > MOST_LINKS { None } else { self.walk(parent, target, links) }
    }

    fn walk(&self, from: ObjectPath, target: &[u8], links: &mut usize) -> Option<ObjectPath> {
        let mut at = if target.first() == Some(&b'/') { ObjectPath::root() } else { from };
        for part in target.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            at = if part == b".." {
                at.parent().unwrap_or_else(ObjectPath::root)
            } else {
                self.follow(&at.join(part).ok()?, links)?
            };
        }
        Some(at)
    }
}

/// Returns the place of a link that would lead there, because directories on the way are one on this root (`/bin` and
/// `/usr/bin`), or `None` for any other object.
pub(super) fn leads_to_itself(
    inventory: &Inventory,
    path: &ObjectPath,
    object: &Object,
) -> Option<ObjectPath> {
    let to = object.target.as_deref().filter(|_| object.ftype.is_link())?;
    let links = KnownLinks(&inventory.live);
    let place_of =
        |path: &ObjectPath| inventory.physical.get(path).cloned().unwrap_or_else(|| links.place_of(path));
    let place = place_of(path);
    let is_itself = if object.ftype == Ftype::Link {
        path.link_source(to).is_ok_and(|source| source != *path && place_of(&source) == place)
    } else {
        // A relative target starts in the directory that the package means; the system starts in the real one.
        let targets = [path, &place].into_iter().filter_map(|link| symlink_target(link, to));
        targets.filter(|to| to.name() == place.name()).any(|to| place_of(&to) == place)
    };
    is_itself.then_some(place)
}

/// Returns the path that a symbolic link names, without following any link on the way.
pub(super) fn symlink_target(link: &ObjectPath, to: &[u8]) -> Option<ObjectPath> {
    let mut at = if to.first() == Some(&b'/') { ObjectPath::root() } else { link.parent()? };
    for part in to.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        at = if part == b".." { at.parent().unwrap_or_else(ObjectPath::root) } else { at.join(part).ok()? };
    }
    Some(at)
}

//! Finds out who else could exchange an object, from the owners and modes of everything on the way to it.

use std::collections::BTreeSet;

use super::{FileType, ObjectStatus, Result, Root};
use patchadm_svr4::package::ObjectPath;

/// An object that a user other than the caller and the superuser may change or exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignObject {
    /// Its path, for messages.
    pub path: String,
    /// Its numeric owner.
    pub uid: u32,
    /// Whether its owner is right but others may write to it.
    pub is_writable: bool,
}

impl std::fmt::Display for ForeignObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_writable {
            write!(f, "{} may be written to by others than its owner", self.path)
        } else {
            write!(f, "{} belongs to uid {}", self.path, self.uid)
        }
    }
}

impl Root {
    /// Returns the first object on the way to `path`, from the root directory on, that is not under the sole control of
    /// the caller and the superuser; `None` if no one else can exchange the object at `path`. Directories reached
    /// through symbolic links are checked too. Missing objects have no owner.
    pub fn strange_on_the_way(&self, path: &ObjectPath) -> Result<Option<ForeignObject>> {
        self.on_the_way(path, &[0, rustix::process::geteuid().as_raw()])
    }

    /// Returns the first object on the way to `path` that is not under the sole control of the superuser and of the
    /// root directory's owner, as [`strange_on_the_way`](Self::strange_on_the_way) does for the caller.
    pub fn others_on_the_way(&self, path: &ObjectPath) -> Result<Option<ForeignObject>> {
        let owner = self.dir(&ObjectPath::root())?.itself()?.uid;
        self.on_the_way(path, &[0, owner])
    }

    /// Returns the first object on the way to `path` that others than these owners may change or exchange.
    fn on_the_way(&self, path: &ObjectPath, owners: &[u32]) -> Result<Option<ForeignObject>> {
        let resolver = self.resolver();
        let mut places = BTreeSet::new();
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            for place in [resolver.locate(&at)?, resolver.locate_dir(&at)?] {
                places.extend(place.ancestors());
                places.insert(place);
            }
        }
        for place in places {
            let seen = match place.parent() {
                None => Some(self.dir(&place)?.itself()?),
                Some(parent) => match self.dir_if_there(&parent)? {
                    Some(dir) => dir.look(place.name())?,
                    None => None,
                },
            };
            let strange = seen.and_then(|seen| self.strange(&place, &seen, owners));
            if strange.is_some() {
                return Ok(strange);
            }
        }
        Ok(None)
    }

    fn strange(&self, place: &ObjectPath, seen: &ObjectStatus, owners: &[u32]) -> Option<ForeignObject> {
        let is_owned = owners.contains(&seen.uid);
        // The group bits are the mask of an access list, so they show one. A symbolic link has no mode of its own.
        let bits = if seen.gid == 0 { 0o002 } else { 0o022 };
        let is_writable = seen.file_type != FileType::Symlink && seen.mode.bits() & bits != 0;
        let strange = || ForeignObject { path: self.show(place), uid: seen.uid, is_writable: is_owned };
        (!is_owned || is_writable).then(strange)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn whoever_may_write_on_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        fs::write(top.join("a/b/f"), "").unwrap();
        symlink("../a/b", top.join("c/link")).unwrap();
        let mode =
            |name: &str, mode| fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
        for (name, bits) in [("a", 0o755), ("a/b", 0o755), ("a/b/f", 0o644), ("c", 0o755), ("", 0o755)] {
            mode(name, bits);
        }
        let root = Root::open(&top).unwrap();
        let strange = |path: &str| {
            let strange = root.strange_on_the_way(&ObjectPath::new(path.as_bytes()).unwrap()).unwrap();
            strange.map(|strange| strange.path.replace(&*top.to_string_lossy(), ""))
        };
        assert_eq!((strange("/a/b/f"), strange("/c/link/f"), strange("/nothing/at/all")), (None, None, None));
        for (name, bits, usual) in [("a", 0o757, 0o755), ("a/b/f", 0o646, 0o644), ("c", 0o777, 0o755)] {
            mode(name, bits);
            assert_eq!(strange("/c/link/f"), Some(format!("/{name}")), "{name}");
            mode(name, usual);
        }
        assert_eq!(strange("/c/link/f"), None);
    }
}

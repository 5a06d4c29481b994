//! A root shown with other objects at some names: as it will be once they are in place. It is read-only. A walk through
//! `..` out of a directory that is shown elsewhere fails, as if the directory had been moved.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType as Listed;
use rustix::io::Errno;

use super::shown_names::ShownNames;
use super::{Dir, Door, FileType, ObjectStatus, Result, Root};
use patchadm_svr4::package::ObjectPath;

impl ShownNames {
    /// Shows at `path` the object that is `name` in `directory`.
    pub fn show(&mut self, path: &ObjectPath, directory: &Dir, name: &[u8]) -> Result<()> {
        let open = || directory.again().map(Dir::into_fd);
        self.show_in(path, (directory.path(), name), open)
    }
}

impl Root {
    /// Returns the same root, read-only, with these names shown.
    #[must_use]
    pub fn showing(&self, names: ShownNames) -> Self {
        let door = Door::watched(|_| Err(Errno::ROFS)).for_many();
        self.clone().with_names(Arc::new(names), Arc::new(door))
    }

    /// Opens one component at a time.
    pub(crate) fn walk(&self, physical: &ObjectPath) -> Result<OwnedFd> {
        let mut here = Dir::new(self.open_own(&ObjectPath::root())?, ObjectPath::root(), self.clone());
        for name in physical.relative().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            here = match here.dir(name) {
                // As openat2(2) reports a link on the way.
                Err(error) if error.errno() == Some(Errno::NOTDIR) && here.has_link(name)? => {
                    return Err(self.error("open", physical, Errno::LOOP));
                }
                opened => opened?,
            };
        }
        Ok(here.into_fd())
    }

    pub(crate) fn shown_link(&self, physical: &ObjectPath) -> Result<Option<(Vec<u8>, u32)>> {
        let Some(directory) =
            physical.parent().map(|parent| self.dir_if_there(&parent)).transpose()?.flatten()
        else {
            return Ok(None);
        };
        match directory.look(physical.name())?.filter(|seen| seen.file_type == FileType::Symlink) {
            Some(seen) => directory.read_link(physical.name()).map(|target| Some((target, seen.uid))),
            None => Ok(None),
        }
    }
}

impl Dir {
    /// Returns where the object shown under `name` really is.
    pub(crate) fn place<'a>(&'a self, name: &'a [u8]) -> rustix::io::Result<(&'a OwnedFd, &'a [u8])> {
        match self.root().shown().and_then(|shown| shown.directory(self.path())?.get(name)) {
            None => Ok((self.fd(), name)),
            Some(None) => Err(Errno::NOENT),
            Some(Some(place)) => Ok((&place.directory, &place.name)),
        }
    }

    pub(crate) fn with_shown_attributes(&self, mut seen: ObjectStatus) -> ObjectStatus {
        if let Some(shown) = self.root().shown().and_then(|shown| shown.attributes(&seen)) {
            seen.mode = shown.mode.unwrap_or(seen.mode);
            seen.uid = shown.uid.unwrap_or(seen.uid);
            seen.gid = shown.gid.unwrap_or(seen.gid);
            seen.mtime = shown.mtime.unwrap_or(seen.mtime);
        }
        seen
    }

    /// Passes on the listed names that are shown, then those that are only shown here.
    pub(crate) fn each_shown(
        &self,
        list: impl FnOnce(&mut dyn FnMut(&[u8], Listed)) -> rustix::io::Result<()>,
        mut visit: impl FnMut(&[u8], Listed),
    ) -> Result<()> {
        let shown = self.root().shown().and_then(|shown| shown.directory(self.path()));
        let listed = list(&mut |name, listed| {
            if !shown.is_some_and(|shown| shown.contains_key(name)) {
                visit(name, listed);
            }
        });
        listed.map_err(|errno| self.error("list", b"", errno))?;
        for (name, _) in shown.into_iter().flatten().filter(|(_, place)| place.is_some()) {
            if let Some(seen) = self.look(name)? {
                visit(name, seen.file_type.as_listed());
            }
        }
        Ok(())
    }

    fn has_link(&self, name: &[u8]) -> Result<bool> {
        Ok(self.look(name)?.is_some_and(|seen| seen.file_type == FileType::Symlink))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{LiveKind, ShownAttributes};
    use patchadm_svr4::package::Mode;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    /// Returns a root in which `new/gone` is hidden, `etc` is the directory `stage/1`, and `file` is `stage/2` with
    /// other attributes.
    fn shown(top: &std::path::Path) -> Root {
        for directory in ["new", "etc", "stage/1/in"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        for (file, text) in
            [("new/gone", "x"), ("file", "now"), ("stage/2", "before"), ("stage/1/in/deep", "y")]
        {
            fs::write(top.join(file), text).unwrap();
        }
        symlink("in", top.join("stage/1/link")).unwrap();
        let root = Root::open(top).unwrap();
        let stage = root.dir(&at("/stage")).unwrap();
        let mut names = ShownNames::default();
        names.hide(&at("/new/gone"));
        names.show(&at("/etc"), &stage, b"1").unwrap();
        names.show(&at("/file"), &stage, b"2").unwrap();
        names.show(&at("/back"), &stage, b"2").unwrap();
        let attributes = ShownAttributes { mode: Some(Mode::of(0o751)), ..ShownAttributes::default() };
        let seen = root.dir(&ObjectPath::root()).unwrap().look(b"new").unwrap().unwrap();
        names.set_attributes(&seen, attributes);
        root.showing(names)
    }

    #[test]
    fn every_way_to_an_object_leads_to_the_one_that_is_shown() {
        let top = tempfile::tempdir().unwrap();
        let root = shown(top.path());
        assert_eq!(root.read(&at("/file"), 10).unwrap().unwrap(), b"before");
        assert_eq!(
            root.read(&at("/etc/link/deep"), 10).unwrap().unwrap(),
            b"y",
            "through a link that is shown"
        );
        assert_eq!(root.read(&at("/new/gone"), 10).unwrap(), None);
        let dir = root.dir(&ObjectPath::root()).unwrap();
        assert_eq!(dir.names().unwrap(), [&b"back"[..], b"etc", b"file", b"new", b"stage"]);
        assert_eq!(dir.directories().unwrap(), [&b"etc"[..], b"new", b"stage"]);
        let live = dir.live(b"file").unwrap().unwrap();
        assert!(matches!(live.kind, LiveKind::Regular { size: 6, .. }));
        assert_eq!(root.list(&at("/new")).unwrap().unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(root.list(&at("/etc")).unwrap().unwrap(), [&b"in"[..], b"link"]);
    }

    #[test]
    fn attributes_are_shown_by_every_name_and_of_the_open_directory() {
        let top = tempfile::tempdir().unwrap();
        let root = shown(top.path());
        let above = root.dir(&ObjectPath::root()).unwrap();
        assert_eq!(above.look(b"new").unwrap().unwrap().mode, Mode::of(0o751));
        assert_eq!(root.dir(&at("/new")).unwrap().itself().unwrap().mode, Mode::of(0o751));
        assert_eq!(above.live(b"new").unwrap().unwrap().mode, Mode::of(0o751));
    }

    #[test]
    fn nothing_is_changed_in_a_root_that_shows_other_names() {
        let top = tempfile::tempdir().unwrap();
        let dir = shown(top.path()).dir(&ObjectPath::root()).unwrap();
        assert_eq!(dir.remove(b"file").unwrap_err().errno(), Some(Errno::ROFS));
        assert_eq!(dir.create(b"other").unwrap_err().errno(), Some(Errno::ROFS));
    }
}
